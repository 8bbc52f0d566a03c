//! Thin client of AWS: the few calls that karat needs, typed by hand over one signed request.
//!
//! Calls are functions, grouped by resource: `images::list(region, …)` is in `ec2/images.rs`. `aws-config` provides credentials
//! (profiles, SSO, web identity, instance roles) and `aws-sigv4` signatures. The SDK of EC2 would take ten minutes to compile;
//! this client takes a hundredth of that.

pub(crate) mod autoscaling;
mod credentials;
pub(crate) mod ebs;
pub(crate) mod ec2;
mod endpoint;
mod error;
pub(crate) mod own_address;
pub(crate) mod parameters;
mod query;
mod request;
mod retry;
pub(crate) mod run_tags;
pub(crate) mod sts;
pub(crate) mod sweep;
mod wait;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use credentials::Settings;
pub(super) use endpoint::partition;
pub use error::AwsError;
pub use wait::{Poll, eventually};

use credentials::Keys;
use endpoint::Endpoints;

/// Principal at AWS, with the endpoints of its calls.
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
    /// Reads the settings; credentials are loaded by the first call.
    pub async fn connect(settings: &Settings) -> Result<Self, AwsError> {
        credentials::connect(settings).await
    }

    /// Returns the region that the environment names.
    pub fn own_region(&self) -> Option<&str> {
        self.0.region.as_deref()
    }

    pub fn region(&self, name: &str) -> Region {
        Region {
            shared: Arc::clone(&self.0),
            name: name.to_owned(),
        }
    }

    /// Returns the number of requests sent so far, including retries.
    pub fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::Relaxed)
    }
}

/// Region of AWS, for calls in it.
#[derive(Clone, Debug)]
pub struct Region {
    shared: Arc<Shared>,
    name: String,
}

impl Region {
    /// Returns its code, such as `eu-central-1`.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Returns a unique client token: AWS carries calls with the same token out once.
pub fn token() -> String {
    format!("karat-{:032x}", fastrand::u128(..))
}
