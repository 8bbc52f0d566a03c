//! Tables that are compiled into the binary as TOML.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Returns the rows of a table whose only key is `name`: the entries `[[name]]` of the text.
///
/// # Panics
/// The text is not such a table, which the tests of each table rule out.
pub(crate) fn rows<T: Deserialize<'static>>(text: &'static str, name: &str) -> Vec<T> {
    let mut table: BTreeMap<String, Vec<T>> = toml::from_str(text).expect("the tests read it");
    let rows = table.remove(name).expect("the table has its rows");
    assert!(table.is_empty(), "the table has rows of one kind only");
    rows
}
