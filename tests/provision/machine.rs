//! A machine that is this one: a sshd of the test's own on loopback, and the steps to run in it.

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use karat::digest::Digest;
use karat::machine::{Death, Machine, MachineError};
use karat::network::EgressProxy;
use karat::plan::{Action, HostKey, Place, Script, Shell, Step};
use karat::provision::{self, Context, ProvisionError};
use karat::secret::{Secrets, Text};
use karat::ssh::{self, Auth, Session, Target};
use karat::ui::Ui;
use tempfile::TempDir;
use tokio::sync::watch;

/// A connection to the test's own sshd. Its directory is the test's scratch directory.
pub struct TestMachine {
    pub dir: TempDir,
    pub died: watch::Sender<Option<String>>,
    pub variables: BTreeMap<String, String>,
    pub secrets: Secrets,
    session: Session,
    seal: Option<EgressProxy>,
    target: Target,
    sshd: Sshd,
}

impl TestMachine {
    /// Starts a sshd and logs in. Programs in `bin` of its directory come before the system's.
    pub async fn new() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests start a sshd that root logs in to: run them as root"
        );
        let dir = TempDir::with_prefix("karat-provision-").unwrap();
        fs::create_dir_all("/run/sshd").unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        // Other users' steps write here, too.
        Command::new("chmod")
            .arg("755")
            .arg(dir.path())
            .status()
            .unwrap();
        for name in ["host", "client"] {
            let key = dir.path().join(name);
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(key)
                .status();
            assert!(made.unwrap().success());
        }
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let sshd = Sshd(start(dir.path(), port));
        let host_key = fs::read_to_string(dir.path().join("host.pub")).unwrap();
        let target = Target {
            address: "127.0.0.1".to_owned(),
            port,
            user: "root".to_owned(),
            auth: Auth::KeyFile(dir.path().join("client")),
            host_key: HostKey::Key(host_key.trim().to_owned()),
            jump: None,
            proxy: None,
        };
        let session = ssh::connect(&target, Duration::from_secs(20))
            .await
            .unwrap();
        let died = watch::Sender::new(None);
        let (variables, secrets) = (BTreeMap::new(), Secrets::default());
        Self {
            dir,
            died,
            variables,
            secrets,
            session,
            seal: None,
            target,
            sshd,
        }
    }

    /// Gives it a proxy. It keeps its network, being this machine: only programs that know proxies are held back.
    pub async fn seal_with(&mut self, mut seal: EgressProxy) {
        seal.attach(&self.session).await.unwrap();
        self.seal = Some(seal);
    }

    /// The seal, which it was given.
    pub fn egress(&self) -> &EgressProxy {
        self.seal.as_ref().unwrap()
    }

    /// Loses the connection and makes another.
    pub async fn drop_line(&mut self) {
        self.reconnect(Duration::from_secs(20)).await.unwrap();
    }

    pub async fn test(&mut self, test: &karat::plan::Test) -> Result<(), ProvisionError> {
        let (variables, secrets) = (self.variables.clone(), self.secrets.clone());
        provision::test(self, test, &context(&variables, &secrets)).await
    }

    /// A path in the scratch directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// A program that the machine finds before the system's own.
    pub fn fake(&self, name: &str, text: &str) {
        let path = self.write(&format!("bin/{name}"), text);
        assert!(
            Command::new("chmod")
                .arg("755")
                .arg(path)
                .status()
                .unwrap()
                .success()
        );
    }

    /// An inline shell step; `$D` is the scratch directory.
    pub fn shell(&self, lines: &str) -> Step {
        let line = format!("D={}", self.dir.path().display());
        let script = Script::Inline(vec![Text::literal(line), Text::literal(lines)]);
        step("a step", script)
    }

    pub async fn run(&mut self, step: &Step) -> Result<(), ProvisionError> {
        let (variables, secrets) = (self.variables.clone(), self.secrets.clone());
        provision::step(self, step, &context(&variables, &secrets)).await
    }

    /// Gives up: the connection closes, the sshd stays.
    pub fn hang_up(self) -> (TempDir, Sshd) {
        let Self {
            dir, sshd, session, ..
        } = self;
        drop(session);
        (dir, sshd)
    }
}

/// A sshd that is ended when dropped.
pub struct Sshd(Child);

impl Drop for Sshd {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Machine for TestMachine {
    fn session(&self) -> &Session {
        &self.session
    }

    async fn reconnect(&mut self, within: Duration) -> Result<(), MachineError> {
        self.session = ssh::connect(&self.target, within).await?;
        if let Some(seal) = &mut self.seal {
            seal.attach_again(&self.session).await?;
        }
        Ok(())
    }

    fn egress(&self) -> Option<&EgressProxy> {
        self.seal.as_ref()
    }

    fn death(&self) -> Death {
        Death::new(self.died.subscribe())
    }

    fn target(&self) -> &Target {
        &self.target
    }

    async fn destroy(self) {
        drop(self.hang_up());
    }
}

/// What steps need besides the machine; nothing was downloaded.
pub fn context<'a>(variables: &'a BTreeMap<String, String>, secrets: &'a Secrets) -> Context<'a> {
    static UI: std::sync::LazyLock<Ui> = std::sync::LazyLock::new(Ui::default);
    let fetched: &dyn Fn(&Digest) -> PathBuf = &|digest| panic!("{digest} was not declared");
    Context {
        variables,
        secrets,
        ui: &UI,
        epoch: None,
        fetched,
    }
}

/// A shell step with every default.
pub fn step(name: &str, script: Script) -> Step {
    let shell = Shell {
        script,
        environment: BTreeMap::new(),
        working_directory: None,
        user: "root".to_owned(),
        exit_codes: vec![0],
        expect_disconnect: false,
    };
    other(name, Action::Shell(shell))
}

/// Any step with every default.
pub fn other(name: &str, action: Action) -> Step {
    Step {
        name: name.to_owned(),
        action,
        timeout: Duration::from_mins(1),
        retries: 0,
        pause_before: Duration::ZERO,
        creates: Vec::new(),
        place: Place::default(),
    }
}

/// The shell of a shell step.
pub fn shell(step: &mut Step) -> &mut Shell {
    match &mut step.action {
        Action::Shell(shell) => shell,
        other => panic!("{other:?} is no shell step"),
    }
}

/// An error and its causes in one text, and its help.
pub fn told(error: &ProvisionError) -> String {
    let chain = std::iter::successors(Some(error as &dyn std::error::Error), |error| {
        error.source()
    });
    let help = miette::Diagnostic::help(error).map(|help| format!("help: {help}"));
    chain
        .map(ToString::to_string)
        .chain(help)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Waits until something holds, as long as ten seconds.
pub async fn soon(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "not within 10 s: {what}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Whether a process is there and no zombie.
pub fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn start(dir: &Path, port: u16) -> Child {
    // HOME: what this machine's root has in its ~/.bashrc is no part of the test; steps take theirs from /etc/passwd.
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {dir}/host\nAuthorizedKeysFile {dir}/client.pub\nPidFile none\n\
         StrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nMaxSessions 100\n\
         SetEnv HOME={dir} PATH={dir}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n",
        dir = dir.display()
    );
    let path = dir.join("sshd_config");
    fs::write(&path, config).unwrap();
    let log = fs::File::create(dir.join("sshd.log")).unwrap();
    let sshd = Command::new("/usr/sbin/sshd")
        .args(["-D", "-e", "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("/usr/sbin/sshd (package openssh-server) is needed");
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "sshd does not listen"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    sshd
}
