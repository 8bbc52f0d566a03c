//! The instance metadata service, version 2: a token first, then anything.

use std::io;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::metadata::Metadata;

const TOKEN: &str = "AQAEAbenchbenchbenchbench==";

/// The service of one instance; it ends when this is dropped.
pub struct Service {
    pub port: u16,
    _task: AbortOnDropHandle<()>,
}

fn answer(metadata: &Metadata, request: &Request<Incoming>) -> (u16, Vec<u8>) {
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let mut parts = request.uri().path().trim_start_matches('/').splitn(2, '/');
    // Every version of the tree has the same in it.
    let (_version, path) = (parts.next(), parts.next().unwrap_or_default());
    if path == "api/token" {
        let seconds = header("x-aws-ec2-metadata-token-ttl-seconds");
        let seconds = seconds.and_then(|seconds| seconds.parse::<u32>().ok());
        return match (request.method(), seconds) {
            (&Method::PUT, Some(1..=21_600)) => (200, TOKEN.into()),
            (&Method::PUT, _) => (400, Vec::new()),
            _ => (405, Vec::new()),
        };
    }
    if header("x-aws-ec2-metadata-token") != Some(TOKEN) {
        return (401, Vec::new());
    }
    metadata
        .get(path)
        .map_or((404, Vec::new()), |value| (200, value))
}

/// Serves an instance's metadata on a port of loopback, where only QEMU's relay asks.
pub async fn serve(metadata: Metadata) -> io::Result<Service> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let metadata = Arc::new(metadata);
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let metadata = Arc::clone(&metadata);
            tokio::spawn(async move {
                let service = service_fn(|request: Request<Incoming>| {
                    let (status, body) = answer(&metadata, &request);
                    let response = Response::builder()
                        .status(status)
                        .header("content-type", "text/plain")
                        .header("x-aws-ec2-metadata-token-ttl-seconds", "21600")
                        .body(reqwest::Body::from(body));
                    async move { response.map_err(io::Error::other) }
                });
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                let _ended = connection.await;
            });
        }
    });
    Ok(Service {
        port,
        _task: AbortOnDropHandle::new(task),
    })
}
