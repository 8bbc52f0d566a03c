//! Figures for moving files and running steps, beside those of `ssh` itself: `cargo bench --bench ssh`.
//!
//! Exit code 1 when karat is slower than it must be: [`MIN_SPEED`], [`MAX_STEPS`].

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "shared by all test crates")]
mod support;

use std::cell::Cell;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use karat::ssh::{Session, UploadContent, UploadItem};
use karat::ui::{Bar, Ui};
use support::sshd::Sshd;

const BIG: usize = 512 << 20;
const SMALL_FILES: usize = 1000;
const ROUNDS: usize = 5;
/// Uploads reach at least this share of the speed of `ssh host 'cat > file'` (or of tar through ssh) as it comes.
const MIN_SPEED: f64 = 0.8;
/// 20 one-line steps, with the login, on loopback. Packer, with five sessions a step, takes 33 s.
const MAX_STEPS: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let sshd = Sshd::start();
    let here = sshd.directory().join("here");
    std::fs::create_dir_all(here.join("small")).unwrap();
    std::fs::write(here.join("big"), noise(BIG)).unwrap();
    for index in 0..SMALL_FILES {
        std::fs::write(here.join(format!("small/{index}")), noise(4096)).unwrap();
    }
    let login = || {
        runtime
            .block_on(karat::ssh::connect(&sshd.target(), Duration::from_secs(30)))
            .unwrap()
    };
    // ssh logs in each time, so karat does.
    let send = |from: &Path, to: &Path| runtime.block_on(upload(&login(), from, to));

    let fast = ["-c", "aes256-gcm@openssh.com"];
    let there = sshd.directory().join("there");
    std::fs::create_dir(&there).unwrap();
    // A new file each time, as in a fresh image. Replacing one costs more than truncating one: ext4 flushes it before the rename.
    let new_file = || {
        let file = there.join("big");
        let _absent_at_first = std::fs::remove_file(&file);
        file
    };
    let cat = |cipher: &[&str]| {
        let command = format!("cat > {}", new_file().display());
        ssh(&sshd, cipher, &command, Some(&here.join("big")));
    };
    let [cat, fast_cat, one] = best_of([&mut || cat(&[]), &mut || cat(&fast), &mut || {
        send(&here.join("big"), &new_file());
    }]);
    report("512 MB, ssh 'cat > file'", cat);
    report("512 MB, ssh -c aes256-gcm", fast_cat);
    report("512 MB, karat", one);
    // A new place each time: ext4 is slow to make files where as many were deleted within half a minute.
    let rounds = Cell::new(0);
    let place = || {
        let place = there.join(format!("small-{}", rounds.replace(rounds.get() + 1)));
        std::fs::create_dir(&place).unwrap();
        place
    };
    let tar = |cipher: &[&str]| {
        let archive = here.join("archive");
        let mut tar = Command::new("tar")
            .arg("-cf")
            .arg(&archive)
            .arg("-C")
            .arg(&here)
            .arg("small")
            .spawn()
            .unwrap();
        assert!(tar.wait().unwrap().success());
        let command = format!("tar -xf - -C {}", place().display());
        ssh(&sshd, cipher, &command, Some(&archive));
    };
    let [piped, fast_piped, many] = best_of([&mut || tar(&[]), &mut || tar(&fast), &mut || {
        send(&here.join("small"), &place().join("small"));
    }]);
    report("1000 x 4 KiB, tar | ssh tar", piped);
    report("1000 x 4 KiB, the same, aes256-gcm", fast_piped);
    report("1000 x 4 KiB, karat", many);
    let progress = bar();
    let session = login();
    let fetch = || {
        let source = there.join("big").display().to_string();
        runtime
            .block_on(session.download(&source, &here.join("back"), &progress))
            .unwrap();
    };
    report("512 MB back, karat", best(fetch));
    let template = here.join("steps.toml");
    std::fs::write(&template, twenty_steps(&sshd)).unwrap();
    let steps = report(
        "login and 20 steps, karat build",
        best(|| karat_build(&template)),
    );
    report(
        "1 login and true, ssh",
        best(|| ssh(&sshd, &[], "true", None)),
    );
    report("1 login, karat", best(|| drop(login())));

    let speed = |ssh: Duration, karat: Duration| ssh.as_secs_f64() / karat.as_secs_f64();
    let (one, many) = (speed(cat, one), speed(piped, many));
    println!(
        "speed of ssh reached: one big file {one:.2}, many small ones {many:.2} (at least {MIN_SPEED})"
    );
    println!(
        "20 steps: {:.3} s (at most {MAX_STEPS:?})",
        steps.as_secs_f64()
    );
    if one < MIN_SPEED || many < MIN_SPEED || steps > MAX_STEPS {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// A template that runs twenty one-line steps on this machine.
fn twenty_steps(sshd: &Sshd) -> String {
    let head = format!(
        "[image]\nname = \"steps\"\n[builder.host]\naddress = \"127.0.0.1\"\nport = {}\nhost_key = \"{}\"\n[ssh]\nkey_file = \"{}\"\n",
        sshd.port(),
        sshd.host_key().trim(),
        sshd.login_key().display(),
    );
    head + &"[[provision]]\nshell = { inline = [\"true\"] }\n".repeat(20)
}

fn karat_build(template: &Path) {
    let status = Command::new(env!("CARGO_BIN_EXE_karat"))
        .args(["--quiet", "build"])
        .arg(template)
        .status();
    assert!(status.unwrap().success());
}

async fn upload(session: &Session, from: &Path, to: &Path) {
    let item = UploadItem {
        source: UploadContent::Path(from.to_owned()),
        destination: to.display().to_string(),
        mode: None,
        owner: "root:root".to_owned(),
    };
    session.upload(&[item], &bar()).await.unwrap();
}

fn ssh(sshd: &Sshd, cipher: &[&str], command: &str, stdin: Option<&Path>) {
    let stdin = stdin.map_or_else(Stdio::null, |path| {
        std::fs::File::open(path).unwrap().into()
    });
    let status = Command::new("ssh")
        .args([
            "-F",
            "none",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "LogLevel=ERROR",
        ])
        .args(cipher)
        .arg("-i")
        .arg(sshd.login_key())
        .arg("-p")
        .arg(sshd.port().to_string())
        .arg("root@127.0.0.1")
        .arg(command)
        .stdin(stdin)
        .status()
        .unwrap();
    assert!(status.success());
}

/// The best of some rounds: what the machine can do when nothing else disturbs it.
fn best(mut work: impl FnMut()) -> Duration {
    let [best] = best_of([&mut work]);
    best
}

/// The same of several works, that take turns: what disturbs the machine for a while disturbs all of them.
fn best_of<const N: usize>(mut works: [&mut dyn FnMut(); N]) -> [Duration; N] {
    let mut best = [Duration::MAX; N];
    for _ in 0..ROUNDS {
        for (best, work) in best.iter_mut().zip(&mut works) {
            let start = Instant::now();
            work();
            *best = start.elapsed().min(*best);
        }
    }
    best
}

fn report(what: &str, took: Duration) -> Duration {
    println!("{what:<36} {:>8.3} s", took.as_secs_f64());
    took
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next)
        .take(length / 8)
        .flatten()
        .collect()
}

fn bar() -> Bar {
    fn made<T: Default>() -> T {
        T::default()
    }
    made::<Ui>().bar("", None)
}
