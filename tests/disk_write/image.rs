//! Images made, checked and mounted by the tools that everyone has.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Runs a program, which must succeed, and gives what it said.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = output(program, arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{said}",
        output.status
    );
    said
}

/// The same for a program that reads its orders.
pub fn run_with_input(program: &str, arguments: &[&str], input: &str) {
    let mut child = command(program, arguments)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

pub fn output(program: &str, arguments: &[&str]) -> Output {
    let output = command(program, arguments).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}"))
}

fn command(program: &str, arguments: &[&str]) -> Command {
    // Where a login of an ordinary user does not look.
    let path = format!(
        "{}:/usr/sbin:/sbin",
        std::env::var("PATH").unwrap_or_default()
    );
    let mut command = Command::new(program);
    command.args(arguments).env("PATH", path).env("LC_ALL", "C");
    command
}

/// Finds nothing wrong with a file system.
pub fn assert_clean(image: &Path) {
    let output = output("e2fsck", &["-fn", image.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "e2fsck -fn {}: {}\n{said}",
        image.display(),
        output.status
    );
}

/// A mounted image.
pub struct Mounted(PathBuf);

impl Mounted {
    pub fn new(image: &Path, at: &Path, options: &str) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "tests that compare with what the kernel shows mount images, which only root can: run them as root"
        );
        std::fs::create_dir_all(at).unwrap();
        let options = format!("loop,{options}");
        run(
            "mount",
            &[
                "-t",
                "ext4",
                "-o",
                &options,
                image.to_str().unwrap(),
                at.to_str().unwrap(),
            ],
        );
        Self(at.to_owned())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _status = Command::new("umount").arg(&self.0).status();
    }
}
