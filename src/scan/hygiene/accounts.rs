//! Accounts and their passwords: passwd(5), shadow(5), group(5).

use std::collections::{BTreeMap, BTreeSet};

use super::{HygieneScan, Root, ScanError, Severity};

const PASSWD: &str = "/etc/passwd";
const SHADOW: &str = "/etc/shadow";
/// Maximum size of a file: enough for several hundred thousand users.
const MAX_FILE_BYTES: u64 = 32 << 20;

#[derive(Default)]
pub(in crate::scan) struct Accounts {
    pub users: Vec<User>,
    pub groups: Vec<(String, u32)>,
    shadow: Vec<(String, String)>,
}

pub(in crate::scan) struct User {
    pub name: String,
    pub password: String,
    pub uid: u32,
}

/// The meaning of a password field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Password {
    /// The account needs no password.
    Empty,
    /// The account accepts no password.
    Locked,
    /// The account accepts no password, but the hash of one is still there.
    LockedHash,
    /// The password is in another file.
    Elsewhere,
    /// A hash; a `weak` one can be cracked within days.
    Hash { weak: bool },
}

impl Accounts {
    pub fn read(root: &Root<'_>) -> Result<Self, ScanError> {
        let text = |path: &str| -> Result<String, ScanError> {
            let bytes = root
                .read(path.as_bytes(), MAX_FILE_BYTES)?
                .unwrap_or_default();
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
        let user = |line: &str| match &fields(line)[..] {
            [name, password, uid, ..] => Some(User {
                name: name.clone(),
                password: password.clone(),
                uid: uid.parse().ok()?,
            }),
            _ => None,
        };
        let group = |line: &str| match &fields(line)[..] {
            [name, _, gid, ..] => Some((name.clone(), gid.parse().ok()?)),
            _ => None,
        };
        let shadow = |line: &str| match &fields(line)[..] {
            [name, password, ..] => Some((name.clone(), password.clone())),
            _ => None,
        };
        Ok(Self {
            users: text(PASSWD)?.lines().filter_map(user).collect(),
            groups: text("/etc/group")?.lines().filter_map(group).collect(),
            shadow: text(SHADOW)?.lines().filter_map(shadow).collect(),
        })
    }

    /// Returns whether any account can log in by password.
    pub fn any_password(&self) -> bool {
        let fields = self.shadow.iter().map(|(_, password)| password);
        let mut fields = fields.chain(self.users.iter().map(|user| &user.password));
        fields.any(|field| matches!(password(field), Password::Hash { .. } | Password::Empty))
    }
}

pub(super) fn check(scan: &mut HygieneScan<'_>) -> Result<(), ScanError> {
    let accounts = scan.accounts;
    for user in &accounts.users {
        check_password(scan, PASSWD, &user.name, &user.password);
    }
    for (name, password) in &accounts.shadow {
        check_password(scan, SHADOW, name, password);
    }
    check_ids(scan);
    let files = [PASSWD, SHADOW, "/etc/group", "/etc/gshadow"];
    for (path, text) in scan.texts(&[], &files)? {
        if text.lines().any(|line| line.starts_with('+')) {
            scan.report("nis-entry", path.as_bytes(), "a line begins with `+`");
        }
        if [PASSWD, SHADOW].contains(&path.as_str()) {
            continue;
        }
        for line in text.lines() {
            let mut fields = line.split(':');
            let (name, field) = (fields.next().unwrap_or_default(), fields.next());
            if field.is_some_and(is_hash) {
                let evidence = format!("the group {name} has a password");
                scan.report("group-password", path.as_bytes(), evidence);
            }
        }
    }
    check_files(scan);
    Ok(())
}

fn check_password(scan: &mut HygieneScan<'_>, file: &str, name: &str, field: &str) {
    let (check, evidence) = match password(field) {
        Password::Empty => (
            "empty-password",
            format!("{name} logs in without a password"),
        ),
        Password::Hash { .. } if file == PASSWD => (
            "password-in-passwd",
            format!("every user can read the hash of {name}'s password"),
        ),
        Password::Hash { weak: true } => (
            "weak-password-hash",
            format!("{name}'s password is hashed by {}", method(field)),
        ),
        Password::Hash { weak: false } => (
            "usable-password",
            format!("{name} has a password ({})", method(field)),
        ),
        Password::LockedHash => (
            "locked-password-hash",
            format!("{name} is locked, and the hash of the password is still there"),
        ),
        Password::Locked | Password::Elsewhere => return,
    };
    let severity = super::table::by_id(check).severity;
    // One finding per account.
    scan.report_as(check, severity, file.as_bytes(), evidence);
    if let Some(finding) = scan.findings.last_mut() {
        finding.id = format!("{check}:{name}");
    }
}

fn password(field: &str) -> Password {
    let hash = field.trim_start_matches('!');
    match field {
        "" => Password::Empty,
        "x" => Password::Elsewhere,
        _ if field.starts_with(['!', '*']) => {
            if is_hash(hash) {
                Password::LockedHash
            } else {
                Password::Locked
            }
        }
        _ if is_hash(field) => Password::Hash {
            weak: is_weak(field),
        },
        // Not a result of crypt(3), so no password matches.
        _ => Password::Locked,
    }
}

fn is_hash(field: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "./".contains(letter);
    match field.strip_prefix('$') {
        Some(rest) => rest.matches('$').count() >= 1 && rest.len() >= 8,
        None if field.starts_with('_') => field.len() == 20 && field[1..].chars().all(plain),
        None => field.len() == 13 && field.chars().all(plain),
    }
}

fn is_weak(hash: &str) -> bool {
    const WEAK: [&str; 4] = ["$1$", "$3$", "$md5", "$sha1"];
    !hash.starts_with('$') || WEAK.iter().any(|weak| hash.starts_with(weak))
}

/// Returns the name of the hash method, never the hash.
fn method(hash: &str) -> &'static str {
    const METHODS: [(&str, &str); 9] = [
        ("$1$", "MD5"),
        ("$3$", "NT"),
        ("$md5", "MD5 of Solaris"),
        ("$sha1", "SHA-1"),
        ("$2", "bcrypt"),
        ("$5$", "SHA-256"),
        ("$6$", "SHA-512"),
        ("$y$", "yescrypt"),
        ("$7$", "scrypt"),
    ];
    let mut methods = METHODS.iter();
    match methods.find(|(prefix, _)| hash.starts_with(prefix)) {
        Some((_, name)) => name,
        None if hash.starts_with('$') => "another method",
        None => "DES",
    }
}

fn check_ids(scan: &mut HygieneScan<'_>) {
    let mut by_uid: BTreeMap<u32, BTreeSet<&str>> = BTreeMap::new();
    for user in &scan.accounts.users {
        by_uid.entry(user.uid).or_default().insert(&user.name);
    }
    for (uid, names) in by_uid {
        let names: Vec<_> = names.into_iter().collect();
        let path = PASSWD.as_bytes();
        if uid == 0 {
            for name in names.iter().filter(|name| **name != "root") {
                scan.report("second-root", path, format!("{name} has uid 0"));
            }
        } else if names.len() > 1 {
            scan.report(
                "shared-uid",
                path,
                format!("{} have uid {uid}", names.join(", ")),
            );
        }
    }
}

/// Reports copies of the files, and world-readable hashes.
fn check_files(scan: &mut HygieneScan<'_>) {
    let root = scan.root;
    for (path, file) in root.children(b"/etc") {
        let name = String::from_utf8_lossy(&path[b"/etc/".len()..]);
        let files = ["shadow", "gshadow", "passwd", "group", "sudoers"];
        let Some(rest) = files.iter().find_map(|file| name.strip_prefix(file)) else {
            continue;
        };
        let secret = name.starts_with("shadow") || name.starts_with("gshadow");
        if secret && file.mode & 0o007 != 0 {
            let evidence = format!("every user may read it (mode {:04o})", file.mode);
            scan.report("shadow-readable", path, evidence);
        }
        // A name that ends in `-` is covered by the clean-up's rules.
        if (rest.starts_with(['.', '~', '_']) || (rest.starts_with('-') && rest.len() > 1))
            && name != "sudoers.d"
            && scan.owners.package_of(path).is_none()
        {
            let severity = if secret {
                Severity::High
            } else {
                Severity::Medium
            };
            scan.report_as(
                "account-backup",
                severity,
                path,
                "a copy of an account file",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_password_is_known() {
        let strong = Password::Hash { weak: false };
        let weak = Password::Hash { weak: true };
        for (field, expected) in [
            ("", Password::Empty),
            ("x", Password::Elsewhere),
            ("*", Password::Locked),
            ("!", Password::Locked),
            ("!!", Password::Locked),
            ("!*", Password::Locked),
            ("NP", Password::Locked),
            ("!$6$salt$hashhash", Password::LockedHash),
            ("$6$salt$hashhash", strong),
            ("$y$j9T$salt$hashhash", strong),
            ("$2b$12$saltsaltsalthash", strong),
            ("$1$salt$hashhash", weak),
            ("abJnggxhB/yWI", weak),
            ("_J9..rasmBYk8r9AiWNc", weak),
        ] {
            assert_eq!(password(field), expected, "{field:?}");
        }
    }
}
