//! Packages: what the template's declaration means (resolve), and exactly that into the machine (install).
//!
//! The machine's own package manager is asked, through a proxy on this host that serves the declared sources only. What
//! it answers is the lock's content. Installing needs no network: the files are fetched by this host, and pushed.

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use data_encoding::BASE64;

use crate::digest::Digest;
use crate::machine::Machine;
use crate::network::{Proxy, Purpose, Rule, Rules};
use crate::plan;
use crate::provision::remote::{self, Ended, Interpreter, Outcome, Run};
use crate::record::lock::{self, Lock, Manager, Request, Resolution};
use crate::ssh::{Item, ItemSource, quote};
use crate::ui::text::human_duration;

use super::{Context, ProvisionError};

mod apt;
mod dnf;
mod error;
mod installed;

pub use error::PackageError;
pub use installed::{Installed, Origin, Package, attribute, installed_packages};

/// Longest time for all work of a package manager: an hour is a desktop over a slow line. Its own waits are shorter.
const LIMIT: Duration = Duration::from_hours(1);

/// A package manager: what is run in the machine to ask it, and what its answers mean. The scripts are run by `/bin/sh`;
/// lines that they begin with [`remote::DATA`] are for the other functions here.
trait PackageManager {
    /// A command that prints how the machine's package sources are configured.
    fn survey(&self) -> &'static str;

    /// Which archives may be asked, and the files that the resolver needs for them.
    fn sources(
        &self,
        survey: &str,
        asked: &Asked,
        directory: &str,
    ) -> Result<Sources, PackageError>;

    /// The script that resolves. `unpack`, a function of the shell, writes its files into the current directory.
    fn resolve(&self, asked: &Asked, pins: &[Pin], proxy: &str) -> Script;

    /// What the data lines of that script mean.
    fn resolution(
        &self,
        data: &[String],
        sources: &Sources,
        asked: &Asked,
    ) -> Result<Resolution, PackageError>;

    /// The script that installs the package files that are in its directory, and what else has to be there.
    fn install(&self, asked: &Asked, lock: &Lock) -> Script;

    /// The repositories' files that stay in the machine.
    fn kept(&self, asked: &Asked) -> Vec<(String, Vec<u8>)>;

    /// What the data lines of that script show of the machine: what was installed before, and what is now.
    fn installed(&self, data: &[String]) -> (Vec<Installed>, Vec<Installed>);

    /// Why one of the scripts failed, by what it said.
    fn error(&self, said: &[String], ended: Ended) -> ProvisionError;
}

/// A script for the machine.
struct Script {
    text: String,
    environment: Vec<(&'static str, String)>,
    /// Files that it needs, by name.
    files: Vec<(String, Vec<u8>)>,
}

/// What the resolver may read.
struct Sources {
    upstreams: Vec<Upstream>,
    /// Files of the resolver's own configuration, by name.
    files: Vec<(String, Vec<u8>)>,
}

/// One suite of an archive.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Upstream {
    /// As it is declared, without a slash at the end.
    uri: String,
    suite: String,
    components: Vec<String>,
}

/// A version that a package should have if it still can.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pin {
    /// The package.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What a template asks of a package manager, with its keys read.
#[derive(Clone, Debug)]
pub struct Asked {
    manager: Manager,
    install: Vec<String>,
    remove: Vec<String>,
    recommends: bool,
    repositories: Vec<Repository>,
}

/// A repository of the template with its key.
#[derive(Clone, Debug)]
struct Repository {
    plan: plan::Repository,
    key: Option<Vec<u8>>,
}

impl Repository {
    /// What its key file is called; apt tells by the ending whether it is armored.
    fn key_file(&self) -> Option<String> {
        let armored = self
            .key
            .as_ref()?
            .trim_ascii_start()
            .starts_with(b"-----BEGIN");
        let ending = if armored { "asc" } else { "gpg" };
        Some(format!("{}.{ending}", self.plan.name))
    }
}

impl Asked {
    /// What a plan declares; `None` when that is nothing. Reads the keys.
    ///
    /// # Errors
    /// A key cannot be read; a name is none.
    pub fn read(packages: &plan::Packages) -> Result<Option<Self>, ProvisionError> {
        let (manager, install, remove, recommends, repositories) = match packages {
            plan::Packages { apt: Some(apt), .. } => {
                apt::check(apt)?;
                (
                    Manager::Apt,
                    &apt.install,
                    &apt.remove,
                    apt.recommends,
                    &apt.repositories,
                )
            }
            plan::Packages { dnf: Some(dnf), .. } => (
                Manager::Dnf,
                &dnf.install,
                &dnf.remove,
                dnf.recommends,
                &dnf.repositories,
            ),
            _ => return Ok(None),
        };
        if install.is_empty() && remove.is_empty() && repositories.is_empty() {
            return Ok(None);
        }
        let repository = |plan: &plan::Repository| {
            let key = plan.key.as_ref().map(|path| {
                fs::read(path).map_err(|source| PackageError::Key {
                    path: path.clone(),
                    source,
                })
            });
            Ok(Repository {
                plan: plan.clone(),
                key: key.transpose()?,
            })
        };
        let repositories: Result<_, PackageError> = repositories.iter().map(repository).collect();
        Ok(Some(Self {
            manager,
            install: install.clone(),
            remove: remove.clone(),
            recommends,
            repositories: repositories?,
        }))
    }

    /// The same as a lock has it.
    #[must_use]
    pub fn request(&self, architecture: Option<&str>) -> Request {
        let repository = |repository: &Repository| lock::Repository {
            name: repository.plan.name.clone(),
            uri: repository.plan.uri.clone(),
            suites: repository.plan.suites.clone(),
            components: repository.plan.components.clone(),
            key: repository.key.as_deref().map(Digest::of),
            trusted: repository.plan.trusted,
        };
        Request {
            manager: Some(self.manager),
            architecture: architecture.map(str::to_owned),
            install: self.install.clone(),
            remove: self.remove.clone(),
            recommends: self.recommends,
            repositories: self.repositories.iter().map(repository).collect(),
        }
    }

    fn manager(&self) -> &'static dyn PackageManager {
        match self.manager {
            Manager::Apt => &apt::Apt,
            Manager::Dnf => &dnf::Dnf,
        }
    }
}

/// Asks the machine's package manager what is declared means. Changes nothing in the machine. `template` is the file's
/// name, for the user.
///
/// # Errors
/// Names packages that no source has, and the phase that failed with the end of its output.
pub async fn resolve<M: Machine>(
    machine: &mut M,
    asked: &Asked,
    pins: &[Pin],
    template: &str,
    cx: &Context<'_>,
) -> Result<Resolution, ProvisionError> {
    let manager = asked.manager();
    let directory = private_directory();
    let survey = machine
        .session()
        .output(&remote::sh(manager.survey(), &[]))
        .await?;
    let mut sources = manager.sources(&survey, asked, &directory)?;
    let proxy = Proxy::serve(machine.session(), &rules(&sources, template)?, cx.ui).await?;
    let mut script = manager.resolve(asked, pins, &proxy.guest_url());
    script.files.append(&mut sources.files);
    script.text = format!("{}{}", unpack(&script.files), script.text);
    let outcome = run(machine, manager, script, &directory, cx).await;
    for served in proxy.served() {
        let content = served
            .content
            .as_ref()
            .map(|content| format!(" {} bytes {}", content.size, content.sha256));
        cx.ui.detail(&format!(
            "served {} {}{}",
            served.status,
            served.url,
            content.unwrap_or_default()
        ));
    }
    proxy.end(machine.session()).await?;
    Ok(manager.resolution(&outcome?, &sources, asked)?)
}

/// Brings the machine to what the lock says, offline. Its files are in the cache.
///
/// # Errors
/// The phase that failed with the end of its output; what is not as locked afterwards.
pub async fn install<M: Machine>(
    machine: &mut M,
    asked: &Asked,
    lock: &Lock,
    cx: &Context<'_>,
) -> Result<(), ProvisionError> {
    let manager = asked.manager();
    let directory = private_directory();
    let script = manager.install(asked, lock);
    let place = format!("{directory}/");
    let item = |source, destination: String| Item {
        source,
        destination,
        mode: Some(0o644),
        owner: "root:root".to_owned(),
    };
    let width = lock.packages.len().to_string().len();
    let packages = lock.packages.iter().enumerate().map(|(index, package)| {
        let source = ItemSource::Named {
            path: (cx.fetched)(&package.sha256),
            name: format!("{index:0width$}-{}", package.file_name()),
        };
        item(source, place.clone())
    });
    let kept = manager.kept(asked).into_iter();
    let kept = kept.map(|(name, bytes)| item(ItemSource::Bytes(bytes), name));
    let items: Vec<_> = packages.chain(kept).collect();
    let size = lock.packages.iter().map(|package| package.size).sum();
    let bar = cx.ui.bar(
        &format!("pushing {} packages", lock.packages.len()),
        Some(size),
    );
    let started = std::time::Instant::now();
    machine.session().upload(&items, &bar).await?;
    drop(bar);
    let pushed = started.elapsed();
    let started = std::time::Instant::now();
    let data = run(machine, manager, script, &directory, cx).await?;
    cx.ui.detail(&format!(
        "pushed in {}, installed in {}",
        human_duration(pushed),
        human_duration(started.elapsed())
    ));
    let (before, after) = manager.installed(&data);
    let wrong = not_as_locked(&before, &after, lock, asked);
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(ProvisionError::NotAsDeclared(wrong))
    }
}

/// What differs between the machine and what the lock makes of what was there before.
fn not_as_locked(
    before: &[Installed],
    after: &[Installed],
    lock: &Lock,
    asked: &Asked,
) -> Vec<String> {
    let name = |package: &Installed| (package.name.clone(), package.arch.clone());
    let gone = |package: &Installed| {
        lock.removals.iter().any(|removal| {
            let (name, arch) = removal.name.split_once(':').unwrap_or((&removal.name, ""));
            name == package.name && (arch.is_empty() || arch == package.arch)
        })
    };
    // An upgrade may take a package from one architecture to `all`.
    let replaced: BTreeSet<&str> = lock
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let foreign: BTreeSet<_> = lock
        .packages
        .iter()
        .map(|package| (package.name.clone(), package.architecture.clone()))
        .collect();
    let kept = before.iter().filter(|package| {
        let is_replaced = foreign.contains(&name(package))
            || replaced.contains(package.name.as_str()) && !after.contains(package);
        !gone(package) && !is_replaced
    });
    let locked = lock.packages.iter().map(|package| Installed {
        name: package.name.clone(),
        version: package.version.clone(),
        arch: package.architecture.clone(),
    });
    let wanted: BTreeSet<Installed> = kept.cloned().chain(locked).collect();
    let have: BTreeSet<Installed> = after.iter().cloned().collect();
    let show =
        |package: &Installed| format!("{} {} ({})", package.name, package.version, package.arch);
    let mut wrong: Vec<String> = wanted
        .difference(&have)
        .map(|package| format!("{} is not installed", show(package)))
        .collect();
    wrong.extend(
        have.difference(&wanted)
            .map(|package| format!("{} is installed and not locked", show(package))),
    );
    for declared in &asked.install {
        let name = declared.split(['=', ':']).next().unwrap_or_default();
        if !after.iter().any(|package| package.name == name) {
            wrong.push(format!("{name} is not installed"));
        }
    }
    wrong
}

/// Runs a script of a package manager; returns its data lines.
async fn run<M: Machine>(
    machine: &mut M,
    manager: &dyn PackageManager,
    script: Script,
    directory: &str,
    cx: &Context<'_>,
) -> Result<Vec<String>, ProvisionError> {
    let fixed = [
        ("DEBIAN_FRONTEND", "noninteractive".to_owned()),
        ("LC_ALL", "C.UTF-8".to_owned()),
        ("TZ", "UTC".to_owned()),
        ("KARAT_DIRECTORY", directory.to_owned()),
    ];
    let environment = fixed
        .into_iter()
        .chain(cx.steady())
        .chain(script.environment);
    let run = Run {
        script: script.text.as_bytes(),
        interpreter: Interpreter {
            program: "/bin/sh".to_owned(),
            argument: "-eu".to_owned(),
        },
        prelude: String::new(),
        environment: environment
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        user: "root",
        directory: Some("/"),
        limit: LIMIT,
        survives: false,
    };
    let (mut data, mut said) = (Vec::new(), Vec::new());
    let mut death = machine.death();
    let outcome = tokio::select! {
        biased;
        report = death.wait() => return Err(ProvisionError::Died(report)),
        outcome = remote::run(machine, &run, cx, |line| match line.strip_prefix(remote::DATA) {
            Some(line) => data.push(line.to_owned()),
            None => said.push(line.to_owned()),
        }) => outcome?,
    };
    match outcome {
        Outcome::Ended(Ended { code: Some(0), .. }) => Ok(data),
        Outcome::Ended(ended) => Err(manager.error(&said, ended)),
        Outcome::Dropped(error, _) => Err(error.into()),
    }
}

/// What the proxy serves: the sources, asked for by plain http so that it can see what passes.
fn rules(sources: &Sources, template: &str) -> Result<Rules, PackageError> {
    let mut uris: Vec<&str> = sources
        .upstreams
        .iter()
        .map(|upstream| upstream.uri.as_str())
        .collect();
    uris.sort_unstable();
    uris.dedup();
    let rule = |uri: &&str| {
        Ok(Rule::new(&format!("{uri}/"), format!("package source {uri}"))?.plain_too())
    };
    let rules: Result<_, PackageError> = uris.iter().map(rule).collect();
    Ok(Rules::new(rules?, Purpose::Sources(template.to_owned())))
}

/// A URI as the machine asks the proxy for it.
fn plain(uri: &str) -> String {
    match uri.strip_prefix("https://") {
        Some(rest) => format!("http://{rest}"),
        None => uri.to_owned(),
    }
}

/// A directory that only this run uses, on the machine's disk: lists of packages and packages are too much for memory.
fn private_directory() -> String {
    // Unique, not secret: the standard library's hash keys are random.
    let random = RandomState::new().build_hasher().finish();
    format!("/var/tmp/karat-{random:016x}")
}

/// A function of the shell that writes files into the current directory.
fn unpack(files: &[(String, Vec<u8>)]) -> String {
    let lines = files.iter().map(|(name, bytes)| {
        format!(
            "    printf %s '{}' | base64 -d >{}\n",
            BASE64.encode(bytes),
            quote(name)
        )
    });
    format!("unpack() {{\n    :\n{}}}\n", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::lock::{Reason, Removal};

    fn installed(words: &[&str]) -> Vec<Installed> {
        let package = |word: &&str| {
            let mut parts = word.split(' ').map(str::to_owned);
            Installed {
                name: parts.next().unwrap(),
                version: parts.next().unwrap(),
                arch: parts.next().unwrap_or_else(|| "amd64".to_owned()),
            }
        };
        words.iter().map(package).collect()
    }

    fn lock(packages: &[&str], removals: &[&str]) -> Lock {
        let package = |package: Installed| lock::Package {
            name: package.name,
            version: package.version,
            architecture: package.arch,
            reason: Reason::Dependency,
            archive: "http://example.org".to_owned(),
            path: "x.deb".to_owned(),
            size: 1,
            sha256: Digest::of(b""),
        };
        let removal = |name: &&str| Removal {
            name: (*name).to_owned(),
            version: "1".to_owned(),
        };
        let resolution = Resolution {
            archives: vec![],
            removals: removals.iter().map(removal).collect(),
            packages: installed(packages).into_iter().map(package).collect(),
        };
        Lock::new(Request::nothing(None), None, resolution)
    }

    #[test]
    fn a_machine_that_is_not_what_the_lock_makes_of_its_base_is_found_out() {
        let asked = Asked {
            manager: Manager::Apt,
            install: vec!["nginx=2".to_owned()],
            remove: vec![],
            recommends: false,
            repositories: vec![],
        };
        let before = installed(&["libc6 1", "exim4 1", "nginx 1 amd64"]);
        let lock = lock(&["nginx 2 all", "libnew 1"], &["exim4"]);
        for (after, said) in [
            (&["libc6 1", "nginx 2 all", "libnew 1"][..], &[][..]),
            (
                &["libc6 1", "nginx 2 all", "libnew 2"],
                &[
                    "libnew 1 (amd64) is not installed",
                    "libnew 2 (amd64) is installed and not locked",
                ],
            ),
            (
                &["libc6 1", "nginx 2 all", "libnew 1", "exim4 1"],
                &["exim4 1 (amd64) is installed and not locked"],
            ),
            (
                &["libc6 1", "nginx 2 all", "libnew 1", "surprise 1"],
                &["surprise 1 (amd64) is installed and not locked"],
            ),
            (
                &["nginx 2 all", "libnew 1"],
                &["libc6 1 (amd64) is not installed"],
            ),
            (
                &["libc6 1", "libnew 1"],
                &["nginx 2 (all) is not installed", "nginx is not installed"],
            ),
        ] {
            assert_eq!(
                not_as_locked(&before, &installed(after), &lock, &asked),
                said
            );
        }
    }

    #[test]
    fn sources_are_asked_for_in_plain_http_alone() {
        for (uri, asked) in [
            ("http://example.org/debian", "http://example.org/debian"),
            ("https://example.org/debian", "http://example.org/debian"),
            ("https://example.org:8443/x", "http://example.org:8443/x"),
        ] {
            assert_eq!(plain(uri), asked);
        }
    }
}
