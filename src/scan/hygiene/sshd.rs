//! `sshd_config(5)` as sshd reads it: the first value of a keyword wins, `Include` takes effect in place, and values in a
//! `Match` block take precedence for the connections that it matches.

use std::collections::HashMap;

use super::lists::LISTS;
use super::suspicious_files::authorized_keys;
use super::text::{lines, pair};
use super::{HygieneScan, ScanError, Severity};
use crate::disk::read::FileType;

const CONFIG: &str = "/etc/ssh/sshd_config";
const SSHD: [&str; 2] = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"];
/// The limit of sshd itself.
const MAX_INCLUDE_DEPTH: usize = 16;
/// Maximum number of files, including repeated ones, so that files that include each other cannot hang the scan; sshd has no
/// such limit.
const MAX_FILES: usize = 1000;
/// Keywords with a value that is a weakness, and the check for it.
const BAD_VALUES: [(&str, &str, &str); 6] = [
    ("permitrootlogin", "yes", "sshd-root-login"),
    ("permitemptypasswords", "yes", "sshd-empty-passwords"),
    ("hostbasedauthentication", "yes", "sshd-rhosts"),
    ("ignorerhosts", "no", "sshd-rhosts"),
    ("permituserenvironment", "yes", "sshd-user-environment"),
    ("strictmodes", "no", "sshd-strict-modes"),
];
/// Keywords with a list of algorithms.
const ALGORITHMS: [&str; 5] = [
    "ciphers",
    "macs",
    "kexalgorithms",
    "hostkeyalgorithms",
    "pubkeyacceptedalgorithms",
];
/// Options on sshd's command line that are a weakness, and the check for each.
const BAD_OPTIONS: [(&str, &str); 3] = [
    ("permitrootlogin=yes", "sshd-root-login"),
    ("passwordauthentication=yes", "sshd-passwords"),
    ("permitemptypasswords=yes", "sshd-empty-passwords"),
];

/// A value and its place.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Value {
    /// The first word of `all`, without quotes.
    first: String,
    all: String,
    file: String,
    line: usize,
    /// The condition of the `Match` block; empty outside of one.
    condition: String,
}

/// The configuration that is in effect.
#[derive(Default, Debug)]
struct Config {
    global: HashMap<String, Value>,
    /// The keywords and values in `Match` blocks.
    conditional: Vec<(String, Value)>,
    /// Number of files that were read.
    files: usize,
}

pub(super) fn check(scan: &mut HygieneScan<'_>) -> Result<(), ScanError> {
    let mut paths = SSHD.iter();
    if !paths.any(|path| scan.root.resolve(path.as_bytes()).is_some()) {
        return Ok(());
    }
    let mut config = Config::default();
    config.read(scan, CONFIG, &mut String::new(), 0)?;
    for (key, bad, check) in BAD_VALUES {
        let is_bad = |value: &str| value.eq_ignore_ascii_case(bad);
        report_values(scan, &config, check, key, is_bad);
    }
    for key in ALGORITHMS {
        report_values(scan, &config, "sshd-weak-crypto", key, has_weak);
    }
    passwords(scan, &config);
    keys(scan, &config)?;
    options(scan)
}

/// Reports keys in places besides the homes, as in `AuthorizedKeysFile /etc/ssh/keys/%u`.
fn keys(scan: &mut HygieneScan<'_>, config: &Config) -> Result<(), ScanError> {
    let mut globs = vec!["/etc/ssh/authorized_keys.d/*".to_owned()];
    for value in config.values("authorizedkeysfile") {
        let places = value.all.split_whitespace();
        let absolute = places.filter(|place| place.starts_with('/'));
        globs.extend(absolute.map(|place| place.replace("%u", "*").replace("%h", "**")));
    }
    let root = scan.root;
    for (path, index) in root.tree().paths() {
        // Another check reports files of the usual names.
        let usual = path.ends_with(b"/authorized_keys") || path.ends_with(b"/authorized_keys2");
        let file = &root.tree().files()[index];
        let mut globs = globs.iter();
        if file.kind == FileType::File
            && !usual
            && globs.any(|glob| fast_glob::glob_match(glob.as_bytes(), path))
        {
            authorized_keys(scan, path, file)?;
        }
    }
    Ok(())
}

/// Checks the command line of the unit, which takes precedence over all files.
fn options(scan: &mut HygieneScan<'_>) -> Result<(), ScanError> {
    for (path, text) in scan.texts(&[], &["/etc/default/ssh", "/etc/sysconfig/sshd"])? {
        for (number, line) in lines(&text).filter(|(_, line)| line.contains("-o")) {
            let line = line.to_ascii_lowercase().replace([' ', '"', '\''], "");
            for (option, check) in BAD_OPTIONS {
                if line.contains(option) {
                    scan.report_line(check, &path, number, option);
                }
            }
        }
    }
    Ok(())
}

/// Reports the values of a keyword that are `bad`, global ones and those in `Match` blocks.
fn report_values(
    scan: &mut HygieneScan<'_>,
    config: &Config,
    check: &'static str,
    key: &str,
    bad: impl Fn(&str) -> bool,
) {
    for value in config.values(key).filter(|value| bad(&value.first)) {
        scan.report(check, value.file.as_bytes(), value.describe(key));
    }
}

/// Reports password logins. There are two ways, and both are enabled by default.
fn passwords(scan: &mut HygieneScan<'_>, config: &Config) {
    let severity = if scan.accounts.any_password() {
        Severity::Medium
    } else {
        Severity::Low
    };
    let mut found = false;
    for key in ["passwordauthentication", "kbdinteractiveauthentication"] {
        let values = config.values(key);
        for value in values.filter(|value| value.first.eq_ignore_ascii_case("yes")) {
            let (path, evidence) = (value.file.as_bytes(), value.describe(key));
            scan.report_as("sshd-passwords", severity, path, evidence);
            found = true;
        }
    }
    if !found && !config.global.contains_key("passwordauthentication") {
        let evidence = "PasswordAuthentication is not set, and defaults to yes";
        scan.report_as("sshd-passwords", severity, CONFIG.as_bytes(), evidence);
    }
}

fn has_weak(value: &str) -> bool {
    // `-` removes algorithms from the default.
    !value.starts_with('-')
        && value.trim_start_matches(['+', '^']).split(',').any(|name| {
            LISTS
                .weak_algorithms
                .iter()
                .any(|weak| name.starts_with(weak))
        })
}

impl Config {
    /// Returns the values of a keyword: the global one, and those in `Match` blocks.
    fn values<'c>(&'c self, key: &'c str) -> impl Iterator<Item = &'c Value> {
        let conditional = self.conditional.iter().filter(move |(name, _)| name == key);
        let conditional = conditional.map(|(_, value)| value);
        self.global.get(key).into_iter().chain(conditional)
    }

    /// Reads a file, and the files that it includes.
    fn read(
        &mut self,
        scan: &HygieneScan<'_>,
        file: &str,
        condition: &mut String,
        depth: usize,
    ) -> Result<(), ScanError> {
        let Some(text) = scan.text(file)?.filter(|_| depth <= MAX_INCLUDE_DEPTH) else {
            return Ok(());
        };
        self.files += 1;
        if self.files > MAX_FILES {
            return Err(ScanError::Damaged {
                path: file.into(),
                problem: format!("it includes more than {MAX_FILES} files"),
            });
        }
        for (line, text) in lines(&text) {
            let Some((key, all)) = pair(text) else {
                continue;
            };
            match key.to_ascii_lowercase().as_str() {
                "match" if all.eq_ignore_ascii_case("all") => condition.clear(),
                "match" => all.clone_into(condition),
                "include" => {
                    let patterns = all.split_whitespace();
                    let patterns = patterns.map(|pattern| pattern.trim_matches('"'));
                    for file in patterns.flat_map(|pattern| included(scan, pattern)) {
                        // A block of an included file ends with the file.
                        self.read(scan, &file, &mut condition.clone(), depth + 1)?;
                    }
                }
                key => {
                    let first = all.split_whitespace().next().unwrap_or_default();
                    let value = Value {
                        first: first.trim_matches('"').to_owned(),
                        all: all.to_owned(),
                        file: file.to_owned(),
                        line,
                        condition: condition.clone(),
                    };
                    self.set(key, value);
                }
            }
        }
        Ok(())
    }

    /// Sets a keyword, unless it has a value already.
    fn set(&mut self, key: &str, value: Value) {
        // Older names of the same keyword.
        let key = match key {
            "challengeresponseauthentication" | "skeyauthentication" => {
                "kbdinteractiveauthentication"
            }
            key => key,
        };
        let is_set =
            |(name, known): &(String, Value)| name == key && known.condition == value.condition;
        if value.condition.is_empty() {
            self.global.entry(key.to_owned()).or_insert(value);
        } else if !self.conditional.iter().any(is_set) {
            self.conditional.push((key.to_owned(), value));
        }
    }
}

impl Value {
    fn describe(&self, key: &str) -> String {
        let Self {
            first,
            line,
            condition,
            ..
        } = self;
        if condition.is_empty() {
            return format!("line {line}: {key} {first}");
        }
        format!("line {line}: {key} {first} (Match {condition})")
    }
}

/// Returns the files that match a pattern, in order of name; a relative pattern is below `/etc/ssh`.
fn included(scan: &HygieneScan<'_>, pattern: &str) -> Vec<String> {
    let pattern = if pattern.starts_with('/') {
        pattern.to_owned()
    } else {
        format!("/etc/ssh/{pattern}")
    };
    let Some((directory, name)) = pattern.rsplit_once('/') else {
        return Vec::new();
    };
    let Some(real) = scan.root.resolve(directory.as_bytes()) else {
        return Vec::new();
    };
    let children = scan.root.children(&real);
    let paths = children.map(|(path, _)| String::from_utf8_lossy(path).into_owned());
    paths
        .filter(|path| {
            let own = path.rsplit('/').next().unwrap_or_default();
            // As in glob(3), a wildcard does not match a leading dot.
            let hidden = own.starts_with('.') && !name.starts_with('.');
            !hidden && fast_glob::glob_match(name, own)
        })
        .collect()
}
