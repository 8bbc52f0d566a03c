//! Links that `systemctl enable` makes: those that the `[Install]` section of a unit asks for (systemd.unit(5)).

use super::{MAX_FILE_BYTES, Root, ScanError};
use crate::disk::read::FileType;

/// Directories of links to enabled units, each with those that the units are in.
const UNIT_DIRECTORIES: [(&str, [&str; 4]); 2] = [
    (
        "/etc/systemd/system",
        [
            "/etc/systemd/system",
            "/usr/local/lib/systemd/system",
            "/usr/lib/systemd/system",
            "/lib/systemd/system",
        ],
    ),
    (
        "/etc/systemd/user",
        [
            "/etc/systemd/user",
            "/usr/local/lib/systemd/user",
            "/usr/lib/systemd/user",
            "/lib/systemd/user",
        ],
    ),
];

/// The `[Install]` section of a unit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct InstallSection {
    wanted_by: Vec<String>,
    required_by: Vec<String>,
    upheld_by: Vec<String>,
    alias: Vec<String>,
}

impl InstallSection {
    /// Parses a unit. Lines that systemd ignores are ignored.
    fn parse(unit: &str) -> Self {
        let mut section = Self::default();
        let mut is_install = false;
        for line in logical_lines(unit) {
            if line.starts_with('[') {
                is_install = line == "[Install]";
                continue;
            }
            let Some((key, value)) = line.split_once('=').filter(|_| is_install) else {
                continue;
            };
            let list = match key.trim_end() {
                "WantedBy" => &mut section.wanted_by,
                "RequiredBy" => &mut section.required_by,
                "UpheldBy" => &mut section.upheld_by,
                "Alias" => &mut section.alias,
                _ => continue,
            };
            let names = words(value);
            if names.is_empty() {
                list.clear();
            }
            list.extend(names);
        }
        section
    }

    /// Returns whether the section asks for a link with this path below the directory of enabled units.
    fn asks_for(&self, unit: &str, link: &str) -> bool {
        let (directory, name) = link.rsplit_once('/').unwrap_or(("", link));
        let is_link = |alias: &String| expand(alias, name).as_deref() == Some(link);
        if kind_of(unit) == kind_of(name) && self.alias.iter().any(is_link) {
            return true;
        }
        let lists = [
            (".wants", &self.wanted_by),
            (".requires", &self.required_by),
            (".upholds", &self.upheld_by),
        ];
        let is_target = |target: &String, target_name: &str| {
            expand(target, name).as_deref() == Some(target_name)
        };
        is_unit_or_instance(unit, name)
            && lists.iter().any(|(suffix, targets)| {
                let target_name = directory.strip_suffix(suffix);
                target_name.is_some_and(|target_name| {
                    let mut targets = targets.iter();
                    targets.any(|target| is_target(target, target_name))
                })
            })
    }
}

/// Returns whether a link in a directory of enabled units is there because the unit at `unit_path` asks for it. Both paths have
/// no links on the way.
///
/// The link has to lead to the unit itself, not to another link. The caller decides whether the unit is sound.
pub(crate) fn is_enabled_by_unit(
    root: &Root<'_>,
    link_path: &str,
    unit_path: &str,
) -> Result<bool, ScanError> {
    let Some((directory, unit)) = unit_path.rsplit_once('/') else {
        return Ok(false);
    };
    let link = UNIT_DIRECTORIES.iter().find_map(|(enabled, units)| {
        let link = link_path.strip_prefix(enabled)?.strip_prefix('/')?;
        units.contains(&directory).then_some(link)
    });
    let file = root.get(unit_path.as_bytes());
    let (Some(link), Some(file)) = (link, file.filter(|file| file.kind == FileType::File)) else {
        return Ok(false);
    };
    let text = root.content(unit_path.as_bytes(), file, MAX_FILE_BYTES)?;
    let section = InstallSection::parse(&String::from_utf8_lossy(&text));
    Ok(section.asks_for(unit, link))
}

/// Returns the lines of a unit without comments, joined where one ends with a backslash.
fn logical_lines(unit: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = String::new();
    for line in unit.lines() {
        // Comments may stand between the parts of a line.
        if line.trim_start().starts_with(['#', ';']) {
            continue;
        }
        if let Some(part) = line.strip_suffix('\\') {
            open += part;
            open.push(' ');
            continue;
        }
        open += line;
        lines.push(std::mem::take(&mut open).trim().to_owned());
    }
    lines.push(open.trim().to_owned());
    lines
}

/// Returns the words of a value. Quotes may enclose some or parts of them; a backslash belongs to the name of a unit.
fn words(value: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote) = (None::<String>, None);
    for letter in value.chars() {
        match quote {
            Some(open) if letter == open => quote = None,
            None if letter == '"' || letter == '\'' => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            None if letter.is_ascii_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// Returns the part of the name of a unit after its last dot.
fn kind_of(unit: &str) -> &str {
    unit.rsplit_once('.').map_or("", |(_, kind)| kind)
}

/// Splits the name of a unit with `@` into what stands before and after that, without the kind.
fn instance_of(unit: &str) -> Option<(&str, &str)> {
    let (name, _) = unit.rsplit_once('.')?;
    name.split_once('@')
}

/// Returns whether a name is that of a unit, or of an instance if the unit is a template.
fn is_unit_or_instance(unit: &str, name: &str) -> bool {
    match (instance_of(unit), instance_of(name)) {
        (Some((template, "")), Some((prefix, instance))) => {
            template == prefix && !instance.is_empty() && kind_of(unit) == kind_of(name)
        }
        _ => unit == name,
    }
}

/// Replaces the specifiers of a name in `[Install]` as for the unit that a link is named after; `None` if it has others than
/// those for parts of that name.
fn expand(text: &str, link_name: &str) -> Option<String> {
    let stem = link_name
        .rsplit_once('.')
        .map_or(link_name, |(stem, _)| stem);
    let (prefix, instance) = stem.split_once('@').unwrap_or((stem, ""));
    let mut expanded = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            expanded.push(letter);
            continue;
        }
        expanded.push_str(match letters.next()? {
            'i' => instance,
            'n' => link_name,
            'N' => stem,
            'p' => prefix,
            '%' => "%",
            _ => return None,
        });
    }
    Some(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::testing::{Planted, table, unescape};

    #[test]
    fn a_section_asks_for_the_links_that_systemctl_enable_makes() {
        for [unit, text, link, expected] in table::<4>("undeclared/install.tsv") {
            let section = InstallSection::parse(&unescape(&text));
            let asks = section.asks_for(&unit, &link);
            assert_eq!(asks, expected == "yes", "{unit} {text} {link}");
        }
    }

    #[test]
    fn a_unit_is_enabled_where_units_of_its_kind_are() {
        let text = "[Install]\nWantedBy=a.target\n";
        let tree = Planted::default()
            .file("/usr/lib/systemd/system/web.service", 0o644, text)
            .file("/usr/lib/systemd/user/web.service", 0o644, text)
            .file("/opt/web.service", 0o644, text)
            .link("/usr/lib/systemd/system/other.service", "web.service");
        for (link, unit, expected) in [
            ("/etc/systemd/system", "/usr/lib/systemd/system", true),
            ("/etc/systemd/user", "/usr/lib/systemd/user", true),
            ("/etc/systemd/system", "/usr/lib/systemd/user", false),
            ("/etc/systemd/user", "/usr/lib/systemd/system", false),
            ("/etc/systemd/system", "/opt", false),
            ("/usr/lib/systemd/system", "/usr/lib/systemd/system", false),
            ("/etc/systemd/system", "/lib/systemd/system", false),
        ] {
            let link = format!("{link}/a.target.wants/web.service");
            let unit = format!("{unit}/web.service");
            let enabled = is_enabled_by_unit(&tree.root(), &link, &unit).unwrap();
            assert_eq!(enabled, expected, "{link} {unit}");
        }
        let link = "/etc/systemd/system/a.target.wants/other.service";
        let unit = "/usr/lib/systemd/system/other.service";
        assert!(!is_enabled_by_unit(&tree.root(), link, unit).unwrap());
    }
}
