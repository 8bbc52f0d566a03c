//! The last thing that runs in a guest.

use super::{GuestError, said};
use crate::machine::{Death, MachineError};
use crate::ssh::{Session, quote};

const SCRIPT: &str = include_str!("cleanup.sh");

/// Removes the way in and what a machine writes about itself, with a script `first` and one as the `last` thing. After this,
/// nobody can log in anew.
///
/// `authorized` is the line of `authorized_keys` that goes.
///
/// # Errors
/// The script failed, the line dropped, or the guest died.
pub(crate) async fn clean_up(
    session: &Session,
    mut death: Death,
    authorized: Option<&str>,
    first: &str,
    last: &str,
) -> Result<(), MachineError> {
    // The second word of the line is the key itself; a comment may have been written differently.
    let key = authorized.and_then(|line| line.split_whitespace().nth(1));
    let command = format!(
        "sh -c \"$(cat)\" karat-clean-up {}",
        quote(key.unwrap_or("no key of the build"))
    );
    let script = format!("{first}\n{SCRIPT}\n{last}");
    let mut line = String::new();
    let mut keep = |text: &str| text.clone_into(&mut line);
    let exit = tokio::select! {
        biased;
        report = death.wait() => return Err(MachineError::Died(report)),
        exit = session.exec(&command, script.as_bytes(), &mut keep) => exit?,
    };
    if exit.code == Some(0) {
        return Ok(());
    }
    let problem = format!("the script {exit}{}", said(&line));
    Err(GuestError::CleanUp { problem }.into())
}
