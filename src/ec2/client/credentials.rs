//! Credentials, from the places and in the order that all AWS tools use.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use tokio::sync::Mutex;

use super::endpoint::Endpoints;
use super::{Aws, AwsError, Shared, request};

/// Remaining lifetime below which credentials are renewed: a request is signed, sent and checked in less.
const MIN_LIFETIME: Duration = Duration::from_mins(2);

/// Profile and region that override the environment.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Name of a profile in `~/.aws/config`.
    pub profile: Option<String>,
    pub region: Option<String>,
}

/// Credentials, loaded on first use and cached until they expire.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) provider: Option<SharedCredentialsProvider>,
    pub(super) cached: Mutex<Option<Credentials>>,
}

impl Keys {
    /// Returns credentials that stay valid for at least [`MIN_LIFETIME`].
    pub(super) async fn get(&self) -> Result<Credentials, AwsError> {
        let mut cached = self.cached.lock().await;
        let soon = SystemTime::now() + MIN_LIFETIME;
        if let Some(valid) = &*cached
            && valid.expiry().is_none_or(|end| end > soon)
        {
            return Ok(valid.clone());
        }
        let provider = self.provider.as_ref().ok_or(AwsError::NoProvider)?;
        let fresh = provider
            .provide_credentials()
            .await
            .map_err(|error| AwsError::Credentials(Box::new(error)))?;
        *cached = Some(fresh.clone());
        Ok(fresh)
    }
}

pub(super) async fn connect(settings: &Settings) -> Result<Aws, AwsError> {
    let http = request::client()?;
    // With ring, which the rest of karat uses too, and the system's certificates.
    let client = Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(client);
    if let Some(profile) = &settings.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = &settings.region {
        loader = loader.region(Region::new(region.clone()));
    }
    let config = loader.load().await;
    Ok(Aws(Arc::new(Shared {
        http,
        keys: Keys {
            provider: config.credentials_provider(),
            cached: Mutex::new(None),
        },
        endpoints: Endpoints::from_config(&config),
        region: config.region().map(ToString::to_string),
        calls: AtomicU64::new(0),
    })))
}
