//! EBS direct APIs: reading and writing blocks of snapshots without an instance.

use data_encoding::BASE64;
use futures_util::stream::{self, Stream, StreamExt as _};
use percent_encoding::{NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use serde_json::json;
use tokio_util::bytes::Bytes;

use super::ec2::Tags;
use super::endpoint::Service;
use super::query::all_pages;
use super::request::{Answer, Request};
use super::retry::Retry;
use super::{AwsError, Region};
use crate::digest::Digest;

/// Size of every block: the EBS direct APIs know no other.
pub const BLOCK_BYTES: usize = 512 << 10;

/// Number of blocks in transfer at a time: enough to fill a line of 10 Gbit/s over 25 ms, with 32 MiB of memory.
pub const MAX_IN_FLIGHT: usize = 64;

/// Minutes without a write after which AWS discards an unfinished snapshot. The default, an hour, is how long an interrupted
/// run can be resumed.
const IDLE_TIMEOUT_MINUTES: u32 = 60;

/// Snapshot to write block by block.
#[derive(Clone, Debug)]
pub struct NewSnapshot<'a> {
    /// Size of the volume, in GiB.
    pub size: u64,
    /// Snapshot whose blocks it inherits.
    pub parent: Option<&'a str>,
    pub description: &'a str,
    pub tags: &'a Tags,
    /// Encryption at rest. A snapshot with a parent is encrypted as its parent.
    pub encryption: Encryption<'a>,
    /// Client token: AWS begins one snapshot for each.
    pub token: &'a str,
}

/// Encryption of a snapshot at rest.
#[derive(Clone, Copy, Debug)]
pub enum Encryption<'a> {
    Off,
    /// With the account's own key.
    AccountKey,
    /// With a KMS key, by ARN.
    Key(&'a str),
}

/// Block of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Block {
    /// Number, counted from 0.
    #[serde(rename = "BlockIndex")]
    pub index: u64,
    /// Token that a request for its data needs.
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
struct BlockPage {
    #[serde(default)]
    blocks: Vec<Block>,
    next_token: Option<String>,
    block_size: Option<u64>,
}

/// Begins a snapshot and returns its id.
pub async fn start_snapshot(region: &Region, new: &NewSnapshot<'_>) -> Result<String, AwsError> {
    let tag = |(key, value): (&String, &String)| json!({"Key": key, "Value": value});
    let mut body = json!({
        "VolumeSize": new.size,
        "Description": new.description,
        "Tags": new.tags.iter().map(tag).collect::<Vec<_>>(),
        "ClientToken": new.token,
        "Timeout": IDLE_TIMEOUT_MINUTES,
    });
    match (new.parent, new.encryption) {
        (Some(parent), _) => body["ParentSnapshotId"] = parent.into(),
        (None, Encryption::Off) => {}
        (None, Encryption::AccountKey) => body["Encrypted"] = true.into(),
        (None, Encryption::Key(key)) => {
            body["Encrypted"] = true.into();
            body["KmsKeyArn"] = key.into();
        }
    }
    let request = Request {
        headers: vec![("content-type", "application/json".to_owned())],
        body: body.to_string().into(),
        ..request("StartSnapshot", Method::POST, "/snapshots".to_owned())
    };
    let started: Started = region.send_json(&request).await?;
    Ok(started.snapshot_id)
}

/// Writes a block. Writing the same block again changes nothing.
pub async fn put_block(
    region: &Region,
    snapshot: &str,
    index: u64,
    data: Bytes,
    digest: &Digest,
) -> Result<(), AwsError> {
    let path = format!("/snapshots/{snapshot}/blocks/{index}");
    let request = Request {
        headers: vec![
            ("content-type", "application/octet-stream".to_owned()),
            ("x-amz-data-length", data.len().to_string()),
            ("x-amz-checksum", BASE64.encode(digest.bytes())),
            ("x-amz-checksum-algorithm", "SHA256".to_owned()),
        ],
        body: data,
        // As the SDKs do for this call alone: the digest above is signed, and it is the body's.
        sign_body: false,
        ..request("PutSnapshotBlock", Method::PUT, path)
    };
    region.send(&request).await.map(drop)
}

/// Completes a snapshot. `aggregate` is the digest of the digests of all written blocks, ordered by block number.
pub async fn complete_snapshot(
    region: &Region,
    snapshot: &str,
    blocks: u64,
    aggregate: &Digest,
) -> Result<(), AwsError> {
    let path = format!("/snapshots/completion/{snapshot}");
    let request = Request {
        headers: vec![
            ("x-amz-changedblockscount", blocks.to_string()),
            ("x-amz-checksum", BASE64.encode(aggregate.bytes())),
            ("x-amz-checksum-algorithm", "SHA256".to_owned()),
            ("x-amz-checksum-aggregation-method", "LINEAR".to_owned()),
        ],
        ..request("CompleteSnapshot", Method::POST, path)
    };
    region.send(&request).await.map(drop)
}

/// Lists the blocks of a completed snapshot that were ever written, in order.
pub async fn list_blocks(region: &Region, snapshot: &str) -> Result<Vec<Block>, AwsError> {
    let page = |token: Option<String>| async move {
        let mut path = format!("/snapshots/{snapshot}/blocks?maxResults=10000");
        if let Some(token) = token {
            path += "&pageToken=";
            path.extend(encoded(&token));
        }
        let request = request("ListSnapshotBlocks", Method::GET, path);
        let page: BlockPage = region.send_json(&request).await?;
        if let Some(size) = page.block_size.filter(|size| *size != BLOCK_BYTES as u64) {
            let problem = format!("blocks of {size} bytes");
            return Err(region.not_understood(&request, &problem));
        }
        Ok((page.blocks, page.next_token))
    };
    all_pages(page).await
}

/// Reads a block and verifies it against the digest in the response.
pub async fn get_block(region: &Region, snapshot: &str, block: &Block) -> Result<Bytes, AwsError> {
    let (index, token) = (block.index, encoded(&block.token));
    let path = format!("/snapshots/{snapshot}/blocks/{index}?blockToken={token}");
    let request = request("GetSnapshotBlock", Method::GET, path);
    let Answer { headers, body } = region.send(&request).await?;
    let digest = BASE64.encode(Digest::of(&body).bytes());
    if headers.get("x-amz-checksum").map(HeaderValue::as_bytes) != Some(digest.as_bytes()) {
        let problem = format!("block {index} does not match its checksum");
        return Err(region.not_understood(&request, &problem));
    }
    Ok(body)
}

/// Streams the blocks of a completed snapshot in order, with their data.
pub async fn read_blocks(
    region: &Region,
    snapshot: &str,
) -> Result<impl Stream<Item = Result<(u64, Bytes), AwsError>>, AwsError> {
    let blocks = list_blocks(region, snapshot).await?;
    let get = move |block: Block| async move {
        let data = get_block(region, snapshot, &block).await?;
        Ok((block.index, data))
    };
    Ok(stream::iter(blocks).map(get).buffered(MAX_IN_FLIGHT))
}

fn encoded(token: &str) -> PercentEncode<'_> {
    utf8_percent_encode(token, NON_ALPHANUMERIC)
}

fn request(action: &'static str, method: Method, path: String) -> Request {
    Request {
        service: Service::Ebs,
        action,
        method,
        path,
        headers: Vec::new(),
        body: Bytes::new(),
        sign_body: true,
        retry: Retry::Transient,
    }
}
