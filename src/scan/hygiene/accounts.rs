//! Who can log in: passwd(5), shadow(5), group(5).

use std::collections::{BTreeMap, BTreeSet};

use super::{Look, Root, ScanError, Severity};

const PASSWD: &str = "/etc/passwd";
const SHADOW: &str = "/etc/shadow";
/// More than a hundred thousand users have.
const LARGEST: u64 = 32 << 20;

/// The accounts of an image.
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

/// What stands in the field of a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Password {
    /// Nothing: no password is asked for.
    Empty,
    /// No password fits.
    Locked,
    /// No password fits, but the hash of one is still there.
    LockedHash,
    /// Kept elsewhere.
    Elsewhere,
    /// A hash; `weak` when it can be searched in days.
    Hash { weak: bool },
}

impl Accounts {
    pub fn read(root: &Root<'_>) -> Result<Self, ScanError> {
        let text = |path: &str| -> Result<String, ScanError> {
            let bytes = root.read(path.as_bytes(), LARGEST)?.unwrap_or_default();
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

    /// Whether somebody has a password to log in with.
    pub fn any_password(&self) -> bool {
        let fields = self.shadow.iter().map(|(_, password)| password);
        let fields = fields.chain(self.users.iter().map(|user| &user.password));
        fields
            .map(|field| password(field))
            .any(|it| matches!(it, Password::Hash { .. } | Password::Empty))
    }
}

pub(super) fn check(look: &mut Look<'_>) -> Result<(), ScanError> {
    let accounts = look.accounts;
    for user in &accounts.users {
        check_password(look, PASSWD, &user.name, &user.password);
    }
    for (name, password) in &accounts.shadow {
        check_password(look, SHADOW, name, password);
    }
    check_ids(look);
    for path in [PASSWD, SHADOW, "/etc/group", "/etc/gshadow"] {
        let text = look.text(path)?.unwrap_or_default();
        if text.lines().any(|line| line.starts_with('+')) {
            look.report("nis-entry", path.as_bytes(), "a line begins with `+`");
        }
    }
    for path in ["/etc/group", "/etc/gshadow"] {
        for line in look.text(path)?.unwrap_or_default().lines() {
            let mut fields = line.split(':');
            let (name, field) = (fields.next().unwrap_or_default(), fields.next());
            if field.is_some_and(is_hash) {
                let evidence = format!("the group {name} has a password");
                look.report("group-password", path.as_bytes(), evidence);
            }
        }
    }
    check_files(look);
    Ok(())
}

fn check_password(look: &mut Look<'_>, file: &str, name: &str, field: &str) {
    let (check, evidence) = match password(field) {
        Password::Empty => (
            "empty-password",
            format!("{name} logs in without a password"),
        ),
        Password::Hash { .. } if file == PASSWD => (
            "password-in-passwd",
            format!("the hash of {name}'s password is where everybody can read it"),
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
    let severity = super::table::of(check).severity;
    // One finding for each account.
    look.report_as(check, severity, file.as_bytes(), evidence);
    if let Some(finding) = look.findings.last_mut() {
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
        // Nothing that crypt(3) makes: no password fits.
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

/// Which kind of hash it is: never the hash.
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
    let known = METHODS.iter().find(|(prefix, _)| hash.starts_with(prefix));
    known.map_or(
        if hash.starts_with('$') {
            "another method"
        } else {
            "DES"
        },
        |(_, name)| name,
    )
}

fn check_ids(look: &mut Look<'_>) {
    let mut by_uid: BTreeMap<u32, BTreeSet<&str>> = BTreeMap::new();
    for user in &look.accounts.users {
        by_uid.entry(user.uid).or_default().insert(&user.name);
    }
    for (uid, names) in by_uid {
        let names: Vec<_> = names.into_iter().collect();
        let path = PASSWD.as_bytes();
        if uid == 0 {
            for name in names.iter().filter(|name| **name != "root") {
                look.report("second-root", path, format!("{name} has uid 0"));
            }
        } else if names.len() > 1 {
            look.report(
                "shared-uid",
                path,
                format!("{} have uid {uid}", names.join(", ")),
            );
        }
    }
}

/// Copies of the files, and who can read them.
fn check_files(look: &mut Look<'_>) {
    let root = look.root;
    for (path, file) in root.children(b"/etc") {
        let name = String::from_utf8_lossy(&path[b"/etc/".len()..]);
        let of = ["shadow", "gshadow", "passwd", "group", "sudoers"];
        let rest = of.iter().find_map(|of| name.strip_prefix(of));
        let Some(rest) = rest else { continue };
        let secret = name.starts_with("shadow") || name.starts_with("gshadow");
        if secret && file.mode & 0o007 != 0 {
            let evidence = format!("everybody may open it (mode {:04o})", file.mode);
            look.report("shadow-readable", path, evidence);
        }
        // What ends in `-` is the clean-up's.
        if (rest.starts_with(['.', '~', '_']) || (rest.starts_with('-') && rest.len() > 1))
            && name != "sudoers.d"
            && look.owners.of(path).is_none()
        {
            let severity = if secret {
                Severity::High
            } else {
                Severity::Medium
            };
            look.report_as("account-backup", severity, path, "a copy of the accounts");
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
