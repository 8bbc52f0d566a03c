//! Digest of a snapshot, read back from AWS to compare it with the recorded one.

use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};

use super::PublishError;
use crate::digest::Digest;
use crate::disk::content::{CHUNK, ContentHasher};
use crate::ec2::client::Region;
use crate::ec2::client::ebs::{self, BLOCK_BYTES};

/// Returns the digest of the disk in a snapshot. The disk has `size` bytes; data behind its end is an error.
pub async fn digest(region: &Region, snapshot: &str, size: u64) -> Result<Digest, PublishError> {
    let mut content = ContentHasher::new(size);
    let mut open: Option<(u64, Vec<u8>)> = None;
    let mut blocks = ebs::read_blocks(region, snapshot).await?.boxed_local();
    while let Some(block) = blocks.next().await {
        let (index, data) = block?;
        let offset = index * BLOCK_BYTES as u64;
        let start = offset - offset % CHUNK as u64;
        let end = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
        if data.iter().skip(end).any(|byte| *byte != 0) {
            return Err(PublishError::Changed {
                image: snapshot.to_owned(),
                region: region.name().to_owned(),
                problem: format!("has data behind the end of the disk, at {offset}"),
            });
        }
        if start >= size {
            continue;
        }
        let (_, chunk) = match open.take() {
            Some(chunk) if chunk.0 == start => open.insert(chunk),
            finished => {
                close(&mut content, finished);
                let length = usize::try_from(size - start).map_or(CHUNK, |left| left.min(CHUNK));
                open.insert((start, vec![0; length]))
            }
        };
        // Fits: it is less than a MiB.
        let at = usize::try_from(offset - start).unwrap_or_default();
        let length = data.len().min(chunk.len().saturating_sub(at));
        if length > 0 {
            chunk[at..at + length].copy_from_slice(&data[..length]);
        }
    }
    close(&mut content, open);
    Ok(content.finish())
}

fn close(content: &mut ContentHasher, chunk: Option<(u64, Vec<u8>)>) {
    if let Some((start, bytes)) = chunk {
        content.add(start, Sha256::digest(&bytes).into());
    }
}
