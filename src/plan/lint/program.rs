//! The table of programs, and the parts of their command lines.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::embedded::rows;
use crate::record::lock::Manager;

/// Stands for the index of a package manager of a language, which the template does not tell.
pub(super) const EXAMPLE_INDEX: &str = "https://index.example.org/";

/// A program of the table, which explains the fields.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Program {
    pub names: Vec<&'static str>,
    values: Vec<&'static str>,
    offline: Vec<&'static str>,
    pub verbs: BTreeMap<String, Kind>,
    pub manager: Option<Manager>,
    pub advice: &'static str,
    pub command_after: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Packages,
    Refresh,
    Url,
    Index,
    Checkout,
    Advice,
}

pub(super) static PROGRAMS: LazyLock<Vec<Program>> =
    LazyLock::new(|| rows(include_str!("commands.toml"), "program"));

impl Program {
    /// Returns true with an option that means offline.
    pub fn is_offline(&self, words: &[&str]) -> bool {
        words.iter().any(|word| {
            let name = word.split('=').next().unwrap_or(word);
            name.starts_with('-') && [name, word].iter().any(|name| self.offline.contains(name))
        })
    }

    /// Returns the indices of the words that are neither options nor values of options.
    pub fn operands(&self, words: &[&str]) -> Vec<usize> {
        let mut operands = Vec::new();
        let mut is_value = false;
        for (index, word) in words.iter().enumerate() {
            if std::mem::take(&mut is_value) {
                continue;
            }
            if word.starts_with('-') && word.len() > 1 {
                is_value = self.takes_value(word);
            } else {
                operands.push(index);
            }
        }
        operands
    }

    /// Returns true if the next word is the value of an option, which may be the last of several letters as in `-fsSLo`.
    fn takes_value(&self, option: &str) -> bool {
        if self.values.contains(&option) || option.starts_with("--") {
            return self.values.contains(&option);
        }
        let letters = option[1..].char_indices();
        let takes_value = |letter: char| self.values.contains(&format!("-{letter}").as_str());
        let first = letters.into_iter().find(|(_, letter)| takes_value(*letter));
        first.is_some_and(|(index, letter)| index + letter.len_utf8() == option.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_complete() {
        let mut names: Vec<&str> = Vec::new();
        for row in PROGRAMS.iter() {
            assert_ne!(
                row.command_after.is_some(),
                !row.verbs.is_empty(),
                "{:?}",
                row.names
            );
            let has = |kind| row.verbs.values().any(|other| *other == kind);
            assert_eq!(
                has(Kind::Packages),
                row.manager.is_some(),
                "{:?}",
                row.names
            );
            assert_eq!(has(Kind::Advice), !row.advice.is_empty(), "{:?}", row.names);
            names.extend(&row.names);
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
