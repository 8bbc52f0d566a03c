//! The user, machine and verb behind this process, for histories and logs.

use std::fs;

/// Author of a change to a store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Actor {
    pub name: String,
    /// Host name of the machine.
    pub host: String,
    /// Verb of karat's command line.
    pub command: String,
}

/// Returns the actor of this process.
pub fn of_process() -> Actor {
    let verb = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    Actor {
        name: user(),
        host: host(),
        command: verb.unwrap_or_default(),
    }
}

/// Formats user and machine for people: `ada@builder`.
pub fn who() -> String {
    format!("{}@{}", user(), host())
}

/// Returns the user's name from the environment, else from `/etc/passwd`, else the user's number.
fn user() -> String {
    let named = ["USER", "LOGNAME"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|name| !name.is_empty());
    named.unwrap_or_else(|| {
        let number = rustix::process::getuid().as_raw().to_string();
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        in_passwd(&users, &number).map_or(number.clone(), str::to_owned)
    })
}

/// Returns this machine's host name.
pub fn host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// Finds a user by number in passwd(5): name, password, number.
fn in_passwd<'a>(users: &'a str, number: &str) -> Option<&'a str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1) == Some(number)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number() {
        let users = "root:x:0:0:root:/root:/bin/sh\nci:x:1000:1000::/home/ci:/bin/sh\n:x\n";
        for (number, name) in [("0", Some("root")), ("1000", Some("ci")), ("1", None)] {
            assert_eq!(in_passwd(users, number), name, "{number}");
        }
    }
}
