//! Configuration of OpenSSH's client for one machine: its address, the key to log in with, the host key to expect.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::host_key::host_name;
use super::{Auth, Target, quote};
use crate::os::{atomic_file, if_exists};
use crate::plan::HostKey;

/// Name of the configuration in a run directory.
const CONFIG: &str = "ssh_config";
const KNOWN_HOSTS: &str = "known_hosts";
/// Permission bits of both files.
const MODE: u32 = 0o600;

/// Configuration in a run directory with which `ssh` reaches its machine, and nothing else of the user's configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ClientConfig {
    path: PathBuf,
    host: String,
}

impl ClientConfig {
    /// Writes the files of `target` to `directory`. The configuration calls the machine `name`.
    pub(crate) fn write(target: &Target, name: &str, directory: &Path) -> io::Result<Self> {
        let host = alias(name);
        let known_hosts = directory.join(KNOWN_HOSTS);
        let mut keys = String::new();
        let mut config = String::new();
        describe(target, &host, &known_hosts, &mut config, &mut keys);
        atomic_file::write(&known_hosts, MODE, keys.as_bytes())?;
        let path = directory.join(CONFIG);
        // Comes last: `read` finds no configuration that is not complete.
        atomic_file::write(&path, MODE, config.as_bytes())?;
        Ok(Self { path, host })
    }

    /// Reads the configuration that [`Self::write`] has written to `directory`; `None` without one.
    pub(crate) fn read(directory: &Path) -> io::Result<Option<Self>> {
        let path = directory.join(CONFIG);
        let Some(text) = if_exists(std::fs::read_to_string(&path))? else {
            return Ok(None);
        };
        let host = text.lines().find_map(|line| line.strip_prefix("Host "));
        Ok(host.map(|host| Self {
            host: host.to_owned(),
            path,
        }))
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Returns the command that logs in. A remote command may follow as arguments.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("ssh");
        // After `--`, a remote command may begin with a dash.
        command.arg("-F").arg(&self.path).arg("--").arg(&self.host);
        command
    }

    /// Returns the command that logs in, as a line for a shell.
    pub(crate) fn command_line(&self) -> String {
        format!(
            "ssh -F {} {}",
            quote(&self.path.to_string_lossy()),
            self.host
        )
    }
}

/// Returns a name that `ssh` takes neither for a pattern nor for an option.
fn alias(name: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric();
    let plain = name.replace(|letter| !is_plain(letter), "-");
    match plain.trim_matches('-') {
        "" => "guest".to_owned(),
        plain => plain.to_owned(),
    }
}

/// Appends the `Host` block of a machine, and those of its jump hosts, to `config`, and their host keys to `keys`.
fn describe(
    target: &Target,
    host: &str,
    known_hosts: &Path,
    config: &mut String,
    keys: &mut String,
) {
    let Target {
        address,
        port,
        user,
        ..
    } = target;
    // Writing to a String cannot fail.
    let _ = writeln!(config, "Host {host}");
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(config, "    {key} {value}");
    };
    line("HostName", &literal(address));
    line("Port", &port.to_string());
    line("User", &literal(user));
    if let Auth::KeyFile(path) = &target.auth {
        line("IdentityFile", &literal(&path.to_string_lossy()));
        line("IdentitiesOnly", "yes");
    }
    let known = match &target.host_key {
        HostKey::Key(key) => {
            let _ = writeln!(keys, "{} {}", host_name(address, *port), key.trim());
            known_hosts
        }
        HostKey::KnownHosts(file) => file.as_path(),
    };
    line("UserKnownHostsFile", &literal(&known.to_string_lossy()));
    line("StrictHostKeyChecking", "yes");
    if let Some(command) = &target.proxy {
        let words: Vec<_> = command.iter().map(|word| quote(word)).collect();
        line("ProxyCommand", &words.join(" ").replace('%', "%%"));
    }
    if let Some(jump) = &target.jump {
        let name = format!("{host}-jump");
        line("ProxyJump", &name);
        describe(jump, &name, known_hosts, config, keys);
    }
}

/// Quotes a value, and keeps OpenSSH from expanding `%` in it.
fn literal(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace('%', "%%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJLtW3vPD8Sz3kUhc0uOJKmeQZ1mxu5YSGyBzuOhQiYO guest";

    fn target(directory: &Path) -> Target {
        Target {
            address: "127.0.0.1".into(),
            port: 40123,
            user: "root".into(),
            auth: Auth::KeyFile(directory.join("key")),
            host_key: HostKey::Key(KEY.into()),
            jump: None,
            proxy: None,
        }
    }

    /// Returns the effective configuration of OpenSSH's client.
    fn effective(config: &ClientConfig) -> String {
        let mut ssh = Command::new("ssh");
        let output = ssh.args(["-G", "-F"]).arg(&config.path).arg(&config.host);
        let output = output.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn openssh_reads_what_was_written() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("a \"run\" of 5%d");
        std::fs::create_dir(&directory).unwrap();
        let config = ClientConfig::write(&target(&directory), "web", &directory).unwrap();
        assert_eq!(
            ClientConfig::read(&directory).unwrap(),
            Some(config.clone())
        );
        let said = effective(&config);
        for expected in [
            "hostname 127.0.0.1\n",
            "port 40123\n",
            "user root\n",
            "stricthostkeychecking true\n",
            "identitiesonly yes\n",
        ] {
            assert!(said.contains(expected), "{expected}: {said}");
        }
        let known = std::fs::read_to_string(directory.join(KNOWN_HOSTS)).unwrap();
        assert_eq!(known, format!("[127.0.0.1]:40123 {KEY}\n"));
    }

    #[test]
    fn a_jump_host_and_a_proxy_are_used() {
        let scratch = tempfile::tempdir().unwrap();
        let jump = Target {
            address: "192.0.2.7".into(),
            port: 22,
            auth: Auth::Agent,
            host_key: HostKey::KnownHosts("/home/user/.ssh/known_hosts".into()),
            ..target(scratch.path())
        };
        let through = Target {
            jump: Some(Box::new(jump)),
            ..target(scratch.path())
        };
        let config = ClientConfig::write(&through, "web", scratch.path()).unwrap();
        assert!(effective(&config).contains("proxyjump web-jump\n"));
        let text = std::fs::read_to_string(&config.path).unwrap();
        assert!(
            text.contains("Host web-jump\n    HostName \"192.0.2.7\"\n    Port 22\n"),
            "{text}"
        );
        let proxied = Target {
            proxy: Some(["aws", "ssm", "a b"].map(str::to_owned).to_vec()),
            ..target(scratch.path())
        };
        let config = ClientConfig::write(&proxied, "web", scratch.path()).unwrap();
        let said = effective(&config);
        assert!(said.contains("proxycommand aws ssm 'a b'\n"), "{said}");
    }

    #[test]
    fn a_name_becomes_no_option_and_no_pattern() {
        for (name, expected) in [
            ("debian-web", "debian-web"),
            ("-oProxyCommand=x y", "oProxyCommand-x-y"),
            ("*\nHost a", "Host-a"),
            ("", "guest"),
        ] {
            assert_eq!(alias(name), expected);
        }
    }

    #[test]
    fn a_directory_without_a_configuration_has_none() {
        let scratch = tempfile::tempdir().unwrap();
        assert_eq!(ClientConfig::read(scratch.path()).unwrap(), None);
    }
}
