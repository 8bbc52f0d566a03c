//! Clean-up of a guest before its disk becomes an image.

use super::GuestError;
use crate::machine::{Death, MachineError};
use crate::os::tail::said;
use crate::ssh::{Session, quote};

const SCRIPT: &str = include_str!("cleanup.sh");

/// Removes the line of `authorized_keys` that let karat in and what a machine writes about itself, running the script `first`
/// before and `last` after that. From then on, new logins fail.
pub(super) async fn clean_up(
    session: &Session,
    death: Death,
    authorized: Option<&str>,
    first: &str,
    last: &str,
) -> Result<(), MachineError> {
    // The second word of the line is the key itself; the guest may have written the comment differently.
    let key = authorized.and_then(|line| line.split_whitespace().nth(1));
    let command = format!(
        "sh -c \"$(cat)\" karat-clean-up {}",
        quote(key.unwrap_or("no key of the build"))
    );
    let script = format!("{first}\n{SCRIPT}\n{last}");
    let mut line = String::new();
    let mut keep = |text: &str| text.clone_into(&mut line);
    let run = async {
        Ok::<_, MachineError>(session.exec(&command, script.as_bytes(), &mut keep).await?)
    };
    let exit = death.or(run).await?;
    if exit.code == Some(0) {
        return Ok(());
    }
    let problem = format!("the script {exit}{}", said(&line));
    Err(GuestError::CleanUp { problem }.into())
}
