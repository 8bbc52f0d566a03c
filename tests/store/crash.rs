//! Killed at every write, rename and sync, and told at each that the disk is full: strace does both to the real binary. Afterwards
//! the store is valid, the operation happened or did not, and a rerun succeeds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use karat::record::manifest::ManifestId;
use karat::scan::report::policy::Verdict;
use karat::store::Store;

use crate::cli::Site;
use crate::support::disk;
use crate::trust::{keygen, runtime, scanned, succeed};

/// Whatever changes files.
const CALLS: &str = "write,pwrite64,writev,copy_file_range,rename,renameat,renameat2,linkat,mkdir,\
unlink,unlinkat,rmdir,ftruncate,fchmod,fsync,fdatasync,syncfs,sync_file_range";
/// At least so many moments are tried.
const FEWEST: usize = 200;

/// Something that changes a store.
struct Operation {
    name: &'static str,
    /// karat, or else this test as a child that records an image as a build does.
    is_karat: bool,
    arguments: Vec<String>,
}

/// A store as it is before, and what is done to copies of it.
struct Stage {
    site: Site,
    operations: Vec<Operation>,
}

fn stage() -> Stage {
    let site = Site::new();
    succeed(&site, &["keys", "generate", "--comment", "ci"]);
    let put = |name: &str, image: &[u8]| {
        let id = site.put(name, image);
        succeed(&site, &["sign", &id.short()]);
        scanned(&site, id, &[], &Verdict::Told);
        id
    };
    let ids: Vec<ManifestId> = [&b"one"[..], b"two!", b"three"]
        .iter()
        .map(|image| put("web", image))
        .collect();
    let mail = put("mail", b"mail");
    put("mail", b"new mail");
    for id in &ids[..2] {
        succeed(&site, &["promote", &id.short(), "web/stable"]);
    }
    // Marked already, so that the prune removes it; another is to be marked.
    let mark = ["prune", "--keep-within", "0s", "--keep", "2"];
    succeed(&site, &mark);
    let second = ["-q", "-N", "", "-t", "ed25519", "-f", "second"];
    assert!(keygen(&site, &second, Stdio::null()).status.success());
    succeed(&site, &["keys", "trust", "second", "second.pub"]);
    let noise: Vec<u8> = (0..2000 * 512_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let image = disk::bootable(noise);
    fs::write(site.path().join("image.raw"), image).unwrap();
    put("news", b"old news");
    put("news", b"the newest news");
    let other = Store::new(site.path().join("other"));
    let elsewhere = crate::put(
        &other,
        site.path(),
        "elsewhere",
        b"an image of another store",
    );
    let arguments = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let operation = |name, text: String| Operation {
        name,
        is_karat: name != "build",
        arguments: arguments(&text),
    };
    let three = ids[2].short();
    let operations = vec![
        operation(
            "promote",
            format!("promote {three} web/stable --reason green"),
        ),
        operation("rollback", "rollback web/stable --reason red".to_owned()),
        operation("revoke", format!("revoke {three} --reason bad")),
        operation("sign", format!("sign {three} --key second")),
        operation("attest", format!("attest {three} --scan")),
        operation("build", "--exact processes::child --nocapture".to_owned()),
        operation("pin", format!("pin {}", mail.short())),
        operation(
            "prune",
            "prune --keep-within 0s --grace 0s --keep 2".to_owned(),
        ),
        operation("take", format!("import {} --from other", elsewhere.short())),
        operation("import", "import image.raw --name imported".to_owned()),
    ];
    Stage { site, operations }
}

/// A copy of the stage to play on.
struct Scene {
    directory: tempfile::TempDir,
}

impl Stage {
    fn copy(&self) -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let mut copy = Command::new("cp");
        copy.arg("-a")
            .arg(self.site.path().join("."))
            .arg(directory.path());
        assert!(copy.status().unwrap().success());
        Scene { directory }
    }
}

impl Scene {
    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn store(&self) -> Store {
        Store::new(self.path().join("data/karat"))
    }

    /// karat, or strace with karat.
    fn command(&self, before: &[&str], operation: &Operation) -> Command {
        let this = std::env::current_exe().unwrap();
        let program = if operation.is_karat {
            env!("CARGO_BIN_EXE_karat")
        } else {
            this.to_str().unwrap()
        };
        let arguments = &operation.arguments;
        let mut line: Vec<&str> = before.to_vec();
        line.push(program);
        line.extend(arguments.iter().map(String::as_str));
        let mut command = Command::new(line[0]);
        command
            .args(&line[1..])
            .current_dir(self.path())
            .env_clear()
            .env("USER", "me")
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("STORE_TEST_WORK", "put")
            .env("STORE_TEST_ROOT", self.store().root())
            .env("STORE_TEST_SCRATCH", self.path())
            .env("KARAT_CACHE", self.path().join("cache"))
            .env("XDG_DATA_HOME", self.path().join("data"))
            .env("XDG_CONFIG_HOME", self.path().join("config"));
        command
    }

    /// Runs an operation, and does that to one of its calls, in each of its threads.
    fn injected(&self, operation: &Operation, call: &str, how: &str, number: usize) -> Output {
        let filter = format!("trace={call}");
        let inject = format!("inject={call}:{how}:when={number}");
        let strace = ["strace", "-f", "-qq", "-e", &filter, "-e", &inject];
        let strace = [&strace[..], &["-o", "/dev/null"]].concat();
        self.command(&strace, operation).output().unwrap()
    }

    fn karat(&self, arguments: &[&str]) -> Output {
        let operation = Operation {
            name: "",
            is_karat: true,
            arguments: arguments.iter().map(|it| (*it).to_owned()).collect(),
        };
        self.command(&[], &operation).output().unwrap()
    }

    /// Nothing in the store is half, changed or unsigned.
    fn assert_valid(&self, when: &str) {
        for arguments in [&["verify", "--unsigned"][..], &["audit", "verify"]] {
            let output = self.karat(arguments);
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{when}: {arguments:?}: {text}");
        }
    }

    /// What can be told of an operation: where the channel points, what is forbidden, pinned, removed, recorded.
    fn state(&self) -> String {
        let store = self.store();
        let channel = store.channel(&"web/stable".parse().unwrap()).unwrap();
        let ids = store.ids().unwrap();
        let revoked: Vec<_> = ids
            .iter()
            .filter(|id| store.revoked(**id).unwrap().is_some())
            .collect();
        let tombstones = store.tombstones().unwrap().images.into_iter();
        let removed = tombstones.map(|(id, mark)| (id, mark.removed.is_some()));
        let beside = |id: &ManifestId| {
            let signatures = store.signatures_of(*id).unwrap().len();
            (signatures, store.attestations_of(*id).unwrap().len())
        };
        let beside: Vec<_> = ids.iter().map(beside).collect();
        format!(
            "{:?} {} {beside:?} {revoked:?} {:?} {:?} {ids:?}",
            channel.head().map(|head| head.manifest),
            channel.number(),
            store.pinned().unwrap(),
            removed.collect::<Vec<_>>(),
        )
    }

    /// The next writer that is alone clears up.
    fn assert_nothing_unfinished(&self, when: &str) {
        runtime().block_on(async { drop(self.store().begin().await.unwrap()) });
        let mut open = vec![self.store().root().to_owned()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                assert!(
                    !name.starts_with(".unfinished"),
                    "{when}: {}",
                    path.display()
                );
                if path.is_dir() {
                    open.push(path);
                }
            }
        }
    }
}

/// strace, or a reason not to go on.
fn strace() -> bool {
    let there = Command::new("strace").args(["-qq", "true"]).output();
    if there.is_ok_and(|output| output.status.success()) {
        return true;
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "strace is missing or may not trace: `make setup-dev` installs it"
    );
    eprintln!("SKIPPED: strace is missing or may not trace; `make setup-dev` installs it");
    false
}

/// The moments of an operation: a call that changes files, and its number among those of its name in its thread, which is how strace
/// counts. With `files` only those that are surely about files: a runtime that cannot wake its threads any more stands still.
fn moments(scene: &Scene, operation: &Operation, files: bool) -> BTreeSet<(String, usize)> {
    let trace = scene.path().join("trace");
    let filter = format!("trace={CALLS}");
    let before = [
        "strace",
        "-f",
        "-y",
        "-qq",
        "-e",
        &filter,
        "-o",
        trace.to_str().unwrap(),
    ];
    let output = scene.command(&before, operation).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {error}", operation.name);
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    let (mut moments, mut others) = (BTreeSet::new(), BTreeSet::new());
    for line in fs::read_to_string(&trace).unwrap().lines() {
        // `1234 write(5</store/file>, ...) = 0`; what is resumed was counted when it began.
        let Some((thread, call)) = line.trim_start().split_once(' ') else {
            continue;
        };
        let call = call.trim_start();
        let Some((name, arguments)) = call.split_once('(') else {
            continue;
        };
        if !name
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || it == b'_')
        {
            continue;
        }
        let count = counts
            .entry((thread.to_owned(), name.to_owned()))
            .or_default();
        *count += 1;
        let moment = (name.to_owned(), *count);
        let is_other = name.contains("write") && !arguments.contains("</");
        if is_other {
            others.insert(moment.clone());
        }
        moments.insert(moment);
    }
    if files {
        moments = &moments - &others;
    }
    moments
}

/// Does something at every moment of every operation, on two threads.
fn at_every_moment(
    stage: &Stage,
    files: bool,
    what: impl Fn(&Operation, &str, usize) -> bool + Sync,
) -> usize {
    let mut moments = Vec::new();
    for operation in &stage.operations {
        let found = self::moments(&stage.copy(), operation, files);
        moments.extend(
            found
                .into_iter()
                .map(|(call, number)| (operation, call, number)),
        );
    }
    let (done, moments) = (AtomicUsize::new(0), Mutex::new(moments.into_iter()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let next = moments.lock().unwrap().next();
                    let Some((operation, call, number)) = next else {
                        break;
                    };
                    if what(operation, &call, number) {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    done.into_inner()
}

#[test]
fn killed_at_any_moment_an_operation_happened_or_did_not() {
    if !strace() {
        return;
    }
    let stage = stage();
    let before = stage.copy().state();
    let after: BTreeMap<_, _> = stage
        .operations
        .iter()
        .map(|operation| {
            let scene = stage.copy();
            let output = scene.command(&[], operation).output().unwrap();
            assert!(output.status.success(), "{}", operation.name);
            (operation.name, scene.state())
        })
        .collect();
    let kills = at_every_moment(&stage, false, |operation, call, number| {
        let when = format!("{} killed at {call} {number}", operation.name);
        let scene = stage.copy();
        let output = scene.injected(operation, call, "signal=KILL", number);
        let was_killed = !output.status.success();
        scene.assert_valid(&when);
        let found = scene.state();
        let happened = found == after[operation.name];
        assert!(
            happened || found == before || operation.name == "prune",
            "{when}: {found}"
        );
        // Once more, to the end; what had happened is done already.
        let output = scene.command(&[], operation).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        let nothing_left =
            operation.name == "rollback" && happened && output.status.code() == Some(2);
        assert!(
            output.status.success() || nothing_left,
            "{when}, and again: {error}"
        );
        scene.assert_valid(&when);
        if operation.name != "prune" && operation.name != "rollback" {
            let found = scene.state();
            assert_eq!(found, after[operation.name], "{when}, and again");
        }
        scene.assert_nothing_unfinished(&when);
        was_killed
    });
    eprintln!("killed at {kills} moments");
    assert!(kills >= FEWEST, "only {kills} moments");
}

#[test]
fn a_disk_that_is_full_at_any_moment_loses_nothing() {
    if !strace() {
        return;
    }
    let stage = stage();
    let before = stage.copy().state();
    let failed = at_every_moment(&stage, true, |operation, call, number| {
        let when = format!("{}: no space at {call} {number}", operation.name);
        let scene = stage.copy();
        let output = scene.injected(operation, call, "error=ENOSPC", number);
        scene.assert_valid(&when);
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            let is_told = error.contains("No space left") || error.is_empty();
            assert!(is_told || call == "write", "{when}: {error}");
        }
        let output_again = scene.command(&[], operation).output().unwrap();
        let found = scene.state();
        let moved = operation.name == "rollback" && found != before;
        assert!(output_again.status.success() || moved, "{when}, and again");
        scene.assert_valid(&when);
        scene.assert_nothing_unfinished(&when);
        !output.status.success()
    });
    eprintln!("the disk was full at {failed} moments");
    assert!(failed > 50, "only {failed} moments");
}

#[test]
fn a_store_that_cannot_be_written_is_read_all_the_same() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can mount a store read-only");
        return;
    }
    let stage = stage();
    let scene = stage.copy();
    let store: PathBuf = scene.store().root().to_owned();
    let before = scene.state();
    // In a mount namespace of its own, which ends with the command.
    let run = |arguments: &str| {
        let line = format!(
            "mount --bind {0} {0} && mount -o remount,bind,ro {0} && exec \"$0\" {arguments}",
            store.display()
        );
        let before = ["unshare", "--mount", "sh", "-c", &line];
        let nothing = Operation {
            name: "",
            is_karat: true,
            arguments: Vec::new(),
        };
        scene.command(&before, &nothing).output().unwrap()
    };
    let probe = run("--version");
    assert!(
        probe.status.success(),
        "{}",
        String::from_utf8_lossy(&probe.stderr)
    );
    for arguments in [
        "list",
        "history",
        "verify",
        "audit verify",
        "store status",
        "prune --dry-run",
        "rollback web/stable --check",
    ] {
        let output = run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments}: {error}");
    }
    for operation in stage.operations.iter().filter(|it| it.is_karat) {
        let output = run(&operation.arguments.join(" "));
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{}: {error}", operation.name);
        assert!(error.contains("Read-only file system"), "{error}");
        assert!(
            error.contains("use another store with `--store`"),
            "{error}"
        );
        assert_eq!(scene.state(), before);
    }
}
