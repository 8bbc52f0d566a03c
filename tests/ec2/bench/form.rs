//! Parameters of a Query call: `Filter.1.Value.2=x`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Names and values, names as they are sent.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Form(pub BTreeMap<String, String>);

impl Form {
    pub fn parse(body: &str) -> Self {
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            percent_decode_str(&text).decode_utf8_lossy().into_owned()
        };
        let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
        Self(
            pairs
                .map(|(name, value)| (decode(name), decode(value)))
                .collect(),
        )
    }

    pub fn encode(&self) -> String {
        let mut out = String::new();
        for (name, value) in &self.0 {
            let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
            let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
            let _ = write!(out, "{name}={value}&");
        }
        out.trim_end_matches('&').to_owned()
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    pub fn is_true(&self, name: &str) -> bool {
        self.text(name).eq_ignore_ascii_case("true")
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers have numbers and texts of all kinds"
    )]
    pub fn set(&mut self, name: &str, value: impl ToString) {
        self.0.insert(name.to_owned(), value.to_string());
    }

    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Removes every parameter that begins so.
    pub fn remove_all(&mut self, prefix: &str) {
        self.0.retain(|name, _| !name.starts_with(prefix));
    }

    /// `Prefix.1`, `Prefix.2`, ... in order.
    pub fn list(&self, prefix: &str) -> Vec<String> {
        let numbers = self.numbers(prefix);
        numbers
            .iter()
            .filter_map(|number| self.get(&format!("{prefix}.{number}")))
            .map(str::to_owned)
            .collect()
    }

    /// What is below `Prefix.1`, `Prefix.2`, ... in order.
    pub fn groups(&self, prefix: &str) -> Vec<Form> {
        let numbers = self.numbers(prefix);
        numbers
            .iter()
            .map(|number| self.below(&format!("{prefix}.{number}.")))
            .collect()
    }

    /// Parameters that begin so, without it.
    pub fn below(&self, prefix: &str) -> Form {
        let below = self.0.iter().filter_map(|(name, value)| {
            name.strip_prefix(prefix)
                .map(|name| (name.to_owned(), value.clone()))
        });
        Self(below.collect())
    }

    fn numbers(&self, prefix: &str) -> BTreeSet<u32> {
        let number = |name: &String| {
            let rest = name.strip_prefix(prefix)?.strip_prefix('.')?;
            rest.split('.').next()?.parse().ok()
        };
        self.0.keys().filter_map(number).collect()
    }
}
