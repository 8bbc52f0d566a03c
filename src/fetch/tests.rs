//! Downloads from a server on loopback that fails in all the ways that servers fail.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

mod batch;
mod unverified;

/// Behavior of the server for one request.
#[derive(Clone, Copy, Debug)]
enum Reply {
    /// Serves ranges, as requested.
    Ranged,
    /// Always serves the whole.
    Whole,
    /// Answers with this status and nothing else.
    Status(u16),
    /// Serves ranges and drops the connection after this number of bytes.
    DropAfter(usize),
    /// Ignores ranges, announces this number of bytes and sends the file.
    Promise(usize),
    /// Closes the connection at once.
    HangUp,
    /// Sends this number of bytes, then nothing more.
    StallAfter(usize),
    /// Serves the requested length from the wrong offset.
    WrongRange,
}

struct Server {
    url: String,
    /// Offsets that were requested.
    asked: Arc<Mutex<Vec<usize>>>,
}

impl Server {
    /// Answers with one reply of `script` after the other, then always with the last.
    async fn start(body: &[u8], script: &[Reply]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/disk%20one.img", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (body, script, log) = (body.to_vec(), script.to_vec(), Arc::clone(&asked));
        tokio::spawn(async move {
            loop {
                let (mut line, _) = listener.accept().await.unwrap();
                let Some(offset) = read_request(&mut line).await else {
                    continue;
                };
                let turn = log.lock().unwrap().len();
                log.lock().unwrap().push(offset);
                let reply = script[turn.min(script.len() - 1)];
                let body = body.clone();
                // In some tests the client is gone already.
                tokio::spawn(async move { drop(answer(line, &body, offset, reply).await) });
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<usize> {
        self.asked.lock().unwrap().clone()
    }
}

/// Returns the requested offset; `None` if the request is not HTTP.
async fn read_request(line: &mut TcpStream) -> Option<usize> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(line.read_u8().await.ok()?);
        if !head.starts_with(b"G") {
            return None;
        }
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let range = head
        .lines()
        .find_map(|line| line.strip_prefix("range: bytes="));
    Some(range.map_or(0, |range| range.trim_end_matches('-').parse().unwrap()))
}

async fn answer(mut line: TcpStream, body: &[u8], offset: usize, reply: Reply) -> io::Result<()> {
    let whole = |length: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n");
    let ranged = |first: usize| {
        let (last, total) = (body.len() - 1, body.len());
        let length = total - offset;
        format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {length}\r\n\
             Content-Range: bytes {first}-{last}/{total}\r\n"
        )
    };
    let past_end = offset >= body.len();
    let rest = &body[offset.min(body.len())..];
    let from_offset = || match offset {
        0 => whole(body.len()),
        _ => ranged(offset),
    };
    let (head, bytes) = match reply {
        Reply::HangUp => return Ok(()),
        Reply::Status(code) => (
            format!("HTTP/1.1 {code} No\r\nContent-Length: 0\r\n"),
            &[][..],
        ),
        Reply::Whole => (whole(body.len()), body),
        Reply::Promise(length) => (whole(length), body),
        _ if past_end => ("HTTP/1.1 416 No\r\nContent-Length: 0\r\n".into(), &[][..]),
        Reply::WrongRange if offset > 0 => (ranged(offset - 1), &body[offset - 1..body.len() - 1]),
        Reply::Ranged | Reply::WrongRange => (from_offset(), rest),
        Reply::DropAfter(count) | Reply::StallAfter(count) => {
            (from_offset(), &rest[..count.min(rest.len())])
        }
    };
    line.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())
        .await?;
    line.write_all(bytes).await?;
    line.flush().await?;
    if matches!(reply, Reply::StallAfter(_)) {
        std::future::pending::<()>().await;
    }
    Ok(())
}

fn cache() -> (tempfile::TempDir, Cache) {
    let scratch = tempfile::tempdir().unwrap();
    let cache = Cache {
        root: scratch.path().to_owned(),
        pause: Duration::from_millis(2),
        stalled: transfer::STALL_TIMEOUT,
    };
    (scratch, cache)
}

async fn fetch(cache: &Cache, url: &str, digest: Digest) -> Result<(PathBuf, Digest), FetchError> {
    let checksum = Checksum::Sha256(digest);
    cache.fetch(url, &checksum, &Ui::default()).await
}

/// Returns the names in the cache's directory of downloads. Checks that every final name is the digest of its file.
fn names(cache: &Cache) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(cache.root.join("sha256")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.extension().is_none() {
            assert_eq!(Digest::of(&std::fs::read(&path).unwrap()).hex(), name);
        }
        names.push(name);
    }
    names.sort();
    names
}

fn body() -> Vec<u8> {
    (0..300_000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect()
}

#[tokio::test]
async fn every_way_a_server_fails_ends_in_the_right_bytes_or_in_nothing() {
    use Reply::*;
    let body = body();
    let all = body.len();
    let digest = Digest::of(&body);
    let half = all / 2;
    // (script, requested offsets, part of the error if it must fail)
    let cases: &[(&[Reply], &[usize], Option<&str>)] = &[
        (&[Whole], &[0], None),
        (&[Ranged], &[0], None),
        (&[Status(500), Status(503), Ranged], &[0, 0, 0], None),
        (&[HangUp, Ranged], &[0, 0], None),
        (&[DropAfter(half), Ranged], &[0, half], None),
        (&[DropAfter(half), Whole], &[0, half], None),
        (&[DropAfter(half), WrongRange, Ranged], &[0, half, 0], None),
        // Announces too much: the digest, not the server, says when it is complete.
        (&[Promise(all + 5)], &[0], None),
        // Announces too little: cut short, so the digest never matches.
        (&[Promise(half)], &[0], Some("is sha256:")),
        (&[Status(404)], &[0], Some("404 Not Found")),
        (&[Status(429), Ranged], &[0, 0], None),
        (
            &[Status(500), HangUp, Status(500), HangUp, Status(502)],
            &[0; 5],
            Some("502 Bad Gateway"),
        ),
    ];
    for (script, offsets, failure) in cases {
        let server = Server::start(&body, script).await;
        let (_scratch, cache) = cache();
        match (fetch(&cache, &server.url, digest).await, failure) {
            (Ok((path, of)), None) => {
                assert_eq!(std::fs::read(path).unwrap(), body, "{script:?}");
                assert_eq!((of, names(&cache)), (digest, vec![digest.hex()]));
            }
            (Err(error), Some(text)) => {
                let reason = std::error::Error::source(&error).map(ToString::to_string);
                let shown = format!("{error} {}", reason.unwrap_or_default());
                assert!(shown.contains(text), "{script:?}: {shown}");
                assert!(names(&cache).is_empty(), "{script:?}: {:?}", names(&cache));
            }
            (outcome, _) => panic!("{script:?}: {outcome:?}"),
        }
        assert_eq!(server.asked(), *offsets, "{script:?}");
    }
}

#[tokio::test]
async fn a_mismatch_names_both_digests_and_keeps_nothing() {
    let server = Server::start(b"what came", &[Reply::Ranged]).await;
    let (_scratch, cache) = cache();
    let expected = Digest::of(b"what should have come");
    let error = fetch(&cache, &server.url, expected).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&expected.to_string()), "{text}");
    assert!(
        text.contains(&Digest::of(b"what came").to_string()),
        "{text}"
    );
    assert_eq!((error.exit_code(), names(&cache).len()), (4, 0));
}

#[tokio::test]
async fn an_interrupted_download_is_resumed() {
    let body = body();
    let digest = Digest::of(&body);
    let server = Server::start(&body, &[Reply::StallAfter(100_000), Reply::Ranged]).await;
    let (_scratch, cache) = cache();
    let partial = cache.path(&digest).with_extension("partial");
    let cancelled = async {
        while partial.metadata().map_or(0, |found| found.len()) < 100_000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        outcome = fetch(&cache, &server.url, digest) => panic!("{outcome:?}"),
        () = cancelled => {}
    }
    assert!(!cache.path(&digest).exists());
    fetch(&cache, &server.url, digest).await.unwrap();
    assert_eq!(server.asked(), [0, 100_000]);
    assert_eq!(names(&cache), [digest.hex()]);
    // Found without a request.
    fetch(&cache, &server.url, digest).await.unwrap();
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn a_leftover_of_an_earlier_run_is_not_trusted() {
    let body = body();
    let digest = Digest::of(&body);
    let longer = [&body[..], b"more"].concat();
    for (left, asked) in [
        (&b"rubbish"[..], vec![0]),
        (&body[..1000], vec![1000]),
        (&body[..], vec![body.len()]),
        (&longer[..], vec![longer.len(), 0]),
    ] {
        let server = Server::start(&body, &[Reply::Ranged]).await;
        let (_scratch, cache) = cache();
        std::fs::create_dir_all(cache.root.join("sha256")).unwrap();
        std::fs::write(cache.path(&digest).with_extension("partial"), left).unwrap();
        fetch(&cache, &server.url, digest).await.unwrap();
        assert_eq!(names(&cache), [digest.hex()]);
        let expected = if left == b"rubbish" {
            vec![left.len(), 0]
        } else {
            asked
        };
        assert_eq!(server.asked(), expected);
    }
}

#[tokio::test]
async fn a_file_that_rotted_in_the_cache_is_fetched_again() {
    let body = body();
    let digest = Digest::of(&body);
    let server = Server::start(&body, &[Reply::Ranged]).await;
    let (_scratch, cache) = cache();
    std::fs::create_dir_all(cache.root.join("sha256")).unwrap();
    std::fs::write(cache.path(&digest), "rot").unwrap();
    fetch(&cache, &server.url, digest).await.unwrap();
    assert_eq!(names(&cache), [digest.hex()]);
}

#[tokio::test]
async fn several_at_the_same_time_fetch_once() {
    let body = body();
    let digest = Digest::of(&body);
    let server = Server::start(&body, &[Reply::Ranged]).await;
    let (_scratch, cache) = cache();
    // Locks belong to open files, so tasks exclude each other just as processes do.
    let fetches = (0..6).map(|_| fetch(&cache, &server.url, digest));
    for outcome in futures_util::future::join_all(fetches).await {
        outcome.unwrap();
    }
    assert_eq!(server.asked(), [0]);
    assert_eq!(names(&cache), [digest.hex()]);
}

#[tokio::test]
async fn a_checksum_file_names_the_digest() {
    let body = body();
    let digest = Digest::of(&body);
    let upper = digest.hex().to_ascii_uppercase();
    for (sums, outcome) in [
        (format!("{}  disk one.img\n", digest.hex()), Ok(())),
        (format!("{upper} *disk one.img\n"), Ok(())),
        (
            format!("SHA256 (disk one.img) = {}\n", digest.hex()),
            Ok(()),
        ),
        (
            format!("{}  other.img\n", digest.hex()),
            Err("no SHA-256 digest"),
        ),
        ("abcd  disk one.img\n".to_owned(), Err("no SHA-256 digest")),
    ] {
        let server = Server::start(&body, &[Reply::Ranged]).await;
        let sums = Server::start(sums.as_bytes(), &[Reply::Status(500), Reply::Whole]).await;
        let (_scratch, cache) = cache();
        let checksum = Checksum::Sha256Url(sums.url.clone());
        let fetched = cache.fetch(&server.url, &checksum, &Ui::default()).await;
        match outcome {
            Ok(()) => assert_eq!(fetched.unwrap(), (cache.path(&digest), digest)),
            Err(text) => assert!(fetched.unwrap_err().to_string().contains(text)),
        }
    }
}

#[tokio::test]
async fn a_local_file_is_fetched_too() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("a disk");
    std::fs::write(&path, "bytes").unwrap();
    let url = Url::from_file_path(&path).unwrap();
    let (_scratch, cache) = cache();
    let digest = Digest::of(b"bytes");
    fetch(&cache, url.as_str(), digest).await.unwrap();
    for (url, code) in [
        ("file:///does/not/exist", 1),
        ("gopher://example.org/", 2),
        ("disk.img", 2),
    ] {
        let other = Digest::of(b"other");
        let error = fetch(&cache, url, other).await.unwrap_err();
        assert_eq!(error.exit_code(), code, "{error}");
    }
}

#[tokio::test]
async fn cancelling_in_a_pause_returns_at_once() {
    let server = Server::start(b"", &[Reply::Status(500)]).await;
    let (_scratch, mut cache) = cache();
    cache.pause = Duration::from_mins(1);
    let fetching = fetch(&cache, &server.url, Digest::of(b"bytes"));
    let started = std::time::Instant::now();
    tokio::time::timeout(Duration::from_millis(300), fetching)
        .await
        .unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(1));
    let lock = cache.path(&Digest::of(b"bytes")).with_extension("lock");
    assert!(FileLock::try_exclusive(&lock).unwrap().is_some());
}

#[tokio::test]
async fn a_server_without_tls_is_refused_for_https() {
    let server = Server::start(b"bytes", &[Reply::Ranged]).await;
    let (_scratch, cache) = cache();
    let url = server.url.replace("http:", "https:");
    let error = fetch(&cache, &url, Digest::of(b"bytes")).await.unwrap_err();
    assert!(matches!(
        error,
        FetchError::Transfer {
            tries: MAX_TRIES,
            ..
        }
    ));
    assert!(names(&cache).is_empty());
}

mod any_server {
    use proptest::prelude::*;

    use super::*;

    fn reply() -> impl Strategy<Value = Reply> {
        prop_oneof![
            Just(Reply::Ranged),
            Just(Reply::Whole),
            Just(Reply::HangUp),
            Just(Reply::WrongRange),
            Just(Reply::Status(500)),
            (0..300_000_usize).prop_map(Reply::DropAfter),
            (0..400_000_usize).prop_map(Reply::Promise),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn a_final_name_always_has_its_digest(
            script in proptest::collection::vec(reply(), 1..6),
            honest in any::<bool>(),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let body = body();
                let expected = if honest { Digest::of(&body) } else { Digest::of(b"other") };
                let server = Server::start(&body, &script).await;
                let (_scratch, cache) = cache();
                let outcome = fetch(&cache, &server.url, expected).await;
                let names = names(&cache);
                assert_eq!(names.contains(&expected.hex()), outcome.is_ok());
                assert!(honest || outcome.is_err());
            });
        }
    }
}
