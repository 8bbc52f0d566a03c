//! Download of a snapshot into a file, through the EBS direct APIs.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::Ec2Error;
use crate::ec2::client::Region;
use crate::ec2::client::ebs::{self, BLOCK_BYTES, Block, MAX_IN_FLIGHT};
use crate::ui::Ui;

/// Reads a snapshot of a disk of `size` bytes into the new file `to`. Blocks that were never written, or hold zeros, become
/// holes.
pub async fn read_snapshot(
    region: &Region,
    snapshot: &str,
    size: u64,
    to: &Path,
    ui: &Ui,
) -> Result<(), Ec2Error> {
    let failed = |source| Ec2Error::Write {
        path: to.to_owned(),
        source,
    };
    let blocks = ebs::list_blocks(region, snapshot).await?;
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(to)
        .map_err(failed)?;
    file.set_len(size).map_err(failed)?;
    let file = Arc::new(file);
    let bar = ui.bar(
        &format!("reading {snapshot}"),
        Some(blocks.len() as u64 * BLOCK_BYTES as u64),
    );
    let get = async |block: Block| {
        let data = ebs::get_block(region, snapshot, &block).await?;
        let file = Arc::clone(&file);
        let offset = block.index * BLOCK_BYTES as u64;
        // The last block may extend beyond the end of the disk.
        let length = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let written = tokio::task::spawn_blocking(move || {
            write(&file, offset, &data[..length.min(data.len())])
        });
        let written = written.await.map_err(io::Error::other).flatten();
        written.map_err(failed)?;
        bar.advance(BLOCK_BYTES as u64);
        Ok::<_, Ec2Error>(())
    };
    stream::iter(blocks)
        .map(get)
        .buffer_unordered(MAX_IN_FLIGHT)
        .try_collect()
        .await
}

fn write(file: &File, offset: u64, data: &[u8]) -> io::Result<()> {
    if data.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    file.write_all_at(data, offset)
}
