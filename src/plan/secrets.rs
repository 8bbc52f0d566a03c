//! Reads the values of a plan's secrets. Only `build` does so, never `validate` or `plan`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;

use secrecy::SecretString;
use thiserror::Error;

use super::SecretSource;
use crate::secret::Secrets;

/// Secrets without a value.
#[derive(Debug, Error, miette::Diagnostic)]
#[error("{}", match reasons.len() {
    1 => format!("the secret {}", reasons[0]),
    _ => format!("these secrets have no value:\n  {}", reasons.join("\n  ")),
})]
#[diagnostic(help(
    "set the environment variables or create the files listed in the template's [secrets]"
))]
pub struct MissingSecrets {
    reasons: Vec<String>,
}

/// Reads every secret and strips one trailing newline. `env` looks up an environment variable.
///
/// # Errors
/// Names all secrets that are not set, empty, unreadable or not UTF-8, but never a value.
pub fn read(
    sources: &BTreeMap<String, SecretSource>,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<Secrets, MissingSecrets> {
    let (mut secrets, mut reasons) = (Secrets::default(), Vec::new());
    for (name, source) in sources {
        match read_one(source, &env) {
            Ok(value) => secrets.insert(name.clone(), SecretString::from(value)),
            Err(reason) => reasons.push(format!("`{name}` {reason}")),
        }
    }
    if reasons.is_empty() {
        Ok(secrets)
    } else {
        Err(MissingSecrets { reasons })
    }
}

fn read_one(
    source: &SecretSource,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<String, String> {
    let (place, bytes) = match source {
        SecretSource::Env(variable) => {
            let value = env(variable).ok_or_else(|| {
                format!("needs the environment variable {variable}, which is not set")
            })?;
            let place = format!("the environment variable {variable}");
            (place, value.into_encoded_bytes())
        }
        SecretSource::File(path) => {
            let place = format!("the file {}", path.display());
            let bytes = fs::read(path).map_err(|error| format!("needs {place}: {error}"))?;
            (place, bytes)
        }
    };
    let mut value = String::from_utf8(bytes).map_err(|_| format!("is not UTF-8 in {place}"))?;
    if value.ends_with('\n') {
        value.pop();
        if value.ends_with('\r') {
            value.pop();
        }
    }
    if value.is_empty() {
        return Err(format!("is empty in {place}"));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lose_one_newline_and_all_missing_ones_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "two\nlines\n\n").unwrap();
        let env = |name: &str| (name == "SET").then(|| OsString::from("value\n"));
        let sources = |pairs: &[(&str, SecretSource)]| {
            let owned = pairs.iter().map(|(n, s)| ((*n).to_owned(), s.clone()));
            owned.collect::<BTreeMap<_, _>>()
        };
        let set = ("a", SecretSource::Env("SET".into()));
        let secrets = read(
            &sources(&[set.clone(), ("b", SecretSource::File(path))]),
            env,
        );
        let secrets = secrets.map_err(|e| e.to_string()).unwrap();
        let values: Vec<_> = secrets.iter().collect();
        assert_eq!(values, [("a", "value"), ("b", "two\nlines\n")]);

        let unset = ("c", SecretSource::Env("UNSET".into()));
        let gone = ("d", SecretSource::File(dir.path().join("gone")));
        let error = read(&sources(&[set, unset, gone]), env)
            .map(|_| ())
            .unwrap_err();
        assert_eq!(error.reasons.len(), 2, "{error}");
        assert!(
            error
                .to_string()
                .contains("`c` needs the environment variable UNSET")
        );
        assert!(!error.to_string().contains("value\n  `a`"));
    }
}
