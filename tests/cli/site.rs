//! A site with transcripts of karat's runs.

use std::ops::{Deref, DerefMut};
use std::process::Output;

use crate::support::site;

/// The smallest start of a template.
pub const IMAGE: &str = "[image]\nname = \"web\"\n";

/// A site whose commands see an empty environment, except for `HOME`.
pub struct Site(site::Site);

impl Site {
    pub fn new() -> Self {
        let mut site = site::Site::new();
        site.set("HOME", site.path("home"));
        Self(site)
    }

    pub fn run<const N: usize>(&self, args: [&str; N]) -> Output {
        self.run_with(&args)
    }

    pub fn run_with(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the binary runs")
    }

    /// Runs karat; returns exit code, stdout and stderr as one text.
    pub fn karat<const N: usize>(&self, args: [&str; N]) -> String {
        self.transcript(&args)
    }

    /// As [`Self::karat`], for a list of any length.
    pub fn transcript(&self, args: &[&str]) -> String {
        let output = self.run_with(args);
        let code = output
            .status
            .code()
            .map_or("signal".to_owned(), |code| code.to_string());
        let mut text = format!("exit {code}\n");
        for (name, said) in ["stdout", "stderr"].into_iter().zip(site::texts(output)) {
            if !said.is_empty() {
                text.extend(["--- ", name, "\n", &said]);
            }
        }
        // The name of a build's log has its time and id.
        let log = regex::Regex::new(
            r"\d{8}T\d{6}Z-(\S+)-[0-9a-f]{8}\.log\.zst \(`karat logs [0-9a-f]{8}`",
        )
        .unwrap();
        let text = log.replace_all(&text, "[TIME]-$1-[BUILD].log.zst (`karat logs [BUILD]`");
        self.hide_root(&text)
    }

    /// Validates each template, after [`IMAGE`]; returns the transcripts.
    pub fn validate_each(&self, cases: &[&str]) -> String {
        let said = cases.iter().map(|case| {
            self.write("t.toml", &format!("{IMAGE}{case}"));
            format!("##### {case}\n{}", self.karat(["validate", "t.toml"]))
        });
        said.collect::<Vec<_>>().join("\n")
    }
}

impl Deref for Site {
    type Target = site::Site;
    fn deref(&self) -> &site::Site {
        &self.0
    }
}

impl DerefMut for Site {
    fn deref_mut(&mut self) -> &mut site::Site {
        &mut self.0
    }
}
