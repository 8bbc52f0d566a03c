//! A real sshd at an instance's address that says yes to everything and does nothing: builds come to their end in a second.

use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use crate::bench::Account;

/// What is there while it lives.
pub struct Pretender {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pretender {
    /// Waits for the account's instances, and stands in for each.
    pub fn of(account: &Arc<Account>) -> Self {
        Self::noting(account, None)
    }

    /// As [`Self::of`]; writes the last address into a file.
    pub fn noting(account: &Arc<Account>, file: Option<PathBuf>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (account, of_thread) = (Arc::clone(account), Arc::clone(&over));
        let thread = std::thread::spawn(move || stand_in(&account, file.as_deref(), &of_thread));
        Self {
            over,
            thread: Some(thread),
        }
    }
}

impl Drop for Pretender {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

fn stand_in(account: &Account, note: Option<&Path>, over: &AtomicBool) {
    let mut there: Vec<(String, Child, tempfile::TempDir)> = Vec::new();
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
        let addresses = account.addresses();
        let is_new = |it: &&String| there.iter().all(|(address, ..)| address != *it);
        let Some(address) = addresses.iter().find(is_new).cloned() else {
            continue;
        };
        let calls = account.calls();
        let run = calls.iter().rfind(|call| call.name == "ec2:RunInstances");
        let Some(run) = run else { continue };
        let scratch = tempfile::tempdir().unwrap();
        let told = told(run.form.text("UserData"));
        let sshd = start(&address, &told, scratch.path());
        if let Some(note) = note {
            std::fs::write(note, &address).unwrap();
        }
        there.push((address, sshd, scratch));
    }
    for (_, mut sshd, _) in there {
        let _gone = sshd.kill();
        let _reaped = sshd.wait();
    }
}

/// What cloud-init would be told.
fn told(data: &str) -> Value {
    let data = data_encoding::BASE64.decode(data.as_bytes()).unwrap();
    let text = String::from_utf8(data).unwrap();
    serde_json::from_str(text.strip_prefix("#cloud-config\n").unwrap()).unwrap()
}

fn start(address: &str, told: &Value, scratch: &Path) -> Child {
    let write = |name: &str, text: &Value| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = scratch.join(name);
        std::fs::write(&path, text.as_str().unwrap()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let host_key = write("host_key", &told["ssh_keys"]["ed25519_private"]);
    let keys = write("keys", &told["users"][0]["ssh_authorized_keys"][0]);
    std::fs::create_dir_all("/run/sshd").unwrap();
    let options = [
        format!("ListenAddress={address}"),
        "Port=22".to_owned(),
        format!("HostKey={host_key}"),
        format!("AuthorizedKeysFile={keys}"),
        "PermitRootLogin=prohibit-password".to_owned(),
        "StrictModes=no".to_owned(),
        "UsePAM=no".to_owned(),
        "PidFile=none".to_owned(),
        "ForceCommand=cat >/dev/null".to_owned(),
    ];
    let mut command = Command::new("/usr/sbin/sshd");
    command.args(["-D", "-e", "-f", "/dev/null"]);
    for option in options {
        command.args(["-o", &option]);
    }
    let sshd = command
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(scratch.join("log")).unwrap())
        .process_group(0)
        .spawn()
        .unwrap();
    for _ in 0..100 {
        if TcpStream::connect((address, 22)).is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    sshd
}
