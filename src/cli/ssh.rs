//! `karat ssh`

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use clap::Args;
use miette::Diagnostic;
use thiserror::Error;

use super::{CommandError, ExitStatus};
use crate::fetch::Cache;
use crate::os::requirement::install_advice;
use crate::os::run_dir::{self, RunDir};
use crate::ssh::ClientConfig;

/// Log in to a guest that a running karat keeps, or run a command in it
///
/// Finds the guests of `karat build --on-error keep` and of `karat run` in the cache. Runs OpenSSH's client with the key of the
/// guest, and accepts no other host key than the guest's. The exit code is that of `ssh`: the command's, or 255 if the
/// connection failed.
#[derive(Clone, Debug, Args)]
pub(crate) struct SshArgs {
    /// Id of the guest, or name of its image; may be omitted if there is only one
    guest: Option<String>,

    /// Command to run in the guest; its words are joined with spaces and read by the guest's shell
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Debug, Error, Diagnostic)]
enum GuestError {
    #[error("no guest to log in to")]
    #[diagnostic(help(
        "`karat build --on-error keep` keeps the guest of a failed build, `karat run IMAGE` boots an image"
    ))]
    None,
    #[error("no guest `{0}` to log in to; there are\n{1}")]
    #[diagnostic(help("give one of these ids, or a name that only one has"))]
    Unknown(String, String),
    #[error("several guests to log in to:\n{0}")]
    #[diagnostic(help("give the id of one: `karat ssh ID`"))]
    Several(String),
    #[error("cannot start `ssh`")]
    #[diagnostic(help("{}", install_advice(&["ssh"])))]
    Client(#[source] io::Error),
}

impl ExitStatus for GuestError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::None | Self::Client(_) => 1,
            Self::Unknown(..) | Self::Several(_) => 2,
        }
    }
}

/// A guest whose karat is running.
#[derive(Clone, PartialEq, Eq, Debug)]
struct KeptGuest {
    id: String,
    config: ClientConfig,
}

/// Becomes `ssh`. Returns only if that fails.
pub(crate) fn run(args: &SshArgs) -> Result<(), CommandError> {
    let runs = Cache::of_user()?.runs();
    let guests = kept_guests(&runs)
        .map_err(|error| CommandError::io("cannot list the run directories", &error))?;
    let guest = choose(guests, args.guest.as_deref())?;
    let failure = guest.config.command().args(&args.command).exec();
    Err(GuestError::Client(failure).into())
}

/// Lists the guests below `runs` that can be logged in to, sorted by id.
fn kept_guests(runs: &Path) -> io::Result<Vec<KeptGuest>> {
    let mut guests = Vec::new();
    for path in RunDir::live(runs)? {
        if let Some(config) = ClientConfig::read(&path)? {
            let id = run_dir::id_of(&path);
            guests.push(KeptGuest { id, config });
        }
    }
    guests.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(guests)
}

/// Chooses the guest with this id or image name; without one, the only guest.
fn choose(guests: Vec<KeptGuest>, wanted: Option<&str>) -> Result<KeptGuest, GuestError> {
    if guests.is_empty() {
        return Err(GuestError::None);
    }
    let all = list(&guests);
    let is_wanted = |guest: &KeptGuest| {
        wanted.is_none_or(|wanted| guest.id == wanted || guest.config.host() == wanted)
    };
    let mut matches = guests.into_iter().filter(is_wanted);
    match (matches.next(), matches.next(), wanted) {
        (Some(guest), None, _) => Ok(guest),
        (None, _, Some(wanted)) => Err(GuestError::Unknown(wanted.to_owned(), all)),
        _ => Err(GuestError::Several(all)),
    }
}

fn list(guests: &[KeptGuest]) -> String {
    let mut text = String::new();
    for KeptGuest { id, config } in guests {
        let end = if text.is_empty() { "" } else { "\n" };
        // Writing to a String cannot fail.
        let _ = write!(text, "{end}  {id}  {}", config.host());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::HostKey;
    use crate::ssh::{Auth, Target};

    #[test]
    fn a_guest_is_named_by_its_id_or_image_unless_it_is_the_only_one() {
        let scratch = tempfile::tempdir().unwrap();
        let target = Target {
            address: "127.0.0.1".into(),
            port: 22,
            user: "root".into(),
            auth: Auth::Agent,
            host_key: HostKey::Key("ssh-ed25519 AAAA".into()),
            jump: None,
            proxy: None,
        };
        let guest = |id: &str, host: &str| KeptGuest {
            id: id.to_owned(),
            config: ClientConfig::write(&target, host, scratch.path()).unwrap(),
        };
        let (a, b, c) = (guest("a", "web"), guest("b", "web"), guest("c", "db"));
        let three = || vec![a.clone(), b.clone(), c.clone()];
        for (guests, wanted, expected) in [
            (vec![a.clone()], None, Ok("a")),
            (vec![], None, Err("no guest to log in to")),
            (vec![], Some("web"), Err("no guest to log in to")),
            (three(), Some("b"), Ok("b")),
            (three(), Some("db"), Ok("c")),
            (three(), Some("web"), Err("several guests")),
            (three(), None, Err("  a  web\n  b  web\n  c  db")),
            (vec![a.clone()], Some("d"), Err("no guest `d`")),
        ] {
            match (choose(guests, wanted), expected) {
                (Ok(guest), Ok(id)) => assert_eq!(guest.id, id),
                (Err(error), Err(text)) => {
                    assert!(error.to_string().contains(text), "{error}");
                }
                (chosen, expected) => panic!("{chosen:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn only_guests_of_a_running_karat_are_found() {
        let scratch = tempfile::tempdir().unwrap();
        let run = RunDir::create(scratch.path()).unwrap();
        assert!(
            kept_guests(scratch.path()).unwrap().is_empty(),
            "no login yet"
        );
        std::fs::write(run.path().join("ssh_config"), "Host web\n").unwrap();
        let dead = scratch.path().join("dead");
        std::fs::create_dir(&dead).unwrap();
        std::fs::write(dead.join("ssh_config"), "Host web\n").unwrap();
        std::fs::write(scratch.path().join("dead.lock"), "").unwrap();
        let guests = kept_guests(scratch.path()).unwrap();
        let ids: Vec<_> = guests.iter().map(|guest| guest.id.clone()).collect();
        assert_eq!(ids, [run.id()]);
    }
}
