//! Downloads without a digest.

use super::*;

async fn download(server: &Server, cache: &Cache, max_bytes: usize) -> Result<Vec<u8>, String> {
    let to = cache.root.join("file");
    let downloaded = cache
        .download_unverified(&server.url, &to, max_bytes, &Ui::default())
        .await;
    match downloaded {
        Ok(_) => Ok(std::fs::read(to).unwrap()),
        Err(error) => Err(crate::ui::text::with_causes(&error)),
    }
}

#[tokio::test]
async fn a_file_is_complete_or_the_download_fails() {
    use Reply::*;
    let body = body();
    let half = body.len() / 2;
    // (script, number of requests, part of the error if it must fail)
    for (script, requests, failure) in [
        (&[Whole][..], 1, None),
        // Never resumed: the file may have changed in between.
        (&[DropAfter(half), Whole][..], 2, None),
        (&[HangUp, Status(503), StallAfter(half), Whole][..], 4, None),
        (&[Status(404)][..], 1, Some("404 Not Found")),
        (&[DropAfter(half)][..], 5, Some("after 5 tries")),
    ] {
        let server = Server::start(&body, script).await;
        let (_scratch, mut cache) = cache();
        cache.stalled = Duration::from_millis(200);
        match (download(&server, &cache, body.len()).await, failure) {
            (Ok(bytes), None) => assert_eq!(bytes, body, "{script:?}"),
            (Err(error), Some(part)) => assert!(error.contains(part), "{script:?}: {error}"),
            (outcome, _) => panic!("{script:?}: {outcome:?}"),
        }
        assert_eq!(server.asked(), vec![0; requests], "{script:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_too_large_is_refused() {
    let body = body();
    let server = Server::start(&body, &[Reply::Whole]).await;
    let (_scratch, cache) = cache();
    let error = download(&server, &cache, body.len() - 1).await.unwrap_err();
    assert!(error.ends_with("longer than 299999 bytes"), "{error}");
}
