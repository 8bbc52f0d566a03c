//! Rules for the URLs that a proxy serves. Pure.

use std::path::PathBuf;

use miette::Diagnostic;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use thiserror::Error;

use crate::digest::Digest;

/// Allows one URL, or all URLs below a prefix.
#[derive(Clone, Debug)]
pub struct UrlRule {
    /// A path that ends with `/` is a prefix.
    url: Url,
    file: Option<(Digest, PathBuf)>,
    accepts_http: bool,
    name: String,
}

/// A URL that cannot be a rule.
#[derive(Debug, Error, Diagnostic)]
#[error("cannot serve {url:?} to a guest: {reason}")]
#[diagnostic(help("give an `http` or `https` URL without a login, a query or a fragment"))]
pub struct InvalidRule {
    /// URL as the template has it.
    pub url: String,
    /// Reason for the rejection.
    pub reason: String,
}

impl UrlRule {
    /// Allows a URL, or all URLs below one that ends with `/`. `name` tells where it was declared.
    ///
    /// # Errors
    /// Fails unless the URL is `http` or `https`, without a login or fragment; a prefix has no query.
    pub fn new(url: &str, name: impl Into<String>) -> Result<Self, InvalidRule> {
        let invalid = |reason: String| InvalidRule {
            url: url.to_owned(),
            reason,
        };
        let parsed = Url::parse(url).map_err(|error| invalid(error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(invalid(format!("unknown scheme `{}`", parsed.scheme())));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(invalid("it contains a login".to_owned()));
        }
        if parsed.fragment().is_some() {
            return Err(invalid("it has a fragment".to_owned()));
        }
        if parsed.query().is_some() && parsed.path().ends_with('/') {
            return Err(invalid("a prefix cannot have a query".to_owned()));
        }
        Ok(Self {
            url: parsed,
            file: None,
            accepts_http: false,
            name: name.into(),
        })
    }

    /// Serves a local file, whose digest has been verified, instead of fetching the URL.
    #[must_use]
    pub fn from_file(self, digest: Digest, path: PathBuf) -> Self {
        Self {
            file: Some((digest, path)),
            ..self
        }
    }

    /// Accepts `http` requests for an `https` rule and fetches them with `https`.
    #[must_use]
    pub fn plain_too(self) -> Self {
        Self {
            accepts_http: true,
            ..self
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn file(&self) -> Option<&(Digest, PathBuf)> {
        self.file.as_ref()
    }

    /// Returns the URL to fetch for a request, if this rule allows it.
    fn upstream(&self, requested: &Url) -> Option<Url> {
        let mut url = requested.clone();
        if self.accepts_http && self.url.scheme() == "https" && requested.scheme() == "http" {
            url.set_scheme("https").ok()?;
        }
        if !same_origin(&url, &self.url) {
            return None;
        }
        let below = self.url.path().ends_with('/') && self.file.is_none();
        let allowed = if below {
            url.path().starts_with(self.url.path()) && !has_encoded_parent(url.path())
        } else {
            url.path() == self.url.path() && url.query() == self.url.query()
        };
        allowed.then_some(url)
    }
}

fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host() == b.host()
        && a.port_or_known_default() == b.port_or_known_default()
}

/// Returns true if a server that decodes the path could leave the directory. The URL parser has resolved any plain `..`.
fn has_encoded_parent(path: &str) -> bool {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    decoded.split(['/', '\\']).any(|part| part == "..")
}

/// Purpose of a proxy, which decides the advice in its refusals.
#[derive(Clone, Debug)]
pub enum ProxyPurpose {
    /// Serves the steps of a sealed build; holds the template's file name.
    Steps(String),
    /// Serves package sources to a package manager; holds the template's file name.
    Sources(String),
}

/// Rules of one proxy.
#[derive(Clone, Debug)]
pub struct UrlRules {
    rules: Vec<UrlRule>,
    purpose: ProxyPurpose,
}

impl UrlRules {
    /// Serves these rules and nothing else.
    #[must_use]
    pub fn new(rules: Vec<UrlRule>, purpose: ProxyPurpose) -> Self {
        Self { rules, purpose }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Returns true if any rule allows a URL of this host.
    pub(super) fn allows_host(&self, origin: &Url) -> bool {
        self.rules.iter().any(|rule| same_origin(&rule.url, origin))
    }

    /// Returns the rule that allows a request and the URL to fetch.
    pub(super) fn find(&self, requested: &Url) -> Option<(&UrlRule, Url)> {
        self.rules
            .iter()
            .find_map(|rule| Some((rule, rule.upstream(requested)?)))
    }

    /// Explains a refusal and how to allow the request, in one line of ASCII.
    pub(super) fn refusal(&self, method: &str, url: &Url) -> String {
        if !matches!(method, "GET" | "HEAD") {
            return format!(
                "karat: a sealed build may only read from the network, and {method} {url} would write; {}",
                self.how_to_allow()
            );
        }
        match &self.purpose {
            ProxyPurpose::Steps(template) => format!(
                "karat: this build is sealed and {template} does not allow {url}; \
                 `allow = [{{ url = \"{url}\" }}]` in its [network] would"
            ),
            ProxyPurpose::Sources(template) => format!(
                "karat: {url} is not part of a declared package source; \
                 a repository with `uri = \"{}\"` in [packages] of {template} would declare it",
                url.origin().ascii_serialization()
            ),
        }
    }

    fn how_to_allow(&self) -> String {
        match &self.purpose {
            ProxyPurpose::Steps(template) => {
                format!("`open = true` in [network] of {template} would allow it")
            }
            ProxyPurpose::Sources(_) => "package sources need only GET and HEAD".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> UrlRules {
        let rule = |url| UrlRule::new(url, "a rule").unwrap();
        let file = rule("https://b.example.org/tool.tar")
            .from_file(Digest::of(b""), PathBuf::from("/cache/tool"));
        UrlRules::new(
            vec![
                rule("https://a.example.org/prefix/"),
                rule("http://a.example.org:8080/one?q=1"),
                file,
                rule("https://c.example.org/").plain_too(),
            ],
            ProxyPurpose::Steps("web.toml".to_owned()),
        )
    }

    #[test]
    fn only_what_is_declared_is_allowed() {
        for (asked, upstream) in [
            ("https://a.example.org/prefix/", Some("")),
            ("https://a.example.org/prefix/x/y?z=1", Some("")),
            ("https://a.example.org:443/prefix/x", Some("")),
            ("https://a.example.org/prefix", None),
            ("https://a.example.org/prefix2/x", None),
            ("https://a.example.org/prefix/../x", None),
            ("https://a.example.org/prefix/%2e%2e/x", None),
            ("https://a.example.org/prefix/..%2fx", None),
            ("https://a.example.org/prefix/a%5c%2e.%5cx", None),
            ("https://a.example.org:8443/prefix/x", None),
            ("http://a.example.org/prefix/x", None),
            ("https://b.example.org/prefix/x", None),
            ("http://a.example.org:8080/one?q=1", Some("")),
            ("http://a.example.org:8080/one?q=2", None),
            ("http://a.example.org:8080/one", None),
            ("http://a.example.org:8080/one/more?q=1", None),
            ("https://b.example.org/tool.tar", Some("")),
            ("https://b.example.org/tool.tar/x", None),
            ("http://c.example.org/x", Some("https://c.example.org/x")),
            ("https://c.example.org/x", Some("")),
            ("http://c.example.org:8080/x", None),
        ] {
            let url = Url::parse(asked).unwrap();
            let found = rules().find(&url).map(|(_, url)| url.to_string());
            let expected = upstream.map(|to| match to {
                "" => url.to_string(),
                to => to.to_owned(),
            });
            assert_eq!(found, expected, "{asked}");
        }
    }

    #[test]
    fn an_invalid_rule_is_rejected() {
        for url in [
            "",
            "a.example.org/x",
            "ftp://a.example.org/x",
            "file:///etc/passwd",
            "https://me:secret@a.example.org/",
            "https://a.example.org/x#y",
            "https://a.example.org/?q=1",
        ] {
            assert!(UrlRule::new(url, "").is_err(), "{url:?}");
        }
    }

    #[test]
    fn a_refusal_is_one_line_that_names_what_would_allow_it() {
        let url = Url::parse("https://x.example.org/install.sh\n?a=\u{e9}").unwrap();
        let sources = UrlRules::new(Vec::new(), ProxyPurpose::Sources("web.toml".to_owned()));
        for (sentence, expected) in [
            (
                rules().refusal("GET", &url),
                "`allow = [{ url = \"https://x.example.org/install.sh?a=%C3%A9\" }]` in its [network]",
            ),
            (
                rules().refusal("POST", &url),
                "`open = true` in [network] of web.toml",
            ),
            (
                sources.refusal("GET", &url),
                "`uri = \"https://x.example.org\"`",
            ),
        ] {
            assert!(sentence.contains(expected), "{sentence}");
            assert!(
                sentence.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
                "{sentence}"
            );
        }
    }
}
