//! Errors of calls.

use std::error::Error as StdError;

use miette::Diagnostic;
use thiserror::Error;

use crate::ui::text::with_causes;

/// Failure of a call of AWS.
#[derive(Debug, Error, Diagnostic)]
pub enum AwsError {
    #[error("cannot make an HTTP client")]
    Client(#[source] reqwest::Error),
    #[error("no AWS credentials")]
    #[diagnostic(help(
        "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where an instance role or web identity provides them"
    ))]
    NoProvider,
    #[error("could not load AWS credentials")]
    #[diagnostic(help(
        "see `aws sts get-caller-identity`; with SSO, log in again with `aws sso login`"
    ))]
    Credentials(#[source] Box<dyn StdError + Send + Sync>),
    #[error("no AWS region is set")]
    #[diagnostic(help("set `regions` in the template, or AWS_REGION"))]
    NoRegion,
    #[error("cannot sign {action}")]
    Sign {
        action: String,
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The connection failed before a response arrived.
    #[error("{action} in {region}: {}", with_causes(problem))]
    #[diagnostic(help("check the network, the proxy (HTTPS_PROXY) and the region's name"))]
    Transport {
        action: String,
        region: String,
        problem: reqwest::Error,
    },
    /// AWS refused the call.
    #[error("{action} in {region}: {message} ({code})")]
    #[diagnostic(help("{}", advice(code, action)))]
    Refused {
        /// Name of the call in policies, such as `ec2:RegisterImage`.
        action: String,
        region: String,
        status: u16,
        /// AWS's name of the error.
        code: String,
        message: String,
    },
    #[error("{action} in {region}: unexpected response: {problem}")]
    #[diagnostic(help("check AWS_ENDPOINT_URL, and whether a proxy answers instead of AWS"))]
    Answer {
        action: String,
        region: String,
        problem: String,
    },
    #[error("{what} in {region} is still {state} after {minutes} minutes")]
    #[diagnostic(help("look at it in the AWS console, then run the command again"))]
    Slow {
        /// The resource, such as `image ami-...`.
        what: String,
        region: String,
        state: String,
        minutes: u64,
    },
    /// A resource failed for good.
    #[error("{what} in {region} is {state}{}", after_colon(.reason.as_deref()))]
    #[diagnostic(help("look at it in the AWS console"))]
    Failed {
        /// The resource, such as `image ami-...`.
        what: String,
        region: String,
        state: String,
        reason: Option<String>,
    },
    #[error("cannot determine this machine's own address, which SSH is allowed from: {problem}")]
    #[diagnostic(help("set it in [builder.ec2]: `ingress = \"203.0.113.7/32\"`"))]
    OwnAddress { problem: String },
    #[error("{what} does not exist in {region}")]
    #[diagnostic(help("check whether it was deleted, or belongs to another account"))]
    Gone {
        /// The resource, such as `image ami-...`.
        what: String,
        region: String,
    },
}

fn after_colon(reason: Option<&str>) -> String {
    reason.map_or_else(String::new, |text| format!(": {text}"))
}

/// Names of throttling errors: the SDKs' list (`_retry.json` of botocore) and those of the EBS direct APIs.
const THROTTLED: [&str; 12] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "BandwidthLimitExceeded",
    "SlowDown",
    "PriorRequestNotComplete",
    "EC2ThrottledException",
    "ConcurrentLimitExceededException",
];

/// Names of errors of authorization.
const DENIED: [&str; 5] = [
    "UnauthorizedOperation",
    "AccessDenied",
    "AccessDeniedException",
    "Client.UnauthorizedOperation",
    "OptInRequired",
];

fn advice(code: &str, action: &str) -> String {
    match code {
        _ if DENIED.contains(&code) => format!(
            "allow {action} to the principal that builds; `karat iam-policy TEMPLATE` prints the permissions that a template needs, \
             and `aws sts decode-authorization-message` shows the rule that refused"
        ),
        _ if THROTTLED.contains(&code) => {
            "this account makes too many calls; try again later, or run fewer builds in parallel".to_owned()
        }
        "RequestExpired" | "RequestTimeTooSkewed" => {
            "set the clock of this machine: signatures are valid for minutes only".to_owned()
        }
        "ExpiredToken" | "ExpiredTokenException" => "the credentials have expired: log in again".to_owned(),
        "AuthFailure"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch" => {
            "these credentials are not valid in this region: check AWS_PROFILE, the region, and whether the account has enabled it".to_owned()
        }
        _ => "look up this error in the AWS documentation".to_owned(),
    }
}

impl AwsError {
    /// Returns AWS's name of the error.
    pub fn error_code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Returns whether the resource does not exist, or not yet: AWS does not know a new resource everywhere at once.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Gone { .. } => true,
            Self::Refused { code, .. } => {
                code.ends_with(".NotFound")
                    || code.ends_with("NotFoundException")
                    || code.ends_with(".Unavailable")
                    || code == "ParameterNotFound"
            }
            _ => false,
        }
    }

    /// Returns whether the principal lacks a permission.
    pub fn is_denied(&self) -> bool {
        self.error_code().is_some_and(|code| DENIED.contains(&code))
    }

    /// Returns whether AWS has certainly not carried the call out, so that repeating it cannot do anything twice.
    pub(super) fn was_not_carried_out(&self) -> bool {
        match self {
            Self::Refused { code, status, .. } => {
                THROTTLED.contains(&code.as_str()) || *status == 429
            }
            Self::Transport { problem, .. } => problem.is_connect(),
            _ => false,
        }
    }

    /// Returns whether the call may or may not have been carried out.
    pub fn is_uncertain(&self) -> bool {
        self.is_transient() && !self.was_not_carried_out()
    }

    /// Returns whether the same call may succeed when repeated.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Refused { status, .. } => *status >= 500 || self.was_not_carried_out(),
            Self::Transport { problem, .. } => !problem.is_builder(),
            _ => false,
        }
    }
}
