//! A thin client of AWS: the few calls that karat needs, typed by hand over one signed request.
//!
//! Credentials, profiles, SSO, web identity and instance roles are `aws-config`'s work, signatures `aws-sigv4`'s. The whole SDK
//! of EC2 would compile for ten minutes; this costs a hundredth of it.

pub(crate) mod autoscaling;
pub(crate) mod caller;
mod credentials;
pub(crate) mod ebs;
pub(crate) mod ec2;
mod endpoint;
mod error;
mod query;
mod request;
mod retry;
pub(crate) mod run_tags;
pub(crate) mod ssm;
pub(crate) mod sts;
mod wait;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use credentials::Settings;
pub use error::AwsError;
pub use wait::{Poll, eventually};

use credentials::Keys;
use endpoint::Endpoints;

/// A principal at AWS, and where its calls go.
#[derive(Clone, Debug)]
pub struct Aws(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    http: reqwest::Client,
    keys: Keys,
    endpoints: Endpoints,
    region: Option<String>,
    calls: AtomicU64,
}

impl Aws {
    /// Whom the environment, the files in `~/.aws` or the machine's own role make it.
    ///
    /// # Errors
    /// The settings cannot be read. Credentials are asked for with the first call.
    pub async fn connect(settings: &Settings) -> Result<Self, AwsError> {
        credentials::connect(settings).await
    }

    /// The region that the environment names.
    #[must_use]
    pub fn own_region(&self) -> Option<&str> {
        self.0.region.as_deref()
    }

    /// Calls in this region.
    #[must_use]
    pub fn region(&self, name: &str) -> Region {
        Region {
            shared: Arc::clone(&self.0),
            name: name.to_owned(),
        }
    }

    /// How many requests were sent until now, with those that were tried again.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::Relaxed)
    }
}

/// One region of AWS.
#[derive(Clone, Debug)]
pub struct Region {
    shared: Arc<Shared>,
    name: String,
}

impl Region {
    /// `eu-central-1`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// What makes a call happen once, however often it is sent: any text that no other call has.
#[must_use]
pub fn token() -> String {
    format!("karat-{:032x}", fastrand::u128(..))
}
