//! Accounts that packages create: by their scripts, and by the configuration of systemd-sysusers.

use super::{Compare, MAX_FILE_BYTES, ScanError};

/// Directory of the accounts that packages ask systemd for.
const SYSUSERS: &[u8] = b"/usr/lib/sysusers.d";
const SCRIPTS: &[u8] = b"/var/lib/dpkg/info";
/// Programs that create accounts, or add them to groups.
const ACCOUNT_TOOLS: [&str; 6] = [
    "adduser", "useradd", "addgroup", "groupadd", "usermod", "gpasswd",
];
/// Programs that change accounts.
const CHANGE_TOOLS: [&str; 3] = ["usermod", "groupmod", "chsh"];
/// Words before a command.
const KEYWORDS: [&str; 8] = ["if", "then", "elif", "else", "do", "while", "!", "{"];

/// Texts in which packages ask for accounts.
pub(super) struct AccountSources {
    /// Scripts that call one of the [tools](ACCOUNT_TOOLS).
    scripts: Vec<String>,
    /// Words of each line of sysusers.d(5).
    sysusers: Vec<Vec<String>>,
}

impl AccountSources {
    pub fn create_user(&self, name: &str) -> bool {
        self.asks(&["u", "u!"], &[name]) || self.has_words(&[name])
    }

    pub fn create_group(&self, name: &str) -> bool {
        // A user has a group of the same name.
        self.asks(&["g", "u", "u!"], &[name]) || self.has_words(&[name])
    }

    pub fn add(&self, group: &str, user: &str) -> bool {
        self.add_by_one_command(group, user) || self.has_words(&[group, user])
    }

    /// Returns whether one command adds a user to a group: `adduser USER GROUP`, `usermod -aG GROUP USER`.
    pub fn add_by_one_command(&self, group: &str, user: &str) -> bool {
        self.asks(&["m"], &[user, group]) || self.call(&ACCOUNT_TOOLS, &[group, user])
    }

    /// Returns whether a command changes an account.
    pub fn change(&self, name: &str) -> bool {
        self.call(&CHANGE_TOOLS, &[name])
    }

    /// Returns whether systemd-sysusers is asked for a line of one of these types that begins with these names.
    fn asks(&self, types: &[&str], names: &[&str]) -> bool {
        self.sysusers.iter().any(|line| {
            let (kind, rest) = line.split_first().expect("lines have words");
            types.contains(&kind.as_str()) && rest.len() >= names.len() && {
                rest.iter().zip(names).all(|(word, name)| word == name)
            }
        })
    }

    /// Returns whether a script has all these words. Scripts may call a program with variables.
    fn has_words(&self, words: &[&str]) -> bool {
        let mut scripts = self.scripts.iter();
        scripts.any(|script| words.iter().all(|word| has_word(script, word)))
    }

    /// Returns whether a script calls one of the tools with all these arguments.
    fn call(&self, tools: &[&str], arguments: &[&str]) -> bool {
        let mut commands = self.scripts.iter().flat_map(|script| commands(script));
        commands.any(|command| {
            let program = command[0].rsplit('/').next().unwrap_or_default();
            let has = |argument: &&str| command[1..].iter().any(|word| word == argument);
            tools.contains(&program) && arguments.iter().all(has)
        })
    }
}

impl Compare<'_> {
    /// Collects the texts of packages whose version is not in the base. Of a package that is known from outside the image, the
    /// scripts of the image do not count. A package that is not is itself undeclared, or the files of the lock are not at hand.
    pub(super) fn account_sources(&self) -> Result<AccountSources, ScanError> {
        let mut scripts = Vec::new();
        for (path, file) in self.root.children(SCRIPTS) {
            let name = String::from_utf8_lossy(&path[SCRIPTS.len() + 1..]);
            let Some((package, "postinst" | "preinst")) = name.rsplit_once('.') else {
                continue;
            };
            let package = package.split(':').next().unwrap_or_default();
            if self.is_new(package) && self.packaged.scripts_of(package).is_none() {
                let text = self.root.content(path, file, MAX_FILE_BYTES)?;
                scripts.push(String::from_utf8_lossy(&text).into_owned());
            }
        }
        let packages = self.now.packages.iter();
        let trusted = packages.filter_map(|package| self.packaged.scripts_of(&package.name));
        scripts.extend(trusted.map(str::to_owned));
        let records = self.packaged.records.iter();
        let records = records.filter(|record| self.is_new(&record.package));
        scripts.extend(records.map(|record| record.scripts.clone()));
        scripts.retain(|text| {
            let mut tools = ACCOUNT_TOOLS.iter().chain(&CHANGE_TOOLS);
            tools.any(|tool| has_word(text, tool))
        });
        let mut sysusers = Vec::new();
        for (path, file) in self.root.children(SYSUSERS) {
            if self.is_as_packaged(path) {
                let text = self.root.content(path, file, MAX_FILE_BYTES)?;
                let text = String::from_utf8_lossy(&text);
                let lines = text
                    .lines()
                    .filter(|line| !line.trim_start().starts_with('#'));
                let words = lines.map(|line| line.split_whitespace().map(str::to_owned).collect());
                sysusers.extend(words.filter(|words: &Vec<_>| !words.is_empty()));
            }
        }
        Ok(AccountSources { scripts, sysusers })
    }

    /// Returns whether a package is installed in a version that is not in the base.
    pub(super) fn is_new(&self, package: &str) -> bool {
        let before: Vec<_> = self.declared.base.versions(package).collect();
        let mut versions = self.now.versions(package);
        versions.any(|version| !before.contains(&version))
    }
}

/// Returns the simple commands of a script: their words without quotes, and with lists at commas taken apart.
fn commands(script: &str) -> impl Iterator<Item = Vec<String>> {
    let joined = script.replace("\\\n", " ");
    let ends = ['\n', ';', '&', '|', '(', ')', '`'];
    let commands: Vec<Vec<String>> = joined.split(ends).map(words).collect();
    commands.into_iter().filter(|command| !command.is_empty())
}

fn words(command: &str) -> Vec<String> {
    let words = command.split(|letter: char| letter.is_whitespace() || letter == ',');
    let words = words.map(|word| word.trim_matches(['"', '\'']));
    let words = words.filter(|word| !word.is_empty());
    let words = words.skip_while(|word| KEYWORDS.contains(word));
    let words = words.take_while(|word| !word.starts_with('#'));
    words.map(str::to_owned).collect()
}

/// Returns whether a text contains a word that is not part of a longer one.
pub(super) fn has_word(text: &str, word: &str) -> bool {
    let part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_command_adds_a_user_to_a_group() {
        for (script, expected) in [
            ("adduser web sudo", true),
            (
                "\tif ! /usr/sbin/adduser --quiet 'web' \"sudo\" >/dev/null; then exit 1; fi",
                true,
            ),
            (
                "getent group sudo && usermod -a -G adm,sudo web || true",
                true,
            ),
            ("usermod \\\n  -aG sudo \\\n  web", true),
            ("gpasswd -a web sudo", true),
            ("adduser web; adduser other sudo", false),
            ("adduser web # not to sudo", false),
            ("echo adduser web sudo", false),
            ("# adduser web sudo", false),
            ("adduser web-sudo sudo", false),
            ("chown web:sudo /srv\nadduser other", false),
        ] {
            let sources = AccountSources {
                scripts: vec![script.to_owned()],
                sysusers: Vec::new(),
            };
            assert_eq!(
                sources.add_by_one_command("sudo", "web"),
                expected,
                "{script}"
            );
        }
    }

    #[test]
    fn a_line_of_sysusers_creates_what_it_names() {
        let lines = [
            "u! web - \"a sudo web\" /srv /bin/sh",
            "g docker -",
            "m web adm",
        ];
        let words = |line: &&str| line.split_whitespace().map(str::to_owned).collect();
        let sources = AccountSources {
            scripts: Vec::new(),
            sysusers: lines.iter().map(words).collect(),
        };
        let all = ["adm", "docker", "sudo", "web"];
        let of =
            |is: &dyn Fn(&str) -> bool| all.into_iter().filter(|name| is(name)).collect::<Vec<_>>();
        assert_eq!(of(&|name| sources.create_user(name)), ["web"]);
        assert_eq!(of(&|name| sources.create_group(name)), ["docker", "web"]);
        assert_eq!(of(&|name| sources.add(name, "web")), ["adm"]);
    }
}
