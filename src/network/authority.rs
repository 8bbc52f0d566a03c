//! An in-memory certificate authority for one build, so that the proxy can serve HTTPS requests for any host.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// An authority whose key never leaves this process.
pub(super) struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
    hosts: Mutex<HashMap<String, Arc<ServerConfig>>>,
}

/// An error while creating a certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum AuthorityError {
    /// The host name is not valid in a certificate.
    #[error(transparent)]
    Certificate(#[from] rcgen::Error),
    /// rustls rejected the certificate.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

impl Authority {
    /// Creates an authority. Its certificates are valid for centuries, because a guest's clock may be wrong. The authority itself
    /// ends with the build.
    pub fn new() -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::default();
        parameters
            .distinguished_name
            .push(DnType::CommonName, "karat build");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = parameters.self_signed(&key)?.pem();
        Ok(Self {
            certificate,
            issuer: Issuer::new(parameters, key),
            hosts: Mutex::default(),
        })
    }

    /// Returns the PEM certificate for programs that must trust the authority.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Returns the TLS configuration for a host name or address.
    pub fn server_config(&self, host: &str) -> Result<Arc<ServerConfig>, AuthorityError> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = hosts.get(host) {
            return Ok(Arc::clone(known));
        }
        let config = Arc::new(self.new_config(host)?);
        hosts.insert(host.to_owned(), Arc::clone(&config));
        Ok(config)
    }

    fn new_config(&self, host: &str) -> Result<ServerConfig, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::new([host.to_owned()])?;
        parameters
            .distinguished_name
            .push(DnType::CommonName, "karat proxy");
        parameters.use_authority_key_identifier_extension = true;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = parameters.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}
