use serde_json::Value;

use crate::site::{IMAGE, Site};

#[test]
fn a_policy_allows_what_a_template_needs() {
    let site = Site::new();
    site.write(
        "web.toml",
        &format!(
            "{IMAGE}[publish.ec2]\nregions = [\"eu-central-1\", \"us-east-1\"]\nencrypted = true\n\
             kms_key = \"alias/disks\"\naccounts = [\"123456789012\"]\ndeprecate_after = \"90d\"\nprotect = true\n"
        ),
    );
    insta::assert_snapshot!("policy", site.karat(["iam-policy", "web.toml"]));
}

#[test]
fn more_is_allowed_where_it_is_asked_for() {
    let site = Site::new();
    site.write("web.toml", IMAGE);
    insta::assert_snapshot!(
        "policy_more",
        site.karat([
            "iam-policy",
            "web.toml",
            "--region",
            "us-gov-west-1",
            "--channels",
            "--parameter",
            "/images/web",
            "--prune",
        ])
    );
}

#[test]
fn a_template_that_does_nothing_at_aws_needs_no_policy() {
    let site = Site::new();
    site.write("web.toml", IMAGE);
    insta::assert_snapshot!("policy_none", site.karat(["iam-policy", "web.toml"]));
    let named = ["iam-policy", "web.toml", "--parameter", "/images/web"];
    insta::assert_snapshot!("policy_alone", site.karat(named));
}

/// A template that builds on EC2.
fn built(builder: &str, more: &str) -> String {
    format!("{IMAGE}[base.ami]\nid = \"ami-0123456789abcdef0\"\n[builder.ec2]\n{builder}\n{more}")
}

#[test]
fn a_build_on_ec2_is_allowed_what_its_template_says() {
    let site = Site::new();
    site.write("web.toml", &built("region = \"eu-central-1\"", ""));
    insta::assert_snapshot!("policy_built", site.karat(["iam-policy", "web.toml"]));
}

/// Calls and resources that each of these adds to the policy of a build, or takes away from it.
#[test]
fn what_a_build_asks_for_is_what_changes_in_its_policy() {
    let site = Site::new();
    let lines = |template: &str| {
        site.write("web.toml", template);
        let output = site.run(["iam-policy", "web.toml"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let policy: Value = serde_json::from_str(&text).unwrap();
        let mut lines = Vec::new();
        for statement in policy["Statement"].as_array().unwrap() {
            let list = |name: &str| statement[name].as_array().unwrap().clone();
            for action in list("Action") {
                for resource in list("Resource") {
                    let condition = statement["Condition"].to_string();
                    lines.push(format!("{action} {resource} {condition}").replace('"', ""));
                }
            }
        }
        lines
    };
    let region = "region = \"eu-central-1\"\n";
    let plain = lines(&built(region, ""));
    let mut said = String::new();
    for (builder, more) in [
        ("spot = true", ""),
        ("instance_profile = \"builder\"", ""),
        ("subnet = \"subnet-0123456789abcdef0\"", ""),
        ("vpc = \"vpc-0123456789abcdef0\"", ""),
        ("security_groups = [\"sg-0123456789abcdef0\"]", ""),
        ("", "[network]\nopen = true\n"),
        ("", "[[test]]\ncommand = \"true\"\n"),
        (
            "instance_profile = \"builder\"",
            "[ssh]\ninterface = \"ssm\"\n",
        ),
        ("", "[publish.ec2]\nregions = [\"us-east-1\"]\n"),
    ] {
        let other = lines(&built(&format!("{region}{builder}"), more));
        let gone = plain.iter().filter(|it| !other.contains(it));
        let new = other.iter().filter(|it| !plain.contains(it));
        said.extend(["##### ", builder, more, "\n"]);
        said.extend(gone.flat_map(|line| ["- ", line, "\n"]));
        said.extend(new.flat_map(|line| ["+ ", line, "\n"]));
    }
    insta::assert_snapshot!("policy_changes", said);
}
