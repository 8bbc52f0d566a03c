//! Upload of a disk as a snapshot, through the EBS direct APIs.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_util::bytes::Bytes;

use super::PublishError;
use super::blocks::changed;
use super::progress::Progress;
use crate::digest::Digest;
use crate::disk::read::BlockRead;
use crate::ec2::client::ebs::{self, Encryption, MAX_IN_FLIGHT, NewSnapshot};
use crate::ec2::client::ec2::snapshots;
use crate::ec2::client::{AwsError, Region, eventually};
use crate::os::hash_stream;
use crate::ui::Bar;

/// Longest wait for a snapshot whose completion was requested before: one written through the EBS direct APIs takes a minute.
const COMPLETION_TIMEOUT: Duration = Duration::from_mins(5);
/// Error code for a snapshot that cannot be completed: it already is, or blocks are missing.
const NOT_COMPLETABLE: &str = "ValidationException";

/// Number of blocks read ahead.
const READ_AHEAD: usize = 16;

/// Uploaded disk that a new snapshot inherits blocks from.
pub(super) struct Parent {
    pub(super) snapshot: String,
    pub(super) disk: Arc<dyn BlockRead>,
}

/// Block of the disk to upload.
struct Block {
    index: u64,
    data: Bytes,
    digest: Digest,
}

/// Number and digest of the written blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) blocks: u64,
    aggregate: Digest,
}

/// Begins the snapshot, unless the upload has one already.
pub(super) async fn begin(
    region: &Region,
    progress: &mut Progress,
    description: &str,
    key: Option<&str>,
) -> Result<String, PublishError> {
    if let Some(snapshot) = &progress.snapshot {
        return Ok(snapshot.clone());
    }
    let beginning = &progress.beginning;
    let new = NewSnapshot {
        size: beginning.size,
        parent: beginning.parent.as_deref(),
        description,
        tags: &beginning.tags,
        encryption: match key {
            _ if !beginning.encrypted => Encryption::Off,
            Some(key) => Encryption::Key(key),
            None => Encryption::AccountKey,
        },
        token: &beginning.token,
    };
    let snapshot = ebs::start_snapshot(region, &new).await?;
    progress.set_snapshot(snapshot.clone())?;
    Ok(snapshot)
}

/// Writes all blocks that differ from the parent and that AWS does not have yet.
pub(super) async fn write(
    region: &Region,
    snapshot: &str,
    disk: Arc<dyn BlockRead>,
    parent: Option<Arc<dyn BlockRead>>,
    progress: &Progress,
    bar: &Bar,
) -> Result<Written, PublishError> {
    let (blocks, mut ready) = mpsc::channel(READ_AHEAD);
    let read = hash_stream::blocking(move |stop| {
        let mut aggregate = Sha256::new();
        let mut count = 0;
        changed(&*disk, parent.as_deref(), |index, data| {
            let digest = Digest::of(&data);
            aggregate.update(digest.bytes());
            count += 1;
            let data = data.into();
            let block = Block {
                index,
                data,
                digest,
            };
            // Fails if the receiver is gone, which then reports its own error.
            let sent = blocks.blocking_send(block).is_ok() && stop.check().is_ok();
            if sent { Ok(()) } else { Err(ReadEnd::Unwanted) }
        })
        .map(|()| Written {
            blocks: count,
            aggregate: Digest::from_hasher(aggregate),
        })
    });
    let ready = stream::poll_fn(move |context| ready.poll_recv(context));
    let put = ready.map(Ok::<_, PublishError>).try_for_each_concurrent(
        MAX_IN_FLIGHT,
        async |block: Block| {
            let length = block.data.len() as u64;
            if !progress.has(block.index) {
                let Block { index, digest, .. } = block;
                let put = async || {
                    let data = block.data.clone();
                    ebs::put_block(region, snapshot, index, data, &digest).await
                };
                eventually(put).await?;
                progress.add_block(block.index)?;
            }
            bar.advance(length);
            Ok(())
        },
    );
    let read = async {
        match read.await {
            Ok(written) => Ok(written),
            Err(ReadEnd::Read(error)) => Err(PublishError::from(error)),
            // The upload has failed, and reports its own error.
            Err(ReadEnd::Unwanted) => std::future::pending().await,
        }
    };
    let (written, ()) = tokio::try_join!(read, put)?;
    Ok(written)
}

/// Early end of reading.
enum ReadEnd {
    Read(crate::disk::read::ReadError),
    Unwanted,
}

impl From<crate::disk::read::ReadError> for ReadEnd {
    fn from(error: crate::disk::read::ReadError) -> Self {
        Self::Read(error)
    }
}

/// Completes the snapshot, which AWS does only if it has all blocks that were sent.
pub(super) async fn complete(
    region: &Region,
    snapshot: &str,
    written: Written,
) -> Result<(), AwsError> {
    let Written { blocks, aggregate } = written;
    let complete = async || ebs::complete_snapshot(region, snapshot, blocks, &aggregate).await;
    match eventually(complete).await {
        // AWS accepts it only once: the first response was lost, or went to a karat that was killed.
        Err(error) if error.error_code() == Some(NOT_COMPLETABLE) => {
            match snapshots::wait_completed_within(region, snapshot, COMPLETION_TIMEOUT).await {
                Err(AwsError::Slow { .. }) => Err(error),
                ended => ended.map(drop),
            }
        }
        Err(error) => Err(error),
        Ok(()) => snapshots::wait_completed(region, snapshot).await.map(drop),
    }
}
