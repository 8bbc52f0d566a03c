//! Disks for tests: made by `mke2fs`, mounted by the kernel.

use std::fs::File;
use std::io::Write as _;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use karat::disk::read::ext4::Ext4;
use karat::disk::read::{RawFile, ReadError};

use crate::support::site;

/// Returns whether this process can mount; if not, says so on stderr.
pub fn can_mount() -> bool {
    let probe = Site::new();
    probe.make_file("disk", 4 << 20);
    let can = rustix::process::geteuid().is_root()
        && run("mke2fs", &["-q", probe.text("disk").as_str()])
            .status
            .success()
        && run(
            "mount",
            &["-o", "loop,ro", &probe.text("disk"), &probe.text("mount")],
        )
        .status
        .success();
    if can {
        run("umount", &[&probe.text("mount")]);
    } else {
        // Not by a macro, whose output is shown only when a test fails.
        let say = b"NOT TESTED against the kernel's mount: this needs root and loop devices\n";
        std::io::stderr().write_all(say).unwrap();
    }
    can
}

/// A site with a mount point.
pub struct Site(site::Site);

impl Site {
    pub fn new() -> Self {
        let site = site::Site::in_memory();
        std::fs::create_dir(site.path("mount")).unwrap();
        Self(site)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub fn make_file(&self, name: &str, size: u64) {
        File::create(self.path(name))
            .unwrap()
            .set_len(size)
            .unwrap();
    }

    /// Makes an ext2, ext3 or ext4 file system in a new file.
    pub fn mke2fs(&self, name: &str, size: u64, options: &str) {
        self.make_file(name, size);
        let path = self.text(name);
        let mut arguments = vec!["-q", "-F"];
        arguments.extend(options.split_whitespace());
        arguments.push(&path);
        success("mke2fs", &arguments);
    }

    /// Mounts a file, until the value is dropped; `None` if this kernel cannot.
    pub fn mount(&self, name: &str, options: &str) -> Option<Mount> {
        let point = self.path("mount");
        let options = format!("loop,{options}");
        let output = run(
            "mount",
            &[
                "-t",
                "ext4",
                "-o",
                &options,
                &self.text(name),
                &self.text("mount"),
            ],
        );
        output.status.success().then(|| Mount { point })
    }

    pub fn open(&self, name: &str) -> Result<Ext4, ReadError> {
        Ext4::open(Arc::new(RawFile::open(&self.path(name)).unwrap()))
    }
}

impl Deref for Site {
    type Target = site::Site;
    fn deref(&self) -> &site::Site {
        &self.0
    }
}

const UMOUNT_TRIES: usize = 50;

/// A mounted file system.
pub struct Mount {
    point: PathBuf,
}

impl Mount {
    pub fn path(&self) -> &Path {
        &self.point
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let mut output = run("umount", &[self.point.to_str().unwrap()]);
        // A child that another thread starts has this thread's open files until it executes its program.
        let mut tries = 0;
        while !output.status.success() && tries < UMOUNT_TRIES {
            std::thread::sleep(Duration::from_millis(100));
            output = run("umount", &[self.point.to_str().unwrap()]);
            tries += 1;
        }
        let good = output.status.success() || std::thread::panicking();
        assert!(good, "umount: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// `/sbin` is not on every user's path.
pub fn run(program: &str, arguments: &[&str]) -> Output {
    let path = format!(
        "{}:/usr/sbin:/sbin",
        std::env::var("PATH").unwrap_or_default()
    );
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", path)
        .output();
    output.unwrap_or_else(|error| panic!("{program} does not run: {error}"))
}

pub fn success(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
