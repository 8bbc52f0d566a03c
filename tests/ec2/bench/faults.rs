//! What can go wrong with a call, and what a test may do when one arrives.

use std::collections::HashMap;
use std::sync::Arc;

use super::answer::Refusal;
use super::call::Call;

/// A fault of one call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Too many calls; nothing is carried out.
    Throttle,
    /// An error inside AWS; nothing is carried out.
    Internal,
    /// Refused with a code such as `InvalidInstanceID.NotFound`, as right after a resource was made.
    NotFound(&'static str),
    /// The account may not do this.
    Denied,
    /// The connection ends before the call is carried out.
    DropBefore,
    /// The call is carried out, its answer is lost.
    DropAfter,
    /// Neither carried out nor answered.
    Hang,
    /// Carried out and answered, but what it makes fails later: an image, a snapshot, an instance.
    Fails,
}

impl Fault {
    /// What the service answers, when the fault is an answer.
    pub fn refusal(&self, call: &Call) -> Option<Refusal> {
        let is_ec2 = call.service == "ec2";
        let (status, code, message) = match (self, call.service.as_str()) {
            (Self::Throttle, "ec2") => (503, "RequestLimitExceeded", "Request limit exceeded."),
            (Self::Throttle, "ebs") => (400, "RequestThrottledException", "Rate exceeded"),
            (Self::Throttle, "ssm") => (400, "ThrottlingException", "Rate exceeded"),
            (Self::Throttle, _) => (400, "Throttling", "Rate exceeded"),
            (Self::Internal, "ebs") => (500, "InternalServerException", "An internal error"),
            (Self::Internal, "ssm") => (500, "InternalServerError", "An internal error"),
            (Self::Internal, _) if is_ec2 => {
                (500, "InternalError", "An internal error has occurred")
            }
            (Self::Internal, _) => (500, "InternalFailure", "An internal error"),
            (Self::Denied, "ec2") => (
                403,
                "UnauthorizedOperation",
                "You are not authorized to perform this operation.",
            ),
            (Self::Denied, "ssm") => (400, "AccessDeniedException", "not authorized"),
            (Self::Denied, "ebs") => (403, "AccessDeniedException", "not authorized"),
            (Self::Denied, _) => (403, "AccessDenied", "not authorized"),
            (Self::NotFound(code), service) => {
                let status = if service == "ebs" { 404 } else { 400 };
                (status, *code, "It does not exist")
            }
            _ => return None,
        };
        Some(Refusal::status(status, code, message))
    }
}

/// When something happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    Before,
    After,
}

type Hook = Arc<dyn Fn() + Send + Sync>;

/// Faults and hooks of an account, and how often each call was made. `*` is any call, `ec2:RunInstances@eu-west-1` one region's.
#[derive(Default)]
pub struct Plan {
    counts: HashMap<String, u32>,
    faults: Vec<(String, u32, Fault)>,
    hooks: Vec<(Moment, String, u32, Hook)>,
}

/// What happens to one call.
#[derive(Default)]
pub struct Fate {
    pub fault: Option<Fault>,
    pub before: Vec<Hook>,
    pub after: Vec<Hook>,
}

impl Plan {
    /// The nth call from now on, counted from 1; 0 is every one.
    pub fn fault(&mut self, call: &str, nth: u32, fault: Fault) {
        let nth = self.counted_from_now(call, nth);
        self.faults.push((call.to_owned(), nth, fault));
    }

    pub fn hook(&mut self, moment: Moment, call: &str, nth: u32, hook: Hook) {
        let nth = self.counted_from_now(call, nth);
        self.hooks.push((moment, call.to_owned(), nth, hook));
    }

    pub fn clear(&mut self) {
        self.faults.clear();
        self.hooks.clear();
    }

    fn counted_from_now(&self, call: &str, nth: u32) -> u32 {
        let so_far = self.counts.get(call).copied().unwrap_or(0);
        if nth == 0 { 0 } else { so_far + nth }
    }

    /// Counts a call and says what shall happen to it.
    pub fn meet(&mut self, call: &Call) -> Fate {
        let name = call.name();
        let names = [
            "*".to_owned(),
            format!("{name}@{}", call.region),
            format!("*@{}", call.region),
            name,
        ];
        let mut fate = Fate::default();
        for name in names {
            let count = self.counts.entry(name.clone()).or_default();
            *count += 1;
            let meant = |call: &str, nth: u32| call == name && (nth == 0 || nth == *count);
            for (call, nth, fault) in &self.faults {
                if meant(call, *nth) {
                    fate.fault = Some(fault.clone());
                }
            }
            for (moment, call, nth, hook) in &self.hooks {
                if meant(call, *nth) {
                    match moment {
                        Moment::Before => fate.before.push(Arc::clone(hook)),
                        Moment::After => fate.after.push(Arc::clone(hook)),
                    }
                }
            }
        }
        fate
    }
}
