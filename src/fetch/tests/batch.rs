//! Batches of files from sources of which some lie, stall or are gone.

use super::*;

fn wanted(name: &str, bytes: &[u8], url: &str) -> FileRequest {
    FileRequest {
        name: name.to_owned(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        url: url.to_owned(),
        path: format!("pool/{name}+1.deb"),
    }
}

/// Returns the server as a mirror: its address without a path.
fn root(server: &Server) -> Mirror {
    let url = server.url.rsplit_once('/').unwrap().0;
    url.parse().unwrap()
}

fn impatient() -> (tempfile::TempDir, Cache) {
    let (scratch, mut cache) = cache();
    cache.stalled = Duration::from_millis(300);
    (scratch, cache)
}

async fn fetch_all(
    cache: &Cache,
    files: &[FileRequest],
    places: FileSources<'_>,
) -> Result<(), FetchError> {
    cache.fetch_all(files, places, &Ui::default()).await
}

#[tokio::test]
async fn a_source_that_lies_stalls_or_is_gone_does_not_matter_while_another_has_the_file() {
    let body = body();
    for reply in [
        Reply::Status(404),
        Reply::Status(503),
        Reply::HangUp,
        Reply::StallAfter(0),
        Reply::StallAfter(1000),
        Reply::DropAfter(1000),
        Reply::WrongRange,
    ] {
        let (bad, good) = (
            Server::start(&body, &[reply]).await,
            Server::start(&body, &[Reply::Ranged]).await,
        );
        let liar = Server::start(b"a lie", &[Reply::Whole]).await;
        let mirrors = [root(&liar), root(&bad)];
        let places = FileSources {
            mirrors: &mirrors,
            ..FileSources::default()
        };
        let (_scratch, cache) = impatient();
        let files = [wanted("a", &body, &good.url)];
        let fetched = fetch_all(&cache, &files, places).await;
        assert!(fetched.is_ok(), "{reply:?}: {fetched:?}");
        assert_eq!(names(&cache), [Digest::of(&body).hex()], "{reply:?}");
    }
}

#[tokio::test]
async fn missing_files_are_named_with_their_digests_and_the_rest_is_kept() {
    let body = body();
    let good = Server::start(&body, &[Reply::Ranged]).await;
    let liar = Server::start(b"a lie", &[Reply::Whole]).await;
    let none = Server::start(&body, &[Reply::Status(404)]).await;
    let (_scratch, cache) = impatient();
    let files = [
        wanted("lied-about", b"the truth", &liar.url),
        wanted("had", &body, &good.url),
        wanted("gone", b"gone", &none.url),
        wanted("unserved", b"unserved", "http://127.0.0.1:1/x"),
    ];
    let fetched = fetch_all(&cache, &files, FileSources::default()).await;
    let error = fetched.unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("3 files were not found in the cache, store, mirrors or archive"),
        "{text}"
    );
    for (file, reason) in [
        (&files[0], "is sha256:"),
        (&files[2], "404"),
        (&files[3], "127.0.0.1:1"),
    ] {
        let line = text.lines().find(|line| line.contains(&file.name)).unwrap();
        assert!(line.contains(&file.digest.to_string()), "{line}");
        assert!(line.contains(reason), "{line}");
    }
    assert!(!text.contains("had sha256"), "{text}");
    assert_eq!(names(&cache), [Digest::of(&body).hex()], "no half files");
}

#[tokio::test]
async fn a_server_that_never_answers_is_not_asked_for_every_file() {
    let (_scratch, cache) = impatient();
    let files: Vec<_> = (0..100)
        .map(|index| {
            let name = format!("file-{index}");
            wanted(&name, name.as_bytes(), "http://127.0.0.1:1/x")
        })
        .collect();
    let fetched = fetch_all(&cache, &files, FileSources::default()).await;
    let error = fetched.unwrap_err();
    assert_eq!(error.to_string().lines().count(), 101);
    assert!(
        error
            .to_string()
            .contains("http://127.0.0.1:1 does not answer")
    );
}

#[tokio::test]
async fn stores_and_directories_come_first_and_the_digest_decides() {
    let body = body();
    let digest = Digest::of(&body);
    for place in [
        "store",
        "pool/a+1.deb",
        "a+1.deb",
        &digest.hex(),
        &format!("sha256/{}", digest.hex()),
    ] {
        let (scratch, cache) = impatient();
        let directory = scratch.path().join("places");
        let file = directory.join(place);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &body).unwrap();
        let store = |_: &Digest| directory.join("store");
        let mirrors = [Mirror::Directory(directory.clone())];
        let places = FileSources {
            store: Some(&store),
            mirrors: &mirrors,
        };
        let files = [wanted("a", &body, "http://127.0.0.1:1/x")];
        fetch_all(&cache, &files, places).await.unwrap();
        assert_eq!(names(&cache), [digest.hex()], "{place}");

        std::fs::write(&file, b"rotten").unwrap();
        std::fs::remove_file(cache.path(&digest)).unwrap();
        let error = fetch_all(&cache, &files, places).await.unwrap_err();
        assert!(
            matches!(error, FetchError::Missing { .. }),
            "{place}: {error}"
        );
        assert!(names(&cache).is_empty(), "{place}");
    }
}

#[test]
fn a_mirror_is_a_directory_or_a_server() {
    for (text, good) in [
        ("/srv/mirror", true),
        ("mirror", true),
        ("http://127.0.0.1:1/debian", true),
        ("file:///srv/mirror", true),
        ("ftp://example.org/debian", false),
        ("http://", false),
    ] {
        assert_eq!(text.parse::<Mirror>().is_ok(), good, "{text}");
    }
}
