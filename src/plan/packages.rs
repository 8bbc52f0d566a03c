//! Checks the `[packages]` table.

use std::path::PathBuf;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::Base;
use super::check::{Checker, is_plain_name, texts};
use crate::record::lock::Manager;
use crate::record::manifest::AcceptedPath;
use crate::template::files::NeedKind;
use crate::template::problem::{Problem, Span};
use crate::template::scalar::Flag;
use crate::template::schema::{self, Str};
use crate::template::spanned::Spanned;

/// Bytes of names and versions by Debian policy 5.6.1 and 5.6.12, with an architecture after a colon.
const DEB_NAMES: fn(u8) -> bool =
    |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.:".contains(&byte);
const DEB_VERSIONS: fn(u8) -> bool =
    |byte| byte.is_ascii_alphanumeric() || b"+-.:~".contains(&byte);

/// Bytes of names and versions by Fedora's packaging guidelines.
const RPM_NAMES: fn(u8) -> bool = |byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte);
const RPM_VERSIONS: fn(u8) -> bool =
    |byte| byte.is_ascii_alphanumeric() || b"+-._:~^".contains(&byte);

/// Packages that a template declares for one package manager.
///
/// `Key` is the form of the repositories' keys: the path of a file in a plan, its content while a machine is provisioned.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PackageSet<Key = PathBuf> {
    /// Package manager of the machine.
    #[serde(skip)]
    pub manager: Manager,
    /// Packages to install, `name` or `name=version`.
    pub install: Vec<String>,
    /// Names of packages to remove.
    pub remove: Vec<String>,
    /// Install recommended packages (RPM: weak dependencies) too. Default false.
    pub recommends: bool,
    /// Package sources in addition to those of the base.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<Repository<Key>>,
    /// Paths that maintainer scripts may make.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accept: Vec<AcceptedPath>,
}

/// A table of `[[packages.apt.repositories]]` or, without suites and components, of `[[packages.dnf.repositories]]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Repository<Key = PathBuf> {
    /// Matches `[a-z0-9-]+`; names the repository's files in the image.
    pub name: String,
    /// URI with scheme `http` or `https`.
    pub uri: String,
    /// Suites; one that ends with `/` is a path without components.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub suites: Vec<String>,
    /// Components of each suite.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// `OpenPGP` key that signs it, armored or binary.
    pub key: Option<Key>,
    /// Trust the repository without a signature. Default false.
    pub trusted: bool,
    /// Keep it configured in the image. Default true.
    pub keep: bool,
}

impl<Key> PackageSet<Key> {
    /// Packages without repositories, as a template declares them.
    #[cfg(test)]
    pub(crate) fn declaring(manager: Manager, install: &[&str], remove: &[&str]) -> Self {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            manager,
            install: owned(install),
            remove: owned(remove),
            recommends: false,
            repositories: Vec::new(),
            accept: Vec::new(),
        }
    }

    /// Returns true if there is nothing to install, remove or configure.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.install.is_empty() && self.remove.is_empty() && self.repositories.is_empty()
    }

    /// Returns the names of the packages to install, without version and architecture.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let words = self.install.iter();
        words.map(|word| word.split(['=', ':']).next().unwrap_or_default())
    }
}

impl<Key> Repository<Key> {
    /// Converts the key.
    ///
    /// # Errors
    /// Returns the error of `convert`.
    pub fn try_map_key<Other, Error>(
        &self,
        convert: impl FnOnce(&Key) -> Result<Other, Error>,
    ) -> Result<Repository<Other>, Error> {
        Ok(Repository {
            name: self.name.clone(),
            uri: self.uri.clone(),
            suites: self.suites.clone(),
            components: self.components.clone(),
            key: self.key.as_ref().map(convert).transpose()?,
            trusted: self.trusted,
            keep: self.keep,
        })
    }
}

/// Serializes as the tables of the template, with `apt` always present.
#[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
pub(super) fn serialize<S: Serializer>(
    packages: &Option<PackageSet>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let of_manager = |manager| packages.as_ref().filter(|set| set.manager == manager);
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry("apt", &of_manager(Manager::Apt))?;
    if let Some(set) = of_manager(Manager::Dnf) {
        map.serialize_entry("dnf", set)?;
    }
    map.end()
}

/// Tells whether a byte may be in a name or version.
type IsAllowed = fn(u8) -> bool;

/// Returns the bytes of names and of versions.
fn bytes_of(manager: Manager) -> (IsAllowed, IsAllowed) {
    match manager {
        Manager::Apt => (DEB_NAMES, DEB_VERSIONS),
        Manager::Dnf => (RPM_NAMES, RPM_VERSIONS),
    }
}

/// Returns true for `name` or `name=version`, as `install` takes it.
pub(super) fn is_package(manager: Manager, text: &str) -> bool {
    let (names, versions) = bytes_of(manager);
    is_valid(text, names, Some(versions))
}

fn is_valid(text: &str, of_name: IsAllowed, of_version: Option<IsAllowed>) -> bool {
    let (package, version) = match text.split_once('=') {
        Some((package, version)) if of_version.is_some() => (package, version),
        _ => (text, "0"),
    };
    package.starts_with(|first: char| first.is_ascii_alphanumeric())
        && package.bytes().all(of_name)
        && !version.is_empty()
        && version.bytes().all(of_version.unwrap_or(of_name))
}

impl Checker<'_> {
    pub(super) fn packages(&mut self, packages: Option<&schema::Packages>) -> Option<PackageSet> {
        let apt = packages.and_then(|packages| packages.apt.as_ref());
        let dnf = packages.and_then(|packages| packages.dnf.as_ref());
        if let (Some(_), Some(dnf)) = (apt, dnf) {
            let what = "a template declares packages of `apt` or of `dnf`, not both";
            let help = "use two templates; the second starts from the image of the first";
            self.report(Problem::at(dnf.span(), what).help(help));
        }
        let apt = apt.map(|apt| self.apt(apt));
        let dnf = dnf.map(|dnf| self.dnf(dnf.get_ref()));
        apt.or(dnf)
    }

    /// Refuses packages of dnf on a base that is made of Debian's or Ubuntu's packages.
    pub(super) fn dnf_on_debian(
        &mut self,
        packages: Option<&schema::Packages>,
        base: Option<&Base>,
    ) {
        let dnf = packages.and_then(|packages| packages.dnf.as_ref());
        if let (Some(dnf), Some(Base::Bootstrap(base))) = (dnf, base) {
            let what = format!("the base is {}, which has no dnf", base.distribution);
            let help = "declare the packages in [packages.apt], or start from a disk with dnf by [base.file] or [base.url]";
            self.report(Problem::at(dnf.span(), what).help(help));
        }
    }

    fn apt(&mut self, apt: &schema::Apt) -> PackageSet {
        let mut repositories = Vec::new();
        for repository in &apt.repositories {
            let (table, written) = (repository.span(), repository.get_ref());
            let mut checked = self.source(&table, written, &repositories);
            (checked.suites, checked.components) = self.suites(&table, written);
            repositories.push(checked);
        }
        let mut set = self.package_set(
            Manager::Apt,
            &apt.install,
            &apt.remove,
            apt.recommends,
            repositories,
        );
        set.accept = self.accepted_paths(DEB_NAMES, &apt.accept);
        set
    }

    fn dnf(&mut self, dnf: &schema::Dnf) -> PackageSet {
        let mut repositories = Vec::new();
        for repository in &dnf.repositories {
            let written = repository.get_ref();
            let source = schema::Repository {
                name: written.name.clone(),
                uri: written.uri.clone(),
                key: written.key.clone(),
                trusted: written.trusted,
                keep: written.keep,
                ..schema::Repository::default()
            };
            let checked = self.source(&repository.span(), &source, &repositories);
            repositories.push(checked);
        }
        let mut set = self.package_set(
            Manager::Dnf,
            &dnf.install,
            &dnf.remove,
            dnf.recommends,
            repositories,
        );
        set.accept = self.accepted_paths(RPM_NAMES, &dnf.accept);
        set
    }

    fn package_set(
        &mut self,
        manager: Manager,
        install: &[Str],
        remove: &[Str],
        recommends: Option<Flag>,
        repositories: Vec<Repository>,
    ) -> PackageSet {
        let (names, versions) = bytes_of(manager);
        self.contradictions(install, remove);
        PackageSet {
            manager,
            install: self.package_names(install, names, Some(versions)),
            remove: self.package_names(remove, names, None),
            recommends: recommends.is_some_and(|flag| flag.0),
            repositories,
            accept: Vec::new(),
        }
    }

    fn accepted_paths(
        &mut self,
        of_name: IsAllowed,
        written: &[Spanned<schema::Accept>],
    ) -> Vec<AcceptedPath> {
        let entry = |entry: &Spanned<schema::Accept>| {
            let (table, entry) = (entry.span(), entry.get_ref());
            let help = "name what the scripts make, as in `path = \"/usr/lib/tool/run\"`";
            let path = self.required(&table, "path", entry.path.as_ref(), help);
            if let Some(written) = entry.path.as_ref().filter(|_| !path.trim().is_empty()) {
                self.image_glob(written, help);
            }
            let help = "add the name of the package whose scripts make it";
            let package = self.required(&table, "package", entry.package.as_ref(), help);
            if let Some(written) = entry
                .package
                .as_ref()
                .filter(|_| !package.trim().is_empty())
                && !is_valid(&package, of_name, None)
            {
                let problem = Problem::at(written.span(), format!("invalid package {package:?}"));
                self.report(problem.help("write only the name"));
            }
            let help = "say why, as in `reason = \"its postinst unpacks it\"`";
            let reason = self.required(&table, "reason", entry.reason.as_ref(), help);
            AcceptedPath {
                path,
                package,
                reason,
            }
        };
        written.iter().map(entry).collect()
    }

    fn contradictions(&mut self, install: &[Str], remove: &[Str]) {
        for name in remove {
            if let Some(installed) = install.iter().find(|i| i.get_ref() == name.get_ref()) {
                let what = format!("`{}` is both installed and removed", name.get_ref());
                self.report(Problem::at(name.span(), what).and(installed.span(), "installed here"));
            }
        }
    }

    /// Checks names strictly: one that starts with `-` would be an option, and one with a space two packages.
    fn package_names(
        &mut self,
        names: &[Str],
        of_name: fn(u8) -> bool,
        of_version: Option<fn(u8) -> bool>,
    ) -> Vec<String> {
        for name in names {
            let text = name.get_ref();
            if !is_valid(text, of_name, of_version) {
                let problem = Problem::at(name.span(), format!("invalid package {text:?}"));
                self.report(problem.help(if of_version.is_some() {
                    "write \"name\" or \"name=version\""
                } else {
                    "write only the name"
                }));
            }
        }
        texts(names)
    }

    /// Checks the keys that repositories of all package managers have. `others` are the repositories before it.
    fn source(
        &mut self,
        table: &Span,
        source: &schema::Repository,
        others: &[Repository],
    ) -> Repository {
        let help = "add `name = \"tools\"`; it names the files in the image";
        let name = self.required(table, "name", source.name.as_ref(), help);
        if let Some(written) = &source.name
            && !name.is_empty()
            && !is_plain_name(&name)
        {
            let problem = Problem::at(written.span(), format!("invalid repository name {name:?}"));
            self.report(problem.help("names consist of a-z, 0-9 and -, and do not start with -"));
        }
        if !name.is_empty() && others.iter().any(|other| other.name == name) {
            let span = source.name.as_ref().map(Spanned::span);
            let what = format!("two repositories are called `{name}`");
            self.report(Problem::at(span.unwrap_or(table.clone()), what));
        }
        let uri = self.required(
            table,
            "uri",
            source.uri.as_ref(),
            "add `uri = \"https://...\"`",
        );
        if let Some(written) = &source.uri {
            self.url(written, &["https", "http"]);
        }
        let trusted = source.trusted.is_some_and(|flag| flag.0);
        if source.key.is_none() && !trusted {
            let help = "give the file of the OpenPGP key that signs the repository";
            self.missing(table, "key", help);
        }
        Repository {
            name,
            uri,
            suites: Vec::new(),
            components: Vec::new(),
            key: (source.key.as_ref()).map(|key| self.image_source(key, NeedKind::File)),
            trusted,
            keep: source.keep.is_none_or(|flag| flag.0),
        }
    }

    fn suites(
        &mut self,
        table: &Span,
        repository: &schema::Repository,
    ) -> (Vec<String>, Vec<String>) {
        let schema::Repository {
            suites, components, ..
        } = repository;
        if suites.is_empty() {
            self.missing(table, "suites", "add `suites = [\"stable\"]`");
        }
        for word in suites.iter().chain(components) {
            let text = word.get_ref();
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"+-._~/".contains(&b);
            if text.is_empty() || text.starts_with('-') || !text.bytes().all(plain) {
                let what = format!("invalid suite or component {text:?}");
                self.report(Problem::at(word.span(), what));
            }
        }
        let paths = suites.iter().filter(|suite| suite.get_ref().ends_with('/'));
        let (paths, all) = (paths.count(), suites.len());
        if components.is_empty() && paths < all {
            let help = "add `components = [\"main\"]`; only suites that end with `/` have none";
            self.missing(table, "components", help);
        }
        if let (Some(component), 1..) = (components.first(), paths) {
            let what = "a suite that ends with `/` has no components";
            self.report(Problem::at(component.span(), what));
        }
        (texts(suites), texts(components))
    }
}
