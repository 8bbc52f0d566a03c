//! Lays a difference out as tables of short, terminal-safe texts, for all text formats.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use serde_json::Value;

use crate::diff::{
    Change, Diff, FileChange, FileKind, Files, Findings, Numbers, Owner, PackageChange,
};
use crate::scan::Finding;
use crate::ui::text::{human_size, terminal_safe};

/// Number of characters of a value that are shown.
const MAX_VALUE_CHARS: usize = 100;

/// Number of files and CVEs that are listed per package.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    files: usize,
    cves: usize,
}

impl Limits {
    pub(super) const DEFAULT: Self = Self { files: 10, cves: 8 };
    pub(super) const NONE: Self = Self {
        files: usize::MAX,
        cves: usize::MAX,
    };
}

/// A difference for people.
pub(super) struct Page {
    pub(super) title: String,
    pub(super) tables: Vec<Table>,
    /// Parts that were not compared, each with the reason.
    pub(super) notes: Vec<String>,
}

/// The differences of one kind.
pub(super) struct Table {
    pub(super) title: String,
    /// Number of differences, by kind of change.
    pub(super) count: String,
    pub(super) columns: &'static [&'static str],
    /// Rows with one cell per column.
    pub(super) rows: Vec<Vec<String>>,
    /// The first column groups consecutive rows.
    pub(super) is_grouped: bool,
}

impl Table {
    fn new(title: &str, columns: &'static [&'static str], rows: Vec<Vec<String>>) -> Self {
        let rows = rows.into_iter();
        Self {
            title: title.to_owned(),
            count: String::new(),
            columns,
            is_grouped: false,
            rows: rows
                .map(|row| row.iter().map(|cell| terminal_safe(cell)).collect())
                .collect(),
        }
    }
}

impl Page {
    pub(super) fn new(diff: &Diff, limits: Limits) -> Self {
        // Digests of image and tree carry no information, and the table of sizes has the rest of an image.
        let is_shown = |key: &str| !["image", "tree"].contains(&key);
        let mut tables = vec![
            changes("inputs", &diff.inputs, |_| true),
            packages(&diff.packages, limits),
        ];
        tables.extend(diff.findings.iter().map(findings));
        tables.extend(diff.files.iter().map(|found| files(found, limits)));
        tables.push(changes("outputs", &diff.outputs, is_shown));
        tables.push(sizes(diff));
        tables.retain(|table| !table.rows.is_empty());
        let notes = diff.not_compared.iter().filter(|_| !diff.identical);
        let mut notes: Vec<_> = notes
            .map(|part| terminal_safe(&format!("{} ({})", part.what, part.because)))
            .collect();
        let findings = diff.findings.as_ref();
        if findings.is_some_and(|findings| !findings.same_database) {
            notes.push(
                "vulnerabilities that one scan did not know: the databases differ".to_owned(),
            );
        }
        Self {
            title: title(diff),
            tables,
            notes,
        }
    }
}

fn title(diff: &Diff) -> String {
    let (first, second) = (&diff.first, &diff.second);
    let [one, other] = [first, second].map(|side| side.id.short());
    let title = if diff.identical {
        format!(
            "{} {one}: no differences, the manifest is the same",
            first.name
        )
    } else if first.name == second.name {
        format!("{} {one} -> {other}", first.name)
    } else {
        format!("{} {one} -> {} {other}", first.name, second.name)
    };
    terminal_safe(&title)
}

/// Lists the differences in one part of a manifest.
fn changes(
    title: &str,
    found: &BTreeMap<String, Vec<Change>>,
    is_shown: impl Fn(&str) -> bool,
) -> Table {
    let shown = found.iter().filter(|(key, _)| is_shown(key));
    let rows = shown.flat_map(|(key, changes)| {
        let key = key.replace('_', " ");
        let row =
            move |change: &Change| vec![key.clone(), change.what.join(": "), describe(change)];
        changes.iter().map(row)
    });
    Table {
        is_grouped: true,
        ..Table::new(title, &["of", "what", "change"], rows.collect())
    }
}

/// Describes a change, without repeating the name of what was added or removed.
fn describe(change: &Change) -> String {
    let name = change.what.last().map(String::as_str);
    let with_value = |word: &str, value: &Value| match short_value(value, name) {
        text if text.is_empty() || Some(text.as_str()) == name => word.to_owned(),
        text => format!("{word}: {text}"),
    };
    match (&change.from, &change.to) {
        (Some(from), Some(to)) => {
            format!("{} -> {}", short_value(from, None), short_value(to, None))
        }
        (Some(from), None) => with_value("removed", from),
        (None, Some(to)) => with_value("added", to),
        (None, None) => String::new(),
    }
}

/// Shortens a value, leaving out `name`.
fn short_value(value: &Value, name: Option<&str>) -> String {
    let text = match value {
        Value::String(text) => match text.strip_prefix("sha256:") {
            Some(hex) => hex.chars().take(12).collect(),
            None if text.is_empty() => "\"\"".to_owned(),
            None => text.clone(),
        },
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| short_value(item, None)).collect();
            items.join(", ")
        }
        Value::Object(table) => {
            let is_name = |value: &Value| name.is_some() && value.as_str() == name;
            let fields = table
                .iter()
                .filter(|(_, value)| !is_name(value))
                .map(|(key, value)| (key, short_value(value, None)))
                .filter(|(_, text)| !text.is_empty())
                .map(|(key, text)| format!("{key} {text}"));
            fields.collect::<Vec<_>>().join(", ")
        }
        value => value.to_string(),
    };
    match text.char_indices().nth(MAX_VALUE_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn packages(found: &[PackageChange], limits: Limits) -> Table {
    let row = |package: &PackageChange| {
        let versions = [&package.from, &package.to];
        let [from, to] = versions.map(|version| version.clone().unwrap_or_default());
        vec![
            package.change.name().to_owned(),
            package.name.clone(),
            from,
            to,
            remarks(package, limits),
        ]
    };
    let columns = &["change", "package", "from", "to", "remarks"];
    Table {
        count: counted(found.iter().map(|package| package.change.name())),
        ..Table::new("packages", columns, found.iter().map(row).collect())
    }
}

fn remarks(package: &PackageChange, limits: Limits) -> String {
    let mut remarks: Vec<_> = package
        .changes
        .iter()
        .map(|change| format!("{} {}", change.what.join(" "), describe(change)))
        .collect();
    let list = |ids: &BTreeSet<String>| {
        // Newest first.
        let newest = ids.iter().rev().take(limits.cves);
        let named: Vec<_> = newest.map(String::as_str).collect();
        match ids.len() - named.len() {
            0 => named.join(", "),
            more => format!("{} and {more} more", named.join(", ")),
        }
    };
    let mut add = |word: &str, ids: String| {
        if !ids.is_empty() {
            remarks.push(format!("{word} {ids}"));
        }
    };
    add("changelog:", package.changelog.iter().map(list).collect());
    add("no longer found:", list(&package.fixed));
    add("newly found:", list(&package.introduced));
    remarks.join("; ")
}

/// Counts each word, in alphabetical order.
fn counted<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for word in words {
        *counts.entry(word).or_default() += 1;
    }
    let counts: Vec<_> = counts
        .iter()
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    counts.join(", ")
}

fn findings(found: &Findings) -> Table {
    let rows = |word: &'static str, all: &[Finding]| -> Vec<Vec<String>> {
        let row = |finding: &Finding| {
            let about = finding.path.clone().or_else(|| finding.package.clone());
            vec![
                word.to_owned(),
                finding.severity.to_string(),
                finding.id.clone(),
                about.unwrap_or_default(),
            ]
        };
        all.iter().map(row).collect()
    };
    let mut all = rows("introduced", &found.introduced);
    all.extend(rows("fixed", &found.fixed));
    let columns = &["change", "severity", "finding", "about"];
    let count = counted(all.iter().map(|row| row[0].as_str()));
    Table {
        count,
        ..Table::new("findings", columns, all)
    }
}

fn files(found: &Files, limits: Limits) -> Table {
    let mut rows = Vec::new();
    for group in &found.groups {
        let owner = match &group.owner {
            Owner::Package { package } => package.clone(),
            Owner::Scripts {
                package: Some(package),
            } => format!("(made by maintainer scripts of {package})"),
            Owner::Scripts { package: None } => "(made by maintainer scripts)".to_owned(),
            Owner::Template => "(the template)".to_owned(),
            Owner::Nobody => "(no package)".to_owned(),
            Owner::Unknown => "(unknown)".to_owned(),
        };
        for file in group.files.iter().take(limits.files) {
            let sign = kind(file).0.to_owned();
            rows.push(vec![owner.clone(), sign, file.path.clone(), aspects(file)]);
        }
        if let Some(more) = group
            .files
            .get(limits.files..)
            .filter(|more| !more.is_empty())
        {
            let counts = counted(more.iter().map(|file| kind(file).1));
            let more = format!("and {counts}: see --all");
            rows.push(vec![owner, String::new(), more, String::new()]);
        }
    }
    let files = found.groups.iter().flat_map(|group| &group.files);
    let counts = counted(files.map(|file| kind(file).1));
    let touched = match found.touched {
        0 => String::new(),
        count => format!("{count} more with another timestamp"),
    };
    let counts: Vec<_> = [counts, touched]
        .into_iter()
        .filter(|count| !count.is_empty())
        .collect();
    Table {
        count: counts.join("; "),
        is_grouped: true,
        ..Table::new("files", &["package", "", "path", "what"], rows)
    }
}

fn kind(file: &FileChange) -> (&'static str, &'static str) {
    match file.change {
        FileKind::Added => ("+", "added"),
        FileKind::Removed => ("-", "removed"),
        FileKind::Changed => ("~", "changed"),
    }
}

fn aspects(file: &FileChange) -> String {
    let mut aspects = Vec::new();
    for change in &file.changes {
        let what = change.what.join(" ");
        let text = match what.as_str() {
            "sha256" | "size" => "content".to_owned(),
            "kind" | "mode" | "uid" | "gid" | "target" | "flags" => {
                format!("{what} {}", describe(change))
            }
            _ => change.what.first().cloned().unwrap_or_default(),
        };
        if !aspects.contains(&text) {
            aspects.push(text);
        }
    }
    aspects.join(", ")
}

fn sizes(diff: &Diff) -> Table {
    let sizes = &diff.size;
    let bytes = |name: &str, numbers: Numbers| row_of(name, numbers, human_size);
    let mut rows: Vec<_> = [
        bytes("image", sizes.image),
        bytes("disk", sizes.virtual_size),
    ]
    .into_iter()
    .flatten()
    .collect();
    let number = |count: u64| count.to_string();
    rows.extend(sizes.files.and_then(|files| row_of("files", files, number)));
    Table::new("size", &["what", "from", "to", "difference"], rows)
}

/// Returns the row of a number; `None` if it does not differ.
fn row_of<T: Display>(
    name: &str,
    numbers: Numbers,
    format: impl Fn(u64) -> T,
) -> Option<Vec<String>> {
    let Numbers { from, to } = numbers;
    let sign = match from.cmp(&to) {
        std::cmp::Ordering::Equal => return None,
        std::cmp::Ordering::Less => "+",
        std::cmp::Ordering::Greater => "-",
    };
    let difference = format!("{sign}{}", format(from.abs_diff(to)));
    Some(vec![
        name.to_owned(),
        format(from).to_string(),
        format(to).to_string(),
        difference,
    ])
}
