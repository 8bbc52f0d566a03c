//! Signing key, trusted keys and vulnerability database.

use std::path::PathBuf;

use miette::Diagnostic as _;

use super::{Check, DoctorArgs, State};
use crate::scan::vulnerability::{Database, DbError};
use crate::sign::{MANIFEST, Signer, Standing, fingerprint};
use crate::time::Timestamp;

/// Age from which a database lacks too much: distributions publish advisories every day.
const MAX_DATABASE_DAYS: i64 = 7;
const SECONDS_PER_DAY: i64 = 24 * 60 * 60;

pub(super) fn check(args: &DoctorArgs) -> Vec<Check> {
    let (key, signer) = key(args);
    vec![key, trust(args, signer.as_ref()), database(args)]
}

fn key(args: &DoctorArgs) -> (Check, Option<Signer>) {
    const NAME: &str = "signing key";
    match args.key.signer() {
        Ok(Some(signer)) => {
            let text = fingerprint(signer.public());
            (Check::ok(NAME, text), Some(signer))
        }
        Ok(None) => {
            let text = "none; builds do not sign images, and channels accept signed images only";
            let help = "run `karat keys generate`";
            (Check::problem(State::Warning, NAME, text, help), None)
        }
        // A build ends with this error, too.
        Err(error) => (Check::error(State::Failed, NAME, &error), None),
    }
}

fn trust(args: &DoctorArgs, signer: Option<&Signer>) -> Check {
    const NAME: &str = "trusted keys";
    let help = || {
        let trust = format!("`karat keys trust NAME {}`", public_key(args).display());
        match signer {
            Some(_) => format!("run {trust}"),
            // It trusts the first key, in the user's own file.
            None if args.trust.trust.is_none() => "run `karat keys generate`".to_owned(),
            None => format!("run `karat keys generate`, then {trust}"),
        }
    };
    let path = match args.trust.path() {
        Ok(path) => path,
        Err(error) => return Check::error(State::Warning, NAME, &error),
    };
    if !path.exists() {
        let text = format!("{} does not exist; no signature counts", path.display());
        return Check::problem(State::Warning, NAME, text, help());
    }
    let trust = match args.trust.read_from(&path) {
        Ok(trust) => trust,
        Err(error) => return Check::error(State::Warning, NAME, &error),
    };
    let count = trust.entries.len();
    let Some(signer) = signer else {
        return Check::ok(NAME, format!("{count} in {}", path.display()));
    };
    let standing = trust.standing(signer.public(), MANIFEST, Timestamp::now());
    if let Standing::Trusted(names) = standing {
        let names = names.join(", ");
        return Check::ok(NAME, format!("{count}; this machine signs as {names}"));
    }
    let text = format!("{count}, but not the signing key of this machine");
    Check::problem(State::Warning, NAME, text, help())
}

/// Returns the path of the public key. The key of an SSH agent is named by that path already.
fn public_key(args: &DoctorArgs) -> PathBuf {
    let key = args.key.path().unwrap_or_else(|_| "KEY".into());
    if key.extension().is_some_and(|extension| extension == "pub") {
        key
    } else {
        key.with_added_extension("pub")
    }
}

fn database(args: &DoctorArgs) -> Check {
    const NAME: &str = "vulnerability database";
    let opened = args.database.path().and_then(|path| Database::open(&path));
    let database = match opened {
        Ok(database) => database,
        Err(error @ (DbError::Missing { .. } | DbError::NoPlace)) => {
            let text = format!("{error}; builds do not check for vulnerabilities");
            let help = error.help().map(|help| help.to_string());
            return Check::problem(State::Warning, NAME, text, help.unwrap_or_default());
        }
        Err(error) => return Check::error(State::Failed, NAME, &error),
    };
    let date = database.head().date;
    let days = (Timestamp::now().seconds() - date.seconds()) / SECONDS_PER_DAY;
    let text = format!("{} records, the newest of {date}", database.head().records);
    if days < MAX_DATABASE_DAYS {
        return Check::ok(NAME, text);
    }
    let text = format!("{text}, {days} days ago");
    Check::problem(State::Warning, NAME, text, "run `karat db update`")
}
