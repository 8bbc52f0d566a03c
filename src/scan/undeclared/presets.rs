//! Units that the scripts of RPMs enable by systemd's presets (systemd.preset(5)).

use std::collections::BTreeMap;

use super::{MAX_FILE_BYTES, Root, ScanError};

/// Directories of enabled units, each with its directories of presets. A file in the first hides one of the same name in
/// the second.
const UNIT_DIRECTORIES: [(&str, [&str; 2]); 2] = [
    (
        "/etc/systemd/system/",
        [
            "/etc/systemd/system-preset",
            "/usr/lib/systemd/system-preset",
        ],
    ),
    (
        "/etc/systemd/user/",
        ["/etc/systemd/user-preset", "/usr/lib/systemd/user-preset"],
    ),
];

/// Presets of the system and of its users.
#[derive(Default)]
pub struct Presets {
    /// The lines of all files in order: enable or disable, and a glob of units.
    lines: [Vec<(bool, String)>; 2],
    /// False on systems with dpkg, whose packages ignore presets.
    asked: bool,
}

impl Presets {
    pub fn read(root: &Root<'_>) -> Result<Self, ScanError> {
        let mut presets = Self {
            asked: root.get(b"/var/lib/dpkg/status").is_none(),
            ..Self::default()
        };
        for ((_, directories), lines) in UNIT_DIRECTORIES.iter().zip(&mut presets.lines) {
            let mut files = BTreeMap::new();
            for directory in directories {
                for (path, file) in root.children(directory.as_bytes()) {
                    let name = &path[directory.len() + 1..];
                    if name.ends_with(b".preset") {
                        files.entry(name.to_owned()).or_insert((path, file));
                    }
                }
            }
            for (path, file) in files.into_values() {
                let text = root.content(path, file, MAX_FILE_BYTES)?;
                let text = String::from_utf8_lossy(&text);
                lines.extend(text.lines().filter_map(|line| {
                    let mut words = line.split_whitespace();
                    let enable = match words.next()? {
                        "enable" => true,
                        "disable" | "ignore" => false,
                        _ => return None,
                    };
                    Some((enable, words.next()?.to_owned()))
                }));
            }
        }
        Ok(presets)
    }

    /// Returns whether the presets enable a unit of a package with this link. Units that no line names are enabled.
    pub fn enable(&self, link: &str, unit: &str) -> bool {
        let place = UNIT_DIRECTORIES
            .iter()
            .position(|(place, _)| link.starts_with(place));
        let Some(place) = place.filter(|_| self.asked) else {
            return false;
        };
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let names = [name(link), name(unit)];
        let is = |glob: &str| names.iter().any(|name| fast_glob::glob_match(glob, name));
        let found = self.lines[place].iter().find(|(_, glob)| is(glob));
        found.is_none_or(|(enable, _)| *enable)
    }
}
