//! `sshd_config(5)` as sshd understands it: the first value of a keyword wins, `Include` is read where it stands, and what
//! a `Match` block says comes before all of that for whom it matches.

use std::collections::HashMap;

use super::text::{lines, pair};
use super::{Look, ScanError, Severity};

const CONFIG: &str = "/etc/ssh/sshd_config";
const SSHD: [&str; 2] = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"];
/// As sshd itself.
const DEEPEST: usize = 16;
/// Files that are read, those that include each other counted again; sshd has no such bound.
const MOST_FILES: usize = 1000;

/// A value with where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Value {
    text: String,
    /// With all that follows it.
    all: String,
    file: String,
    line: usize,
    /// The condition of its `Match` block; empty for everybody.
    condition: String,
}

/// What sshd would go by.
#[derive(Default, Debug)]
struct Config {
    everybody: HashMap<String, Value>,
    some: Vec<(String, Value)>,
    /// How many files were read.
    files: usize,
}

pub(super) fn check(look: &mut Look<'_>) -> Result<(), ScanError> {
    if !SSHD
        .iter()
        .any(|path| look.root.resolve(path.as_bytes()).is_some())
    {
        return Ok(());
    }
    let mut config = Config::default();
    read(look, CONFIG, &mut String::new(), 0, &mut config)?;
    let is = |wanted: &'static str| move |value: &str| value.eq_ignore_ascii_case(wanted);
    simple(
        look,
        &config,
        "sshd-root-login",
        "permitrootlogin",
        is("yes"),
    );
    simple(
        look,
        &config,
        "sshd-empty-passwords",
        "permitemptypasswords",
        is("yes"),
    );
    simple(
        look,
        &config,
        "sshd-rhosts",
        "hostbasedauthentication",
        is("yes"),
    );
    simple(look, &config, "sshd-rhosts", "ignorerhosts", is("no"));
    simple(
        look,
        &config,
        "sshd-user-environment",
        "permituserenvironment",
        is("yes"),
    );
    simple(look, &config, "sshd-strict-modes", "strictmodes", is("no"));
    for key in [
        "ciphers",
        "macs",
        "kexalgorithms",
        "hostkeyalgorithms",
        "pubkeyacceptedalgorithms",
    ] {
        simple(look, &config, "sshd-weak-crypto", key, has_weak);
    }
    passwords(look, &config);
    keys(look, &config)?;
    options(look)
}

/// Keys where sshd looks for them besides the homes: `AuthorizedKeysFile /etc/ssh/keys/%u`.
fn keys(look: &mut Look<'_>, config: &Config) -> Result<(), ScanError> {
    let mut places = vec!["/etc/ssh/authorized_keys.d/*".to_owned()];
    for value in config.values("authorizedkeysfile") {
        let all = value.all.split_whitespace();
        places.extend(
            all.filter(|place| place.starts_with('/'))
                .map(|place| place.replace("%u", "*").replace("%h", "**")),
        );
    }
    let root = look.root;
    for (path, index) in root.tree().paths() {
        let name = path.rsplit(|byte| *byte == b'/').next();
        let elsewhere = !matches!(name, Some(b"authorized_keys" | b"authorized_keys2"));
        let file = &root.tree().files()[index];
        let named = |place: &String| fast_glob::glob_match(place.as_bytes(), path);
        if file.kind == crate::disk::read::Kind::File && elsewhere && places.iter().any(named) {
            let text = root.content(path, file, super::LARGEST)?;
            let count = lines(&String::from_utf8_lossy(&text)).count();
            if count > 0 {
                look.report("authorized-keys", path, format!("{count} keys that log in"));
            }
        }
    }
    Ok(())
}

/// What the unit hands over by command line comes before all of the files.
fn options(look: &mut Look<'_>) -> Result<(), ScanError> {
    for path in ["/etc/default/ssh", "/etc/sysconfig/sshd"] {
        let text = look.text(path)?.unwrap_or_default();
        for (number, line) in lines(&text).filter(|(_, line)| line.contains("-o")) {
            let line = line.to_ascii_lowercase().replace([' ', '"', '\''], "");
            for (option, check) in [
                ("permitrootlogin=yes", "sshd-root-login"),
                ("passwordauthentication=yes", "sshd-passwords"),
                ("permitemptypasswords=yes", "sshd-empty-passwords"),
            ] {
                if line.contains(option) {
                    look.report(check, path.as_bytes(), format!("line {number}: {option}"));
                }
            }
        }
    }
    Ok(())
}

/// One keyword whose value is bad for everybody or for some.
fn simple(
    look: &mut Look<'_>,
    config: &Config,
    check: &'static str,
    key: &str,
    bad: impl Fn(&str) -> bool,
) {
    for value in config.values(key).filter(|value| bad(&value.text)) {
        look.report(check, value.file.as_bytes(), value.shown(key));
    }
}

/// Passwords are let in by two ways; both are open unless they are closed.
fn passwords(look: &mut Look<'_>, config: &Config) {
    let severity = if look.accounts.any_password() {
        Severity::Medium
    } else {
        Severity::Low
    };
    let mut found = false;
    for key in ["passwordauthentication", "kbdinteractiveauthentication"] {
        for value in config
            .values(key)
            .filter(|value| value.text.eq_ignore_ascii_case("yes"))
        {
            look.report_as(
                "sshd-passwords",
                severity,
                value.file.as_bytes(),
                value.shown(key),
            );
            found = true;
        }
    }
    let unset = |key| !config.everybody.contains_key(key);
    if !found && unset("passwordauthentication") {
        let evidence = "PasswordAuthentication is not set, which is yes";
        look.report_as("sshd-passwords", severity, CONFIG.as_bytes(), evidence);
    }
}

fn has_weak(value: &str) -> bool {
    const WEAK: [&str; 9] = [
        "3des-cbc",
        "arcfour",
        "blowfish-cbc",
        "cast128-cbc",
        "hmac-md5",
        "hmac-sha1-96",
        "diffie-hellman-group1-sha1",
        "diffie-hellman-group-exchange-sha1",
        "ssh-dss",
    ];
    // `-` takes away from the default.
    !value.starts_with('-')
        && value
            .trim_start_matches(['+', '^'])
            .split(',')
            .any(|name| WEAK.iter().any(|weak| name.starts_with(weak)))
}

impl Config {
    /// What a keyword is for everybody and for each of some.
    fn values<'c>(&'c self, key: &'c str) -> impl Iterator<Item = &'c Value> {
        let some = self
            .some
            .iter()
            .filter(move |(name, _)| name == key)
            .map(|(_, value)| value);
        self.everybody.get(key).into_iter().chain(some)
    }
}

impl Value {
    fn shown(&self, key: &str) -> String {
        let Self {
            text,
            line,
            condition,
            ..
        } = self;
        if condition.is_empty() {
            return format!("line {line}: {key} {text}");
        }
        format!("line {line}: {key} {text} (Match {condition})")
    }
}

fn read(
    look: &Look<'_>,
    file: &str,
    condition: &mut String,
    depth: usize,
    config: &mut Config,
) -> Result<(), ScanError> {
    let Some(text) = look.text(file)?.filter(|_| depth <= DEEPEST) else {
        return Ok(());
    };
    config.files += 1;
    if config.files > MOST_FILES {
        return Err(ScanError::Damaged {
            path: file.into(),
            problem: format!("it includes more than {MOST_FILES} files"),
        });
    }
    for (line, text) in lines(&text) {
        let Some((key, value)) = pair(text) else {
            continue;
        };
        // An older name of the same.
        let key = match key.to_ascii_lowercase() {
            old if old == "challengeresponseauthentication" || old == "skeyauthentication" => {
                "kbdinteractiveauthentication".to_owned()
            }
            key => key,
        };
        match key.as_str() {
            "match" if value.eq_ignore_ascii_case("all") => condition.clear(),
            "match" => value.clone_into(condition),
            "include" => {
                for pattern in value.split_whitespace() {
                    for file in included(look, pattern.trim_matches('"')) {
                        // A block of an included file ends with it.
                        read(look, &file, &mut condition.clone(), depth + 1, config)?;
                    }
                }
            }
            _ => {
                let first = value.split_whitespace().next().unwrap_or_default();
                let value = Value {
                    all: value.to_owned(),
                    text: first.trim_matches('"').to_owned(),
                    file: file.to_owned(),
                    line,
                    condition: condition.clone(),
                };
                if condition.is_empty() {
                    config.everybody.entry(key).or_insert(value);
                } else if !config
                    .some
                    .iter()
                    .any(|(name, it)| *name == key && it.condition == *condition)
                {
                    config.some.push((key, value));
                }
            }
        }
    }
    Ok(())
}

/// The files of a pattern, in order of name; what is relative is below `/etc/ssh`.
fn included(look: &Look<'_>, pattern: &str) -> Vec<String> {
    let pattern = if pattern.starts_with('/') {
        pattern.to_owned()
    } else {
        format!("/etc/ssh/{pattern}")
    };
    let Some((directory, name)) = pattern.rsplit_once('/') else {
        return Vec::new();
    };
    let Some(real) = look.root.resolve(directory.as_bytes()) else {
        return Vec::new();
    };
    let children = look.root.children(&real);
    children
        .filter_map(|(path, _)| {
            let path = String::from_utf8_lossy(path).into_owned();
            let own = path.rsplit('/').next().unwrap_or_default();
            // As glob(3): a wild card stands for no leading dot.
            let hidden = own.starts_with('.') && !name.starts_with('.');
            (!hidden && fast_glob::glob_match(name, own)).then_some(path)
        })
        .collect()
}
