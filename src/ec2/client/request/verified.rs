//! Signatures, checked by an independent server: the S3 of `SeaweedFS`, which accepts signatures for any service.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use tokio::process::Child;
use tokio::sync::Mutex;

use super::*;
use crate::digest::Digest;
use crate::ec2::client::credentials::Keys;
use crate::ec2::client::endpoint::Endpoints;
use crate::ec2::client::{Aws, Shared};
use crate::fetch::Cache;
use crate::os::child;

const KEY: &str = "AKIATEST";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
/// Longest start: it has four servers to start, one after the other.
const START_LIMIT: Duration = Duration::from_mins(1);

/// A running `SeaweedFS`, which cannot outlive the test.
struct Weed {
    url: String,
    _child: Child,
}

impl Weed {
    /// Starts it; `None` where `make setup` did not install it.
    async fn start(scratch: &Path) -> Option<Self> {
        let tool = Cache::of_user().ok()?.root().join("tools/aws/bin/weed");
        if !tool.is_file() {
            eprintln!("SKIPPED: SeaweedFS is not installed; `make setup` installs it");
            return None;
        }
        for _ in 0..3 {
            if let Some(weed) = Self::launch(&tool, scratch).await {
                return Some(weed);
            }
        }
        panic!("SeaweedFS does not start");
    }

    async fn launch(tool: &Path, scratch: &Path) -> Option<Self> {
        let identities = serde_json::json!({"identities": [{
            "name": "karat",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin"],
        }]});
        let settings = scratch.join("s3.json");
        std::fs::write(&settings, identities.to_string()).unwrap();
        let mut command = child::command(tool.to_str().unwrap());
        command.args(["server", "-ip=127.0.0.1", "-s3", "-s3.port.iceberg=0"]);
        command.arg(format!("-dir={}", scratch.display()));
        command.arg(format!("-s3.config={}", settings.display()));
        // All ports stay bound until they are all known, so that they differ.
        let free = || TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let held: Vec<_> = (0..8).map(|_| free()).collect();
        let port = |at: usize| held[at].local_addr().unwrap().port();
        for (at, server) in ["master", "volume", "filer", "s3"].into_iter().enumerate() {
            command.arg(format!("-{server}.port={}", port(at)));
            command.arg(format!("-{server}.port.grpc={}", port(at + 4)));
        }
        let url = format!("http://127.0.0.1:{}", port(3));
        drop(held);
        let nowhere = Stdio::null;
        let mut child = command.stdout(nowhere()).stderr(nowhere()).spawn().unwrap();
        let begun = Instant::now();
        while begun.elapsed() < START_LIMIT && child.try_wait().unwrap().is_none() {
            // It listens before it can store anything.
            let bucket = region(&url, SECRET)
                .send(&request(Method::PUT, "/bucket", b""))
                .await;
            if bucket.is_ok() {
                return Some(Self { url, _child: child });
            }
            sleep(Duration::from_millis(100)).await;
        }
        None
    }
}

/// Region of a principal with these credentials.
fn region(url: &str, secret: &str) -> Region {
    let keys = Credentials::new(KEY, secret, None, None, "test");
    let urls = BTreeMap::from([(Service::Ebs, url.to_owned())]);
    let shared = Shared {
        http: client().unwrap(),
        keys: Keys {
            provider: Some(SharedCredentialsProvider::new(keys)),
            cached: Mutex::default(),
        },
        endpoints: Endpoints(urls),
        region: None,
        calls: std::sync::atomic::AtomicU64::default(),
    };
    Aws(Arc::new(shared)).region("us-east-1")
}

fn request(method: Method, path: &str, body: &'static [u8]) -> Request {
    Request {
        service: Service::Ebs,
        action: "Test",
        method,
        path: path.to_owned(),
        headers: vec![
            ("x-amz-meta-kind", "a test".to_owned()),
            // S3 requires a header that says what the signature covers.
            ("x-amz-content-sha256", hex(body)),
        ],
        body: Bytes::from_static(body),
        sign_body: true,
        retry: Retry::NotCarriedOut,
    }
}

fn hex(body: &[u8]) -> String {
    Digest::of(body).hex()
}

fn code(answer: Result<Answer, AwsError>) -> Option<String> {
    answer.unwrap_err().error_code().map(str::to_owned)
}

#[tokio::test]
async fn what_is_signed_is_accepted_and_anything_else_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(weed) = Weed::start(scratch.path()).await else {
        return;
    };
    let ours = region(&weed.url, SECRET);
    let put = request(
        Method::PUT,
        "/bucket/some-key?tagging-is-not=asked&a=%20b",
        b"some bytes",
    );
    ours.send(&put).await.unwrap();
    let get = request(Method::GET, "/bucket/some-key", b"");
    let found = ours.send(&get).await.unwrap();
    assert_eq!(&*found.body, b"some bytes");

    let wrong = Some("SignatureDoesNotMatch".to_owned());
    let other = region(&weed.url, "another secret");
    assert_eq!(code(other.send(&get).await), wrong);
    assert_eq!(code(other.send(&put).await), wrong);

    // A signed request is changed on its way.
    let signed = signed(&ours, &put, &weed.url).await;
    assert_eq!(sent(&weed, &put, &signed).await, 200);
    for (name, value) in [
        ("x-amz-meta-kind", "another"),
        ("x-amz-date", "20200101T000000Z"),
        ("x-amz-content-sha256", &hex(b"other bytes")),
    ] {
        let mut changed = signed.clone();
        changed.insert(name, value.parse().unwrap());
        assert_eq!(sent(&weed, &put, &changed).await, 403, "{name}");
    }

    // Over https, a block's body has a digest of its own; the certificate is left out here.
    let mut block = request(Method::PUT, "/bucket/block", b"a block");
    block.sign_body = false;
    block.headers.pop();
    let over_https = weed.url.replace("http:", "https:");
    let mut signed = self::signed(&ours, &block, &over_https).await;
    assert_eq!(signed["x-amz-content-sha256"], "UNSIGNED-PAYLOAD");
    assert_eq!(sent(&weed, &block, &signed).await, 200);
    signed.insert("x-amz-content-sha256", hex(b"a block").parse().unwrap());
    assert_eq!(sent(&weed, &block, &signed).await, 403);
}

/// Signs a request to this address and returns its headers.
async fn signed(region: &Region, request: &Request, url: &str) -> HeaderMap {
    let url = format!("{url}{}", request.path);
    let signature = region.signature(request, &url);
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        headers.insert(*name, value.parse().unwrap());
    }
    for (name, value) in signature.await.unwrap() {
        headers.insert(name, value.parse().unwrap());
    }
    headers
}

/// Sends a request with these headers and returns the status of the response.
async fn sent(weed: &Weed, request: &Request, headers: &HeaderMap) -> u16 {
    let sent = client().unwrap().put(weed.url.clone() + &request.path);
    let sent = sent.headers(headers.clone()).body(request.body.clone());
    sent.send().await.unwrap().status().as_u16()
}
