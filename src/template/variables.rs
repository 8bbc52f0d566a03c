//! The values of variables: default < `KARAT_VAR_name` < `--var-file` < `--var`. And where secrets come from.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;

use super::interpolate::{Meaning, expand, expand_with, is_name};
use super::problem::{Problem, Span, did_you_mean};
use super::schema::{Preamble, Secret, Str, Variable};
use super::tree::Removed;

/// A value given from outside the template.
#[derive(Clone, Debug)]
pub(super) struct Given {
    /// Who gave it, as the user knows it: `--var`, or the name of a file.
    pub origin: String,
    pub name: String,
    pub value: String,
}

/// The names that a template's strings can refer to.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// Variables that have a value.
    pub values: BTreeMap<String, String>,
    /// Names that were declared and are wrong or have no value: reported once, not at each use.
    broken: BTreeSet<String>,
    secrets: BTreeSet<String>,
}

/// Where a secret comes from, still as written.
pub(super) enum Origin {
    Env(String),
    File(Str),
}

impl Scope {
    /// What a name stands for.
    pub fn look_up(&self, name: &str, place: Span) -> Result<Meaning, Vec<Problem>> {
        if let Some(value) = self.values.get(name) {
            return Ok(Meaning::Value(value.clone()));
        }
        if self.secrets.contains(name) {
            return Ok(Meaning::Secret);
        }
        if self.broken.contains(name) {
            return Ok(Meaning::Broken);
        }
        let known = self.values.keys().chain(&self.secrets).chain(&self.broken);
        Err(vec![undefined(name, place, known.map(String::as_str))])
    }
}

fn undefined<'a>(name: &str, place: Span, known: impl Iterator<Item = &'a str>) -> Problem {
    let help = did_you_mean(name, known).unwrap_or_else(|| {
        format!("declare it: [variables.{name}], or write `{{{{{{{{` for a literal `{{{{`")
    });
    Problem::at(place, format!("`{name}` is not defined")).help(help)
}

/// Gives every variable its value. `broken` are those about which something was said already; `environment` holds `KARAT_VAR_*`; `given` is in rising order of precedence.
pub(super) fn resolve(
    source: &str,
    preamble: &Preamble,
    broken: BTreeSet<String>,
    environment: &BTreeMap<String, String>,
    given: &[Given],
    problems: &mut Vec<Problem>,
) -> Scope {
    check_names(preamble, problems);
    let declared: BTreeMap<&str, &Spanned<Variable>> = preamble
        .variables
        .iter()
        .map(|(name, variable)| (name.get_ref().as_str(), variable))
        .collect();
    let mut values = BTreeMap::new();
    for name in declared.keys() {
        if let Some(value) = environment.get(&format!("KARAT_VAR_{name}")) {
            values.insert((*name).to_owned(), value.clone());
        }
    }
    for Given {
        origin,
        name,
        value,
    } in given
    {
        if declared.contains_key(name.as_str()) || broken.contains(name) {
            values.insert(name.clone(), value.clone());
        } else {
            let what =
                format!("{origin} sets `{name}`, a variable that the template does not declare");
            let help = did_you_mean(name, declared.keys().copied())
                .unwrap_or_else(|| format!("declare it: [variables.{name}]"));
            problems.push(Problem::nowhere(what).help(help));
        }
    }
    let secrets: BTreeSet<String> = preamble
        .secrets
        .keys()
        .map(|name| name.get_ref().clone())
        .collect();
    let mut defaults = Defaults {
        source,
        declared: &declared,
        secrets: &secrets,
        values,
        broken,
        active: Vec::new(),
        problems,
    };
    for name in declared.keys() {
        defaults.evaluate(name);
    }
    let Defaults {
        values, mut broken, ..
    } = defaults;
    report_missing(preamble, &values, &broken, problems);
    broken.extend(
        declared
            .keys()
            .filter(|name| !values.contains_key(**name))
            .map(|name| (*name).to_owned()),
    );
    Scope {
        values,
        broken,
        secrets,
    }
}

/// One error that names all variables that nobody gave a value.
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
                Problem::at(
                    name.span(),
                    format!("{:?} cannot be a name", name.get_ref()),
                )
                .help("names are made of a-z, 0-9 and _, and start with a letter"),
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

/// Defaults are evaluated one from another, and only those that are needed.
struct Defaults<'a> {
    source: &'a str,
    declared: &'a BTreeMap<&'a str, &'a Spanned<Variable>>,
    secrets: &'a BTreeSet<String>,
    values: BTreeMap<String, String>,
    broken: BTreeSet<String>,
    /// The chain of defaults that led here.
    active: Vec<String>,
    problems: &'a mut Vec<Problem>,
}

impl Defaults<'_> {
    fn evaluate(&mut self, name: &str) {
        if self.values.contains_key(name) || self.broken.contains(name) {
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
        let expanded = expand_with(self.source, text, &default.span(), false, |name, place| {
            self.look_up(name, place)
        });
        self.active.pop();
        match expanded {
            Ok(value) => {
                self.values.insert(name.to_owned(), value);
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
                Problem::at(place, what).help("give one of them a value of its own"),
            ]);
        }
        self.evaluate(name);
        if let Some(value) = self.values.get(name) {
            return Ok(Meaning::Value(value.clone()));
        }
        if self.secrets.contains(name) {
            return Ok(Meaning::Secret);
        }
        if self.declared.contains_key(name) {
            return Ok(Meaning::Broken);
        }
        let known = self.declared.keys().copied();
        Err(vec![undefined(name, place, known)])
    }
}

/// Where each secret comes from.
pub(super) fn secret_origins(
    source: &str,
    secrets: &BTreeMap<Str, Spanned<Secret>>,
    scope: &Scope,
    removed: &Removed,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Origin> {
    let mut origins = BTreeMap::new();
    for (name, secret) in secrets {
        let Secret { env, file } = secret.get_ref();
        let written = match (env, file) {
            (Some(env), None) => env,
            (None, Some(file)) => file,
            (Some(env), Some(file)) => {
                let what = format!("the secret `{}` has two sources", name.get_ref());
                problems.push(Problem::at(file.span(), what).and(env.span(), "the other one"));
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
                let what = format!(
                    "the secret `{}` does not say where it comes from",
                    name.get_ref()
                );
                let help = "add `env = \"NAME\"` or `file = \"path\"`";
                problems.push(Problem::at(name.span(), what).help(help));
                continue;
            }
        };
        let span = written.span();
        match expand(source, written.get_ref(), &span, scope, false) {
            Ok(value) if value.is_empty() => {
                problems.push(Problem::at(span, "this is empty"));
            }
            Ok(value) if env.is_some() => {
                origins.insert(name.get_ref().clone(), Origin::Env(value));
            }
            Ok(value) => {
                let file = Spanned::new(span, value);
                origins.insert(name.get_ref().clone(), Origin::File(file));
            }
            Err(found) => problems.extend(found),
        }
    }
    origins
}
