//! Packages and where they come from.

use toml::Spanned;

use super::check::{Checker, NeedKind};
use super::{Apt, Packages, Repository};
use crate::template::problem::{Problem, Span};
use crate::template::schema::{self, Str};

impl Checker<'_> {
    /// `[packages]`
    pub(super) fn packages(&mut self, packages: Option<&schema::Packages>) -> Packages {
        let apt = packages.and_then(|packages| packages.apt.as_ref());
        Packages {
            apt: apt.map(|apt| self.apt(apt)),
        }
    }

    fn apt(&mut self, apt: &schema::Apt) -> Apt {
        let install = self.package_names(&apt.install, true);
        let remove = self.package_names(&apt.remove, false);
        for name in &apt.remove {
            if let Some(installed) = apt.install.iter().find(|i| i.get_ref() == name.get_ref()) {
                let what = format!("`{}` is both installed and removed", name.get_ref());
                self.say(Problem::at(name.span(), what).and(installed.span(), "installed here"));
            }
        }
        Apt {
            install,
            remove,
            recommends: apt.recommends.is_some_and(|flag| flag.0),
            repositories: self.repositories(&apt.repositories),
        }
    }

    /// Strict, because a name that starts with `-` or holds a space would be an option or two packages to apt.
    fn package_names(&mut self, names: &[Str], versions: bool) -> Vec<String> {
        for name in names {
            let text = name.get_ref();
            let (package, version) = match text.split_once('=') {
                Some((package, version)) if versions => (package, version),
                _ => (text.as_str(), "0"),
            };
            let valid = package.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && package
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.:".contains(&b))
                && !version.is_empty()
                && version
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"+-.:~".contains(&b));
            if !valid {
                let problem = Problem::at(name.span(), format!("{text:?} is not a package"));
                self.say(problem.help(if versions {
                    "write \"name\" or \"name=version\""
                } else {
                    "write the package's name"
                }));
            }
        }
        names.iter().map(|name| name.get_ref().clone()).collect()
    }

    fn repositories(&mut self, repositories: &[Spanned<schema::Repository>]) -> Vec<Repository> {
        let mut all: Vec<Repository> = Vec::new();
        for repository in repositories {
            let table = repository.span();
            let checked = self.repository(&table, repository.get_ref());
            if all.iter().any(|other| other.name == checked.name) && !checked.name.is_empty() {
                let what = format!("two repositories are called `{}`", checked.name);
                let name = repository.get_ref().name.as_ref();
                self.say(Problem::at(name.map_or(table, Spanned::span), what));
            }
            all.push(checked);
        }
        all
    }

    fn repository(&mut self, table: &Span, repository: &schema::Repository) -> Repository {
        let help = "add `name = \"tools\"`; it names the files in the image";
        let name = self.required(table, "name", repository.name.as_ref(), help);
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if let Some(written) = &repository.name
            && !(name.bytes().all(plain) && !name.starts_with('-'))
        {
            let problem = Problem::at(written.span(), format!("{name:?} cannot name a repository"));
            self.say(problem.help("names are made of a-z, 0-9 and -, and do not start with -"));
        }
        let help = "add `uri = \"https://...\"`";
        let uri = self.required(table, "uri", repository.uri.as_ref(), help);
        if let Some(written) = &repository.uri {
            self.url(written, &["https", "http"]);
        }
        let trusted = repository.trusted.is_some_and(|flag| flag.0);
        if repository.key.is_none() && !trusted {
            let help = "name the file of the OpenPGP key that signs the repository";
            self.missing(table, "key", help);
        }
        let key = repository.key.as_ref();
        let (suites, components) = self.suites(table, repository);
        Repository {
            name,
            uri,
            suites,
            components,
            key: key.map(|key| self.needed(key, NeedKind::File)),
            trusted,
            keep: repository.keep.is_none_or(|flag| flag.0),
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
