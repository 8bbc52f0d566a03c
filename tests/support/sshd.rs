//! A real sshd on a free loopback port, with its own host key and configuration, ended when dropped.

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use karat::plan::HostKey;
use karat::ssh::keys::KeyPair;
use karat::ssh::{Auth, Target};

/// A running sshd that lets root in with one key.
pub struct Sshd {
    child: Child,
    directory: tempfile::TempDir,
    port: u16,
    host_key: String,
}

impl Sshd {
    /// Starts one.
    pub fn start() -> Self {
        Self::with("")
    }

    /// Starts one with more lines of `sshd_config`; they come first, so they win.
    pub fn with(config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let host = KeyPair::generate("host").unwrap();
        let login = KeyPair::generate("login").unwrap();
        host.write_private(&directory.path().join("host_key"))
            .unwrap();
        login
            .write_private(&directory.path().join("login_key"))
            .unwrap();
        std::fs::write(
            directory.path().join("authorized_keys"),
            login.public_line(),
        )
        .unwrap();
        // sshd refuses to start without the directory that its service makes.
        std::fs::create_dir_all("/run/sshd").unwrap();
        let (child, port) = (0..5)
            .find_map(|_| launch(directory.path(), config))
            .expect("sshd starts on one of five free ports");
        Self {
            child,
            directory,
            port,
            host_key: host.public_line().to_owned(),
        }
    }

    /// How to log in.
    pub fn target(&self) -> Target {
        Target {
            address: "127.0.0.1".to_owned(),
            port: self.port,
            user: "root".to_owned(),
            auth: Auth::KeyFile(self.login_key()),
            host_key: HostKey::Key(self.host_key.clone()),
            jump: None,
            proxy: None,
        }
    }

    /// The private key that root's login takes.
    pub fn login_key(&self) -> PathBuf {
        self.directory.path().join("login_key")
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host key's public line.
    pub fn host_key(&self) -> &str {
        &self.host_key
    }

    /// Where its files are; a place for a test's own ones too.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Kills the processes that serve open connections, so that these drop; sshd goes on, and so do the commands.
    pub fn drop_connections(&self) {
        for pid in children(self.child.id()) {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if name.starts_with("sshd") {
                kill(pid);
            }
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        for pid in children(self.child.id()) {
            kill(pid);
        }
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A free port, which another process may take before it is used.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn launch(directory: &Path, config: &str) -> Option<(Child, u16)> {
    let port = free_port();
    let place = directory.display();
    // A home of its own: bash reads `.bashrc` under sshd, and some take longer than the command.
    let text = format!(
        "{config}\nPort {port}\nListenAddress 127.0.0.1\nHostKey {place}/host_key\nAuthorizedKeysFile {place}/authorized_keys\n\
         PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n\
         KbdInteractiveAuthentication no\nMaxStartups 100\nMaxSessions 100\nSetEnv HOME={place}\n"
    );
    let file = directory.join("sshd_config");
    std::fs::write(&file, text).unwrap();
    let log = std::fs::File::create(directory.join("log")).unwrap();
    let mut child = Command::new("/usr/sbin/sshd")
        .args(["-D", "-e", "-f"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0)
        .spawn()
        .expect("openssh-server is installed");
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Some((child, port));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _gone = child.kill();
    let _reaped = child.wait();
    None
}

/// The processes that `pid` started, and theirs.
fn children(pid: u32) -> Vec<u32> {
    let list =
        std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let direct: Vec<u32> = list
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect();
    direct
        .iter()
        .flat_map(|&pid| [children(pid), vec![pid]].concat())
        .collect()
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}
