//! Client authentication with a key file or the agent.

use std::path::Path;
use std::sync::Arc;

use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::ssh_key::PrivateKey;
use russh::keys::{HashAlg, PrivateKeyWithHashAlg, PublicKey};
use russh::{MethodKind, MethodSet};

use super::connect::Client;
use super::host_key::describe;
use super::{Auth, SshError, Target};

/// The private key, read once before the first try.
#[derive(Clone)]
pub(super) enum Credentials {
    Key(Arc<PrivateKey>),
    Agent,
}

impl Credentials {
    pub(super) fn read(auth: &Auth) -> Result<Self, SshError> {
        match auth {
            Auth::KeyFile(path) => read_key(path).map(|key| Self::Key(Arc::new(key))),
            Auth::Agent => Ok(Self::Agent),
        }
    }
}

fn read_key(path: &Path) -> Result<PrivateKey, SshError> {
    let bytes = std::fs::read(path).map_err(|source| SshError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    russh::keys::decode_secret_key(&String::from_utf8_lossy(&bytes), None).map_err(|source| {
        SshError::BadKeyFile {
            path: path.to_owned(),
            source: Box::new(source),
        }
    })
}

/// Authenticates; a rejection names the keys that were tried and the methods that the server accepts.
pub(super) async fn log_in(
    handle: &mut Handle<Client>,
    target: &Target,
    credentials: &Credentials,
) -> Result<(), SshError> {
    // Method `none` makes the server list its methods, for one round trip.
    let offered = match handle
        .authenticate_none(&target.user)
        .await
        .map_err(lost(target))?
    {
        AuthResult::Success => return Ok(()),
        AuthResult::Failure {
            remaining_methods, ..
        } => remaining_methods,
    };
    if offered.is_empty() && handle.is_closed() {
        return Err(lost(target)(russh::Error::Disconnect));
    }
    if !offered.contains(&MethodKind::PublicKey) {
        return Err(refused(target, "a public key".to_owned(), &offered));
    }
    match credentials {
        Credentials::Key(key) => with_key(handle, target, key).await,
        Credentials::Agent => with_agent(handle, target, &offered).await,
    }
}

async fn with_key(
    handle: &mut Handle<Client>,
    target: &Target,
    key: &Arc<PrivateKey>,
) -> Result<(), SshError> {
    let hash = rsa_hash(handle, key.public_key())
        .await
        .map_err(lost(target))?;
    let with_hash = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
    let result = handle
        .authenticate_publickey(&target.user, with_hash)
        .await
        .map_err(lost(target))?;
    accepted(handle, target, result, || {
        let file = match &target.auth {
            Auth::KeyFile(path) => path.display().to_string(),
            Auth::Agent => "the agent".to_owned(),
        };
        format!("{file} ({})", describe(key.public_key()))
    })
}

async fn with_agent(
    handle: &mut Handle<Client>,
    target: &Target,
    offered: &MethodSet,
) -> Result<(), SshError> {
    let mut agent = AgentClient::connect_env().await.map_err(agent_error)?;
    let identities = agent.request_identities().await.map_err(agent_error)?;
    if identities.is_empty() {
        return Err(agent_error("it holds no keys"));
    }
    let mut tried = Vec::new();
    for identity in &identities {
        let AgentIdentity::PublicKey { key, .. } = identity else {
            continue;
        };
        let hash = rsa_hash(handle, key).await.map_err(lost(target))?;
        tried.push(describe(key));
        let result = handle
            .authenticate_publickey_with(&target.user, key.clone(), hash, &mut agent)
            .await;
        match result {
            Ok(AuthResult::Success) => return Ok(()),
            // The server hangs up after its `MaxAuthTries`.
            _ if handle.is_closed() => break,
            Ok(AuthResult::Failure { .. }) => {}
            Err(error) => return Err(agent_error(error)),
        }
    }
    match tried.as_slice() {
        [] => Err(agent_error("it holds only certificates, no plain keys")),
        keys => Err(refused(
            target,
            format!("the agent's {}", keys.join(", ")),
            offered,
        )),
    }
}

/// Picks SHA-2 for RSA keys where the server supports it.
async fn rsa_hash(
    handle: &Handle<Client>,
    key: &PublicKey,
) -> Result<Option<HashAlg>, russh::Error> {
    if !key.algorithm().is_rsa() {
        return Ok(None);
    }
    Ok(handle
        .best_supported_rsa_hash()
        .await?
        .unwrap_or(Some(HashAlg::Sha256)))
}

fn accepted(
    handle: &Handle<Client>,
    target: &Target,
    result: AuthResult,
    tried: impl FnOnce() -> String,
) -> Result<(), SshError> {
    match result {
        AuthResult::Success => Ok(()),
        AuthResult::Failure {
            remaining_methods, ..
        } if remaining_methods.is_empty() && handle.is_closed() => {
            Err(lost(target)(russh::Error::Disconnect))
        }
        AuthResult::Failure {
            remaining_methods, ..
        } => Err(refused(target, tried(), &remaining_methods)),
    }
}

fn refused(target: &Target, tried: String, offered: &MethodSet) -> SshError {
    let names: Vec<&str> = offered.iter().map(<&str>::from).collect();
    SshError::Refused {
        address: target.place(),
        user: target.user.clone(),
        tried,
        offered: if names.is_empty() {
            "nothing".to_owned()
        } else {
            names.join(", ")
        },
    }
}

/// Returns the error of a handshake that broke off.
pub(super) fn lost(target: &Target) -> impl Fn(russh::Error) -> SshError {
    let address = target.place();
    move |source| SshError::Handshake {
        address: address.clone(),
        source: Box::new(source),
    }
}

fn agent_error(problem: impl Into<Box<dyn std::error::Error>>) -> SshError {
    SshError::Agent {
        problem: problem.into().to_string(),
    }
}
