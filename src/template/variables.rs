//! Resolves variables (default < `KARAT_VAR_name` < `--var-file` < `--var`) and the origins of secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use toml::de::DeValue;

use super::interpolate::{Meaning, expand, expand_with, is_name};
use super::packer;
use super::problem::{Problem, Span, did_you_mean};
use super::schema::{Preamble, Secret, Str, Variable};
use super::spanned::Spanned;
use super::tree::{self, Removed};

/// A variable's value from outside the template.
#[derive(Clone, Debug)]
pub(crate) struct GivenVariable {
    /// Source for messages: `--var` or the name of a file.
    pub(crate) origin: String,
    pub(crate) name: String,
    pub(crate) value: String,
}

/// Names that strings of a template can reference.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// Variables with a value.
    pub values: BTreeMap<String, String>,
    /// All declared variables. One that is invalid or has no value is reported once, not at each use.
    names: BTreeSet<String>,
    secrets: BTreeSet<String>,
}

/// Origin of a secret as the template has it.
pub(crate) enum SecretOrigin {
    Env(String),
    File(String),
}

/// Parses the `name = value` lines of a `--var-file`.
pub(crate) fn parse_var_file(path: &Path, text: &str) -> Result<Vec<GivenVariable>, Vec<Problem>> {
    let (mut given, mut problems) = (Vec::new(), Vec::new());
    for (name, value) in tree::parse(text)?.get_ref() {
        let value_text = match value.get_ref() {
            DeValue::String(string) => string.to_string(),
            DeValue::Boolean(flag) => flag.to_string(),
            DeValue::Integer(number) => number.to_string(),
            _ => {
                let what = "the value of a variable must be a string, an integer or a boolean";
                problems.push(Problem::at(value.span(), what).help("put it in quotes"));
                continue;
            }
        };
        given.push(GivenVariable {
            origin: path.display().to_string(),
            name: name.get_ref().to_string(),
            value: value_text,
        });
    }
    if problems.is_empty() {
        Ok(given)
    } else {
        Err(problems)
    }
}

impl Scope {
    /// Looks up a referenced name.
    pub fn look_up(&self, name: &str, place: Span) -> Result<Meaning, Vec<Problem>> {
        if let Some(value) = self.values.get(name) {
            return Ok(Meaning::Value(value.clone()));
        }
        if self.secrets.contains(name) {
            return Ok(Meaning::Secret);
        }
        if self.names.contains(name) {
            return Ok(Meaning::Broken);
        }
        let known = self.names.iter().chain(&self.secrets);
        let help = did_you_mean(name, known.map(String::as_str))
            .or_else(|| packer::function(name).map(str::to_owned))
            .unwrap_or_else(|| {
                format!("declare it: [variables.{name}], or write `{{{{{{{{` for a literal `{{{{`")
            });
        let problem = Problem::at(place, format!("`{name}` is not defined"));
        Err(vec![problem.help(help)])
    }
}

/// Resolves every variable. `broken` holds names with problems reported already; `environment` holds `KARAT_VAR_*`; `given` is
/// in rising order of precedence.
pub(super) fn resolve(
    source: &str,
    preamble: &Preamble,
    broken: BTreeSet<String>,
    environment: &BTreeMap<String, String>,
    given: &[GivenVariable],
    problems: &mut Vec<Problem>,
) -> Scope {
    check_names(preamble, problems);
    let declared: BTreeMap<&str, &Spanned<Variable>> = preamble
        .variables
        .iter()
        .map(|(name, variable)| (name.get_ref().as_str(), variable))
        .collect();
    let values = given_values(&declared, &broken, environment, given, problems);
    let secrets: BTreeSet<String> = preamble
        .secrets
        .keys()
        .map(|name| name.get_ref().clone())
        .collect();
    let names = declared.keys().map(|name| (*name).to_owned());
    let mut defaults = Defaults {
        source,
        declared: &declared,
        scope: Scope {
            values,
            names: names.chain(broken.iter().cloned()).collect(),
            secrets,
        },
        broken,
        active: Vec::new(),
        problems,
    };
    for name in declared.keys() {
        defaults.evaluate(name);
    }
    let Defaults { scope, broken, .. } = defaults;
    report_missing(preamble, &scope.values, &broken, problems);
    scope
}

/// Returns the values from outside the template; reports those of undeclared variables.
fn given_values(
    declared: &BTreeMap<&str, &Spanned<Variable>>,
    broken: &BTreeSet<String>,
    environment: &BTreeMap<String, String>,
    given: &[GivenVariable],
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for name in declared.keys() {
        // Steps get it in capital letters, so people export it like that, too.
        let upper = format!("KARAT_VAR_{}", name.to_ascii_uppercase());
        let value = environment.get(&format!("KARAT_VAR_{name}"));
        if let Some(value) = value.or_else(|| environment.get(&upper)) {
            values.insert((*name).to_owned(), value.clone());
        }
    }
    for GivenVariable {
        origin,
        name,
        value,
    } in given
    {
        if declared.contains_key(name.as_str()) || broken.contains(name) {
            values.insert(name.clone(), value.clone());
        } else {
            let what =
                format!("{origin} sets the variable `{name}`, which the template does not declare");
            let help = did_you_mean(name, declared.keys().copied())
                .unwrap_or_else(|| format!("declare it: [variables.{name}]"));
            problems.push(Problem::nowhere(what).help(help));
        }
    }
    values
}

/// Reports all variables without a value in one error.
fn report_missing(
    preamble: &Preamble,
    values: &BTreeMap<String, String>,
    broken: &BTreeSet<String>,
    problems: &mut Vec<Problem>,
) {
    let missing: Vec<&Str> = preamble
        .variables
        .keys()
        .filter(|name| !values.contains_key(name.get_ref()) && !broken.contains(name.get_ref()))
        .collect();
    let Some((first, others)) = missing.split_first() else {
        return;
    };
    let names: Vec<&str> = missing.iter().map(|name| name.get_ref().as_str()).collect();
    let what = match others {
        [] => format!("the variable `{}` has no value", names[0]),
        _ => format!("these variables have no value: {}", names.join(", ")),
    };
    let help = format!(
        "give each a `default`, `--var {0}=VALUE` or KARAT_VAR_{0}",
        names[0]
    );
    let mut problem = Problem::at(first.span(), what).help(help);
    for name in others {
        problem = problem.and(name.span(), "and this one");
    }
    problems.push(problem);
}

fn check_names(preamble: &Preamble, problems: &mut Vec<Problem>) {
    for name in preamble.variables.keys().chain(preamble.secrets.keys()) {
        if !is_name(name.get_ref()) {
            problems.push(
                Problem::at(name.span(), format!("invalid name {:?}", name.get_ref()))
                    .help("names consist of a-z, 0-9 and _, and start with a letter"),
            );
        }
    }
    for secret in preamble.secrets.keys() {
        if let Some((variable, _)) = preamble.variables.get_key_value(secret.get_ref().as_str()) {
            let what = format!("`{}` is both a variable and a secret", secret.get_ref());
            problems.push(Problem::at(secret.span(), what).and(variable.span(), "the variable"));
        }
    }
}

/// Evaluates defaults, which may refer to each other, only when they are needed.
struct Defaults<'a> {
    source: &'a str,
    declared: &'a BTreeMap<&'a str, &'a Spanned<Variable>>,
    scope: Scope,
    /// Names with problems.
    broken: BTreeSet<String>,
    /// Chain of defaults under evaluation.
    active: Vec<String>,
    problems: &'a mut Vec<Problem>,
}

impl Defaults<'_> {
    fn evaluate(&mut self, name: &str) {
        if self.scope.values.contains_key(name) || self.broken.contains(name) {
            return;
        }
        let declared = self.declared;
        let Some(default) = declared
            .get(name)
            .and_then(|variable| variable.get_ref().default.as_ref())
        else {
            return;
        };
        self.active.push(name.to_owned());
        let text = &default.get_ref().text;
        let span = default.span();
        let expanded = match packer::unevaluated(text, &span) {
            Some(problem) => Err(vec![problem]),
            None => expand_with(self.source, text, &span, false, |name, place| {
                self.look_up(name, place)
            }),
        };
        self.active.pop();
        match expanded {
            Ok(value) => {
                self.scope.values.insert(name.to_owned(), value);
            }
            Err(problems) => {
                self.problems.extend(problems);
                self.broken.insert(name.to_owned());
            }
        }
    }

    fn look_up(&mut self, name: &str, place: Span) -> Result<Meaning, Vec<Problem>> {
        if let Some(start) = self.active.iter().position(|active| active == name) {
            let mut chain = self.active[start..].to_vec();
            chain.push(name.to_owned());
            let what = format!("circular default: {}", chain.join(" -> "));
            self.broken.extend(chain);
            return Err(vec![
                Problem::at(place, what).help("give one of them a fixed value"),
            ]);
        }
        self.evaluate(name);
        self.scope.look_up(name, place)
    }
}

/// Resolves the origin of each secret.
pub(super) fn secret_origins(
    source: &str,
    secrets: &BTreeMap<Str, Spanned<Secret>>,
    scope: &Scope,
    removed: &Removed,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, SecretOrigin> {
    let mut origins = BTreeMap::new();
    for (name, secret) in secrets {
        let Secret { env, file } = secret.get_ref();
        let written = match (env, file) {
            (Some(env), None) => env,
            (None, Some(file)) => file,
            (Some(env), Some(file)) => {
                let what = format!("the secret `{}` has two sources", name.get_ref());
                problems.push(Problem::at(file.span(), what).and(env.span(), "the other source"));
                continue;
            }
            (None, None) => {
                let table = secret.span();
                if removed.has_unknown(&table)
                    || removed.has(&table, "env")
                    || removed.has(&table, "file")
                {
                    continue;
                }
                let what = format!("the secret `{}` has no source", name.get_ref());
                let help = "add `env = \"NAME\"` or `file = \"path\"`";
                problems.push(Problem::at(name.span(), what).help(help));
                continue;
            }
        };
        let span = written.span();
        match expand(source, written.get_ref(), &span, scope, false) {
            Ok(value) if value.is_empty() => {
                problems.push(Problem::at(span, "this value is empty"));
            }
            Ok(value) if env.is_some() => {
                origins.insert(name.get_ref().clone(), SecretOrigin::Env(value));
            }
            Ok(value) => {
                origins.insert(name.get_ref().clone(), SecretOrigin::File(value));
            }
            Err(found) => problems.extend(found),
        }
    }
    origins
}
