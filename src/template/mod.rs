//! TOML text -> [`Plan`]: variables, interpolation, and errors that point at the key.
//!
//! A string value may hold `{{ name }}`, the value of a variable; `{{{{` is a literal `{{`. A secret may be named the
//! same way where it does not end up in anything that is shown or recorded. A variable's value comes from its
//! `default`, `KARAT_VAR_name`, `--var-file` or `--var`; the later wins.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, io};

use thiserror::Error;
use toml::de::{DeTable, DeValue};

use crate::digest::Digest;
use crate::plan::check::host_path;
use crate::plan::make::{Given as PlanInputs, Made, make, publish_only};
use crate::plan::{Plan, PublishEc2, SecretSource, Source};
use problem::{Problem, TemplateErrors};
use tree::{Removed, Tree};
use variables::{Given, Origin, Scope};

mod files;
pub(crate) mod interpolate;
pub(crate) mod problem;
pub(crate) mod scalar;
pub(crate) mod schema;
pub(crate) mod tree;
mod variables;

/// What a template is loaded with, besides its text.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// `--var name=value`, in order.
    pub vars: Vec<(String, String)>,
    /// `--var-file`, in order: TOML files of `name = value`.
    pub var_files: Vec<PathBuf>,
    /// Environment variables whose names start with `KARAT_VAR_`.
    pub environment: BTreeMap<String, String>,
    /// Where `~/` leads.
    pub home: Option<PathBuf>,
    /// An output that exists is not an error.
    pub force: bool,
    /// Where files of the host are that are not where the template says, by the path that it has.
    pub moved: BTreeMap<String, PathBuf>,
}

impl Inputs {
    /// Inputs with what the process's environment says.
    #[must_use]
    pub fn from_environment() -> Self {
        let text = |value: OsString| value.into_string().ok();
        let variables =
            env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?)));
        Self {
            environment: variables
                .filter(|(name, _)| name.starts_with("KARAT_VAR_"))
                .collect(),
            home: env::var_os("HOME")
                .map(PathBuf::from)
                .filter(|home| home.is_absolute()),
            ..Self::default()
        }
    }
}

/// Why there is no plan.
#[derive(Debug, Error, miette::Diagnostic)]
pub enum LoadError {
    /// A file that was named as an argument.
    #[error("cannot read {}", path.display())]
    #[diagnostic(help("give the path of a template; `karat init` writes one to start from"))]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A file of variables that was named as an argument.
    #[error("cannot read the variables in {}", path.display())]
    #[diagnostic(help(
        "give `--var-file` the path of a TOML file with lines such as `name = \"value\"`"
    ))]
    ReadVariables {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// What is in it.
    #[error(transparent)]
    Template(#[from] TemplateErrors),
}

impl LoadError {
    /// The error as the user sees it: what, where, why and how to mend it.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        match self {
            Self::Template(errors) => errors.render(color),
            Self::Read { source, .. } | Self::ReadVariables { source, .. } => {
                let help = miette::Diagnostic::help(self).map(|help| format!("\n  help: {help}"));
                format!("error: {self}: {source}{}", help.unwrap_or_default())
            }
        }
    }
}

/// Reads a template and makes its plan. Looks at files that the plan names; reads no secret and touches no machine.
///
/// # Errors
/// Everything that is wrong with the template, together.
pub fn load(path: &Path, inputs: &Inputs) -> Result<Plan, LoadError> {
    let read = |source| LoadError::Read {
        path: path.to_owned(),
        source,
    };
    let text = std::fs::read_to_string(path).map_err(read)?;
    let mut given = Vec::new();
    for file in &inputs.var_files {
        given.extend(read_var_file(file)?);
    }
    given.extend(inputs.vars.iter().map(|(name, value)| Given {
        origin: "--var".to_owned(),
        name: name.clone(),
        value: value.clone(),
    }));
    let absolute = std::path::absolute(path).map_err(read)?;
    let dir = absolute.parent().unwrap_or(&absolute);
    plan(path, &text, dir, &given, inputs)
        .map_err(|problems| TemplateErrors::new(path.to_owned(), text, problems).into())
}

/// What a template that was recorded says of publishing. `name` stands for its file in errors.
///
/// # Errors
/// Everything that is wrong with that part, together.
pub fn publication(
    name: &Path,
    text: &str,
    values: &BTreeMap<String, String>,
) -> Result<Option<PublishEc2>, TemplateErrors> {
    let wrong = |problems| TemplateErrors::new(name.to_owned(), text.to_owned(), problems);
    let given = values.iter().map(|(name, value)| Given {
        origin: "the manifest".to_owned(),
        name: name.clone(),
        value: value.clone(),
    });
    let given: Vec<_> = given.collect();
    let mut problems = Vec::new();
    let mut removed = Removed::default();
    let mut tree = tree::parse(text).map_err(wrong)?;
    let inputs = Inputs::default();
    let (scope, _) = preamble(
        text,
        &mut tree,
        &inputs,
        &given,
        &mut removed,
        &mut problems,
    );
    interpolate::interpolate(text, &mut tree, &scope, &mut removed, &mut problems);
    let template: Option<schema::Template> = tree::read(&mut tree, &mut removed, &mut problems);
    let template = template.unwrap_or_default();
    let (publish, found) = publish_only(&template, Path::new("."), &removed);
    problems.extend(found);
    if problems.is_empty() {
        Ok(publish)
    } else {
        Err(wrong(problems))
    }
}

/// Text -> plan.
fn plan(
    path: &Path,
    text: &str,
    dir: &Path,
    given: &[Given],
    inputs: &Inputs,
) -> Result<Plan, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut removed = Removed::default();
    let mut tree = tree::parse(text)?;
    let (scope, secrets) = preamble(text, &mut tree, inputs, given, &mut removed, &mut problems);
    interpolate::interpolate(text, &mut tree, &scope, &mut removed, &mut problems);
    let template: Option<schema::Template> = tree::read(&mut tree, &mut removed, &mut problems);
    let home = inputs.home.as_deref();
    let secrets = secrets.into_iter().map(|(name, origin)| {
        let source = match origin {
            Origin::Env(variable) => SecretSource::Env(variable),
            Origin::File(file) => SecretSource::File(host_path(dir, home, file.get_ref())),
        };
        (name, source)
    });
    let made = make(
        &template.unwrap_or_default(),
        PlanInputs {
            source: Source {
                path: path.to_owned(),
                digest: Digest::of(text.as_bytes()),
                text: text.to_owned(),
            },
            variables: scope.values,
            secrets: secrets.collect(),
            dir,
            home,
            moved: &inputs.moved,
            removed: &removed,
        },
    );
    let Made {
        plan,
        needs,
        problems: found,
    } = made;
    problems.extend(found);
    problems.extend(
        needs
            .iter()
            .filter_map(|need| files::check(need, inputs.force)),
    );
    plan.filter(|_| problems.is_empty()).ok_or(problems)
}

/// Takes `[variables]` and `[secrets]` out of the tree and resolves them.
fn preamble(
    text: &str,
    tree: &mut Tree<'_>,
    inputs: &Inputs,
    given: &[Given],
    removed: &mut Removed,
    problems: &mut Vec<Problem>,
) -> (Scope, BTreeMap<String, Origin>) {
    let mut head = DeTable::new();
    for name in ["variables", "secrets"] {
        head.extend(tree.get_mut().remove_entry(name));
    }
    let mut head = Tree::new(tree.span(), head);
    let written = names(&head);
    let preamble: schema::Preamble = tree::read(&mut head, removed, problems).unwrap_or_default();
    // Names whose tables were wrong: that is said, and their uses are not called undefined as well.
    let mut broken = written;
    for (name, variable) in &preamble.variables {
        if !removed.has(&variable.span(), "default") {
            broken.remove(name.get_ref());
        }
    }
    for name in preamble.secrets.keys() {
        broken.remove(name.get_ref());
    }
    let scope = variables::resolve(
        text,
        &preamble,
        broken,
        &inputs.environment,
        given,
        problems,
    );
    let origins = variables::secret_origins(text, &preamble.secrets, &scope, removed, problems);
    (scope, origins)
}

fn names(head: &Tree<'_>) -> BTreeSet<String> {
    let tables = head
        .get_ref()
        .iter()
        .filter_map(|(_, value)| value.get_ref().as_table());
    tables
        .flat_map(|table| table.iter().map(|(name, _)| name.get_ref().to_string()))
        .collect()
}

/// `name = value` lines of a `--var-file`.
fn read_var_file(path: &Path) -> Result<Vec<Given>, LoadError> {
    let text = std::fs::read_to_string(path).map_err(|source| LoadError::ReadVariables {
        path: path.to_owned(),
        source,
    })?;
    let wrong = |problems| TemplateErrors::new(path.to_owned(), text.clone(), problems);
    let tree = tree::parse(&text).map_err(wrong)?;
    let (mut given, mut problems) = (Vec::new(), Vec::new());
    for (name, value) in tree.get_ref() {
        let value_text = match value.get_ref() {
            DeValue::String(string) => string.to_string(),
            DeValue::Boolean(flag) => flag.to_string(),
            DeValue::Integer(number) => number.to_string(),
            _ => {
                let what = "the value of a variable is a string, a whole number or a boolean";
                problems.push(Problem::at(value.span(), what).help("put it in quotes"));
                continue;
            }
        };
        given.push(Given {
            origin: path.display().to_string(),
            name: name.get_ref().to_string(),
            value: value_text,
        });
    }
    if problems.is_empty() {
        Ok(given)
    } else {
        Err(wrong(problems).into())
    }
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

    proptest! {
        /// Whatever is missing or doubled, there is a plan or there are problems that can be shown.
        #[test]
        fn a_damaged_template_never_panics(cut in 0..TEMPLATE.len(), length in 0..40_usize, put in "[\\[\\]{}=\"a\n.é]{0,3}") {
            let end = (cut + length).min(TEMPLATE.len());
            if TEMPLATE.is_char_boundary(cut) && TEMPLATE.is_char_boundary(end) {
                let text = format!("{}{put}{}", &TEMPLATE[..cut], &TEMPLATE[end..]);
                let path = Path::new("t.toml");
                match plan(path, &text, Path::new("/nowhere"), &[], &Inputs::default()) {
                    Ok(plan) => prop_assert!(plan.to_json().is_ok()),
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
