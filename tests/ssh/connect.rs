//! Logging in, and every way in which that fails.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use karat::plan::HostKey;
use karat::ssh::keys::KeyPair;
use karat::ssh::{Auth, SshError, Target};

use crate::support::sshd::{Sshd, free_port};
use crate::{PATIENCE, chain};

const SHORT: Duration = Duration::from_secs(3);

async fn failure(target: &Target, within: Duration) -> (SshError, Duration) {
    let start = Instant::now();
    let error = karat::ssh::connect(target, within).await.unwrap_err();
    (error, start.elapsed())
}

fn target(port: u16, sshd: &Sshd) -> Target {
    Target {
        port,
        ..sshd.target()
    }
}

fn new_key(directory: &Path, name: &str) -> std::path::PathBuf {
    let path = directory.join(name);
    KeyPair::generate(name)
        .unwrap()
        .write_private(&path)
        .unwrap();
    path
}

#[tokio::test]
async fn a_machine_that_comes_up_later_is_waited_for() {
    let sshd = Sshd::start();
    let port = free_port();
    let late = target(port, &sshd);
    let (real, start) = (sshd.port(), Instant::now());
    let (session, ()) = tokio::join!(karat::ssh::connect(&late, PATIENCE), async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
            .await
            .unwrap();
        let (mut inward, _) = listener.accept().await.unwrap();
        let mut outward = tokio::net::TcpStream::connect(("127.0.0.1", real))
            .await
            .unwrap();
        tokio::spawn(async move { tokio::io::copy_bidirectional(&mut inward, &mut outward).await });
    });
    assert_eq!(session.unwrap().output("echo up").await.unwrap(), "up\n");
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_closed_port_is_told_at_the_end_of_the_time() {
    let sshd = Sshd::start();
    let (error, took) = failure(&target(free_port(), &sshd), Duration::from_secs(1)).await;
    assert!(
        chain(&error).contains("within 1s: cannot connect to 127.0.0.1:"),
        "{}",
        chain(&error)
    );
    assert!(chain(&error).contains("refused"), "{}", chain(&error));
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn an_open_but_silent_port_is_tried_again_and_told() {
    let sshd = Sshd::start();
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    silent.set_nonblocking(true).unwrap();
    let port = silent.local_addr().unwrap().port();
    let (error, took) = failure(&target(port, &sshd), Duration::from_secs(5)).await;
    assert!(
        chain(&error).contains("accepts connections, but no SSH server answered"),
        "{}",
        chain(&error)
    );
    assert!(took < Duration::from_secs(6), "{took:?}");
    let tries = std::iter::from_fn(|| silent.accept().ok()).count();
    assert!(tries >= 2, "{tries} tries");
}

#[tokio::test]
async fn a_server_that_stalls_after_its_banner_is_told() {
    let sshd = Sshd::start();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept() {
            let _sent = stream.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n");
            kept.push(stream);
        }
    });
    let (error, took) = failure(&target(port, &sshd), SHORT).await;
    assert!(
        chain(&error).contains("stopped responding while exchanging keys"),
        "{}",
        chain(&error)
    );
    assert!(took < SHORT + Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn something_else_than_ssh_is_told() {
    let sshd = Sshd::start();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _sent = stream.write_all(b"220 mail.example.org ESMTP\r\n");
        }
    });
    let (error, _) = failure(&target(port, &sshd), Duration::from_secs(1)).await;
    assert!(
        chain(&error).contains("the SSH handshake with 127.0.0.1"),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn another_host_key_is_refused_at_once() {
    let sshd = Sshd::start();
    let other = KeyPair::generate("other").unwrap().public_line().to_owned();
    let expected = Target {
        host_key: HostKey::Key(other),
        ..sshd.target()
    };
    let (error, took) = failure(&expected, PATIENCE).await;
    assert!(
        matches!(error, SshError::HostKeyDiffers { .. }),
        "{}",
        chain(&error)
    );
    assert!(took < Duration::from_secs(5), "{took:?}");
    let garbage = Target {
        host_key: HostKey::Key("ssh-ed25519 garbage".to_owned()),
        ..sshd.target()
    };
    let (error, _) = failure(&garbage, PATIENCE).await;
    assert!(
        matches!(error, SshError::BadHostKey { .. }),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn known_hosts_says_who_may_be_there() {
    let sshd = Sshd::start();
    let (port, key) = (sshd.port(), sshd.host_key());
    let other = KeyPair::generate("").unwrap().public_line().to_owned();
    let name = format!("[127.0.0.1]:{port}");
    let hashed = {
        let file = sshd.directory().join("to_hash");
        fs::write(&file, format!("{name} {key}\n")).unwrap();
        let status = Command::new("ssh-keygen")
            .arg("-qHf")
            .arg(&file)
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
        fs::read_to_string(file).unwrap()
    };
    assert!(hashed.starts_with("|1|"));
    let cases = [
        (format!("# a comment\n\n{name} {key}\n"), None),
        (hashed, None),
        (format!("example.org,{name} {key}"), None),
        (format!("[127.0.0.*]:{port} {key}"), None),
        (format!("{name} {other}\n{name} {key}"), None),
        (format!("nonsense\n{name} garbage\n{name} {key}"), None),
        (String::new(), Some("is not in")),
        (format!("127.0.0.1 {key}"), Some("is not in")),
        (
            format!("[127.0.0.*]:{port},!{name} {key}"),
            Some("is not in"),
        ),
        (format!("@cert-authority * {key}"), Some("is not in")),
        (
            format!("\n{name} {other}"),
            Some("is not the expected host"),
        ),
        (
            format!("{name} {key}\n@revoked * {key}"),
            Some("a revoked key"),
        ),
    ];
    let file = sshd.directory().join("known_hosts");
    let expected = Target {
        host_key: HostKey::KnownHosts(file.clone()),
        ..sshd.target()
    };
    for (text, problem) in cases {
        fs::write(&file, &text).unwrap();
        let result = karat::ssh::connect(&expected, PATIENCE).await;
        match (result, problem) {
            (Ok(_), None) => {}
            (Err(error), Some(problem)) => {
                assert!(chain(&error).contains(problem), "{text}: {}", chain(&error));
            }
            (result, problem) => panic!("{text}: {result:?} instead of {problem:?}"),
        }
    }
    fs::remove_file(&file).unwrap();
    let (error, _) = failure(&expected, PATIENCE).await;
    let help = miette::Diagnostic::help(&error).unwrap().to_string();
    let line = key.rsplit_once(' ').unwrap().0;
    assert!(help.contains(&format!("{name} {line}")), "{help}");
}

#[tokio::test]
async fn a_refused_key_says_what_the_server_takes() {
    let sshd = Sshd::with("PasswordAuthentication yes");
    let wrong = Target {
        auth: Auth::KeyFile(new_key(sshd.directory(), "wrong")),
        ..sshd.target()
    };
    let (error, took) = failure(&wrong, SHORT).await;
    let text = chain(&error);
    assert!(
        text.contains("rejected ")
            && text.contains("for user root; the server accepts only: publickey, password"),
        "{text}"
    );
    assert!(took < SHORT + Duration::from_secs(1), "{took:?}");

    let sshd = Sshd::with(
        "PubkeyAuthentication no\nPasswordAuthentication yes\nKbdInteractiveAuthentication yes\nPermitRootLogin yes",
    );
    let (error, _) = failure(&sshd.target(), Duration::from_secs(1)).await;
    assert!(
        chain(&error).contains("accepts only: password, keyboard-interactive"),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn a_key_that_is_put_in_place_late_is_waited_for() {
    let sshd = Sshd::start();
    let late = KeyPair::generate("late").unwrap();
    let path = sshd.directory().join("late");
    late.write_private(&path).unwrap();
    let target = Target {
        auth: Auth::KeyFile(path),
        ..sshd.target()
    };
    let (session, ()) = tokio::join!(karat::ssh::connect(&target, PATIENCE), async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        fs::write(sshd.directory().join("authorized_keys"), late.public_line()).unwrap();
    });
    session.unwrap();
}

#[tokio::test]
async fn key_files_of_every_kind_are_read_or_refused() {
    let sshd = Sshd::start();
    let place = sshd.directory();
    let mut authorized = String::new();
    for (name, arguments) in [
        ("rsa", ["-t", "rsa", "-b", "2048"]),
        ("rsa_pem", ["-t", "rsa", "-m", "PEM"]),
        ("ecdsa", ["-t", "ecdsa", "-b", "256"]),
        ("locked", ["-t", "ed25519", "-N", "password"]),
    ] {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(arguments).arg("-qf").arg(place.join(name));
        if name != "locked" {
            keygen.args(["-N", ""]);
        }
        assert!(keygen.status().unwrap().success());
        authorized += &fs::read_to_string(place.join(name).with_extension("pub")).unwrap();
    }
    fs::write(place.join("authorized_keys"), authorized).unwrap();
    fs::write(place.join("garbage"), b"\xff\x00 no key").unwrap();
    for (name, problem) in [
        ("rsa", None),
        ("rsa_pem", None),
        ("ecdsa", None),
        ("locked", Some("is encrypted")),
        ("garbage", Some("cannot use the private key")),
        ("missing", Some("No such file")),
    ] {
        let target = Target {
            auth: Auth::KeyFile(place.join(name)),
            ..sshd.target()
        };
        match (karat::ssh::connect(&target, PATIENCE).await, problem) {
            (Ok(_), None) => {}
            (Err(error), Some(problem)) => {
                assert!(chain(&error).contains(problem), "{name}: {}", chain(&error));
            }
            (result, problem) => panic!("{name}: {result:?} instead of {problem:?}"),
        }
    }
}

#[tokio::test]
async fn a_jump_host_is_gone_through_and_named_when_it_fails() {
    let (outer, inner) = (Sshd::start(), Sshd::start());
    let through = |jump: Target| Target {
        jump: Some(Box::new(jump)),
        ..inner.target()
    };
    let session = karat::ssh::connect(&through(outer.target()), PATIENCE)
        .await
        .unwrap();
    assert_eq!(session.output("echo through").await.unwrap(), "through\n");
    let big = vec![b'x'; 5 << 20];
    assert!(
        session
            .exec("test $(wc -c) = 5242880", &big, &mut |_| ())
            .await
            .unwrap()
            .is_success()
    );
    outer.drop_connections();
    assert!(session.output("true").await.is_err());

    let down = target(free_port(), &outer);
    let (error, _) = failure(&through(down.clone()), Duration::from_secs(1)).await;
    let text = chain(&error);
    assert!(
        text.contains(&format!(
            "cannot connect through the jump host root@127.0.0.1:{}",
            down.port
        )),
        "{text}"
    );

    let beyond = Target {
        port: free_port(),
        ..through(outer.target())
    };
    let (error, _) = failure(&beyond, Duration::from_secs(1)).await;
    let text = chain(&error);
    assert!(
        text.contains(&format!(
            "root@127.0.0.1:{} cannot reach 127.0.0.1:{}",
            outer.port(),
            beyond.port
        )),
        "{text}"
    );

    let mut wrong = outer.target();
    wrong.host_key = HostKey::Key(inner.host_key().to_owned());
    let (error, took) = failure(&through(wrong), PATIENCE).await;
    assert!(
        chain(&error).contains("is not the expected host") && took < Duration::from_secs(5),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn a_server_that_drops_an_idle_session_is_noticed() {
    let sshd = Sshd::start();
    let session = crate::login(&sshd).await;
    assert!(session.is_open());
    sshd.drop_connections();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!session.is_open());
    let error = session.output("true").await.unwrap_err();
    assert!(
        matches!(error, SshError::Disconnected { .. }),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn giving_up_and_closing_leave_no_connection_behind() {
    let sshd = Sshd::start();
    let session = crate::login(&sshd).await;
    assert_eq!(connections(sshd.port()), 1);
    session.close().await;
    settle(|| connections(sshd.port()) == 0).await;

    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let kept = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n").unwrap();
        let mut rest = Vec::new();
        // Ends when the other side has closed.
        std::io::Read::read_to_end(&mut stream, &mut rest).map(|_| ())
    });
    let stalled = target(port, &sshd);
    let giving_up = tokio::time::timeout(
        Duration::from_millis(300),
        karat::ssh::connect(&stalled, PATIENCE),
    );
    assert!(giving_up.await.is_err());
    settle(|| kept.is_finished()).await;
}

async fn settle(mut holds: impl FnMut() -> bool) {
    for _ in 0..100 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("a connection was left open");
}

/// Established TCP connections to a local port, from the kernel's table.
fn connections(port: u16) -> usize {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!(":{port:04X}");
    let is_ours = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(1).is_some_and(|word| word.ends_with(&local)) && words.get(3) == Some(&"01")
    };
    table.lines().filter(is_ours).count()
}

#[tokio::test]
async fn the_builder_host_logs_in_runs_and_lets_go() {
    use karat::machine::Machine as _;
    use karat::plan;
    let sshd = Sshd::start();
    let host = plan::Host {
        address: "127.0.0.1".to_owned(),
        port: sshd.port(),
        host_key: HostKey::Key(sshd.host_key().to_owned()),
    };
    let mut ssh = plan::Ssh {
        user: "root".to_owned(),
        timeout: PATIENCE,
        key_file: Some(sshd.login_key()),
        agent: false,
        ports: None,
        jump: None,
        interface: None,
    };
    let mut machine = karat::machine::host::HostMachine::connect(&host, &ssh)
        .await
        .unwrap();
    assert_eq!(
        machine.session().output("echo host").await.unwrap(),
        "host\n"
    );
    sshd.drop_connections();
    machine.reconnect(PATIENCE).await.unwrap();
    assert_eq!(
        machine.session().output("echo again").await.unwrap(),
        "again\n"
    );
    let mut death = machine.death();
    assert!(
        tokio::time::timeout(Duration::from_millis(100), death.wait())
            .await
            .is_err()
    );
    machine.destroy().await;

    ssh.key_file = Some(new_key(sshd.directory(), "wrong"));
    let start = Instant::now();
    let error = karat::machine::host::HostMachine::connect(&host, &ssh)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("for user root; the server accepts only"),
        "{error}"
    );
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "a host's refusal is final"
    );
}

/// What the test of the agent runs as a process of its own, because an agent is found through the environment.
#[tokio::test]
async fn agent_child() {
    let Ok(place) = std::env::var("KARAT_TEST_AGENT_TARGET") else {
        return; // Not the child: `the_agent_is_asked` starts it.
    };
    let (port, host_key) = place.split_once(' ').unwrap();
    let target = Target {
        address: "127.0.0.1".to_owned(),
        port: port.parse().unwrap(),
        user: "root".to_owned(),
        auth: Auth::Agent,
        host_key: HostKey::Key(host_key.to_owned()),
        jump: None,
        proxy: None,
    };
    match karat::ssh::connect(&target, SHORT).await {
        Ok(session) => println!("RESULT {}", session.output("echo in").await.unwrap().trim()),
        Err(error) => println!("RESULT {}", chain(&error)),
    }
}

fn as_child(sshd: &Sshd, socket: Option<&Path>) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "connect::agent_child", "--nocapture"])
        .env(
            "KARAT_TEST_AGENT_TARGET",
            format!("{} {}", sshd.port(), sshd.host_key()),
        )
        .env_remove("SSH_AUTH_SOCK");
    if let Some(socket) = socket {
        child.env("SSH_AUTH_SOCK", socket);
    }
    let output = String::from_utf8(child.output().unwrap().stdout).unwrap();
    let start = output.find("RESULT ").unwrap_or_else(|| panic!("{output}"));
    output[start..].lines().next().unwrap()["RESULT ".len()..].to_owned()
}

#[test]
fn the_agent_is_asked() {
    let sshd = Sshd::start();
    let socket = sshd.directory().join("agent");
    let mut agent = Command::new("ssh-agent")
        .arg("-D")
        .arg("-a")
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while !socket.exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let add = |key: &Path| {
        let status = Command::new("ssh-add")
            .arg("-q")
            .arg(key)
            .env("SSH_AUTH_SOCK", &socket)
            .status()
            .unwrap();
        assert!(status.success());
    };
    let empty = as_child(&sshd, Some(&socket));
    let wrong: Vec<_> = (0..2)
        .map(|n| new_key(sshd.directory(), &format!("wrong{n}")))
        .collect();
    for key in &wrong {
        add(key);
    }
    let bad = as_child(&sshd, Some(&socket));
    add(&sshd.login_key());
    let good = as_child(&sshd, Some(&socket));
    let missing = as_child(&sshd, None);
    let gone = as_child(&sshd, Some(&sshd.directory().join("no-such-socket")));
    agent.kill().unwrap();
    agent.wait().unwrap();
    assert!(empty.contains("it holds no keys"), "{empty}");
    assert!(
        bad.contains("rejected the agent's ssh-ed25519 SHA256:") && bad.contains("for user root"),
        "{bad}"
    );
    assert_eq!(good, "in");
    assert!(
        missing.contains("cannot use the SSH agent") && missing.contains("SSH_AUTH_SOCK"),
        "{missing}"
    );
    assert!(gone.contains("cannot use the SSH agent"), "{gone}");
}
