//! Forwarding the audit log to a syslog server, for every verb that changes the store.

use std::path::PathBuf;

use clap::Args;
use miette::Diagnostic;
use thiserror::Error;

use super::store_args::StoreArgs;
use crate::cli::shared::syslog::{Message, Server, SyslogError};
use crate::store::StoreError;

/// Lines that are sent over one connection at most: so many are in memory at once.
const AT_ONCE: usize = 1000;

/// Where the audit log is forwarded to.
#[derive(Clone, Debug, Args)]
pub struct ForwardArgs {
    /// Send every line of the audit log to this syslog server over TLS (RFC 5424), once; those that it did not get before come first
    #[arg(
        long,
        global = true,
        value_name = "HOST:PORT",
        env = "KARAT_AUDIT_SYSLOG",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub audit_syslog: Option<String>,

    /// Believe the certificates in this file, in PEM form, instead of the system's
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "KARAT_AUDIT_SYSLOG_CA",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub audit_syslog_ca: Option<PathBuf>,
}

/// Why lines were not forwarded.
#[derive(Debug, Error, Diagnostic)]
pub enum ForwardError {
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// The server.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Syslog(#[from] SyslogError),
}

impl ForwardArgs {
    /// The server, if one was named.
    ///
    /// # Errors
    /// What was named is none.
    pub fn server(&self) -> Result<Option<Server>, SyslogError> {
        let named = self.audit_syslog.as_deref().filter(|it| !it.is_empty());
        named
            .map(|text| Server::parse(text, self.audit_syslog_ca.as_deref()))
            .transpose()
    }
}

/// Sends what the server did not get yet.
///
/// # Errors
/// The log cannot be read, or the server does not take it: then it is sent the next time.
pub async fn run(store: &StoreArgs, server: &Server) -> Result<(), ForwardError> {
    let store = store.open()?;
    let log = store.audit()?;
    let name = server.name();
    let sent = store.forwarded()?.get(&name).copied().unwrap_or(0);
    let sent = usize::try_from(sent).unwrap_or(usize::MAX);
    // A log that is shorter than what was sent is another one.
    let sent = if sent > log.lines.len() { 0 } else { sent };
    for lines in log.lines[sent..].chunks(AT_ONCE) {
        let mut texts = Vec::new();
        for (line, _) in lines {
            let bytes = line.to_bytes().map_err(StoreError::from)?;
            texts.push(String::from_utf8_lossy(&bytes).into_owned());
        }
        let messages = lines.iter().zip(&texts).map(|((line, _), text)| Message {
            at: line.at,
            host: &line.host,
            kind: line.event.name(),
            text,
        });
        server.send(&messages.collect::<Vec<_>>()).await?;
        if let Some((last, _)) = lines.last() {
            store.begin().await?.keep_forwarded(&name, last.number)?;
        }
    }
    Ok(())
}
