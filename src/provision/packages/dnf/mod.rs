//! dnf 4, of Fedora, RHEL and their kin. Its scripts are Python, run by the one that dnf itself runs in: only there can it
//! be asked what it would do, in a form that is not meant for people.

use std::time::{Duration, SystemTime};

use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::json;

use super::{
    Asked, Installed, PackageError, PackageManager, Pin, Repository, Resolution, Script, Sources,
    Upstream, plain,
};
use crate::digest::Digest;
use crate::provision::ProvisionError;
use crate::provision::remote::{DATA, Ended};
use crate::record::lock::{Archive, Lock, Package, Reason, Removal};

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

/// The package manager of RPM's distributions.
pub(super) struct Dnf;

/// A repository as the machine has it configured.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Configured {
    name: String,
    uris: Vec<String>,
    /// A list of mirrors, which a host cannot choose from as dnf would.
    mirrors: String,
    /// Its index has a signature that is checked.
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Present {
    name: String,
    version: String,
    architecture: String,
}

impl PackageManager for Dnf {
    fn survey(&self) -> &'static str {
        SURVEY
    }

    fn sources(&self, survey: &str, asked: &Asked, _: &str) -> Result<Sources, PackageError> {
        if let Some(said) = survey.lines().find_map(|line| line.strip_prefix("karat: ")) {
            return Err(PackageError::NoManager(said.to_owned()));
        }
        let lines: Vec<String> = survey
            .lines()
            .filter_map(|line| line.strip_prefix(DATA).map(str::to_owned))
            .collect();
        let own = &asked.repositories;
        let mut upstreams = Vec::new();
        for configured in behind::<Configured>(&lines, "repository")? {
            // The template's own of that name takes its place.
            if !own.iter().any(|own| own.plan.name == configured.name) {
                upstreams.push(upstream(&configured)?);
            }
        }
        upstreams.extend(own.iter().map(|own| upstream_at(&own.plan.uri)));
        let files = own
            .iter()
            .filter_map(|own| Some((own.key_file()?, own.key.clone()?)));
        Ok(Sources {
            upstreams,
            files: files.collect(),
        })
    }

    fn resolve(&self, asked: &Asked, pins: &[Pin], proxy: &str) -> Script {
        let repository = |own: &Repository| {
            let (name, uri) = (&own.plan.name, &own.plan.uri);
            json!({ "name": name, "uri": uri.trim_end_matches('/'), "key": own.key_file() })
        };
        let pin = |pin: &Pin| json!({ "name": pin.name, "version": pin.version });
        let asked = json!({
            "proxy": proxy,
            "install": asked.install,
            "remove": asked.remove,
            "recommends": asked.recommends,
            "repositories": asked.repositories.iter().map(repository).collect::<Vec<_>>(),
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
        _: &Asked,
    ) -> Result<Resolution, PackageError> {
        let known = |uri: &str| sources.upstreams.iter().any(|upstream| upstream.uri == uri);
        let archive = |index: Index| Archive {
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
            Ok(Package {
                sha256: sha256.ok_or_else(|| PackageError::NoDigest(coming.name.clone()))?,
                name: coming.name,
                version: coming.version,
                architecture: coming.architecture,
                reason: if coming.declared {
                    Reason::Declared
                } else {
                    Reason::Dependency
                },
                archive: coming.archive,
                path: coming.path,
                size: coming.size,
            })
        };
        Ok(Resolution {
            archives: behind(data, "archive")?.into_iter().map(archive).collect(),
            removals: behind::<Removal>(data, "removal")?,
            packages: behind(data, "package")?
                .into_iter()
                .map(package)
                .collect::<Result<_, _>>()?,
        })
    }

    fn install(&self, asked: &Asked, lock: &Lock) -> Script {
        let removals = lock.removals.iter().map(|removal| removal.name.as_str());
        let asked = json!({
            "install": asked.install,
            "remove": removals.collect::<Vec<_>>(),
        });
        script("mkdir -p \"$KARAT_DIRECTORY\"", ":", INSTALL, &asked)
    }

    fn kept(&self, asked: &Asked) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        for own in asked.repositories.iter().filter(|own| own.plan.keep) {
            let (name, uri) = (&own.plan.name, &own.plan.uri);
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

    fn installed(&self, data: &[String]) -> (Vec<Installed>, Vec<Installed>) {
        let of = |when| {
            // A line that cannot be read is a package that is missing, and that is told.
            let present = behind::<Present>(data, when).unwrap_or_default();
            let installed = |present: Present| Installed {
                name: present.name,
                version: present.version,
                arch: present.architecture,
            };
            present.into_iter().map(installed).collect()
        };
        (of("before"), of("after"))
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
                "dnf's own words are above; the repository must be reachable from this host, and have a signed index \
                 (repodata/repomd.xml.asc)",
            ),
            (Some(73), ..) => ("dnf", "dnf's own words are above"),
            _ => (
                "the package work",
                "the machine needs dnf 4, as Fedora up to 40 and RHEL 8 and 9 have it",
            ),
        };
        ProvisionError::Apt {
            phase,
            advice,
            output: ended.output,
        }
    }
}

/// Python in a directory of its own, which is made by `make`, filled by `fill`, and removed in any case.
fn script(make: &str, fill: &str, program: &str, asked: &serde_json::Value) -> Script {
    // Nothing in it can be taken for a part of a program, neither of the shell's nor of Python's.
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

/// The data lines of one kind.
fn behind<'l, T: Deserialize<'l>>(lines: &'l [String], kind: &str) -> Result<Vec<T>, PackageError> {
    let of_kind = lines
        .iter()
        .filter_map(|line| Some((line, line.strip_prefix(kind)?.strip_prefix(' ')?)));
    of_kind
        .map(|(line, value)| {
            serde_json::from_str(value).map_err(|_| PackageError::Odd(line.clone()))
        })
        .collect()
}

fn upstream(configured: &Configured) -> Result<Upstream, PackageError> {
    let place = format!("repository {}", configured.name);
    let is_web = |uri: &&String| plain(uri).starts_with("http://");
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
