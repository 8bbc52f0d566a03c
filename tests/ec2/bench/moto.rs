//! moto, the control plane: a child of the test process that cannot outlive it.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use karat::fetch::Cache;
use karat::os::child;
use tokio::process::Child;

use super::answer::Answer;
use super::call::Call;

/// moto takes a second to start, and more on a loaded machine.
const START_LIMIT: Duration = Duration::from_mins(1);
/// Without these, moto takes any image, key or type of instance.
const VALIDATION: [&str; 3] = [
    "MOTO_ENABLE_AMI_VALIDATION",
    "MOTO_ENABLE_KEYPAIR_VALIDATION",
    "MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION",
];

/// moto's default network, and where instances really are: on loopback.
const NETWORK: (&str, &str) = ("172.31.", "127.0.");

/// Where `.ci/setup` puts moto and boto3; `None` where it did not.
pub fn tools() -> Option<PathBuf> {
    let tools = Cache::of_user().ok()?.root().join("tools/aws/bin");
    tools.join("moto_server").is_file().then_some(tools)
}

/// A running moto.
pub struct Moto {
    url: String,
    client: reqwest::Client,
    child: Child,
}

impl Moto {
    /// Starts one and waits until it answers.
    pub async fn start(tools: PathBuf) -> Self {
        // reqwest wants one even where nothing is encrypted; another part of the process may have chosen it already.
        let _chosen = rustls::crypto::ring::default_provider().install_default();
        let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("ec2-moto.log");
        for _ in 0..5 {
            let port = free_port();
            let program = tools.join("moto_server");
            let mut command = child::command(program.to_str().unwrap());
            for name in VALIDATION {
                command.env(name, "1");
            }
            let process = command
                .args(["-H", "127.0.0.1", "-p", &port.to_string()])
                // Images that nobody made would only be in the way, and take a second in every region.
                .env("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
                .stdout(Stdio::null())
                .stderr(std::fs::File::create(&log).unwrap())
                .spawn()
                .expect("util-linux and moto are installed");
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let mut moto = Self {
                url: format!("http://127.0.0.1:{port}"),
                client,
                child: process,
            };
            if moto.answers().await {
                return moto;
            }
        }
        panic!("moto does not start; see {}", log.display());
    }

    async fn answers(&mut self) -> bool {
        let start = Instant::now();
        let url = format!("{}/moto-api/", self.url);
        while start.elapsed() < START_LIMIT && self.child.try_wait().unwrap().is_none() {
            if self.client.get(&url).send().await.is_ok() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        false
    }

    /// Has moto carry out a call in its account and region. A Query call's parameters are those of its form.
    pub async fn ask(&self, call: &Call) -> Answer {
        let method = call.method.parse().unwrap();
        let mut request = self
            .client
            .request(method, format!("{}{}", self.url, call.path));
        for (name, value) in &call.headers {
            if !["host", "content-length", "authorization"].contains(&name.as_str()) {
                request = request.header(name, value);
            }
        }
        let scope = format!(
            "AWS4-HMAC-SHA256 Credential=AKIAX/20260101/{}/{}/aws4_request, SignedHeaders=host, Signature=0",
            call.region, call.service
        );
        let is_query = !call.form.0.is_empty();
        let is_ec2 = call.service == "ec2";
        if is_query && !call.headers.contains_key("content-type") {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        let body = if is_query {
            let mut form = call.form.clone();
            for value in form.0.values_mut().filter(|_| is_ec2) {
                *value = value.replace(NETWORK.1, NETWORK.0);
            }
            form.encode().into_bytes()
        } else {
            call.body.to_vec()
        };
        let request = request
            .header("authorization", scope)
            .header("x-moto-account-id", &call.account);
        let answer = request.body(body).send().await.expect("moto answers");
        let status = answer.status().as_u16();
        let headers = answer.headers().iter();
        let headers = headers
            .filter(|(name, _)| {
                let name = name.as_str();
                name == "content-type" || name == "etag" || name.starts_with("x-amz")
            })
            .map(|(name, value)| {
                let value = value.to_str().unwrap_or_default().to_owned();
                (name.to_string(), value)
            })
            .collect();
        let mut body = answer.bytes().await.expect("moto answers whole").to_vec();
        if is_ec2 {
            let text = String::from_utf8_lossy(&body);
            body = text.replace(NETWORK.0, NETWORK.1).into_bytes();
        }
        Answer {
            status,
            headers,
            body,
        }
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}
