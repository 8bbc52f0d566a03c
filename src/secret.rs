//! Secret values: text that holds them, and the filter that keeps them out of everything shown.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};

/// A string of a template in which secrets are still names, so that it can be shown and recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Text(Vec<Part>);

/// A piece of [`Text`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// Plain text.
    Literal(String),
    /// The value of a secret, by name.
    Secret(String),
}

/// The values of a build's secrets, by name.
#[derive(Clone, Default)]
pub struct Secrets(std::collections::BTreeMap<String, SecretString>);

impl Secrets {
    /// Gives a secret its value.
    pub fn insert(&mut self, name: String, value: SecretString) {
        self.0.insert(name, value);
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.expose_secret()))
    }
}

impl Text {
    /// Text made of parts.
    #[must_use]
    pub fn new(parts: Vec<Part>) -> Self {
        Self(parts)
    }

    /// Text without secrets.
    #[must_use]
    pub fn literal(text: impl Into<String>) -> Self {
        Self(vec![Part::Literal(text.into())])
    }

    /// The text with its secrets in place. A secret without a value is a bug: `build` reads all that the plan names.
    #[must_use]
    pub fn reveal(&self, secrets: &Secrets) -> String {
        self.0
            .iter()
            .map(|part| match part {
                Part::Literal(text) => text.as_str(),
                Part::Secret(name) => secrets.0[name].expose_secret(),
            })
            .collect()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Literal(text) => f.write_str(text),
            Part::Secret(name) => write!(f, "<secret {name}>"),
        })
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
