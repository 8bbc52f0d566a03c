//! A snapshot → a local file, through the EBS direct APIs.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::Ec2Error;
use crate::ec2::client::Region;
use crate::ec2::client::ebs::{BLOCK, Block, IN_FLIGHT};
use crate::ui::Ui;

/// Reads a snapshot of a disk of `size` bytes into the new file `to`, which has holes where nothing was ever written, or zeros
/// were.
///
/// # Errors
/// The snapshot cannot be read, or the file not be written.
pub async fn read(
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
    let blocks = region.blocks(snapshot).await?;
    let file = OpenOptions::new().write(true).create_new(true).open(to);
    let file = file.and_then(|file| file.set_len(size).map(|()| file));
    let file = Arc::new(file.map_err(failed)?);
    let bar = ui.bar(
        &format!("reading {snapshot}"),
        Some(blocks.len() as u64 * BLOCK as u64),
    );
    let get = async |block: Block| {
        let data = region.block(snapshot, &block).await?;
        let file = Arc::clone(&file);
        let offset = block.index * BLOCK as u64;
        // The last block may reach over the end.
        let length = usize::try_from(size.saturating_sub(offset)).map_or(BLOCK, |it| it.min(BLOCK));
        let written = tokio::task::spawn_blocking(move || {
            write(&file, offset, &data[..length.min(data.len())])
        });
        let written = written.await.map_err(io::Error::other);
        written.and_then(|done| done).map_err(failed)?;
        bar.advance(BLOCK as u64);
        Ok::<_, Ec2Error>(())
    };
    stream::iter(blocks)
        .map(get)
        .buffer_unordered(IN_FLIGHT)
        .try_collect()
        .await
}

fn write(file: &File, offset: u64, data: &[u8]) -> io::Result<()> {
    if data.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    file.write_all_at(data, offset)
}
