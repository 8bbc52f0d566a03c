//! Resolves the declared packages to a lock and installs the locked packages.
//!
//! The machine's own package manager resolves, through a proxy on this host that serves only the declared sources. Its
//! answer becomes the lock file. Installing needs no network: this host fetches the package files and uploads them.

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;
use std::time::Duration;

use data_encoding::BASE64;

use crate::digest::Digest;
use crate::machine::Machine;
use crate::network::{Proxy, ProxyPurpose, UrlRule, UrlRules};
use crate::plan::{self, PackageSet};
use crate::provision::remote::{self, Ended, Interpreter, Outcome, RemoteScript};
use crate::record::lock::{self, Lock, Manager, PackageRequest, Resolution};
use crate::ssh::{UploadContent, UploadItem, quote};
use crate::ui::text::human_duration;

use super::{Context, ProvisionError};

mod apt;
mod dnf;
mod error;
mod installed;

pub use error::PackageError;
pub use installed::{InstalledPackage, attribute, installed_packages};

/// Limit for a package manager's work: an hour suffices for a desktop over a slow line. The scripts' own limits are shorter.
const PACKAGE_TIMEOUT: Duration = Duration::from_hours(1);

/// A package manager: the scripts to run in the machine and the parsers of their output. `/bin/sh` runs the scripts; output
/// lines that begin with [`remote::DATA`] are passed to the parsers.
trait PackageManager {
    /// Returns a script that prints the configured package sources.
    fn survey(&self) -> &'static str;

    /// Returns the allowed archives and the resolver's configuration files for them.
    fn sources(
        &self,
        survey: &str,
        declared: &DeclaredPackages,
        directory: &str,
    ) -> Result<Sources, PackageError>;

    /// Returns the script that resolves. It calls the shell function `unpack`, which writes its files into the current directory.
    fn resolve(&self, declared: &DeclaredPackages, pins: &[PinnedVersion], proxy: &str) -> Script;

    /// Parses the data lines of the resolve script.
    fn resolution(
        &self,
        data: &[String],
        sources: &Sources,
        declared: &DeclaredPackages,
    ) -> Result<Resolution, PackageError>;

    /// Returns the script that installs the package files in its directory.
    fn install(&self, declared: &DeclaredPackages, lock: &Lock) -> Script;

    /// Returns the repository files to keep in the machine.
    fn kept(&self, declared: &DeclaredPackages) -> Vec<(String, Vec<u8>)>;

    /// Parses the data lines of the install script: the packages `before` or `after`.
    fn installed(&self, data: &[String], when: &str) -> Vec<InstalledPackage>;

    /// Maps a failed script to an error, from its output.
    fn error(&self, said: &[String], ended: Ended) -> ProvisionError;
}

/// A script for the machine.
struct Script {
    text: String,
    environment: Vec<(&'static str, String)>,
    /// Files for the script, by name.
    files: Vec<(String, Vec<u8>)>,
}

/// Package sources that the resolver may read.
struct Sources {
    upstreams: Vec<Upstream>,
    /// Configuration files for the resolver, by name.
    files: Vec<(String, Vec<u8>)>,
}

/// A suite of a package archive.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Upstream {
    /// Declared URI, without a trailing slash.
    uri: String,
    suite: String,
    components: Vec<String>,
}

/// A version that the resolver should keep if possible.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PinnedVersion {
    /// Name of the package.
    pub name: String,
    /// Version in the previous lock.
    pub version: String,
}

/// Declared packages with the content of the repositories' keys.
pub type DeclaredPackages = PackageSet<Vec<u8>>;
type Repository = plan::Repository<Vec<u8>>;

impl Repository {
    /// Returns the name of its key file. apt detects an armored key by the extension.
    fn key_file(&self) -> Option<String> {
        let armored = self
            .key
            .as_ref()?
            .trim_ascii_start()
            .starts_with(b"-----BEGIN");
        let ending = if armored { "asc" } else { "gpg" };
        Some(format!("{}.{ending}", self.name))
    }
}

impl DeclaredPackages {
    /// Reads the keys of a plan's packages; `None` if it declares no packages.
    ///
    /// # Errors
    /// Fails on an unreadable key or an invalid package name.
    pub fn read(packages: Option<&PackageSet>) -> Result<Option<Self>, ProvisionError> {
        let Some(packages) = packages.filter(|packages| !packages.is_empty()) else {
            return Ok(None);
        };
        if packages.manager == Manager::Apt {
            apt::check(packages)?;
        }
        let read_key = |path: &PathBuf| {
            fs::read(path).map_err(|source| PackageError::Key {
                path: path.clone(),
                source,
            })
        };
        let repositories = packages
            .repositories
            .iter()
            .map(|repository| repository.try_map_key(read_key))
            .collect::<Result<_, _>>()?;
        Ok(Some(Self {
            manager: packages.manager,
            install: packages.install.clone(),
            remove: packages.remove.clone(),
            recommends: packages.recommends,
            repositories,
            accept: packages.accept.clone(),
        }))
    }

    /// Converts to the form recorded in a lock file.
    #[must_use]
    pub fn request(&self, architecture: Option<&str>) -> PackageRequest {
        let repository = |repository: &Repository| lock::Repository {
            name: repository.name.clone(),
            uri: repository.uri.clone(),
            suites: repository.suites.clone(),
            components: repository.components.clone(),
            key: repository.key.as_deref().map(Digest::of),
            trusted: repository.trusted,
        };
        PackageRequest {
            manager: Some(self.manager),
            architecture: architecture.map(str::to_owned),
            install: self.install.clone(),
            remove: self.remove.clone(),
            recommends: self.recommends,
            repositories: self.repositories.iter().map(repository).collect(),
        }
    }
}

fn package_manager(manager: Manager) -> &'static dyn PackageManager {
    match manager {
        Manager::Apt => &apt::Apt,
        Manager::Dnf => &dnf::Dnf,
    }
}

/// Resolves the declared packages with the machine's package manager. Changes nothing in the machine. `template` is the
/// file name for messages.
///
/// # Errors
/// Names unknown packages, or the failed phase with the end of its output.
pub async fn resolve<M: Machine>(
    machine: &mut M,
    declared: &DeclaredPackages,
    pins: &[PinnedVersion],
    template: &str,
    cx: &Context<'_>,
) -> Result<Resolution, ProvisionError> {
    let manager = package_manager(declared.manager);
    let directory = private_directory();
    let survey = machine
        .session()
        .output(&remote::sh(manager.survey(), &[]))
        .await?;
    let mut sources = manager.sources(&survey, declared, &directory)?;
    let proxy = Proxy::serve(machine.session(), &proxy_rules(&sources, template)?, cx.ui).await?;
    let mut script = manager.resolve(declared, pins, &proxy.guest_url());
    script.files.append(&mut sources.files);
    script.text = format!("{}{}", unpack_function(&script.files), script.text);
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
    Ok(manager.resolution(&outcome?, &sources, declared)?)
}

/// Installs the locked packages offline, from files in the cache.
///
/// # Errors
/// Names the failed phase with the end of its output, or the packages that differ from the lock afterwards.
pub async fn install<M: Machine>(
    machine: &mut M,
    declared: &DeclaredPackages,
    lock: &Lock,
    cx: &Context<'_>,
) -> Result<(), ProvisionError> {
    let manager = package_manager(declared.manager);
    let directory = private_directory();
    let script = manager.install(declared, lock);
    let into = format!("{directory}/");
    let item = |source, destination: String| UploadItem {
        source,
        destination,
        mode: Some(0o644),
        owner: "root:root".to_owned(),
    };
    let width = lock.packages.len().to_string().len();
    let packages = lock.packages.iter().enumerate().map(|(index, package)| {
        let source = UploadContent::Named {
            path: (cx.fetched)(&package.sha256),
            name: format!("{index:0width$}-{}", package.file_name()),
        };
        item(source, into.clone())
    });
    let kept = manager.kept(declared).into_iter();
    let kept = kept.map(|(name, bytes)| item(UploadContent::Bytes(bytes), name));
    let items: Vec<_> = packages.chain(kept).collect();
    let size = lock.packages.iter().map(|package| package.size).sum();
    let bar = cx.ui.bar(
        &format!("uploading {} packages", lock.packages.len()),
        Some(size),
    );
    let started = std::time::Instant::now();
    machine.session().upload(&items, &bar).await?;
    drop(bar);
    let uploaded = started.elapsed();
    let started = std::time::Instant::now();
    let data = run(machine, manager, script, &directory, cx).await?;
    cx.ui.detail(&format!(
        "uploaded in {}, installed in {}",
        human_duration(uploaded),
        human_duration(started.elapsed())
    ));
    let [before, after] = ["before", "after"].map(|when| manager.installed(&data, when));
    match differences(&before, &after, lock, declared) {
        differences if differences.is_empty() => Ok(()),
        differences => Err(ProvisionError::NotAsDeclared(differences)),
    }
}

/// Lists the differences between the installed packages and those expected from the lock and the base.
fn differences(
    before: &[InstalledPackage],
    after: &[InstalledPackage],
    lock: &Lock,
    declared: &DeclaredPackages,
) -> Vec<String> {
    let name = |package: &InstalledPackage| (package.name.clone(), package.arch.clone());
    let is_removed = |package: &InstalledPackage| {
        lock.removals.iter().any(|removal| {
            let (name, arch) = removal.name.split_once(':').unwrap_or((&removal.name, ""));
            name == package.name && (arch.is_empty() || arch == package.arch)
        })
    };
    // An upgrade may change a package's architecture to `all`.
    let replaced: BTreeSet<&str> = lock
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let exact: BTreeSet<_> = lock
        .packages
        .iter()
        .map(|package| (package.name.clone(), package.architecture.clone()))
        .collect();
    let kept = before.iter().filter(|package| {
        let is_replaced = exact.contains(&name(package))
            || replaced.contains(package.name.as_str()) && !after.contains(package);
        !is_removed(package) && !is_replaced
    });
    let locked = lock.packages.iter().map(|package| InstalledPackage {
        name: package.name.clone(),
        version: package.version.clone(),
        arch: package.architecture.clone(),
    });
    let wanted: BTreeSet<InstalledPackage> = kept.cloned().chain(locked).collect();
    let have: BTreeSet<InstalledPackage> = after.iter().cloned().collect();
    let show = |package: &InstalledPackage| {
        format!("{} {} ({})", package.name, package.version, package.arch)
    };
    let mut wrong: Vec<String> = wanted
        .difference(&have)
        .map(|package| format!("{} is not installed", show(package)))
        .collect();
    wrong.extend(
        have.difference(&wanted)
            .map(|package| format!("{} is installed but not locked", show(package))),
    );
    for name in declared.names() {
        if !after.iter().any(|package| package.name == name) {
            wrong.push(format!("{name} is not installed"));
        }
    }
    wrong
}

/// Runs a package manager's script and returns its data lines.
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
        .chain(cx.reproducible_environment())
        .chain(script.environment);
    let run = RemoteScript {
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
        limit: PACKAGE_TIMEOUT,
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

/// Returns rules for the package sources. The machine requests them by plain `http`, so that the proxy can see the files.
fn proxy_rules(sources: &Sources, template: &str) -> Result<UrlRules, PackageError> {
    let mut uris: Vec<&str> = sources
        .upstreams
        .iter()
        .map(|upstream| upstream.uri.as_str())
        .collect();
    uris.sort_unstable();
    uris.dedup();
    let rule = |uri: &&str| {
        Ok(UrlRule::new(&format!("{uri}/"), format!("package source {uri}"))?.plain_too())
    };
    let rules: Result<_, PackageError> = uris.iter().map(rule).collect();
    Ok(UrlRules::new(
        rules?,
        ProxyPurpose::Sources(template.to_owned()),
    ))
}

/// Returns the URI that the machine requests from the proxy.
fn to_http(uri: &str) -> String {
    match uri.strip_prefix("https://") {
        Some(rest) => format!("http://{rest}"),
        None => uri.to_owned(),
    }
}

/// Returns a directory for this run, on the machine's disk: package lists and packages are too large for memory.
fn private_directory() -> String {
    // Unique, not secret: the standard library's hash keys are random.
    let random = RandomState::new().build_hasher().finish();
    format!("/var/tmp/karat-{random:016x}")
}

/// Returns the shell function `unpack`, which writes files into the current directory.
fn unpack_function(files: &[(String, Vec<u8>)]) -> String {
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
    use crate::record::lock::{InstallReason, Removal};

    fn installed(words: &[&str]) -> Vec<InstalledPackage> {
        let package = |word: &&str| {
            let mut parts = word.split(' ').map(str::to_owned);
            InstalledPackage {
                name: parts.next().unwrap(),
                version: parts.next().unwrap(),
                arch: parts.next().unwrap_or_else(|| "amd64".to_owned()),
            }
        };
        words.iter().map(package).collect()
    }

    fn lock(packages: &[&str], removals: &[&str]) -> Lock {
        let package = |package: InstalledPackage| lock::LockedPackage {
            name: package.name,
            version: package.version,
            architecture: package.arch,
            reason: InstallReason::Dependency,
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
        Lock::new(PackageRequest::nothing(None), None, resolution)
    }

    #[test]
    fn a_machine_that_is_not_what_the_lock_makes_of_its_base_is_found_out() {
        let declared = DeclaredPackages::declaring(Manager::Apt, &["nginx=2"], &[]);
        let before = installed(&["libc6 1", "exim4 1", "nginx 1 amd64"]);
        let lock = lock(&["nginx 2 all", "libnew 1"], &["exim4"]);
        for (after, said) in [
            (&["libc6 1", "nginx 2 all", "libnew 1"][..], &[][..]),
            (
                &["libc6 1", "nginx 2 all", "libnew 2"],
                &[
                    "libnew 1 (amd64) is not installed",
                    "libnew 2 (amd64) is installed but not locked",
                ],
            ),
            (
                &["libc6 1", "nginx 2 all", "libnew 1", "exim4 1"],
                &["exim4 1 (amd64) is installed but not locked"],
            ),
            (
                &["libc6 1", "nginx 2 all", "libnew 1", "surprise 1"],
                &["surprise 1 (amd64) is installed but not locked"],
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
                differences(&before, &installed(after), &lock, &declared),
                said
            );
        }
    }

    #[test]
    fn sources_are_requested_by_plain_http_only() {
        for (uri, requested) in [
            ("http://example.org/debian", "http://example.org/debian"),
            ("https://example.org/debian", "http://example.org/debian"),
            ("https://example.org:8443/x", "http://example.org:8443/x"),
        ] {
            assert_eq!(to_http(uri), requested);
        }
    }
}
