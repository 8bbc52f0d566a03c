//! Finds what a command needs from the network, by the table in `commands.toml`. Operands that are not known before the step
//! runs, such as `$PACKAGES`, need nothing.

use super::program::{EXAMPLE_INDEX, Kind, PROGRAMS, Program};
use super::shell::{self, Command};
use super::url;
use crate::plan::{AllowedUrl, packages};
use crate::record::lock::Manager;

/// Programs whose option `-c` gives a script.
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "ash", "ksh", "zsh"];
/// Ends of the names of local packages.
const PACKAGE_FILES: [&str; 7] = [".deb", ".rpm", ".apk", ".whl", ".gem", ".tgz", ".tar.gz"];

/// Network need of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Need {
    /// Packages to install. One whose name is unknown, such as `php8.*`, is not in `names`.
    Packages {
        manager: Manager,
        names: Vec<String>,
    },
    /// New package lists or versions.
    Refresh,
    /// URLs to fetch; one that ends with `/` stands for everything below it.
    Urls(Vec<String>),
    /// A remote repository; `None` if the command does not name it.
    Checkout(Option<Checkout>),
    /// Something else, with advice.
    Other(&'static str),
}

/// A remote repository to check out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Checkout {
    pub url: String,
    pub name: String,
    /// Absolute path in the guest.
    pub directory: String,
}

/// A command with what it needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct NeedyCommand {
    /// Line in the script, counted from 0.
    pub line: usize,
    /// The command as a message names it, such as `apt-get install`.
    pub what: String,
    pub need: Need,
}

/// Returns the commands of a script that need the network.
pub(super) fn needy_commands(script: &str, allowed: &[AllowedUrl]) -> Vec<NeedyCommand> {
    let interpreter = script
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("#!"));
    if interpreter.is_some_and(|line| {
        !line
            .split_whitespace()
            .any(|word| SHELLS.contains(&base_name(word)))
    }) {
        return Vec::new();
    }
    let commands = shell::commands(script);
    // `! curl ...` tests that something cannot be fetched.
    let expected = commands.iter().filter(|command| command.words[0] != "!");
    let needs = expected.flat_map(|Command { line, words }| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        // The commands of an inner script are on the line of the outer command.
        let found = needs_of(&words, allowed).into_iter();
        found.map(|command| NeedyCommand {
            line: *line,
            ..command
        })
    });
    needs.collect()
}

fn needs_of(words: &[&str], allowed: &[AllowedUrl]) -> Vec<NeedyCommand> {
    let is_assignment = |word: &&str| {
        word.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        })
    };
    let start = words.iter().take_while(|word| is_assignment(word)).count();
    let Some((program, rest)) = words[start..].split_first() else {
        return Vec::new();
    };
    let program = base_name(program);
    if SHELLS.contains(&program) {
        let is_script =
            |word: &&str| word.starts_with('-') && !word.starts_with("--") && word.ends_with('c');
        let option = rest.iter().position(is_script);
        let script = option.and_then(|option| rest.get(option + 1));
        return script.map_or_else(Vec::new, |script| needy_commands(script, allowed));
    }
    let name = program.trim_end_matches(|last: char| last.is_ascii_digit() || last == '.');
    let Some(known) = PROGRAMS.iter().find(|row| row.names.contains(&name)) else {
        return Vec::new();
    };
    if let Some(operands) = known.command_after {
        let command = known.operands(rest).get(operands).copied();
        return command.map_or_else(Vec::new, |index| needs_of(&rest[index..], allowed));
    }
    known.needs(program, rest, allowed).into_iter().collect()
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

impl Program {
    /// Returns the need of a call, unless it is met or not certain.
    fn needs(&self, program: &str, words: &[&str], allowed: &[AllowedUrl]) -> Option<NeedyCommand> {
        if self.is_offline(words) {
            return None;
        }
        let operands = self.operands(words).into_iter().map(|index| words[index]);
        let operands: Vec<&str> = operands.collect();
        let two = operands.get(..2).map(|two| two.join(" "));
        let mut verbs = [two.as_deref(), operands.first().copied(), Some("")]
            .into_iter()
            .flatten();
        let (verb, kind) = verbs.find_map(|verb| Some((verb, *self.verbs.get(verb)?)))?;
        let operands = &operands[verb.split_whitespace().count()..];
        // With a prefix that is allowed, the command may well find its server.
        let may_reach_server = allowed.iter().any(|allow| allow.url.ends_with('/'));
        let is_uncertain = !operands.is_empty() && operands.iter().all(|word| is_uncertain(word));
        let mut what = format!("{program} {verb}");
        let need = match kind {
            Kind::Url => {
                let urls = self.urls(words, allowed);
                let first = urls.first()?;
                what = format!("{program} {first}");
                url::advice(first).map_or(Need::Urls(urls), Need::Other)
            }
            Kind::Checkout if verb == "clone" => {
                let checkout = checkout(operands, allowed)?;
                what = format!("{what} {}", checkout.url);
                Need::Checkout(Some(checkout))
            }
            Kind::Advice if !is_uncertain => Need::Other(self.advice),
            _ if may_reach_server || is_uncertain => return None,
            Kind::Packages => self.packages(operands, allowed)?,
            Kind::Refresh => Need::Refresh,
            Kind::Index => Need::Urls(index(words)),
            Kind::Checkout => Need::Checkout(None),
            Kind::Advice => return None,
        };
        let what = format!("`{}`", what.trim_end());
        Some(NeedyCommand {
            line: 0,
            what,
            need,
        })
    }

    /// Returns the packages that are certainly fetched.
    fn packages(&self, operands: &[&str], allowed: &[AllowedUrl]) -> Option<Need> {
        let manager = self.manager?;
        let mut urls = operands
            .iter()
            .filter_map(|word| url::remote(word))
            .peekable();
        if urls.peek().is_some() {
            let urls: Vec<String> = urls.filter(|url| !url::is_allowed(url, allowed)).collect();
            return (!urls.is_empty()).then_some(Need::Urls(urls));
        }
        // `nginx-` removes a package.
        let is_removed = |word: &str| manager == Manager::Apt && word.ends_with('-');
        let installed = operands
            .iter()
            .filter(|word| !is_uncertain(word) && !is_removed(word));
        let mut installed = installed.peekable();
        installed.peek()?;
        let names = installed.filter_map(|word| {
            // `nginx/stable` names a release, too.
            let name = word.split('/').next().unwrap_or(word);
            let without_version = name.split('=').next().unwrap_or(name);
            let mut names = [name, without_version].into_iter();
            names.find(|name| packages::is_package(manager, name))
        });
        let names = names.map(str::to_owned).collect();
        Some(Need::Packages { manager, names })
    }

    /// Returns the URLs among the operands. One without a scheme may be the value of an option that the table does not have.
    fn urls(&self, words: &[&str], allowed: &[AllowedUrl]) -> Vec<String> {
        let urls = self.operands(words).into_iter().filter_map(|index| {
            let word = words[index];
            let is_certain = index == 0 || !words[index - 1].starts_with("--");
            url::remote(word).or_else(|| url::without_scheme(word).filter(|_| is_certain))
        });
        urls.filter(|url| !url::is_allowed(url, allowed)).collect()
    }
}

/// Returns the URLs of the index: those in the options, else an example.
fn index(words: &[&str]) -> Vec<String> {
    let values = words.iter().map(|word| match word.split_once('=') {
        Some((option, value)) if option.starts_with('-') => value,
        _ => word,
    });
    let named: Vec<String> = values.filter_map(url::origin).collect();
    if named.is_empty() {
        vec![EXAMPLE_INDEX.to_owned()]
    } else {
        named
    }
}

/// Returns true if an operand is a local file, or known only when the step runs.
fn is_uncertain(word: &str) -> bool {
    word.starts_with(['.', '/', '~', '-'])
        || word.contains(['$', '\\'])
        || url::remote(word).is_none() && PACKAGE_FILES.iter().any(|end| word.ends_with(end))
}

/// Returns the remote repository that `git clone` needs.
fn checkout(operands: &[&str], allowed: &[AllowedUrl]) -> Option<Checkout> {
    let (from, rest) = operands.split_first()?;
    let url = url::repository(from).filter(|url| !url::is_allowed(url, allowed))?;
    let name = url.trim_end_matches('/').trim_end_matches(".git");
    let name = name.rsplit(['/', ':']).next().unwrap_or(name).to_owned();
    let written = rest
        .first()
        .filter(|path| path.starts_with('/') && !path.contains('$'));
    let directory = written.map_or_else(|| format!("/opt/{name}"), |path| (*path).to_owned());
    Some(Checkout {
        url,
        name,
        directory,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(script: &str, allow: &[&str]) -> String {
        let allowed = allow.iter().map(|url| AllowedUrl {
            url: (*url).to_owned(),
            sha256: None,
        });
        let allowed: Vec<_> = allowed.collect();
        let found = needy_commands(script, &allowed).into_iter();
        let found: Vec<_> = found.map(|command| command.what.replace('`', "")).collect();
        found.join(", ")
    }

    #[test]
    fn commands_that_need_the_network_are_found() {
        for (script, expected) in [
            (
                "apt-get update && apt-get install -y nginx",
                "apt-get update, apt-get install",
            ),
            (
                "DEBIAN_FRONTEND=x sudo -E apt -qq install -y nginx",
                "apt install",
            ),
            (
                "apt-get -o Dpkg::Options::=--force-confold install nginx",
                "apt-get install",
            ),
            (
                "sudo -u app eatmydata timeout -k 5 60 apt-get install a",
                "apt-get install",
            ),
            (
                "if ! /usr/bin/dnf -y install httpd; then exit 1; fi",
                "dnf install",
            ),
            ("yum install https://example.org/a.rpm", "yum install"),
            (
                "curl -fsSL https://example.org/x.sh | sh",
                "curl https://example.org/x.sh",
            ),
            ("curl -fsSLo /x example.org/x", "curl http://example.org/x"),
            (
                "curl \"https://example.org/$V/x-$V.tgz\"",
                "curl https://example.org/",
            ),
            (
                "x=$(curl -H 'A: b' https://user:pw@example.org/x#y)",
                "curl https://example.org/x",
            ),
            (
                "bash -euxc 'wget ftp://example.org/x'",
                "wget ftp://example.org/x",
            ),
            (
                "wget -qO- \"https://example.org/a.tgz\" | tar xz",
                "wget https://example.org/a.tgz",
            ),
            (
                "git -C /opt clone --depth 1 https://example.org/app.git",
                "git clone https://example.org/app.git",
            ),
            (
                "git clone git@example.org:app.git",
                "git clone git@example.org:app.git",
            ),
            (
                "cd /app && git pull && git submodule update --init",
                "git pull, git submodule update",
            ),
            ("pip3 install -r requirements.txt", "pip3 install"),
            ("/opt/v/bin/python3.11 -m pip install flask", "pip install"),
            (
                "npm ci; bundle install; composer install; gem install x",
                "npm ci, bundle install, composer install, gem install",
            ),
            (
                "cargo install ripgrep && go install example.org/x@latest",
                "cargo install, go install",
            ),
            (
                "apk add --no-cache nginx; zypper -n in nginx",
                "apk add, zypper in",
            ),
            (
                "snap install x; docker pull x; podman image pull x",
                "snap install, docker pull, podman image pull",
            ),
            ("add-apt-repository -y ppa:x/y", "add-apt-repository"),
        ] {
            assert_eq!(found(script, &[]), expected, "{script}");
        }
    }

    #[test]
    fn commands_that_may_work_are_left_alone() {
        for script in [
            "apt-get clean; apt-get -y autoremove; apt-get purge x; apt-get -f install; dpkg -i /x.deb",
            "apt-get install -y ./x.deb /y.deb $PKGS $(cat list) debs/z.deb nginx-",
            "echo 'apt-get install x'; echo \"curl https://example.org/\" # pip install x",
            "cat <<X\ncurl https://example.org/\nX\ntrue",
            "! curl https://example.org/",
            "curl -f http://127.0.0.1/ http://localhost:80/ http://[::1]/ http://web/health $URL https://$H/x",
            "curl --resolve a.example.org:443:127.0.0.1 https://a.example.org/",
            "curl --unix-socket /run/x http://example.org/",
            "curl -o example.org/x --unknown a.example.org $URL",
            "command -v curl wget git",
            "git clone /srv/app; git clone ../app; git clone $REPO; git status; git fetch /srv/app",
            "pip install ./app.whl; pip install --no-index --find-links /w x; pip install -e .; pip install \"$X\"; pip list",
            "npm ci --offline; cargo install --path .; gem install --local x.gem; go install ./...",
            "snap install ./x.snap --dangerous; docker load -i x; dnf -C install x; apk add --no-network x",
            "#!/usr/bin/env python3\napt-get install nginx",
            "unfinished \"quote",
        ] {
            assert_eq!(found(script, &[]), "", "{script}");
        }
        assert_eq!(
            found("#!/bin/bash -eu\napt-get update", &[]),
            "apt-get update"
        );
    }

    #[test]
    fn commands_that_the_template_allows_are_left_alone() {
        for (script, allow, expected) in [
            ("curl https://example.org/a/b", "https://example.org/a/", ""),
            (
                "curl https://example.org/a/b",
                "https://example.org/a/c",
                "curl https://example.org/a/b",
            ),
            (
                "curl https://example.org/a/$V",
                "https://example.org/a/1",
                "",
            ),
            (
                "git clone https://example.org/app",
                "https://example.org/",
                "",
            ),
            // The servers of these are not known.
            (
                "apt-get update; pip install x; git pull",
                "https://mirror.example.org/",
                "",
            ),
            (
                "apt-get update",
                "https://example.org/file",
                "apt-get update",
            ),
        ] {
            assert_eq!(found(script, &[allow]), expected, "{script} {allow}");
        }
    }
}
