//! Who calls: the usual places in the usual order, as every AWS tool looks for them.

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

/// Credentials that end within this time are asked for anew: a request is signed, sent and checked in less.
const EARLY: Duration = Duration::from_mins(2);

/// What decides who calls, besides the environment.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// A profile of `~/.aws/config`.
    pub profile: Option<String>,
    /// Wins over the environment's.
    pub region: Option<String>,
}

/// Credentials that are asked for when they are needed, and kept while they are good.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) provider: Option<SharedCredentialsProvider>,
    pub(super) known: Mutex<Option<Credentials>>,
}

impl Keys {
    /// Credentials that are good for a while.
    pub(super) async fn get(&self) -> Result<Credentials, AwsError> {
        let mut known = self.known.lock().await;
        let soon = SystemTime::now() + EARLY;
        if let Some(good) = &*known
            && good.expiry().is_none_or(|end| end > soon)
        {
            return Ok(good.clone());
        }
        let provider = self.provider.as_ref().ok_or(AwsError::NoProvider)?;
        let fresh = provider.provide_credentials().await;
        let fresh = fresh.map_err(|error| AwsError::Credentials(Box::new(error)))?;
        *known = Some(fresh.clone());
        Ok(fresh)
    }
}

pub(super) async fn connect(settings: &Settings) -> Result<Aws, AwsError> {
    let http = request::client()?;
    // With ring, which the rest of karat uses too, and the system's certificates.
    let own = Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(own);
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
            known: Mutex::new(None),
        },
        endpoints: Endpoints::of(&config),
        region: config.region().map(ToString::to_string),
        calls: AtomicU64::new(0),
    })))
}
