//! What both forms for people have in common: tables of short texts. Nothing in it can move a cursor.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use serde_json::Value;

use crate::cli::shared::store_args::{plain, size};
use crate::diff::{
    Change, Diff, FileChange, FileKind, Files, Findings, Numbers, Owner, PackageChange,
};
use crate::scan::Finding;

/// Files that are named for each package, unless all are wanted.
const MOST_FILES: usize = 10;
/// CVEs that are named for each package, unless all are wanted.
const MOST_IDS: usize = 8;
/// As much as is shown of a value.
const LONGEST: usize = 100;

/// A difference for people.
pub(super) struct Page {
    /// The two images.
    pub title: String,
    /// What differs.
    pub tables: Vec<Table>,
    /// What could not be compared, and why.
    pub notes: Vec<String>,
}

/// One kind of difference.
pub(super) struct Table {
    /// What it is.
    pub title: String,
    /// How many there are.
    pub count: String,
    /// What the columns are.
    pub columns: &'static [&'static str],
    /// The rows; each has as many texts as there are columns.
    pub rows: Vec<Vec<String>>,
    /// The first column says what several rows belong to.
    pub is_grouped: bool,
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
                .map(|row| row.iter().map(|cell| plain(cell)).collect())
                .collect(),
        }
    }
}

/// Lays a difference out.
pub(super) fn of(diff: &Diff, all: bool) -> Page {
    // Digests say nothing, and the rest of an image is its size.
    let is_told = |key: &str| !["image", "tree"].contains(&key);
    let mut tables = vec![
        changes("inputs", &diff.inputs, |_| true),
        packages(&diff.packages, all),
    ];
    tables.extend(diff.findings.iter().map(findings));
    tables.extend(diff.files.iter().map(|found| files(found, all)));
    tables.push(changes("outputs", &diff.outputs, is_told));
    tables.push(sizes(diff));
    tables.retain(|table| !table.rows.is_empty());
    let notes = diff.not_compared.iter().filter(|_| !diff.identical);
    let mut notes: Vec<_> = notes
        .map(|it| plain(&format!("{} ({})", it.what, it.because)))
        .collect();
    if diff.findings.as_ref().is_some_and(|it| !it.same_database) {
        notes.push("what one scan did not know yet: the two had different databases".to_owned());
    }
    Page {
        title: title(diff),
        tables,
        notes,
    }
}

fn title(diff: &Diff) -> String {
    let (first, second) = (&diff.first, &diff.second);
    let [one, other] = [first, second].map(|it| it.id.short());
    let title = if diff.identical {
        format!("{} {one}: the same manifest, nothing differs", first.name)
    } else if first.name == second.name {
        format!("{} {one} -> {other}", first.name)
    } else {
        format!("{} {one} -> {} {other}", first.name, second.name)
    };
    plain(&title)
}

/// What differs in one part of a manifest.
fn changes(
    title: &str,
    found: &BTreeMap<String, Vec<Change>>,
    is_told: impl Fn(&str) -> bool,
) -> Table {
    let told = found.iter().filter(|(key, _)| is_told(key));
    let rows = told.flat_map(|(key, changes)| {
        let key = key.replace('_', " ");
        let row = move |it: &Change| vec![key.clone(), it.what.join(": "), how(it)];
        changes.iter().map(row)
    });
    Table {
        is_grouped: true,
        ..Table::new(title, &["of", "what", "change"], rows.collect())
    }
}

/// A change in words; what was added under its own name is not told twice.
fn how(change: &Change) -> String {
    let name = change.what.last().map(String::as_str);
    let told = |word: &str, value: &Value| match shown(value, name) {
        text if text.is_empty() || Some(text.as_str()) == name => word.to_owned(),
        text => format!("{word}: {text}"),
    };
    match (&change.from, &change.to) {
        (Some(from), Some(to)) => format!("{} -> {}", shown(from, None), shown(to, None)),
        (Some(from), None) => told("removed", from),
        (None, Some(to)) => told("added", to),
        (None, None) => String::new(),
    }
}

/// Enough of a value to recognise it; `name` is known already.
fn shown(value: &Value, name: Option<&str>) -> String {
    let text = match value {
        Value::String(text) => match text.strip_prefix("sha256:") {
            Some(hex) => hex.chars().take(12).collect(),
            None if text.is_empty() => "\"\"".to_owned(),
            None => text.clone(),
        },
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| shown(item, None)).collect();
            items.join(", ")
        }
        Value::Object(table) => {
            let is_name = |value: &Value| name.is_some() && value.as_str() == name;
            let told = table.iter().filter(|(_, value)| !is_name(value));
            let told = told.map(|(key, value)| (key, shown(value, None)));
            let told = told.filter(|(_, text)| !text.is_empty());
            let told: Vec<_> = told.map(|(key, text)| format!("{key} {text}")).collect();
            told.join(", ")
        }
        value => value.to_string(),
    };
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn packages(found: &[PackageChange], all: bool) -> Table {
    let row = |package: &PackageChange| {
        let versions = [&package.from, &package.to];
        let [from, to] = versions.map(|it| it.clone().unwrap_or_default());
        vec![
            package.change.name().to_owned(),
            package.name.clone(),
            from,
            to,
            remarks(package, all),
        ]
    };
    let columns = &["change", "package", "from", "to", "remarks"];
    Table {
        count: counted(found.iter().map(|it| it.change.name())),
        ..Table::new("packages", columns, found.iter().map(row).collect())
    }
}

fn remarks(package: &PackageChange, all: bool) -> String {
    let mut remarks: Vec<_> = package
        .changes
        .iter()
        .map(|change| format!("{} {}", change.what.join(" "), how(change)))
        .collect();
    let list = |ids: &BTreeSet<String>| {
        let most = if all { ids.len() } else { MOST_IDS };
        // The newest ones first.
        let named: Vec<_> = ids.iter().rev().take(most).map(String::as_str).collect();
        match ids.len() - named.len() {
            0 => named.join(", "),
            more => format!("{} and {more} more", named.join(", ")),
        }
    };
    let mut tell = |word: &str, ids: String| {
        if !ids.is_empty() {
            remarks.push(format!("{word} {ids}"));
        }
    };
    tell("changelog:", package.changelog.iter().map(list).collect());
    tell("no longer found:", list(&package.fixed));
    tell("newly found:", list(&package.introduced));
    remarks.join("; ")
}

/// How many of each word, in order of the words' first appearance.
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
        let row = |it: &Finding| {
            let about = it.path.clone().or_else(|| it.package.clone());
            vec![
                word.to_owned(),
                it.severity.to_string(),
                it.id.clone(),
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

fn files(found: &Files, all: bool) -> Table {
    let mut rows = Vec::new();
    for group in &found.groups {
        let owner = match &group.owner {
            Owner::Package { package } => package.clone(),
            Owner::Template => "(the template)".to_owned(),
            Owner::Nobody => "(no package)".to_owned(),
            Owner::Unknown => "(unknown)".to_owned(),
        };
        let most = if all { usize::MAX } else { MOST_FILES };
        for file in group.files.iter().take(most) {
            let sign = kind(file).0.to_owned();
            rows.push(vec![owner.clone(), sign, file.path.clone(), aspects(file)]);
        }
        if let Some(more) = group.files.get(most..).filter(|more| !more.is_empty()) {
            let counts = counted(more.iter().map(|file| kind(file).1));
            let more = format!("and {counts}: see --all");
            rows.push(vec![owner, String::new(), more, String::new()]);
        }
    }
    let files = found.groups.iter().flat_map(|group| &group.files);
    let counts = counted(files.map(|file| kind(file).1));
    let touched = match found.touched {
        0 => String::new(),
        count => format!("{count} more with another time"),
    };
    let counts: Vec<_> = [counts, touched]
        .into_iter()
        .filter(|it| !it.is_empty())
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
    let mut told = Vec::new();
    for change in &file.changes {
        let what = change.what.join(" ");
        let text = match what.as_str() {
            "sha256" | "size" => "content".to_owned(),
            "kind" | "mode" | "uid" | "gid" | "target" | "flags" => {
                format!("{what} {}", how(change))
            }
            _ => change.what.first().cloned().unwrap_or_default(),
        };
        if !told.contains(&text) {
            told.push(text);
        }
    }
    told.join(", ")
}

fn sizes(diff: &Diff) -> Table {
    let sizes = &diff.size;
    let bytes = |name: &str, numbers: Numbers| row_of(name, numbers, size);
    let mut rows: Vec<_> = [
        bytes("image", sizes.image),
        bytes("disk", sizes.virtual_size),
    ]
    .into_iter()
    .flatten()
    .collect();
    let number = |count: u64| count.to_string();
    rows.extend(sizes.files.and_then(|it| row_of("files", it, number)));
    Table::new("size", &["what", "from", "to", "difference"], rows)
}

/// `None` where nothing differs.
fn row_of<T: Display>(
    name: &str,
    numbers: Numbers,
    shown: impl Fn(u64) -> T,
) -> Option<Vec<String>> {
    let Numbers { from, to } = numbers;
    let sign = match from.cmp(&to) {
        std::cmp::Ordering::Equal => return None,
        std::cmp::Ordering::Less => "+",
        std::cmp::Ordering::Greater => "-",
    };
    let difference = format!("{sign}{}", shown(from.abs_diff(to)));
    Some(vec![
        name.to_owned(),
        shown(from).to_string(),
        shown(to).to_string(),
        difference,
    ])
}
