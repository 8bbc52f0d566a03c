//! Parses the data lines of apt's resolve script. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use percent_encoding::percent_decode_str;

use crate::digest::Digest;
use crate::provision::packages::{PackageError, Upstream, to_http};
use crate::record::lock::{InstallReason, LockedArchive, LockedPackage, Removal, Resolution};
use crate::time::Timestamp;

/// A line of apt's simulation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Action {
    Install {
        name: String,
        version: String,
        architecture: String,
    },
    Remove {
        name: String,
        version: String,
    },
}

/// A file that apt would fetch.
struct File {
    url: String,
    size: u64,
    sha256: Digest,
}

/// Parses the data lines of `resolve.sh`.
pub(super) fn read(
    lines: &[String],
    upstreams: &[Upstream],
    install: &[String],
) -> Result<Resolution, PackageError> {
    let after = |word: &'static str| {
        lines
            .iter()
            .filter_map(move |line| line.strip_prefix(word)?.strip_prefix(' '))
    };
    let actions = |word| after(word).map(action).collect::<Result<Vec<_>, _>>();
    let files = after("uri")
        .map(file)
        .collect::<Result<BTreeMap<_, _>, _>>()?;
    let mut packages = Vec::new();
    let mut removals = BTreeSet::new();
    for action in actions("plan")? {
        match action {
            Action::Remove { name, version } => drop(removals.insert(Removal { name, version })),
            Action::Install {
                name,
                version,
                architecture,
            } => {
                let key = (name, version, architecture);
                let file = files
                    .get(&key)
                    .ok_or_else(|| PackageError::NoFile(key.0.clone()))?;
                packages.push(package(key, file, upstreams, install)?);
            }
        }
    }
    let unneeded: BTreeSet<Action> = actions("unneeded")?.into_iter().collect();
    for action in actions("also")? {
        if let (Action::Remove { name, version }, false) = (&action, unneeded.contains(&action)) {
            let (name, version) = (name.clone(), version.clone());
            removals.insert(Removal { name, version });
        }
    }
    let signers = after("signed").filter_map(signed).collect();
    let releases = after("release").map(release).collect::<Result<_, _>>()?;
    Ok(Resolution {
        archives: archives(upstreams, &releases, &signers)?,
        removals: removals.into_iter().collect(),
        packages,
    })
}

/// `Inst NAME [OLD] (VERSION ORIGIN [ARCHITECTURE]) ...`, `Remv NAME [VERSION] ...`, `Purg` alike.
fn action(line: &str) -> Result<Action, PackageError> {
    let odd = || PackageError::Odd(line.to_owned());
    let read = || {
        let (kind, rest) = line.split_once(' ')?;
        let (name, rest) = rest.split_once(' ')?;
        if kind != "Inst" {
            let version = rest.strip_prefix('[')?.split(']').next()?;
            return Some(Action::Remove {
                name: name.to_owned(),
                version: version.to_owned(),
            });
        }
        let (_, rest) = rest.split_once('(')?;
        let (inner, _) = rest.split_once(')')?;
        let version = inner.split(' ').next()?;
        let architecture = inner.rsplit_once('[')?.1.strip_suffix(']')?;
        Some(Action::Install {
            name: name.split(':').next()?.to_owned(),
            version: version.to_owned(),
            architecture: architecture.to_owned(),
        })
    };
    read().ok_or_else(odd)
}

type Key = (String, String, String);

/// `'URL' NAME_VERSION_ARCHITECTURE.deb SIZE SHA256:HEX`
fn file(line: &str) -> Result<(Key, File), PackageError> {
    let odd = || PackageError::Odd(line.to_owned());
    let (url, rest) = line
        .strip_prefix('\'')
        .and_then(|line| line.split_once("' "))
        .ok_or_else(odd)?;
    let mut words = rest.split(' ');
    let name = words
        .next()
        .and_then(|name| name.strip_suffix(".deb"))
        .ok_or_else(odd)?;
    let size = words
        .next()
        .and_then(|size| size.parse().ok())
        .ok_or_else(odd)?;
    let digest = words.next().and_then(|word| word.strip_prefix("SHA256:"));
    let digest = digest.ok_or_else(|| PackageError::NoDigest(name.to_owned()))?;
    // apt percent-encodes the parts, so `_` is always a separator.
    let parts: Vec<String> = name.split('_').map(decode).collect();
    let [name, version, architecture]: [String; 3] = parts.try_into().map_err(|_| odd())?;
    let file = File {
        url: url.to_owned(),
        size,
        sha256: digest.parse().map_err(|_| odd())?,
    };
    Ok(((name, version, architecture), file))
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn package(
    (name, version, architecture): Key,
    file: &File,
    upstreams: &[Upstream],
    install: &[String],
) -> Result<LockedPackage, PackageError> {
    let below = |upstream: &&Upstream| {
        let rest = file.url.strip_prefix(to_http(&upstream.uri).as_str());
        rest.is_some_and(|rest| rest.starts_with('/'))
    };
    let upstream = upstreams
        .iter()
        .filter(below)
        .max_by_key(|upstream| upstream.uri.len());
    let upstream = upstream.ok_or_else(|| PackageError::Elsewhere(file.url.clone()))?;
    let path = decode(file.url[to_http(&upstream.uri).len()..].trim_start_matches('/'));
    // A flat archive has `./` in its paths.
    let path = path.trim_start_matches("./").to_owned();
    let declared = install.iter().any(|word| {
        let word = word.split('=').next().unwrap_or_default();
        word.split(':').next() == Some(&name)
    });
    Ok(LockedPackage {
        name,
        version,
        architecture,
        reason: if declared {
            InstallReason::Declared
        } else {
            InstallReason::Dependency
        },
        archive: upstream.uri.clone(),
        path,
        size: file.size,
        sha256: file.sha256,
    })
}

struct Release {
    digest: Digest,
    date: Timestamp,
}

/// Parses `DIGEST FILE DATE`.
fn release(line: &str) -> Result<(String, Release), PackageError> {
    let odd = || PackageError::Odd(line.to_owned());
    let mut words = line.splitn(3, ' ');
    let digest = words
        .next()
        .and_then(|hex| hex.parse().ok())
        .ok_or_else(odd)?;
    let file = words.next().ok_or_else(odd)?;
    let date = words.next().unwrap_or_default();
    let date =
        Timestamp::from_rfc2822(date).ok_or_else(|| PackageError::NoDate(file.to_owned()))?;
    Ok((file.to_owned(), Release { digest, date }))
}

/// Parses a message of apt's verifier into the verified file and the fingerprints of its signers.
fn signed(message: &str) -> Option<(String, Vec<String>)> {
    let message = decode(message);
    let mut fingerprints = Vec::new();
    let mut file = None;
    let mut field = "";
    for line in message.lines() {
        let value = match line.split_once(": ") {
            Some((name, value)) if !line.starts_with(' ') => {
                field = name;
                value
            }
            _ => line,
        };
        match field {
            "Signed-By" => fingerprints.push(value.trim().to_owned()),
            "Filename" | "URI" => file = file.or(value.rsplit('/').next()),
            _ => {}
        }
    }
    // Fingerprints with `!` are of the signing key, those without of its primary key.
    let exact = fingerprints
        .iter()
        .filter_map(|print| print.strip_suffix('!'));
    let mut exact: Vec<String> = exact.map(str::to_owned).collect();
    if exact.is_empty() {
        exact = fingerprints;
    }
    exact.sort();
    exact.dedup();
    Some((file?.to_owned(), exact))
}

fn archives(
    upstreams: &[Upstream],
    releases: &BTreeMap<String, Release>,
    signers: &BTreeMap<String, Vec<String>>,
) -> Result<Vec<LockedArchive>, PackageError> {
    let mut archives: Vec<LockedArchive> = Vec::new();
    for upstream in upstreams {
        let file = |name: &str| list_file(&upstream.uri, &upstream.suite, name);
        let (inline, detached) = (file("InRelease"), file("Release"));
        let found = releases.get(&inline).or_else(|| releases.get(&detached));
        let Release { digest, date } = found.ok_or_else(|| PackageError::NoRelease {
            uri: upstream.uri.clone(),
            suite: upstream.suite.clone(),
        })?;
        let signatures = [inline, format!("{detached}.gpg"), detached];
        let signed_by = signatures.iter().find_map(|file| signers.get(file));
        let same = archives
            .iter_mut()
            .find(|archive| archive.uri == upstream.uri && archive.suite == upstream.suite);
        if let Some(archive) = same {
            archive
                .components
                .extend(upstream.components.iter().cloned());
            archive.components.sort();
            archive.components.dedup();
            continue;
        }
        archives.push(LockedArchive {
            uri: upstream.uri.clone(),
            suite: upstream.suite.clone(),
            components: upstream.components.clone(),
            in_release: *digest,
            date: *date,
            signed_by: signed_by.cloned().unwrap_or_default(),
        });
    }
    Ok(archives)
}

/// Returns apt's name for an archive's file in its lists directory.
fn list_file(uri: &str, suite: &str, name: &str) -> String {
    let uri = to_http(uri);
    let uri = uri
        .strip_prefix("http://")
        .unwrap_or(&uri)
        .trim_end_matches('/');
    let path = match suite.strip_suffix('/') {
        Some("." | "") => format!("{uri}/./{name}"),
        Some(flat) => format!("{uri}/{flat}/{name}"),
        None => format!("{uri}/dists/{suite}/{name}"),
    };
    let mut file = String::new();
    for c in path.chars() {
        match c {
            '/' => file.push('_'),
            '\\' | '|' | '{' | '}' | '[' | ']' | '<' | '>' | '"' | '^' | '~' | '_' | '=' | '!'
            | '@' | '#' | '$' | '%' | '&' | '*' => {
                // Writing to a String cannot fail.
                let _ = write!(file, "%{:02x}", u32::from(c));
            }
            c => file.push(c),
        }
    }
    file
}

#[cfg(test)]
mod tests;
