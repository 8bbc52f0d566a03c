//! Calls that fail once, and calls that fail always.

use super::stage::{Stage, each};
use crate::bench::faults::Fault;

/// What a call says of what was just made, and is not known everywhere yet; the nth of these calls is about such a thing.
fn unknown(call: &str) -> Option<(u32, &'static str)> {
    let nth = if call == "ec2:DescribeImages" { 2 } else { 1 };
    let code = match call {
        "ec2:RegisterImage" | "ec2:DescribeSnapshots" | "ec2:ModifySnapshotAttribute" => {
            "InvalidSnapshot.NotFound"
        }
        // The last two are made once `DescribeSnapshots` says that all of it is there.
        "sts:GetCallerIdentity"
        | "ebs:StartSnapshot"
        | "ebs:ListSnapshotBlocks"
        | "ebs:GetSnapshotBlock" => return None,
        ebs if ebs.starts_with("ebs:") => "ResourceNotFoundException",
        _ => "InvalidAMIID.NotFound",
    };
    Some((nth, code))
}

#[test]
fn a_call_that_fails_once_is_made_again() {
    let Some(stage) = Stage::new() else { return };
    let mut cases = Vec::new();
    for call in stage.distinct_calls() {
        for fault in [
            Fault::Throttle,
            Fault::Internal,
            Fault::DropBefore,
            Fault::DropAfter,
        ] {
            cases.push((call.clone(), 1, fault));
        }
        let unknown = unknown(&call);
        cases.extend(unknown.map(|(nth, code)| (call, nth, Fault::NotFound(code))));
    }
    assert!(cases.len() > 50, "{cases:?}");
    each(cases, |(call, nth, fault)| {
        let case = stage.case();
        case.account.fault(call, *nth, fault.clone());
        let ran = case.publish();
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(ran.images().len(), 1, "{ran:?}");
        case.is_published();
    });
}

#[test]
fn a_call_that_is_denied_is_named_and_leaves_nothing() {
    let Some(stage) = Stage::new() else { return };
    each(stage.distinct_calls(), |call| {
        let case = stage.case();
        case.account.fault(call, 0, Fault::Denied);
        let ran = case.publish();
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains(call), "{ran:?}");
        assert!(ran.stderr.contains(&format!("allow {call}")), "{ran:?}");
        assert_eq!(case.account.left(), [""; 0], "{ran:?}");
    });
}

#[test]
fn what_cannot_be_removed_is_told() {
    let Some(stage) = Stage::new() else { return };
    let last = "ec2:CreateTags";
    for (denied, left) in [
        ("ec2:DeregisterImage", &["image", "snapshot"][..]),
        (
            "ec2:DisableImageDeregistrationProtection",
            &["image", "snapshot"],
        ),
        ("ec2:DeleteSnapshot", &["snapshot"]),
    ] {
        let case = stage.case();
        case.account.fault(last, 0, Fault::Denied);
        case.account.fault(denied, 0, Fault::Denied);
        let ran = case.publish();
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains(denied), "{ran:?}");
        assert!(ran.stderr.contains("left over"), "{ran:?}");
        let found = case.account.left();
        let kinds: Vec<_> = found
            .iter()
            .map(|line| line.split(' ').nth(1).unwrap())
            .collect();
        assert_eq!(kinds, left, "{denied}: {found:?}");
        // Whoever may do it later has one AMI in the end.
        case.account.clear();
        let ran = case.publish();
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let images = case.account.left().into_iter();
        assert_eq!(images.filter(|it| it.contains(" image ")).count(), 1);
    }
}

#[test]
fn what_fails_at_aws_is_told_and_removed() {
    let Some(stage) = Stage::new() else { return };
    for (call, what) in [
        ("ebs:CompleteSnapshot", "error"),
        ("ec2:RegisterImage", "failed"),
    ] {
        let case = stage.case();
        case.account.fault(call, 1, Fault::Fails);
        let ran = case.publish();
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains(&format!("is {what}")), "{ran:?}");
        assert_eq!(case.account.left(), [""; 0], "{ran:?}");
        let ran = case.publish();
        assert_eq!(ran.code, Some(0), "{ran:?}");
        case.is_published();
    }
}
