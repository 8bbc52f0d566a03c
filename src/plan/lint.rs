//! Warnings of what probably does not work, above all commands that a sealed guest makes fail, with what to write instead.

use std::fs;
use std::path::Path;

use super::{Action, AllowedUrl, Base, Builder, Plan, Script, Step};
use crate::record::lock::Manager;

/// A part of the template that probably does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LintWarning {
    /// The part and the reason.
    pub what: String,
    /// Text to write instead.
    pub help: String,
}

impl Plan {
    /// Returns what probably does not work: a misspelt release, packages of another distribution, and commands of shell steps that
    /// need the network if the guest has none. Reads the scripts of the steps.
    #[must_use]
    pub fn lint(&self) -> Vec<LintWarning> {
        let mut warnings: Vec<_> = self.base.iter().filter_map(Base::lint).collect();
        warnings.extend(self.packages_doubt());
        warnings.extend(self.lint_network());
        warnings.extend(self.unevaluated_expressions());
        warnings
    }

    /// Returns a warning if the name of the base says that it has another package manager.
    fn packages_doubt(&self) -> Option<LintWarning> {
        let name = match self.base.as_ref()? {
            Base::File { path, .. } => path.file_name()?.to_string_lossy().to_lowercase(),
            Base::Url { url, .. } => url.to_lowercase(),
            _ => return None,
        };
        let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
        let (declared, other) = match self.packages.as_ref()?.manager {
            Manager::Apt if has(&RPM_DISTRIBUTIONS) && !has(&DEB_DISTRIBUTIONS) => ("apt", "dnf"),
            Manager::Dnf if has(&DEB_DISTRIBUTIONS) && !has(&RPM_DISTRIBUTIONS) => ("dnf", "apt"),
            _ => return None,
        };
        Some(LintWarning {
            what: format!("the base {name} probably has no {declared}"),
            help: format!("declare the packages in [packages.{other}]"),
        })
    }

    /// Returns the commands of shell steps that need the network, if the guest has none.
    fn lint_network(&self) -> Vec<LintWarning> {
        if self.network.open || matches!(self.builder, Builder::Host(_)) {
            return Vec::new();
        }
        let mut warnings: Vec<LintWarning> = Vec::new();
        for step in &self.steps {
            for line in self.script_lines(step) {
                for (what, help) in needs_network(&line.text, &self.network.allow) {
                    let what = format!(
                        "{what} in step `{}`{}, but the guest has no network",
                        step.name, line.place
                    );
                    // One step may fetch in many lines: one warning for each kind of advice is enough.
                    if !warnings.iter().any(|warning| warning.help == help) {
                        warnings.push(LintWarning { what, help });
                    }
                }
            }
        }
        warnings
    }

    fn script_lines(&self, step: &Step) -> Vec<ScriptLine> {
        let Action::Shell(shell) = &step.action else {
            return Vec::new();
        };
        match &shell.script {
            Script::Path(path) => {
                // A script that cannot be read is reported when the step runs it.
                let text = fs::read_to_string(path).unwrap_or_default();
                logical_lines(&text, |number| place(path, number))
            }
            Script::Inline(lines) => {
                let text: Vec<String> = lines.iter().map(ToString::to_string).collect();
                let text = text.join("\n");
                let template = &self.template;
                let of_line = |number: usize| {
                    let line = text.lines().nth(number)?.trim();
                    let mut written = template.text.lines();
                    let found = written.position(|written| written.contains(line))?;
                    Some(place(&template.path, found))
                };
                logical_lines(&text, |number| of_line(number).unwrap_or_default())
            }
        }
    }
}

impl Base {
    fn lint(&self) -> Option<LintWarning> {
        match self {
            Self::Bootstrap(base) => base.lint(),
            _ => None,
        }
    }
}

/// Words in the names of disks with apt.
const DEB_DISTRIBUTIONS: [&str; 2] = ["debian", "ubuntu"];
/// Words in the names of disks with dnf.
const RPM_DISTRIBUTIONS: [&str; 6] = ["fedora", "rocky", "almalinux", "centos", "rhel", "oracle"];

/// A line of a script, joined with those that continue it.
struct ScriptLine {
    text: String,
    place: String,
}

fn place(path: &Path, line: usize) -> String {
    format!(" ({}:{})", path.display(), line + 1)
}

/// Splits a script into lines: joins those that end with `\`, leaves out comments and here-documents.
fn logical_lines(text: &str, place: impl Fn(usize) -> String) -> Vec<ScriptLine> {
    let mut lines: Vec<ScriptLine> = Vec::new();
    let mut here_document: Option<String> = None;
    let mut continues = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(end) = &here_document {
            if line == end {
                here_document = None;
            }
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        if let Some((_, after)) = line.split_once("<<") {
            let end = after.trim_start_matches(['-', ' ']).split(' ').next();
            let end = end.unwrap_or_default().trim_matches(['\'', '"', '\\']);
            here_document = (!end.is_empty() && !end.starts_with('<')).then(|| end.to_owned());
        }
        let part = line.strip_suffix('\\');
        match lines.last_mut().filter(|_| continues) {
            Some(last) => last.text.push_str(part.unwrap_or(line)),
            None => lines.push(ScriptLine {
                text: part.unwrap_or(line).to_owned(),
                place: place(number),
            }),
        }
        continues = part.is_some();
    }
    lines
}

/// Words before a command that leave it the command.
const PREFIXES: [&str; 14] = [
    "if", "elif", "then", "else", "while", "until", "do", "!", "{", "sudo", "env", "exec", "time",
    "command",
];

/// Returns what needs the network in a line, and what to do instead.
fn needs_network(line: &str, allowed: &[AllowedUrl]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for command in line.split(['|', ';', '&', '(', ')']) {
        let words = shlex::split(command).unwrap_or_default();
        let mut words = words.iter().map(String::as_str).skip_while(|word| {
            PREFIXES.contains(word) || word.starts_with('-') || is_assignment(word)
        });
        let Some(program) = words.next() else {
            continue;
        };
        let program = program.rsplit('/').next().unwrap_or(program);
        let rest: Vec<&str> = words.collect();
        found.extend(advice(program, &rest, allowed));
    }
    found
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    })
}

fn advice(program: &str, words: &[&str], allowed: &[AllowedUrl]) -> Option<(String, String)> {
    let plain: Vec<&str> = words
        .iter()
        .copied()
        .filter(|word| !word.starts_with('-'))
        .collect();
    let verb = plain.first().copied().unwrap_or_default();
    let url = plain.iter().find(|word| is_remote(word)).copied();
    match program {
        "apt" | "apt-get" | "aptitude" | "dnf" | "yum" | "microdnf" if allowed.is_empty() => {
            let table = if program.starts_with("apt") {
                "packages.apt"
            } else {
                "packages.dnf"
            };
            let help = match verb {
                "install" | "reinstall" => {
                    let names = plain[1..].iter().filter(|name| !name.contains(['$', '/']));
                    let names: Vec<String> = names.map(|name| format!("{name:?}")).collect();
                    format!("declare the packages:\n    [{table}]\n    install = [{}]", names.join(", "))
                }
                "update" | "upgrade" | "dist-upgrade" | "full-upgrade" => {
                    "remove it: `karat lock --update` takes newer versions, and the build installs them".to_owned()
                }
                _ => return None,
            };
            Some((format!("`{program} {verb}`"), help))
        }
        "curl" | "wget" => {
            let url = url.filter(|url| !is_allowed(url, allowed))?;
            let help = format!(
                "name the URL, with the digest of a file that stays as it is:\n    [network]\n    allow = [{{ url = {url:?}, sha256 = \"...\" }}]"
            );
            Some((format!("`{program} {url}`"), help))
        }
        "git" if verb == "clone" => {
            let url = url.filter(|url| !is_allowed(url, allowed))?;
            let help = "check it out on this host, and upload it:\n    [[files]]\n    source = \"checkout\"\n    destination = \"/opt/checkout\"";
            Some((format!("`git clone {url}`"), help.to_owned()))
        }
        "pip" | "pip3" | "pipx" | "npm" | "yarn" | "gem" | "cargo" | "go"
            if verb == "install" && allowed.is_empty() =>
        {
            // A local archive or directory needs no network.
            let is_local = |name: &&&str| name.starts_with(['.', '/']);
            if plain.len() > 1 && plain[1..].iter().all(|name| is_local(&name)) {
                return None;
            }
            let help = "name the index that it asks:\n    [network]\n    allow = [{ url = \"https://index.example.org/\" }]";
            Some((format!("`{program} install`"), help.to_owned()))
        }
        _ => None,
    }
}

fn is_remote(word: &str) -> bool {
    let schemes = ["http://", "https://", "git://", "ssh://"];
    let Some(rest) = schemes.iter().find_map(|scheme| word.strip_prefix(scheme)) else {
        return false;
    };
    !["127.", "localhost", "[::1]", "169.254."]
        .iter()
        .any(|local| rest.starts_with(local))
}

fn is_allowed(url: &str, allowed: &[AllowedUrl]) -> bool {
    // A URL with a variable in it is known only when the step runs.
    url.contains('$')
        || allowed.iter().any(|allow| {
            allow.url == url || (allow.url.ends_with('/') && url.starts_with(&allow.url))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_need_the_network_are_found() {
        for (line, expected) in [
            (
                "apt-get update && apt-get install -y nginx curl=7.88",
                "`apt-get update`,`apt-get install`",
            ),
            (
                "DEBIAN_FRONTEND=noninteractive sudo -E apt install -y --no-install-recommends nginx",
                "`apt install`",
            ),
            (
                "if ! /usr/bin/dnf -y install httpd; then exit 1; fi",
                "`dnf install`",
            ),
            (
                "curl -fsSL https://example.org/install.sh | sh",
                "`curl https://example.org/install.sh`",
            ),
            (
                "wget -qO- \"https://example.org/a.tar.gz\" | tar xz",
                "`wget https://example.org/a.tar.gz`",
            ),
            ("pip3 install flask", "`pip3 install`"),
            (
                "git clone --depth 1 https://example.org/app.git /opt/app",
                "`git clone https://example.org/app.git`",
            ),
            ("pip install ./wheels/app.whl", ""),
            ("curl --fail http://127.0.0.1/health", ""),
            ("curl https://mirror.example.org/debs/tool.deb", ""),
            ("curl \"$URL\"", ""),
            ("echo 'run apt-get install nginx'", ""),
            ("apt-get clean; dpkg -i /tmp/tool.deb", ""),
            ("systemctl enable nginx", ""),
            ("unfinished \"quote", ""),
        ] {
            let allowed = [AllowedUrl {
                url: "https://mirror.example.org/debs/".to_owned(),
                sha256: None,
            }];
            let allowed = if line.contains("mirror") {
                &allowed[..]
            } else {
                &[]
            };
            let found = needs_network(line, allowed);
            let found: Vec<&str> = found.iter().map(|(what, _)| what.as_str()).collect();
            assert_eq!(found.join(","), expected, "{line}");
        }
    }

    #[test]
    fn lines_are_joined_and_data_is_left_out() {
        let script = "# apt-get install a\napt-get install \\\n  nginx \\\n  curl\ncat >/x <<'END'\napt-get install b\nEND\ntrue\n";
        let lines = logical_lines(script, |number| number.to_string());
        let lines: Vec<_> = lines
            .iter()
            .map(|line| (line.text.as_str(), line.place.as_str()))
            .collect();
        let expected = [
            ("apt-get install nginx curl", "1"),
            ("cat >/x <<'END'", "4"),
            ("true", "7"),
        ];
        assert_eq!(lines, expected);
    }
}
