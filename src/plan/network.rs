//! `[network]`: what a guest may reach while it is provisioned.

use serde::Serialize;
use toml::Spanned;

use super::Builder;
use super::check::Checker;
use crate::digest::Digest;
use crate::template::problem::{Problem, Span};
use crate::template::schema::{self, Str};

const SCHEMES: &[&str] = &["https", "http"];
/// `[network]`
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Network {
    /// The whole network, as the host has it. Default false: sealed.
    pub open: bool,
    /// What a sealed guest may get through the host.
    pub allow: Vec<Allow>,
    /// What becomes of a step that asked for anything else. Default: it fails.
    pub on_refused: OnRefused,
}

/// One thing that a sealed guest may get.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Allow {
    /// The URL; one that ends with `/` stands for all below it.
    pub url: String,
    /// What it must hash to; the host fetches it before the guest is launched.
    pub sha256: Option<Digest>,
}

/// What becomes of a step that asked for something that is not allowed, and came to its end all the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnRefused {
    /// It fails: what it asked for is missing in the image.
    #[default]
    Fail,
    /// A warning is enough.
    Warn,
}

impl Checker<'_> {
    /// `[network]`, which a builder has that makes its own machines.
    pub(super) fn network(
        &mut self,
        network: Option<&Spanned<schema::Network>>,
        builder: &Builder,
    ) -> Network {
        if let (Some(network), Builder::Host(_)) = (network, builder) {
            let what = "a host that was there before has its own network";
            self.say(
                Problem::at(network.span(), what)
                    .help("remove [network], or build with [builder.qemu]"),
            );
        }
        let defaults = schema::Network::default();
        let network = network.map_or(&defaults, Spanned::get_ref);
        let open = network.open.as_ref().filter(|open| open.get_ref().0);
        if let (Some(open), Some(allow)) = (open, network.allow.first()) {
            let what = "`allow` says nothing about a network that is open";
            let problem = Problem::at(allow.span(), what).and(open.span(), "it is opened here");
            self.say(problem.help("keep `allow`, and the network stays sealed but for that"));
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

    fn allow(&mut self, table: &Span, allow: &schema::Allow) -> Allow {
        let help = "add `url = \"https://example.org/tool.tar.gz\"`";
        let Some(url) = &allow.url else {
            self.missing(table, "url", help);
            return Allow {
                url: String::new(),
                sha256: None,
            };
        };
        let text = self.url(url, SCHEMES);
        self.plain_url(url);
        if let (true, Some(digest)) = (text.ends_with('/'), &allow.sha256) {
            let what = "a digest is of one file, and this URL stands for all below it";
            let problem = Problem::at(url.span(), what).and(digest.span(), "the digest is here");
            self.say(problem.help("name the file, or leave the digest out"));
        }
        Allow {
            url: text,
            sha256: allow.sha256.as_ref().and_then(|digest| self.digest(digest)),
        }
    }

    fn plain_url(&mut self, url: &Str) {
        let Ok(parsed) = reqwest::Url::parse(url.get_ref()) else {
            return;
        };
        let what = if !parsed.username().is_empty() || parsed.password().is_some() {
            "a login has no place in a URL that manifests record"
        } else if parsed.fragment().is_some() {
            "what is behind `#` is never sent to a server"
        } else if parsed.query().is_some() && parsed.path().ends_with('/') {
            "a URL that stands for all below it cannot have a query"
        } else {
            return;
        };
        self.say(Problem::at(url.span(), what));
    }

    /// A sealed guest has one network card, whose other end karat holds.
    pub(super) fn one_network(
        &mut self,
        builder: Option<&Spanned<schema::Builder>>,
        plan: &Network,
    ) {
        let Some(qemu) = builder.and_then(|builder| builder.get_ref().qemu.as_ref()) else {
            return;
        };
        let arguments = &qemu.get_ref().extra_args;
        // QEMU takes its options with one dash or with two.
        let adds = |argument: &&String| {
            let name = argument.trim_start_matches('-');
            argument.starts_with('-') && ["netdev", "nic", "net"].contains(&name)
        };
        if let (false, Some(argument)) = (plan.open, arguments.iter().find(adds)) {
            let what =
                format!("{argument:?} in `extra_args` would give the guest a second network");
            self.say(
                Problem::at(qemu.span(), what)
                    .help("remove it, or add [network] with `open = true`"),
            );
        }
    }
}
