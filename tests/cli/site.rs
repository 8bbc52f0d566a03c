//! A scratch directory with the real binary.

use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

/// The least that a template needs.
pub const IMAGE: &str = "[image]\nname = \"web\"\n";

/// A scratch directory in which karat runs, with an empty environment. Removed when dropped.
pub struct Site {
    dir: TempDir,
    environment: Vec<(String, String)>,
}

impl Site {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a scratch directory can be made");
        Self {
            dir,
            environment: Vec::new(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file, and the directories that it is in.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("it is in the site")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    /// Sets a variable of the environment.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    pub fn run<const N: usize>(&self, args: [&str; N]) -> Output {
        self.run_with(&args)
    }

    pub fn run_with(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_karat"))
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOME", self.path("home"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .output()
            .expect("the binary runs")
    }

    /// Runs karat; the exit code, stdout and stderr as one text, with the site's path replaced.
    pub fn karat<const N: usize>(&self, args: [&str; N]) -> String {
        let output = self.run(args);
        let code = output
            .status
            .code()
            .map_or("signal".to_owned(), |code| code.to_string());
        let mut text = format!("exit {code}\n");
        for (name, bytes) in [("stdout", output.stdout), ("stderr", output.stderr)] {
            if !bytes.is_empty() {
                let said = String::from_utf8(bytes).expect("karat writes UTF-8");
                text.extend(["--- ", name, "\n", &said]);
            }
        }
        text.replace(&self.dir.path().display().to_string(), "[SITE]")
    }

    /// Validates each template (after the least that one needs) and tells what was said about it.
    pub fn validate_each(&self, cases: &[&str]) -> String {
        let said = cases.iter().map(|case| {
            self.write("t.toml", &format!("{IMAGE}{case}"));
            format!("##### {case}\n{}", self.karat(["validate", "t.toml"]))
        });
        said.collect::<Vec<_>>().join("\n")
    }
}
