//! Template text -> typed tables: variables, interpolation, and errors that point at the key.
//!
//! A string value may contain `{{ name }}`, which stands for the value of a variable; `{{{{` is a literal `{{`. Secrets are
//! referenced the same way where their value is neither shown nor recorded. A variable's value comes from its `default`,
//! `KARAT_VAR_name`, `--var-file` or `--var`; the later wins.

use std::collections::{BTreeMap, BTreeSet};

use toml::de::DeTable;

use problem::Problem;
use tree::{Removed, Tree};
use variables::{GivenVariable, Scope, SecretOrigin};

pub(crate) mod files;
mod form;
pub(crate) mod interpolate;
mod key_place;
pub(crate) mod language;
pub(crate) mod packer;
pub(crate) mod problem;
pub(crate) mod scalar;
pub(crate) mod schema;
mod shape;
mod source;
pub(crate) mod spanned;
mod syntax;
pub(crate) mod tree;
pub(crate) mod variables;

/// A parsed template and everything that is wrong with it so far.
pub(crate) struct Parsed {
    pub(crate) template: schema::Template,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) secrets: BTreeMap<String, SecretOrigin>,
    pub(crate) removed: Removed,
    pub(crate) problems: Vec<Problem>,
}

/// Parses a template and resolves its variables. `environment` holds `KARAT_VAR_*`; `given` is in rising order of precedence.
///
/// # Errors
/// Returns syntax errors. All other problems are part of the result.
pub(crate) fn parse(
    text: &str,
    environment: &BTreeMap<String, String>,
    given: &[GivenVariable],
) -> Result<Parsed, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut removed = Removed::default();
    let mut tree = tree::parse(text)?;
    let (scope, secrets) = preamble(
        text,
        &mut tree,
        environment,
        given,
        &mut removed,
        &mut problems,
    );
    interpolate::interpolate(text, &mut tree, &scope, &mut removed, &mut problems);
    let template: Option<schema::Template> =
        tree::read(text, &mut tree, &mut removed, &mut problems);
    Ok(Parsed {
        template: template.unwrap_or_default(),
        variables: scope.values,
        secrets,
        removed,
        problems,
    })
}

/// Removes `[variables]` and `[secrets]` from the tree and resolves them.
fn preamble(
    text: &str,
    tree: &mut Tree<'_>,
    environment: &BTreeMap<String, String>,
    given: &[GivenVariable],
    removed: &mut Removed,
    problems: &mut Vec<Problem>,
) -> (Scope, BTreeMap<String, SecretOrigin>) {
    let mut head = DeTable::new();
    for name in ["variables", "secrets"] {
        head.extend(tree.get_mut().remove_entry(name));
    }
    let mut head = Tree::new(tree.span(), head);
    let written = names(&head);
    let preamble: schema::Preamble =
        tree::read(text, &mut head, removed, problems).unwrap_or_default();
    // Names with invalid tables. That is reported already, so their uses are not reported as undefined.
    let mut broken = written;
    for (name, variable) in &preamble.variables {
        if !removed.has(&variable.span(), "default") {
            broken.remove(name.get_ref());
        }
    }
    for name in preamble.secrets.keys() {
        broken.remove(name.get_ref());
    }
    let scope = variables::resolve(text, &preamble, broken, environment, given, problems);
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
