//! The EBS direct APIs: blocks of snapshots, without any instance.

use data_encoding::BASE64;
use futures_util::stream::{self, Stream, StreamExt as _};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::bytes::Bytes;

use super::ec2::Tags;
use super::endpoint::Service;
use super::request::{Answer, Request};
use super::retry::Again;
use super::{AwsError, Region};
use crate::digest::Digest;

/// Bytes of every block: the EBS direct APIs know no other size.
pub const BLOCK: usize = 512 << 10;

/// Blocks that are on their way at once: enough to fill a line of 10 Gbit/s over 25 ms, with 32 MiB of memory.
pub const IN_FLIGHT: usize = 64;

/// Minutes after which AWS gives a snapshot up that nobody writes to. The default, an hour, is the life of a run that may be
/// taken up again.
const ABANDONED: u32 = 60;

/// A snapshot to write.
#[derive(Clone, Debug)]
pub struct NewSnapshot<'a> {
    /// Of the volume, in GiB.
    pub size: u64,
    /// What it differs from.
    pub parent: Option<&'a str>,
    /// Free text.
    pub description: &'a str,
    /// Tags from its first moment on.
    pub tags: &'a Tags,
    /// Encrypt at rest, with this key or the account's. A snapshot with a parent is as that is.
    pub encrypted: Option<Option<&'a str>>,
    /// With the same one it happens once.
    pub token: &'a str,
}

/// A block of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Block {
    /// Which, from 0.
    #[serde(rename = "BlockIndex")]
    pub index: u64,
    /// What it is asked for with.
    #[serde(rename = "BlockToken")]
    pub token: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Started {
    snapshot_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    #[serde(default)]
    blocks: Vec<Block>,
    #[serde(default)]
    next_token: Option<String>,
    #[serde(default)]
    block_size: Option<u64>,
}

impl Region {
    /// Begins a snapshot.
    ///
    /// # Errors
    /// The parent is not there, or the principal may not.
    pub async fn start_snapshot(&self, new: &NewSnapshot<'_>) -> Result<String, AwsError> {
        let tags = new.tags.iter();
        let tags: Vec<_> = tags
            .map(|(key, value)| json!({"Key": key, "Value": value}))
            .collect();
        let mut body = json!({
            "VolumeSize": new.size,
            "Description": new.description,
            "Tags": tags,
            "ClientToken": new.token,
            "Timeout": ABANDONED,
        });
        match (new.parent, new.encrypted) {
            (Some(parent), _) => body["ParentSnapshotId"] = parent.into(),
            (None, Some(key)) => {
                body["Encrypted"] = true.into();
                if let Some(key) = key {
                    body["KmsKeyArn"] = key.into();
                }
            }
            (None, None) => {}
        }
        let request = rest(
            "StartSnapshot",
            Method::POST,
            "/snapshots".to_owned(),
            &body,
        );
        let started: Started = self.read(&request).await?;
        Ok(started.snapshot_id)
    }

    /// Writes a block; to write the same one again changes nothing.
    ///
    /// # Errors
    /// The snapshot is not being written, the block is outside of it, or the principal may not.
    pub async fn put_block(
        &self,
        snapshot: &str,
        index: u64,
        data: Bytes,
        digest: &Digest,
    ) -> Result<(), AwsError> {
        let request = Request {
            service: Service::Ebs,
            action: "PutSnapshotBlock",
            method: Method::PUT,
            path: format!("/snapshots/{snapshot}/blocks/{index}"),
            headers: vec![
                ("content-type", "application/octet-stream".to_owned()),
                ("x-amz-data-length", data.len().to_string()),
                ("x-amz-checksum", BASE64.encode(digest.bytes())),
                ("x-amz-checksum-algorithm", "SHA256".to_owned()),
            ],
            body: data,
            // As the SDKs have it for this call alone: the digest above is signed, and it is the body's.
            sign_body: false,
            again: Again::Passing,
        };
        self.send(&request).await.map(drop)
    }

    /// Ends a snapshot. `aggregate` is the digest of the digests of all blocks that were written, in the order of their numbers.
    ///
    /// # Errors
    /// Blocks are missing or different, or the principal may not.
    pub async fn complete_snapshot(
        &self,
        snapshot: &str,
        blocks: u64,
        aggregate: &Digest,
    ) -> Result<(), AwsError> {
        let mut request = rest(
            "CompleteSnapshot",
            Method::POST,
            format!("/snapshots/completion/{snapshot}"),
            &json!({}),
        );
        request.body = Bytes::new();
        request.headers = vec![
            ("x-amz-changedblockscount", blocks.to_string()),
            ("x-amz-checksum", BASE64.encode(aggregate.bytes())),
            ("x-amz-checksum-algorithm", "SHA256".to_owned()),
            ("x-amz-checksum-aggregation-method", "LINEAR".to_owned()),
        ];
        self.send(&request).await.map(drop)
    }

    /// All blocks of a snapshot that were ever written, in order.
    ///
    /// # Errors
    /// There is no such snapshot, it is not completed, or the principal may not.
    pub async fn blocks(&self, snapshot: &str) -> Result<Vec<Block>, AwsError> {
        let mut all = Vec::new();
        let mut from: Option<String> = None;
        loop {
            let mut path = format!("/snapshots/{snapshot}/blocks?maxResults=10000");
            if let Some(token) = &from {
                path += "&pageToken=";
                path.extend(percent_encoding::utf8_percent_encode(
                    token,
                    percent_encoding::NON_ALPHANUMERIC,
                ));
            }
            let request = get("ListSnapshotBlocks", path);
            let page: Listed = self.read(&request).await?;
            if let Some(size) = page.block_size.filter(|size| *size != BLOCK as u64) {
                let problem = format!("blocks of {size} bytes");
                return Err(self.not_understood(&request, &problem));
            }
            all.extend(page.blocks);
            match page.next_token.filter(|token| !token.is_empty()) {
                Some(token) => from = Some(token),
                None => return Ok(all),
            }
        }
    }

    /// What is in a block; compared with the digest that comes with it.
    ///
    /// # Errors
    /// There is no such block, its bytes are not what AWS says they are, or the principal may not.
    pub async fn block(&self, snapshot: &str, block: &Block) -> Result<Bytes, AwsError> {
        let token =
            percent_encoding::utf8_percent_encode(&block.token, percent_encoding::NON_ALPHANUMERIC);
        let index = block.index;
        let path = format!("/snapshots/{snapshot}/blocks/{index}?blockToken={token}");
        let request = get("GetSnapshotBlock", path);
        let Answer { headers, body } = self.send(&request).await?;
        let said = headers
            .get("x-amz-checksum")
            .and_then(|it| it.to_str().ok());
        if said != Some(&BASE64.encode(Digest::of(&body).bytes())) {
            let problem = format!("block {index} is not what its checksum says");
            return Err(self.not_understood(&request, &problem));
        }
        Ok(body)
    }

    /// All blocks of a snapshot in order, with what is in them.
    ///
    /// # Errors
    /// Those of [`Self::blocks`]; in the stream, those of [`Self::block`].
    pub async fn contents<'a>(
        &'a self,
        snapshot: &'a str,
    ) -> Result<impl Stream<Item = Result<(u64, Bytes), AwsError>> + 'a, AwsError> {
        let blocks = self.blocks(snapshot).await?;
        let get = async move |block: Block| {
            let data = self.block(snapshot, &block).await?;
            Ok((block.index, data))
        };
        Ok(stream::iter(blocks).map(get).buffered(IN_FLIGHT))
    }

    async fn read<T: DeserializeOwned>(&self, request: &Request) -> Result<T, AwsError> {
        let answer = self.send(request).await?;
        serde_json::from_slice(&answer.body).map_err(|error| self.not_understood(request, &error))
    }
}

fn rest(action: &'static str, method: Method, path: String, body: &impl Serialize) -> Request {
    let body = serde_json::to_vec(body).expect("a value made by `json!` has text keys");
    Request {
        service: Service::Ebs,
        action,
        method,
        path,
        headers: vec![("content-type", "application/json".to_owned())],
        body: body.into(),
        sign_body: true,
        again: Again::Passing,
    }
}

fn get(action: &'static str, path: String) -> Request {
    Request {
        body: Bytes::new(),
        headers: Vec::new(),
        ..rest(action, Method::GET, path, &())
    }
}
