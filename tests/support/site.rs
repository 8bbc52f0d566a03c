//! A scratch directory in which the real binary runs.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// A scratch directory with the real binary. Removed when dropped. Test crates wrap it to add their own set-up.
pub struct Site {
    scratch: TempDir,
    environment: Vec<(String, OsString)>,
    inherits: bool,
}

impl Site {
    /// Creates a site whose commands see only the variables that [`Self::set`] adds.
    pub fn new() -> Self {
        Self::at(tempfile::tempdir().expect("a scratch directory can be made"))
    }

    /// Creates a site whose commands also see the environment of the tests: real builds need its proxies and search path.
    pub fn inheriting() -> Self {
        Self {
            inherits: true,
            ..Self::new()
        }
    }

    /// Creates a site in memory where possible: for tests that write and drop hundreds of megabytes.
    pub fn in_memory() -> Self {
        tempfile::tempdir_in("/dev/shm").map_or_else(|_| Self::new(), Self::at)
    }

    fn at(scratch: TempDir) -> Self {
        Self {
            scratch,
            environment: Vec::new(),
            inherits: false,
        }
    }

    pub fn root(&self) -> &Path {
        self.scratch.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Writes a file, after its missing directories.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it is in the site")).expect("made");
        fs::write(path, bytes).expect("written");
    }

    /// Sets an environment variable of the commands.
    pub fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.environment.push((name.to_owned(), value.into()));
    }

    /// Returns a command that runs karat in the site, with an empty stdin.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_karat"));
        if !self.inherits {
            command.env_clear();
        }
        let environment = self.environment.iter().map(|(name, value)| (name, value));
        command
            .args(arguments)
            .current_dir(self.root())
            .envs(environment)
            .stdin(Stdio::null());
        command
    }

    /// Starts karat in its own process group, with stderr in the file `log`.
    pub fn spawn(&self, mut command: Command) -> Child {
        let log = File::create(self.path("log")).unwrap();
        command
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap()
    }

    /// Returns the stderr so far of a command started with [`Self::spawn`].
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Replaces the site's path in a text, for snapshots.
    pub fn hide_root(&self, text: &str) -> String {
        text.replace(self.root().to_str().unwrap(), "[SITE]")
    }
}

/// Returns stdout and stderr of a command as text; karat writes UTF-8.
pub fn texts(output: Output) -> [String; 2] {
    [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8"))
}

/// Sends a signal to a process, or to its whole process group as a terminal does.
pub fn signal(child: &Child, name: &str, to_group: bool) {
    let target = format!("{}{}", if to_group { "-" } else { "" }, child.id());
    let status = Command::new("kill")
        .args(["-s", name, "--", &target])
        .status();
    assert!(status.unwrap().success());
}
