//! Template file -> [`Plan`]: reads the files, parses the template, checks the host's files that it names.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::{env, fs};

use miette::Diagnostic;
use thiserror::Error;

use super::check::host_path;
use super::make::{MadePlan, PlanInputs, machine_only, make, publish_only};
use super::{Builder, Plan, PublishEc2, SecretSource, Ssh, TemplateSource};
use crate::digest::Digest;
use crate::os::environment;
use crate::template::problem::{Problem, TemplateErrors};
use crate::template::variables::{GivenVariable, SecretOrigin, parse_var_file};
use crate::template::{self, Parsed, files};
use crate::ui::report::Report;

/// Inputs of a plan besides the template's text.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Values of `--var name=value`, in order.
    pub vars: Vec<(String, String)>,
    /// TOML files of `--var-file`, in order.
    pub var_files: Vec<PathBuf>,
    /// Environment variables whose names start with `KARAT_VAR_`.
    pub environment: BTreeMap<String, String>,
    /// Home directory, for paths that start with `~/`.
    pub home: Option<PathBuf>,
    /// Allows an output that exists.
    pub force: bool,
    /// Replacements for paths of host files, by the path in the template.
    pub moved: BTreeMap<String, PathBuf>,
}

impl Inputs {
    /// Takes variables and home directory from the process's environment.
    #[must_use]
    pub fn from_environment() -> Self {
        let text = |value: OsString| value.into_string().ok();
        let variables =
            env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?)));
        Self {
            environment: variables
                .filter(|(name, _)| name.starts_with(environment::VAR_PREFIX))
                .collect(),
            home: env::var_os("HOME")
                .map(PathBuf::from)
                .filter(|home| home.is_absolute()),
            ..Self::default()
        }
    }
}

/// An error while loading a template.
#[derive(Debug, Error, Diagnostic)]
#[expect(
    missing_docs,
    reason = "the messages explain the variants and their fields"
)]
pub enum LoadError {
    #[error("cannot read {}", path.display())]
    #[diagnostic(help(
        "{}",
        advice(
            source,
            "give the path of a template; `karat init` writes one to start from"
        )
    ))]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot read the variables in {}", path.display())]
    #[diagnostic(help(
        "{}",
        advice(
            source,
            "give `--var-file` the path of a TOML file with lines such as `name = \"value\"`"
        )
    ))]
    ReadVariables { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Template(#[from] TemplateErrors),
}

/// Returns advice for text that cannot be read; `path_advice` if the path may be wrong.
fn advice<'a>(error: &io::Error, path_advice: &'a str) -> &'a str {
    match error.kind() {
        io::ErrorKind::InvalidData => "save it as UTF-8 text",
        io::ErrorKind::IsADirectory => "give the path of a file in this directory",
        io::ErrorKind::PermissionDenied => "allow this user to read it",
        io::ErrorKind::FileTooLarge => {
            "karat reads templates of up to 1 MiB; put large contents into files that the template names"
        }
        _ => path_advice,
    }
}

/// Largest template or file of variables. The largest template in `templates/` has 3 KiB.
const MAX_TEXT_BYTES: u64 = 1 << 20;

/// Reads a template or a file of variables, up to [`MAX_TEXT_BYTES`].
fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let mut file = fs::File::open(path)?.take(MAX_TEXT_BYTES + 1);
    let read = file.read_to_string(&mut text);
    if file.limit() == 0 {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    read.map(|_| text)
}

impl LoadError {
    /// Formats the error with its place in the text, its cause and advice.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let reports = self.reports(color);
        let texts: Vec<String> = reports.iter().map(Report::shown).collect();
        texts.join("\n\n")
    }

    /// Returns a report of every problem, with its place in the text, its cause and advice.
    pub(crate) fn reports(&self, color: bool) -> Vec<Report> {
        match self {
            Self::Template(errors) => errors.reports(color),
            Self::Read { source, .. } | Self::ReadVariables { source, .. } => {
                let help = self.help().map(|help| help.to_string());
                let report = Report::new(format!("{self}: {source}"), help.unwrap_or_default());
                vec![report]
            }
        }
    }
}

/// Reads a template and makes its plan. Checks the files that the plan names; reads no secrets and touches no machine.
///
/// # Errors
/// Returns all problems of the template together.
pub fn load(path: &Path, inputs: &Inputs) -> Result<Plan, LoadError> {
    let read = |source| LoadError::Read {
        path: path.to_owned(),
        source,
    };
    let text = read_text(path).map_err(read)?;
    if let Some(template) = template_of_lock(path) {
        let problem = Problem::nowhere("this is a lock file, not a template")
            .help(format!("give the template: {}", template.display()));
        return Err(TemplateErrors::new(path.to_owned(), text, vec![problem]).into());
    }
    let mut given = Vec::new();
    for file in &inputs.var_files {
        given.extend(read_var_file(file)?);
    }
    given.extend(given_variables(
        "--var",
        inputs.vars.iter().map(|(name, value)| (name, value)),
    ));
    let absolute = std::path::absolute(path).map_err(read)?;
    let dir = absolute.parent().unwrap_or(&absolute);
    plan(path, &text, dir, &given, inputs)
        .map_err(|problems| TemplateErrors::new(path.to_owned(), text, problems).into())
}

/// Returns the `[publish]` section of a recorded template. `name` stands for its file in errors.
///
/// # Errors
/// Returns all problems of that section together.
pub fn publication(
    name: &Path,
    text: &str,
    values: &BTreeMap<String, String>,
) -> Result<Option<PublishEc2>, TemplateErrors> {
    let wrong = |problems| TemplateErrors::new(name.to_owned(), text.to_owned(), problems);
    let given: Vec<_> = given_variables("the manifest", values).collect();
    let Parsed {
        template,
        removed,
        mut problems,
        ..
    } = template::parse(text, &BTreeMap::new(), &given).map_err(wrong)?;
    let (publish, found) = publish_only(&template, Path::new("."), &removed);
    problems.extend(found);
    if problems.is_empty() {
        Ok(publish)
    } else {
        Err(wrong(problems))
    }
}

/// Returns builder and login of a recorded template; `None` if this version of karat refuses one of them.
#[must_use]
pub fn recorded_machine(text: &str, values: &BTreeMap<String, String>) -> Option<(Builder, Ssh)> {
    let given: Vec<_> = given_variables("the manifest", values).collect();
    let parsed = template::parse(text, &BTreeMap::new(), &given).ok()?;
    machine_only(&parsed.template, &parsed.removed)
}

/// Returns the template of a lock file, by the name that [`Lock::path_of`](crate::record::lock::Lock::path_of) makes.
#[must_use]
pub fn template_of_lock(path: &Path) -> Option<PathBuf> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".lock.toml")?;
    Some(path.with_file_name(format!("{stem}.toml")))
}

fn plan(
    path: &Path,
    text: &str,
    dir: &Path,
    given: &[GivenVariable],
    inputs: &Inputs,
) -> Result<Plan, Vec<Problem>> {
    let Parsed {
        template,
        variables,
        secrets,
        removed,
        mut problems,
    } = template::parse(text, &inputs.environment, given)?;
    let home = inputs.home.as_deref();
    let secrets = secrets.into_iter().map(|(name, origin)| {
        let source = match origin {
            SecretOrigin::Env(variable) => SecretSource::Env(variable),
            SecretOrigin::File(file) => SecretSource::File(host_path(dir, home, &file)),
        };
        (name, source)
    });
    let MadePlan {
        plan,
        needs,
        problems: found,
    } = make(
        &template,
        PlanInputs {
            source: TemplateSource {
                path: path.to_owned(),
                digest: Digest::of(text.as_bytes()),
                text: text.to_owned(),
            },
            variables,
            secrets: secrets.collect(),
            dir,
            home,
            moved: &inputs.moved,
            removed: &removed,
        },
    );
    problems.extend(found);
    let missing = needs
        .iter()
        .filter_map(|need| files::check(need, inputs.force));
    problems.extend(missing);
    plan.filter(|_| problems.is_empty()).ok_or(problems)
}

fn given_variables<'a>(
    origin: &'static str,
    values: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> impl Iterator<Item = GivenVariable> {
    values.into_iter().map(move |(name, value)| GivenVariable {
        origin: origin.to_owned(),
        name: name.clone(),
        value: value.clone(),
    })
}

fn read_var_file(path: &Path) -> Result<Vec<GivenVariable>, LoadError> {
    let text = read_text(path).map_err(|source| LoadError::ReadVariables {
        path: path.to_owned(),
        source,
    })?;
    parse_var_file(path, &text)
        .map_err(|problems| TemplateErrors::new(path.to_owned(), text, problems).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEMPLATE: &str = r#"
[image]
name = "web"
[variables.a]
default = "{{ b }}"
[variables.b]
default = 2
[secrets.s]
env = "S"
[builder.qemu]
memory = "1GiB"
cpus = "{{ b }}"
[ssh.jump]
address = "é"
[packages.apt]
install = ["{{ a }}"]
[[files]]
content = """{{ s }}
"""
destination = "/x"
[[provision]]
shell = { inline = ["{{ s }}"], environment = { A = "{{ a }}" } }
[[provision]]
pause = { duration = "1s" }
"#;

    fn problems(text: &str) -> Vec<Problem> {
        let planned = plan(
            Path::new("t.toml"),
            text,
            Path::new("/nowhere"),
            &[],
            &Inputs::default(),
        );
        planned.err().unwrap_or_default()
    }

    #[test]
    fn a_value_that_a_hint_gives_is_valid() {
        for (before, wrong, after) in [
            ("[builder.qemu]\nmemory = ", "1024", ""),
            ("[builder.qemu]\nmemory = ", "\"512\"", ""),
            ("[builder.qemu]\nmemory = ", "\"-1GiB\"", ""),
            ("[builder.qemu]\nmemory = ", "\"1 gib\"", ""),
            ("[builder.qemu]\nmemory = ", "\"1.5 GB\"", ""),
            ("[builder.qemu]\nmemory = ", "\"plenty\"", ""),
            ("[builder.qemu]\ndisk_size = ", "40960", ""),
            ("[builder.qemu]\ncpus = ", "2.5", ""),
            (
                "[builder.ec2]\nvolume_size = ",
                "8",
                "\n[base.ami]\nid = \"ami-0123456789abcdef0\"",
            ),
            (
                "[builder.ec2]\nvolume_size = ",
                "\"1500MiB\"",
                "\n[base.ami]\nid = \"ami-0123456789abcdef0\"",
            ),
            ("[policy]\nmax_db_age = ", "\"1 week\"", ""),
            ("[ssh]\ntimeout = ", "\"5 minutes\"", ""),
            ("[ssh]\ntimeout = ", "300", ""),
            ("[[provision]]\npause = { duration = ", "\"30m1h\"", " }"),
            ("[[provision]]\npause = { duration = ", "\"a while\"", " }"),
            (
                "[[files]]\ncontent = \"\"\ndestination = \"/x\"\nmode = ",
                "0644",
                "",
            ),
            (
                "[[files]]\ncontent = \"\"\ndestination = \"/x\"\nmode = ",
                "\"rw-r--r--\"",
                "",
            ),
            ("[[provision]]\nshell = ", "\"true\"", ""),
            ("[[provision]]\nshell = ", "[\"true\", \"false\"]", ""),
            ("[[provision]]\nshell = { inline = ", "\"true\"", " }"),
            ("", "[provision]", "\nreboot = {}"),
            ("[packages.apt]\ninstall = ", "\"curl\"", ""),
            ("[[test]]\ncommand = ", "[\"test\", \"-e\", \"/x\"]", ""),
            (
                "[network]\nallow = ",
                "{ url = \"https://example.org/\" }",
                "",
            ),
        ] {
            let template = |value: &str| format!("[image]\nname = \"a\"\n{before}{value}{after}\n");
            let found = problems(&template(wrong));
            let help = found
                .iter()
                .find_map(|problem| problem.help.as_deref()?.split_once("write "));
            let Some((_, advice)) = help else {
                panic!("no value for {before}{wrong}: {found:?}")
            };
            let advice = advice.rsplit(", as in ").next().unwrap_or(advice);
            let advice = advice.split(" or ").next().unwrap_or(advice);
            assert_eq!(problems(&template(advice)), [], "{before}{advice}");
        }
    }

    proptest! {
        /// Any damaged text gives a plan or printable problems.
        #[test]
        fn a_damaged_template_never_panics(cut in 0..TEMPLATE.len(), length in 0..40_usize, put in "[\\[\\]{}=\"a\n.é]{0,3}") {
            let end = (cut + length).min(TEMPLATE.len());
            if TEMPLATE.is_char_boundary(cut) && TEMPLATE.is_char_boundary(end) {
                let text = format!("{}{put}{}", &TEMPLATE[..cut], &TEMPLATE[end..]);
                let path = Path::new("t.toml");
                match plan(path, &text, Path::new("/nowhere"), &[], &Inputs::default()) {
                    Ok(plan) => prop_assert!(serde_json::to_string(&plan.relative()).is_ok()),
                    Err(problems) => {
                        prop_assert!(!problems.is_empty());
                        let shown = TemplateErrors::new(path.to_owned(), text, problems).render(true);
                        prop_assert!(shown.contains("error"));
                    }
                }
            }
        }
    }
}
