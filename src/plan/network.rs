//! Checks the `[network]` table: network access of the guest during provisioning.

use serde::Serialize;

use super::Builder;
use super::check::Checker;
use crate::digest::Digest;
use crate::template::problem::{Problem, Span};
use crate::template::schema::{self, Str};
use crate::template::spanned::Spanned;

const SCHEMES: &[&str] = &["https", "http"];

/// Settings from the `[network]` table.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Network {
    /// Opens the host's whole network to the guest. Default false: sealed.
    pub open: bool,
    /// URLs that a sealed guest may fetch through the host.
    pub allow: Vec<AllowedUrl>,
    /// Effect of other requests on the step. Default: it fails.
    pub on_refused: OnRefused,
}

/// A URL that a sealed guest may fetch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AllowedUrl {
    /// URL, or a prefix that ends with `/`.
    pub url: String,
    /// Expected digest; the host fetches the file before it launches the guest.
    pub sha256: Option<Digest>,
}

/// Effect of refused requests on a step that succeeded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnRefused {
    /// The step fails, because the image lacks the refused files.
    #[default]
    Fail,
    /// karat prints a warning.
    Warn,
}

impl Checker<'_> {
    /// Checks `[network]`, which only applies to machines that karat launches.
    pub(super) fn network(
        &mut self,
        network: Option<&Spanned<schema::Network>>,
        builder: &Builder,
    ) -> Network {
        if let (Some(network), Builder::Host(_)) = (network, builder) {
            let what = "[network] does not apply to an existing host";
            self.report(
                Problem::at(network.span(), what)
                    .help("remove [network], or build with [builder.qemu]"),
            );
        }
        let defaults = schema::Network::default();
        let network = network.map_or(&defaults, Spanned::get_ref);
        let open = network.open.as_ref().filter(|open| open.get_ref().0);
        if let (Some(open), Some(allow)) = (open, network.allow.first()) {
            let what = "`allow` has no effect on an open network";
            let problem = Problem::at(allow.span(), what).and(open.span(), "it is opened here");
            self.report(
                problem.help("remove `open` to keep the network sealed except for `allow`"),
            );
        }
        let choices = [("fail", OnRefused::Fail), ("warn", OnRefused::Warn)];
        Network {
            open: open.is_some(),
            allow: network
                .allow
                .iter()
                .map(|allow| self.allow(&allow.span(), allow.get_ref()))
                .collect(),
            on_refused: self.choice(
                "on_refused",
                network.on_refused.as_ref(),
                &choices,
                OnRefused::Fail,
            ),
        }
    }

    fn allow(&mut self, table: &Span, allow: &schema::Allow) -> AllowedUrl {
        let help = "add `url = \"https://example.org/tool.tar.gz\"`";
        let Some(url) = &allow.url else {
            self.missing(table, "url", help);
            return AllowedUrl {
                url: String::new(),
                sha256: None,
            };
        };
        let text = self.url(url, SCHEMES);
        self.plain_url(url);
        if let (true, Some(digest)) = (text.ends_with('/'), &allow.sha256) {
            let what = "a prefix URL cannot have a digest";
            let problem = Problem::at(url.span(), what).and(digest.span(), "the digest is here");
            self.report(problem.help("give the URL of one file, or omit the digest"));
        }
        AllowedUrl {
            url: text,
            sha256: allow.sha256.as_ref().and_then(|digest| self.digest(digest)),
        }
    }

    fn plain_url(&mut self, url: &Str) {
        let Ok(parsed) = reqwest::Url::parse(url.get_ref()) else {
            return;
        };
        let what = if !parsed.username().is_empty() || parsed.password().is_some() {
            "the URL is recorded in manifests and must not contain a login"
        } else if parsed.fragment().is_some() {
            "the part after `#` is never sent to a server"
        } else if parsed.query().is_some() && parsed.path().ends_with('/') {
            "a prefix URL cannot have a query"
        } else {
            return;
        };
        self.report(Problem::at(url.span(), what));
    }

    /// Refuses a second network card for a sealed guest.
    pub(super) fn one_network(
        &mut self,
        builder: Option<&Spanned<schema::Builder>>,
        plan: &Network,
    ) {
        let Some(qemu) = builder.and_then(|builder| builder.get_ref().qemu.as_ref()) else {
            return;
        };
        let arguments = &qemu.get_ref().extra_args;
        // QEMU accepts its options with one dash or two.
        let adds = |argument: &&String| {
            let name = argument.trim_start_matches('-');
            argument.starts_with('-') && ["netdev", "nic", "net"].contains(&name)
        };
        if let (false, Some(argument)) = (plan.open, arguments.iter().find(adds)) {
            let what =
                format!("{argument:?} in `extra_args` would give the guest a second network card");
            self.report(
                Problem::at(qemu.span(), what)
                    .help("remove it, or add [network] with `open = true`"),
            );
        }
    }
}
