//! Checks `[[files]]`, steps and tests.

use std::collections::BTreeMap;
use std::time::Duration;

use super::check::{Checker, texts};
use super::{
    Action, Download, LeftOutStep, Place, Script, Shell, Step, Test, Upload, UploadSource,
};
use crate::secret::Text;
use crate::size::{DurationUse, show_duration};
use crate::template::files::{NeedKind, is_url};
use crate::template::interpolate::text;
use crate::template::problem::{Problem, Span, did_you_mean};
use crate::template::scalar::Scalar;
use crate::template::schema::{self, Str};
use crate::template::spanned::Spanned;

const STEP_TIMEOUT: Duration = Duration::from_mins(30);
const TEST_TIMEOUT: Duration = Duration::from_mins(2);
const BUILDERS: [&str; 3] = ["qemu", "host", "ec2"];
/// A step's name is its command, cut to this length.
const MAX_NAME_CHARS: usize = 60;

impl Checker<'_> {
    /// Checks all steps; returns those that run on `builder`, and the others.
    pub(super) fn steps(
        &mut self,
        steps: &[Spanned<schema::Step>],
        builder: &str,
    ) -> (Vec<Step>, Vec<LeftOutStep>) {
        let (mut running, mut left_out) = (Vec::new(), Vec::new());
        for step in steps {
            let table = step.get_ref();
            let runs = self.runs_on(table, builder);
            match self.step(&step.span(), table) {
                Some(step) if runs => running.push(step),
                Some(Step { name, .. }) => left_out.push(LeftOutStep {
                    name,
                    reason: condition(table),
                }),
                None => {}
            }
        }
        (running, left_out)
    }

    fn step(&mut self, table: &Span, step: &schema::Step) -> Option<Step> {
        let timeout = self.timeout(step.timeout.as_ref(), STEP_TIMEOUT);
        let pause_before = self
            .duration(step.pause_before.as_ref(), DurationUse::Wait)
            .unwrap_or_default();
        let creates = self.creates(&step.creates);
        let action = self.action(table, step)?;
        let name = match &step.name {
            Some(name) => self.filled("name", name, "omit it to derive the name from the step"),
            None => self.name_of(&action),
        };
        Some(Step {
            name,
            action,
            timeout,
            retries: step.retries.map_or(0, |retries| retries.0),
            pause_before,
            creates,
            place: Place {
                table: table.clone(),
                inline: inline_spans(step),
            },
        })
    }

    fn action(&mut self, table: &Span, step: &schema::Step) -> Option<Action> {
        let schema::Step {
            shell,
            file,
            download,
            reboot,
            pause,
            ..
        } = step;
        let kinds = [
            ("shell", shell.as_ref().map(Spanned::span)),
            ("file", file.as_ref().map(Spanned::span)),
            ("download", download.as_ref().map(Spanned::span)),
            ("reboot", reboot.as_ref().map(Spanned::span)),
            ("pause", pause.as_ref().map(Spanned::span)),
        ];
        self.one_kind(table, "the step", &kinds)?;
        // A second kind is already reported. Check both, so that removing one brings up no new errors.
        let shell = shell
            .as_ref()
            .and_then(|shell| self.shell(&shell.span(), shell.get_ref()))
            .map(Action::Shell);
        let file = file
            .as_ref()
            .and_then(|file| self.upload(&file.span(), file.get_ref()))
            .map(Action::File);
        let download = download
            .as_ref()
            .and_then(|download| self.download(&download.span(), download.get_ref()))
            .map(Action::Download);
        let reboot = reboot.as_ref().map(|_| Action::Reboot);
        let pause = pause.as_ref().and_then(|pause| {
            let duration = &pause.get_ref().duration;
            if duration.is_none() {
                self.missing(&pause.span(), "duration", "add `duration = \"10s\"`");
            }
            self.duration(duration.as_ref(), DurationUse::Wait)
                .map(Action::Pause)
        });
        shell.or(file).or(download).or(reboot).or(pause)
    }

    fn shell(&mut self, table: &Span, shell: &schema::Shell) -> Option<Shell> {
        let script = self.script(table, shell);
        let environment = self.environment(&shell.environment);
        let working_directory = shell
            .working_directory
            .as_ref()
            .map(|path| self.guest_path(path));
        let user = self.login(shell.user.as_ref());
        Some(Shell {
            script: script?,
            environment,
            working_directory,
            user,
            exit_codes: self.exit_codes(shell),
            expect_disconnect: shell.expect_disconnect.is_some_and(|flag| flag.0),
        })
    }

    fn script(&mut self, table: &Span, shell: &schema::Shell) -> Option<Script> {
        if let (Some(script), Some(inline)) = (&shell.script, &shell.inline) {
            let what = "`script` and `inline` exclude each other";
            self.report(Problem::at(inline.span(), what).and(script.span(), "`script` is here"));
        }
        if let Some(script) = &shell.script {
            return Some(Script::Path(self.image_source(script, NeedKind::Script)));
        }
        let Some(inline) = &shell.inline else {
            if !self.removed.has(table, "script") && !self.removed.has(table, "inline") {
                let what = "a shell step needs `script` or `inline`";
                self.report(
                    Problem::at(table.clone(), what)
                        .help("add `inline = [\"true\"]` or `script = \"setup.sh\"`"),
                );
            }
            return None;
        };
        if inline
            .get_ref()
            .iter()
            .all(|line| line.get_ref().trim().is_empty())
        {
            self.report(
                Problem::at(inline.span(), "`inline` is empty")
                    .help("write at least one command, or remove the step"),
            );
        }
        for line in inline
            .get_ref()
            .iter()
            .filter(|line| line.get_ref().contains('\0'))
        {
            self.report(Problem::at(
                line.span(),
                "a command contains a NUL character",
            ));
        }
        let lines = inline.get_ref().iter().map(|line| text(line.get_ref()));
        Some(Script::Inline(lines.collect()))
    }

    fn environment(
        &mut self,
        environment: &BTreeMap<Str, Spanned<Scalar>>,
    ) -> BTreeMap<String, Text> {
        let mut values = BTreeMap::new();
        for (name, value) in environment {
            let key = name.get_ref();
            let valid = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !valid {
                let what = format!("invalid environment variable name {key:?}");
                let help = "names consist of A-Z, a-z, 0-9 and _, and do not start with a digit";
                self.report(Problem::at(name.span(), what).help(help));
            }
            if value.get_ref().text.contains('\0') {
                let what = "the value of an environment variable cannot contain a NUL character";
                self.report(Problem::at(value.span(), what));
            }
            values.insert(key.clone(), text(&value.get_ref().text));
        }
        values
    }

    fn exit_codes(&mut self, shell: &schema::Shell) -> Vec<u32> {
        let Some(codes) = &shell.exit_codes else {
            return vec![0];
        };
        if codes.get_ref().is_empty() {
            self.report(
                Problem::at(
                    codes.span(),
                    "an empty list of exit codes lets no run succeed",
                )
                .help("omit it for [0]"),
            );
        }
        for code in codes.get_ref().iter().filter(|code| code.get_ref().0 > 255) {
            self.report(Problem::at(code.span(), "exit codes are 0 to 255"));
        }
        codes
            .get_ref()
            .iter()
            .map(|code| code.get_ref().0)
            .collect()
    }

    /// Checks a `[[files]]` table or a `file` step.
    pub(super) fn upload(&mut self, table: &Span, file: &schema::File) -> Option<Upload> {
        let kinds = [
            ("source", file.source.as_ref().map(Spanned::span)),
            ("content", file.content.as_ref().map(Spanned::span)),
            ("url", file.url.as_ref().map(Spanned::span)),
        ];
        let kind = self.one_kind(table, "the file", &kinds);
        let source = if let Some(source) = &file.source {
            Some(UploadSource::Path(
                self.image_source(source, NeedKind::FileOrDirectory),
            ))
        } else if let Some(content) = &file.content {
            Some(UploadSource::Content(text(content.get_ref())))
        } else if let Some(url) = &file.url {
            self.upload_url(table, url, file.sha256.as_ref())
        } else {
            None
        };
        if let (Some(digest), Some("source" | "content")) = (&file.sha256, kind) {
            self.report(Problem::at(digest.span(), "`sha256` requires `url`"));
        }
        let destination = if let Some(path) = &file.destination {
            self.guest_path(path)
        } else {
            self.missing(table, "destination", "add `destination = \"/etc/...\"`");
            String::new()
        };
        let named = !destination.ends_with('/');
        if let (Some("content"), false, Some(path)) = (kind, named, &file.destination) {
            let what = "`content` has no file name, so it cannot go into a directory";
            self.report(Problem::at(path.span(), what).help("give the full path of the file"));
        }
        let owner = match &file.owner {
            Some(owner) => self.user(owner, true),
            None => "root:root".to_owned(),
        };
        let mode = file.mode.as_ref().and_then(|mode| self.mode(mode));
        Some(Upload {
            source: source?,
            destination,
            mode,
            owner,
            place: Place {
                table: table.clone(),
                inline: Vec::new(),
            },
        })
    }

    fn upload_url(
        &mut self,
        table: &Span,
        url: &Str,
        sha256: Option<&Str>,
    ) -> Option<UploadSource> {
        let url = self.url(url, &["https", "http"]);
        let Some(sha256) = sha256 else {
            self.missing(table, "sha256", "add the expected digest of the download");
            return None;
        };
        let sha256 = self.digest(sha256)?;
        Some(UploadSource::Url { url, sha256 })
    }

    fn mode(&mut self, mode: &Str) -> Option<u32> {
        let text = mode.get_ref();
        let bits = u32::from_str_radix(text, 8)
            .ok()
            .filter(|_| matches!(text.len(), 3 | 4) && text.bytes().all(|b| b.is_ascii_digit()));
        if bits.is_none() {
            self.report(
                Problem::at(
                    mode.span(),
                    format!("invalid mode {text:?}: expected three or four octal digits"),
                )
                .help("write \"0644\" or \"0755\""),
            );
        }
        bits
    }

    fn download(&mut self, table: &Span, download: &schema::Download) -> Option<Download> {
        let sources: &[Str] = match (&download.source, &download.sources) {
            (Some(source), Some(sources)) => {
                let what = "`source` and `sources` exclude each other";
                self.report(
                    Problem::at(sources.span(), what).and(source.span(), "`source` is here"),
                );
                std::slice::from_ref(source)
            }
            (Some(source), None) => std::slice::from_ref(source),
            (None, Some(sources)) => {
                if sources.get_ref().is_empty() {
                    self.report(Problem::at(sources.span(), "`sources` is empty"));
                }
                sources.get_ref()
            }
            (None, None) => {
                if !self.removed.has(table, "sources") {
                    self.missing(table, "source", "give the path to copy out of the guest");
                }
                &[]
            }
        };
        let sources = sources
            .iter()
            .map(|path| self.download_source(path))
            .collect();
        let Some(destination) = &download.destination else {
            self.missing(table, "destination", "add `destination = \"out/\"`");
            return None;
        };
        Some(Download {
            sources,
            destination: self.path(destination),
        })
    }

    fn download_source(&mut self, path: &Str) -> String {
        if is_url(path.get_ref()) {
            let what = format!(
                "{:?} is a URL, and `download` copies out of the guest",
                path.get_ref()
            );
            let help = "fetch it into the guest with [[files]], `url` and `sha256`";
            self.report(Problem::at(path.span(), what).help(help));
            return path.get_ref().clone();
        }
        self.guest_path(path)
    }

    fn runs_on(&mut self, step: &schema::Step, builder: &str) -> bool {
        let lists = [&step.only, &step.except];
        for name in lists.into_iter().flatten().flatten() {
            if !BUILDERS.contains(&name.get_ref().as_str()) {
                let help = did_you_mean(name.get_ref(), BUILDERS)
                    .unwrap_or_else(|| format!("builders are: {}", BUILDERS.join(", ")));
                let what = format!("unknown builder {:?}", name.get_ref());
                self.report(Problem::at(name.span(), what).help(help));
            }
        }
        is_for(step, builder)
    }

    fn name_of(&self, action: &Action) -> String {
        match action {
            Action::Shell(shell) => match &shell.script {
                Script::Path(path) => {
                    format!(
                        "shell {}",
                        path.strip_prefix(self.dir).unwrap_or(path).display()
                    )
                }
                Script::Inline(lines) => lines
                    .iter()
                    .map(|line| short(&line.to_string()))
                    .find(|line| !line.is_empty())
                    .unwrap_or_else(|| "shell".to_owned()),
            },
            Action::File(upload) => format!("file {}", upload.destination),
            Action::Download(download) => format!("download {}", download.sources.join(" ")),
            Action::Reboot => "reboot".to_owned(),
            Action::Pause(duration) => format!("pause {}", show_duration(*duration)),
        }
    }

    pub(super) fn test(&mut self, table: &Span, test: &schema::Test) -> Test {
        let help = "write the command that must succeed";
        let command = self.required(table, "command", test.command.as_ref(), help);
        let name = test.name.as_ref();
        Test {
            name: name.map_or_else(|| short(&command), |name| name.get_ref().clone()),
            timeout: self.timeout(test.timeout.as_ref(), TEST_TIMEOUT),
            command,
            place: Place {
                table: table.clone(),
                inline: test.command.iter().map(Spanned::span).collect(),
            },
        }
    }
}

/// Returns the places of the strings of `inline`.
fn inline_spans(step: &schema::Step) -> Vec<Span> {
    let shell = step.shell.as_ref().map(Spanned::get_ref);
    let inline = shell.and_then(|shell| shell.inline.as_ref());
    let strings = inline.into_iter().flat_map(Spanned::get_ref);
    strings.map(Spanned::span).collect()
}

/// Returns true if `only` and `except` allow a step for a builder.
fn is_for(step: &schema::Step, builder: &str) -> bool {
    let names = |list: &[Str]| list.iter().any(|name| name.get_ref() == builder);
    step.only.as_deref().is_none_or(names) && !step.except.as_deref().is_some_and(names)
}

/// Shows `only` and `except` of a step.
fn condition(step: &schema::Step) -> String {
    let lists = [("only", &step.only), ("except", &step.except)];
    let lists = lists.into_iter().filter_map(|(key, list)| {
        let names = texts(list.as_deref()?).join(", ");
        Some(format!("{key} {names}"))
    });
    lists.collect::<Vec<_>>().join(", ")
}

/// Returns the first non-empty line, shortened to a name.
fn short(text: &str) -> String {
    let mut lines = text.lines().map(str::trim);
    let line = lines.find(|line| !line.is_empty()).unwrap_or_default();
    match line.char_indices().nth(MAX_NAME_CHARS) {
        Some((end, _)) => format!("{}...", line[..end].trim_end()),
        None => line.to_owned(),
    }
}
