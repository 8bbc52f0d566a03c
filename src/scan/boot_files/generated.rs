//! Members of an initrd that have another place in the image: the table `generated.toml`, which describes the fields.

use std::sync::LazyLock;

use regex::bytes::Regex;
use serde::Deserialize;

use crate::embedded::rows;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    paths: Vec<&'static str>,
    #[serde(default)]
    from: Vec<&'static str>,
    #[serde(default)]
    lines: Vec<&'static str>,
    #[expect(dead_code, reason = "documents the row")]
    reason: &'static str,
}

/// A row of the table.
pub(super) struct Generated {
    paths: Vec<&'static str>,
    pub from: Vec<&'static str>,
    lines: Option<Regex>,
}

pub(super) static ROWS: LazyLock<Vec<Generated>> = LazyLock::new(|| {
    let rows: Vec<Row> = rows(include_str!("generated.toml"), "member");
    let compile = |lines: Vec<&str>| {
        let pattern = format!("(?-u)^(?:(?:{}|#[^\n]*)?\n)*$", lines.join("|"));
        let is_any = lines.is_empty();
        (!is_any).then(|| Regex::new(&pattern).expect("the tests compile it"))
    };
    let rows = rows.into_iter().map(|row| Generated {
        paths: row.paths,
        from: row.from,
        lines: compile(row.lines),
    });
    rows.collect()
});

impl Generated {
    /// Returns the rows for a path, with their numbers.
    pub fn of(path: &[u8]) -> impl Iterator<Item = (usize, &'static Self)> + use<'_> {
        let is_of = move |row: &Self| {
            let mut globs = row.paths.iter();
            globs.any(|glob| fast_glob::glob_match(glob, path))
        };
        // A path that goes up leads elsewhere than its glob says.
        let goes_up = path.split(|&byte| byte == b'/').any(|name| name == b"..");
        let numbered = ROWS.iter().enumerate().filter(move |_| !goes_up);
        numbered.filter(move |(_, row)| is_of(row))
    }

    /// Returns whether the row explains a generated file with this content.
    pub fn explains(&self, mode: u64, text: Option<&[u8]>) -> bool {
        match &self.lines {
            Some(lines) => text.is_some_and(|text| lines.is_match(text)),
            None => self.is_any() && mode & 0o111 == 0,
        }
    }

    /// Returns whether the row explains any content.
    pub fn is_any(&self) -> bool {
        self.from.is_empty() && self.lines.is_none()
    }
}

/// Returns whether the lines of a file are compared.
pub(super) fn has_lines(path: &[u8]) -> bool {
    Generated::of(path).any(|(_, row)| row.lines.is_some())
}
