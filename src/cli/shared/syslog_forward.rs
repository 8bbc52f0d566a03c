//! Forwards the audit log to a syslog server after every verb that may change the store.

use std::path::PathBuf;

use clap::Args;

use super::store_args::StoreArgs;
use crate::cli::CommandError;
use crate::cli::main::GLOBAL;
use crate::cli::shared::syslog::{Message, Server, SyslogError};
use crate::os::environment;
use crate::store::StoreError;

/// Number of lines that are sent over one connection, and held in memory at a time.
const BATCH_LINES: usize = 1000;

/// The syslog server to forward the audit log to.
#[derive(Clone, Debug, Args)]
pub(crate) struct ForwardArgs {
    /// Forward new lines of the audit log to this syslog server over TLS (RFC 5424), oldest first and each once
    #[arg(
        long,
        global = true,
        help_heading = GLOBAL,
        value_name = "HOST:PORT",
        env = environment::AUDIT_SYSLOG.name,
        hide_env_values = true,
        hide_short_help = true
    )]
    audit_syslog: Option<String>,

    /// Trust the CA certificates in this PEM file for the syslog server, instead of the system's
    #[arg(
        long,
        global = true,
        help_heading = GLOBAL,
        value_name = "FILE",
        env = environment::AUDIT_SYSLOG_CA.name,
        hide_env_values = true,
        hide_short_help = true
    )]
    audit_syslog_ca: Option<PathBuf>,
}

impl ForwardArgs {
    /// Returns the server, if one was named.
    pub(crate) fn server(&self) -> Result<Option<Server>, SyslogError> {
        let text = self.audit_syslog.as_deref().filter(|text| !text.is_empty());
        text.map(|text| Server::parse(text, self.audit_syslog_ca.as_deref()))
            .transpose()
    }
}

/// Sends the lines that the server has not received yet. Lines that cannot be sent are left for the next run.
pub(crate) async fn run(store: &StoreArgs, server: &Server) -> Result<(), CommandError> {
    let store = store.open()?;
    let log = store.audit()?;
    let name = server.name();
    let sent = store.forwarded()?.get(&name).copied().unwrap_or(0);
    let sent = usize::try_from(sent).unwrap_or(usize::MAX);
    // A log that is shorter than the number of lines sent is a new one.
    let unsent = log.lines.get(sent..).unwrap_or(&log.lines);
    for lines in unsent.chunks(BATCH_LINES) {
        let mut texts = Vec::new();
        for (line, _) in lines {
            let bytes = line.to_bytes().map_err(StoreError::from)?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            texts.push((line.event.to_string(), text));
        }
        let messages = lines.iter().zip(&texts);
        let messages = messages.map(|((line, _), (kind, text))| Message {
            at: line.at,
            host: &line.host,
            kind,
            text,
        });
        server.send(&messages.collect::<Vec<_>>()).await?;
        if let Some((last, _)) = lines.last() {
            store.begin().await?.keep_forwarded(&name, last.number)?;
        }
    }
    Ok(())
}
