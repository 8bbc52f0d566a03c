//! A disk → a snapshot, through the EBS direct APIs.

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
use crate::ec2::client::ebs::{IN_FLIGHT, NewSnapshot};
use crate::ec2::client::{AwsError, Region, eventually};
use crate::os::hash_stream;
use crate::ui::Bar;

/// A snapshot that was ended already is completed within this time: those that are written through the EBS direct APIs need a minute.
const SEALED: Duration = Duration::from_mins(5);
/// What AWS says of a snapshot that cannot be ended: because it was, or because blocks are missing.
const REFUSED: &str = "ValidationException";

/// Blocks that are read before they are wanted.
const READY: usize = 16;

/// A disk that is there already, with its snapshot.
pub(super) struct Parent {
    pub(super) snapshot: String,
    pub(super) disk: Arc<dyn BlockRead>,
}

/// A block to write.
struct Block {
    index: u64,
    data: Bytes,
    digest: Digest,
}

/// What was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) blocks: u64,
    aggregate: Digest,
}

/// Begins the snapshot, unless it has begun.
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
        encrypted: beginning.encrypted.then_some(key),
        token: &beginning.token,
    };
    let snapshot = region.start_snapshot(&new).await?;
    progress.begun(snapshot.clone())?;
    Ok(snapshot)
}

/// Writes all blocks that differ and that AWS does not have yet.
pub(super) async fn write(
    region: &Region,
    snapshot: &str,
    disk: Arc<dyn BlockRead>,
    parent: Option<Arc<dyn BlockRead>>,
    progress: &Progress,
    bar: &Bar,
) -> Result<Written, PublishError> {
    let (blocks, mut ready) = mpsc::channel(READY);
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
            // It fails when nobody waits for it any more; what is returned then is looked at by nobody.
            let sent = blocks.blocking_send(block).is_ok() && stop.check().is_ok();
            if sent { Ok(()) } else { Err(Ended::Unwanted) }
        })
        .map(|()| Written {
            blocks: count,
            aggregate: Digest::from_hasher(aggregate),
        })
    });
    let ready = stream::poll_fn(move |context| ready.poll_recv(context));
    let put = ready.map(Ok::<_, PublishError>).try_for_each_concurrent(
        IN_FLIGHT,
        async |block: Block| {
            let length = block.data.len() as u64;
            if !progress.has(block.index) {
                let Block { index, digest, .. } = block;
                let put = async || {
                    let data = block.data.clone();
                    region.put_block(snapshot, index, data, &digest).await
                };
                eventually(put).await?;
                progress.put(block.index)?;
            }
            bar.advance(length);
            Ok(())
        },
    );
    let read = async {
        match read.await {
            Ok(written) => Ok(written),
            Err(Ended::Read(error)) => Err(PublishError::from(error)),
            // The other one has failed, and says why.
            Err(Ended::Unwanted) => std::future::pending().await,
        }
    };
    let (written, ()) = tokio::try_join!(read, put)?;
    Ok(written)
}

/// Why reading ended early.
enum Ended {
    Read(crate::disk::read::ReadError),
    Unwanted,
}

impl From<crate::disk::read::ReadError> for Ended {
    fn from(error: crate::disk::read::ReadError) -> Self {
        Self::Read(error)
    }
}

/// Ends the snapshot, which AWS takes only when it has what was sent.
pub(super) async fn complete(
    region: &Region,
    snapshot: &str,
    written: Written,
) -> Result<(), AwsError> {
    let Written { blocks, aggregate } = written;
    let ended =
        eventually(async || region.complete_snapshot(snapshot, blocks, &aggregate).await).await;
    match ended {
        // It is taken once only: the answer to the first one was lost, or went to a karat that was killed.
        Err(error) if error.error_code() == Some(REFUSED) => {
            match region.snapshot_completed_within(snapshot, SEALED).await {
                Err(AwsError::Slow { .. }) => Err(error),
                ended => ended.map(drop),
            }
        }
        Err(error) => Err(error),
        Ok(()) => region.snapshot_completed(snapshot).await.map(drop),
    }
}
