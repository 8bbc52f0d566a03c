//! dnf 4 of Fedora, RHEL and their derivatives. Its scripts are Python and run in dnf's own interpreter, because only dnf's
//! API gives a machine-readable answer.

use std::time::{Duration, SystemTime};

use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::json;

use super::{
    DeclaredPackages, InstalledPackage, PackageError, PackageManager, PinnedVersion, Repository,
    Resolution, Script, Sources, Upstream, to_http,
};
use crate::digest::Digest;
use crate::provision::ProvisionError;
use crate::provision::remote::{DATA, Ended};
use crate::record::lock::{InstallReason, Lock, LockedArchive, LockedPackage, Removal};

const SURVEY: &str = concat!(
    "absent=0\n",
    include_str!("run.sh"),
    "\"$python\" - <<'KARAT'\n",
    include_str!("shared.py"),
    include_str!("survey.py"),
    "KARAT\n"
);
const RUN: &str = include_str!("run.sh");
const SHARED: &str = include_str!("shared.py");
const RESOLVE: &str = include_str!("resolve.py");
const INSTALL: &str = include_str!("install.py");

/// Package manager of RPM distributions.
pub(super) struct Dnf;

/// A repository configured in the machine.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Configured {
    name: String,
    uris: Vec<String>,
    /// URL of a mirror list, from which the host cannot choose as dnf does.
    mirrors: String,
    /// True if the signature of its index is checked.
    signed: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    uri: String,
    in_release: Digest,
    date: u64,
    signed_by: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Coming {
    name: String,
    version: String,
    architecture: String,
    declared: bool,
    archive: String,
    path: String,
    size: u64,
    algorithm: String,
    digest: String,
}

impl PackageManager for Dnf {
    fn survey(&self) -> &'static str {
        SURVEY
    }

    fn sources(
        &self,
        survey: &str,
        declared: &DeclaredPackages,
        _: &str,
    ) -> Result<Sources, PackageError> {
        if let Some(said) = survey.lines().find_map(|line| line.strip_prefix("karat: ")) {
            return Err(PackageError::NoManager(said.to_owned()));
        }
        let lines: Vec<String> = survey
            .lines()
            .filter_map(|line| line.strip_prefix(DATA).map(str::to_owned))
            .collect();
        let own = &declared.repositories;
        let mut upstreams = Vec::new();
        for configured in parse_lines::<Configured>(&lines, "repository")? {
            // A repository of the template with the same name replaces it.
            if !own.iter().any(|own| own.name == configured.name) {
                upstreams.push(configured_upstream(&configured)?);
            }
        }
        upstreams.extend(own.iter().map(|own| upstream_at(&own.uri)));
        let files = own
            .iter()
            .filter_map(|own| Some((own.key_file()?, own.key.clone()?)));
        Ok(Sources {
            upstreams,
            files: files.collect(),
        })
    }

    fn resolve(&self, declared: &DeclaredPackages, pins: &[PinnedVersion], proxy: &str) -> Script {
        let repository = |own: &Repository| {
            let (name, uri) = (&own.name, &own.uri);
            json!({ "name": name, "uri": uri.trim_end_matches('/'), "key": own.key_file() })
        };
        let pin = |pin: &PinnedVersion| json!({ "name": pin.name, "version": pin.version });
        let asked = json!({
            "proxy": proxy,
            "install": declared.install,
            "remove": declared.remove,
            "recommends": declared.recommends,
            "repositories": declared.repositories.iter().map(repository).collect::<Vec<_>>(),
            "pins": pins.iter().map(pin).collect::<Vec<_>>(),
        });
        script(
            "mkdir -m 755 \"$KARAT_DIRECTORY\"",
            "unpack",
            RESOLVE,
            &asked,
        )
    }

    fn resolution(
        &self,
        data: &[String],
        sources: &Sources,
        _: &DeclaredPackages,
    ) -> Result<Resolution, PackageError> {
        let known = |uri: &str| sources.upstreams.iter().any(|upstream| upstream.uri == uri);
        let archive = |index: Index| LockedArchive {
            uri: index.uri,
            suite: String::new(),
            components: Vec::new(),
            in_release: index.in_release,
            date: (SystemTime::UNIX_EPOCH + Duration::from_secs(index.date)).into(),
            signed_by: index.signed_by,
        };
        let package = |coming: Coming| {
            if !known(&coming.archive) {
                return Err(PackageError::Elsewhere(coming.name));
            }
            if coming
                .path
                .split('/')
                .any(|part| matches!(part, "" | "." | ".."))
            {
                return Err(PackageError::Odd(coming.path));
            }
            let sha256 = coming.digest.parse().ok();
            let sha256 = sha256.filter(|_| coming.algorithm == "sha256");
            Ok(LockedPackage {
                sha256: sha256.ok_or_else(|| PackageError::NoDigest(coming.name.clone()))?,
                name: coming.name,
                version: coming.version,
                architecture: coming.architecture,
                reason: if coming.declared {
                    InstallReason::Declared
                } else {
                    InstallReason::Dependency
                },
                archive: coming.archive,
                path: coming.path,
                size: coming.size,
            })
        };
        Ok(Resolution {
            archives: parse_lines(data, "archive")?
                .into_iter()
                .map(archive)
                .collect(),
            removals: parse_lines::<Removal>(data, "removal")?,
            packages: parse_lines(data, "package")?
                .into_iter()
                .map(package)
                .collect::<Result<_, _>>()?,
        })
    }

    fn install(&self, declared: &DeclaredPackages, lock: &Lock) -> Script {
        let removals = lock.removals.iter().map(|removal| removal.name.as_str());
        let asked = json!({
            "install": declared.install,
            "remove": removals.collect::<Vec<_>>(),
        });
        script("mkdir -p \"$KARAT_DIRECTORY\"", ":", INSTALL, &asked)
    }

    fn kept(&self, declared: &DeclaredPackages) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        for own in declared.repositories.iter().filter(|own| own.keep) {
            let (name, uri) = (&own.name, &own.uri);
            let key = format!("/etc/pki/rpm-gpg/RPM-GPG-KEY-{name}");
            let proof = match &own.key {
                Some(bytes) => {
                    files.push((key.clone(), bytes.clone()));
                    format!("gpgcheck=1\nrepo_gpgcheck=1\ngpgkey=file://{key}\n")
                }
                None => "gpgcheck=0\n".to_owned(),
            };
            let text = format!("[{name}]\nname={name}\nbaseurl={uri}\nenabled=1\n{proof}");
            files.push((format!("/etc/yum.repos.d/{name}.repo"), text.into_bytes()));
        }
        files
    }

    fn installed(&self, data: &[String], when: &str) -> Vec<InstalledPackage> {
        // An unparsable line shows up as a missing package, which is reported.
        parse_lines(data, when).unwrap_or_default()
    }

    fn error(&self, said: &[String], ended: Ended) -> ProvisionError {
        let words = said.iter().find_map(|line| line.strip_prefix("karat: "));
        let unknown = words.and_then(|words| words.strip_prefix("unknown "));
        let (phase, advice) = match (ended.code, words, unknown) {
            (Some(73), _, Some(names)) => {
                return PackageError::Unknown(names.replace(' ', ", ")).into();
            }
            (Some(75), Some(words), _) => {
                return ProvisionError::NotAsDeclared(vec![words.to_owned()]);
            }
            (Some(77), Some(words), _) => return PackageError::NoManager(words.to_owned()).into(),
            (Some(71), ..) => (
                "reading the package repositories",
                "see dnf's messages above; this host must reach the repository, which needs a signed index \
                 (repodata/repomd.xml.asc)",
            ),
            (Some(73), ..) => ("dnf", "see dnf's messages above"),
            _ => (
                "the package operation",
                "the machine needs dnf 4, as in Fedora up to 40 and RHEL 8 and 9",
            ),
        };
        ProvisionError::Apt {
            phase,
            advice,
            output: ended.output,
        }
    }
}

/// Wraps a Python program: `make` creates its directory, `fill` fills it, and a trap removes it.
fn script(make: &str, fill: &str, program: &str, asked: &serde_json::Value) -> Script {
    // Base64, so that neither the shell nor Python interprets any of it.
    let asked = BASE64.encode(asked.to_string().as_bytes());
    let asked = format!("asked = json.loads(base64.b64decode(\"{asked}\"))\n");
    let text = format!(
        "{RUN}{make}\ntrap 'rm -rf \"$KARAT_DIRECTORY\"' EXIT\ntrap 'exit 129' HUP\ntrap 'exit 143' TERM\n\
         cd \"$KARAT_DIRECTORY\"\n{fill}\n\"$python\" - <<'KARAT'\n{SHARED}{asked}{program}KARAT\n"
    );
    Script {
        text,
        environment: Vec::new(),
        files: Vec::new(),
    }
}

/// Parses the data lines of one kind.
fn parse_lines<'l, T: Deserialize<'l>>(
    lines: &'l [String],
    kind: &str,
) -> Result<Vec<T>, PackageError> {
    let of_kind = lines
        .iter()
        .filter_map(|line| Some((line, line.strip_prefix(kind)?.strip_prefix(' ')?)));
    of_kind
        .map(|(line, value)| {
            serde_json::from_str(value).map_err(|_| PackageError::Odd(line.clone()))
        })
        .collect()
}

fn configured_upstream(configured: &Configured) -> Result<Upstream, PackageError> {
    let place = format!("repository {}", configured.name);
    let is_web = |uri: &&String| to_http(uri).starts_with("http://");
    let Some(uri) = configured.uris.first().filter(is_web) else {
        let mirrors = Some(&configured.mirrors).filter(|mirrors| !mirrors.is_empty());
        let uri = configured
            .uris
            .first()
            .or(mirrors)
            .cloned()
            .unwrap_or_default();
        return Err(PackageError::Unreachable { uri, place });
    };
    if !configured.signed {
        return Err(PackageError::Blind {
            uri: uri.clone(),
            place,
            field: "repo_gpgcheck=0".to_owned(),
        });
    }
    Ok(upstream_at(uri))
}

fn upstream_at(uri: &str) -> Upstream {
    Upstream {
        uri: uri.trim_end_matches('/').to_owned(),
        suite: String::new(),
        components: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
