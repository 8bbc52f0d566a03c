//! Packages and where they come from.

use toml::Spanned;

use super::check::{Checker, NeedKind};
use super::{Apt, Dnf, Packages, Repository};
use crate::template::problem::{Problem, Span};
use crate::template::scalar::Flag;
use crate::template::schema::{self, Str};

/// Bytes of names and versions: Debian policy 5.6.1 and 5.6.12, with an architecture after a colon.
const DEB_NAMES: fn(u8) -> bool =
    |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.:".contains(&byte);
const DEB_VERSIONS: fn(u8) -> bool =
    |byte| byte.is_ascii_alphanumeric() || b"+-.:~".contains(&byte);

/// The same for RPM, as Fedora's guidelines have it.
const RPM_NAMES: fn(u8) -> bool = |byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte);
const RPM_VERSIONS: fn(u8) -> bool =
    |byte| byte.is_ascii_alphanumeric() || b"+-._:~^".contains(&byte);

impl Checker<'_> {
    /// `[packages]`
    pub(super) fn packages(&mut self, packages: Option<&schema::Packages>) -> Packages {
        let apt = packages.and_then(|packages| packages.apt.as_ref());
        let dnf = packages.and_then(|packages| packages.dnf.as_ref());
        if let (Some(_), Some(dnf)) = (apt, dnf) {
            let what = "a template has packages of `apt` or of `dnf`, not of both";
            let help = "a machine that has both takes two templates: the second starts from the image of the first";
            self.say(Problem::at(dnf.span(), what).help(help));
        }
        Packages {
            apt: apt.map(|apt| self.apt(apt)),
            dnf: dnf.map(|dnf| self.dnf(dnf.get_ref())),
        }
    }

    fn dnf(&mut self, dnf: &schema::Dnf) -> Dnf {
        let install = self.package_names(&dnf.install, RPM_NAMES, Some(RPM_VERSIONS));
        let remove = self.package_names(&dnf.remove, RPM_NAMES, None);
        self.contradictions(&dnf.install, &dnf.remove);
        let repositories = dnf.repositories.iter().map(|repository| {
            let (
                table,
                schema::DnfRepository {
                    name,
                    uri,
                    key,
                    trusted,
                    keep,
                },
            ) = (repository.span(), repository.get_ref());
            let (name_at, key, flags) = (name.as_ref(), key.as_ref(), (trusted, keep));
            let checked = self.source(&table, (name_at, uri.as_ref(), key), flags);
            (table, name_at, checked)
        });
        let repositories = repositories.collect();
        Dnf {
            install,
            remove,
            recommends: dnf.recommends.is_some_and(|flag| flag.0),
            repositories: self.distinct(repositories),
        }
    }

    fn contradictions(&mut self, install: &[Str], remove: &[Str]) {
        for name in remove {
            if let Some(installed) = install.iter().find(|i| i.get_ref() == name.get_ref()) {
                let what = format!("`{}` is both installed and removed", name.get_ref());
                self.say(Problem::at(name.span(), what).and(installed.span(), "installed here"));
            }
        }
    }

    fn apt(&mut self, apt: &schema::Apt) -> Apt {
        let install = self.package_names(&apt.install, DEB_NAMES, Some(DEB_VERSIONS));
        let remove = self.package_names(&apt.remove, DEB_NAMES, None);
        self.contradictions(&apt.install, &apt.remove);
        Apt {
            install,
            remove,
            recommends: apt.recommends.is_some_and(|flag| flag.0),
            repositories: self.repositories(&apt.repositories),
        }
    }

    /// Strict, because a name that starts with `-` or holds a space would be an option or two packages.
    fn package_names(
        &mut self,
        names: &[Str],
        of_name: fn(u8) -> bool,
        of_version: Option<fn(u8) -> bool>,
    ) -> Vec<String> {
        for name in names {
            let text = name.get_ref();
            let (package, version) = match text.split_once('=') {
                Some((package, version)) if of_version.is_some() => (package, version),
                _ => (text.as_str(), "0"),
            };
            let is_version = of_version.unwrap_or(of_name);
            let valid = package.starts_with(|c: char| c.is_ascii_alphanumeric())
                && package.bytes().all(of_name)
                && !version.is_empty()
                && version.bytes().all(is_version);
            if !valid {
                let problem = Problem::at(name.span(), format!("{text:?} is not a package"));
                self.say(problem.help(if of_version.is_some() {
                    "write \"name\" or \"name=version\""
                } else {
                    "write the package's name"
                }));
            }
        }
        names.iter().map(|name| name.get_ref().clone()).collect()
    }

    fn repositories(&mut self, repositories: &[Spanned<schema::Repository>]) -> Vec<Repository> {
        let repositories = repositories.iter().map(|repository| {
            let (table, written) = (repository.span(), repository.get_ref());
            let schema::Repository {
                name,
                uri,
                key,
                trusted,
                keep,
                ..
            } = written;
            let (name_at, key) = (name.as_ref(), key.as_ref());
            let mut checked = self.source(&table, (name_at, uri.as_ref(), key), (trusted, keep));
            (checked.suites, checked.components) = self.suites(&table, written);
            (table, name_at, checked)
        });
        let repositories = repositories.collect();
        self.distinct(repositories)
    }

    fn distinct(&mut self, repositories: Vec<(Span, Option<&Str>, Repository)>) -> Vec<Repository> {
        let mut all: Vec<Repository> = Vec::new();
        for (table, name, checked) in repositories {
            if all.iter().any(|other| other.name == checked.name) && !checked.name.is_empty() {
                let what = format!("two repositories are called `{}`", checked.name);
                self.say(Problem::at(name.map_or(table, Spanned::span), what));
            }
            all.push(checked);
        }
        all
    }

    /// What the repositories of all package managers have.
    fn source(
        &mut self,
        table: &Span,
        (name_at, uri_at, key): (Option<&Str>, Option<&Str>, Option<&Str>),
        (trusted, keep): (&Option<Flag>, &Option<Flag>),
    ) -> Repository {
        let help = "add `name = \"tools\"`; it names the files in the image";
        let name = self.required(table, "name", name_at, help);
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if let Some(written) = name_at
            && (!name.bytes().all(plain) || name.starts_with('-'))
        {
            let problem = Problem::at(written.span(), format!("{name:?} cannot name a repository"));
            self.say(problem.help("names are made of a-z, 0-9 and -, and do not start with -"));
        }
        let uri = self.required(table, "uri", uri_at, "add `uri = \"https://...\"`");
        if let Some(written) = uri_at {
            self.url(written, &["https", "http"]);
        }
        let trusted = trusted.as_ref().is_some_and(|flag| flag.0);
        if key.is_none() && !trusted {
            let help = "name the file of the OpenPGP key that signs the repository";
            self.missing(table, "key", help);
        }
        Repository {
            name,
            uri,
            suites: Vec::new(),
            components: Vec::new(),
            key: key.map(|key| self.put_in(key, NeedKind::File)),
            trusted,
            keep: keep.as_ref().is_none_or(|flag| flag.0),
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
                let what = format!("{text:?} is not a suite or component of an archive");
                self.say(Problem::at(word.span(), what));
            }
        }
        let paths = suites.iter().filter(|suite| suite.get_ref().ends_with('/'));
        let (paths, all) = (paths.count(), suites.len());
        if components.is_empty() && paths < all {
            let help = "add `components = [\"main\"]`; only a suite that ends with `/` has none";
            self.missing(table, "components", help);
        }
        if let (Some(component), 1..) = (components.first(), paths) {
            let what = "a suite that ends with `/` has no components";
            self.say(Problem::at(component.span(), what));
        }
        let words = |words: &[Str]| words.iter().map(|word| word.get_ref().clone()).collect();
        (words(suites), words(components))
    }
}
