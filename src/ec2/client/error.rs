//! What can go wrong with a call.

use std::error::Error as StdError;

use miette::Diagnostic;
use thiserror::Error;

use crate::fetch::error_chain;

/// Why a call of AWS failed.
#[derive(Debug, Error, Diagnostic)]
pub enum AwsError {
    /// No HTTP client.
    #[error("cannot make an HTTP client")]
    Client(#[source] reqwest::Error),
    /// Nothing in the environment or on the machine says who calls.
    #[error("no AWS credentials")]
    #[diagnostic(help(
        "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where an instance role or web identity gives some"
    ))]
    NoProvider,
    /// Credentials could not be had.
    #[error("no AWS credentials could be had")]
    #[diagnostic(help(
        "see `aws sts get-caller-identity`; with SSO, log in again with `aws sso login`"
    ))]
    Credentials(#[source] Box<dyn StdError + Send + Sync>),
    /// No region was named.
    #[error("no AWS region is named")]
    #[diagnostic(help("write `regions` in the template, or set AWS_REGION"))]
    NoRegion,
    /// The request could not be signed.
    #[error("cannot sign {action}")]
    Sign {
        /// The call.
        action: String,
        /// Why.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// No answer came.
    #[error("{action} in {region}: {}", error_chain(problem))]
    #[diagnostic(help("check the network, the proxy (HTTPS_PROXY) and the region's name"))]
    Line {
        /// The call.
        action: String,
        /// Where.
        region: String,
        /// The last failure.
        problem: reqwest::Error,
    },
    /// AWS says no.
    #[error("{action} in {region}: {message} ({code})")]
    #[diagnostic(help("{}", mend(code, action)))]
    Refused {
        /// The call, as `ec2:RegisterImage`.
        action: String,
        /// Where.
        region: String,
        /// The HTTP status.
        status: u16,
        /// AWS's name of the error.
        code: String,
        /// Its text.
        message: String,
    },
    /// An answer that was not understood.
    #[error("{action} in {region}: the answer was not understood: {problem}")]
    #[diagnostic(help("is AWS_ENDPOINT_URL, or a proxy, in the way?"))]
    Answer {
        /// The call.
        action: String,
        /// Where.
        region: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Something did not get ready in time.
    #[error("{what} in {region} is still {state} after {minutes} minutes")]
    #[diagnostic(help("see it in the console of AWS; the next run goes on"))]
    Slow {
        /// The resource.
        what: String,
        /// Where.
        region: String,
        /// Its last state.
        state: String,
        /// How long was waited.
        minutes: u64,
    },
    /// Something ended in a state from which it will not come back.
    #[error("{what} in {region} is {state}{}", reason(.because.as_deref()))]
    #[diagnostic(help("see it in the console of AWS"))]
    Failed {
        /// The resource.
        what: String,
        /// Where.
        region: String,
        /// Its state.
        state: String,
        /// What AWS says about it.
        because: Option<String>,
    },
    /// The caller's own address is not known.
    #[error(
        "cannot find out this machine's own address, to let SSH in from there alone: {problem}"
    )]
    #[diagnostic(help("name it in [builder.ec2]: `ingress = \"203.0.113.7/32\"`"))]
    OwnAddress {
        /// Why not.
        problem: String,
    },
    /// Something that should be there is not.
    #[error("there is no {what} in {region}")]
    #[diagnostic(help("see whether it was removed, or belongs to another account"))]
    Gone {
        /// The resource.
        what: String,
        /// Where.
        region: String,
    },
}

fn reason(because: Option<&str>) -> String {
    because.map_or_else(String::new, |text| format!(": {text}"))
}

/// Names of errors that say: too often. From the SDKs' list of throttling errors (`_retry.json` of botocore) and the EBS direct
/// APIs' own.
const TOO_OFTEN: [&str; 12] = [
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

/// Names of errors that say: not allowed.
const DENIED: [&str; 5] = [
    "UnauthorizedOperation",
    "AccessDenied",
    "AccessDeniedException",
    "Client.UnauthorizedOperation",
    "OptInRequired",
];

fn mend(code: &str, action: &str) -> String {
    match code {
        it if DENIED.contains(&it) => format!(
            "allow {action} to whoever builds; `karat iam-policy TEMPLATE` prints what a template needs, and \
             `aws sts decode-authorization-message` says which rule refused"
        ),
        it if TOO_OFTEN.contains(&it) => {
            "many calls are made in this account; try again later, or with fewer builds at once".to_owned()
        }
        "RequestExpired" | "RequestTimeTooSkewed" => {
            "set the clock of this machine: signatures are good for minutes".to_owned()
        }
        "ExpiredToken" | "ExpiredTokenException" => "the credentials have ended: log in again".to_owned(),
        "AuthFailure"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch" => {
            "these credentials are not valid there: see AWS_PROFILE, the region, and whether it is enabled in the account".to_owned()
        }
        _ => "see this error's name in the documentation of AWS".to_owned(),
    }
}

impl AwsError {
    /// AWS's own name of the error.
    #[must_use]
    pub fn error_code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Whether what was asked about is not there, or not yet: what was just made is not known everywhere at once.
    #[must_use]
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

    /// Whether the principal may not do this.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.error_code().is_some_and(|code| DENIED.contains(&code))
    }

    /// Whether the call was turned away before it was looked at, so that sending it again cannot do anything twice.
    pub(super) fn is_throttled(&self) -> bool {
        match self {
            Self::Refused { code, status, .. } => {
                TOO_OFTEN.contains(&code.as_str()) || *status == 429
            }
            Self::Line { problem, .. } => problem.is_connect(),
            _ => false,
        }
    }

    /// Whether nobody can tell if it was carried out.
    #[must_use]
    pub fn is_uncertain(&self) -> bool {
        self.is_passing() && !self.is_throttled()
    }

    /// Whether it may have been carried out or not, and the same call may succeed now.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Refused { status, .. } => *status >= 500 || self.is_throttled(),
            Self::Line { problem, .. } => !problem.is_builder(),
            _ => false,
        }
    }
}
