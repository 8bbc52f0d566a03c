//! Compressed clusters.

use std::io;
use std::sync::{Mutex, PoisonError};

use flate2::{Decompress, FlushDecompress};
use zstd::zstd_safe::{self, DCtx};

use super::header::Compression;

/// Pools of decompressors that threads share.
#[derive(Default)]
pub(super) struct Inflate {
    zstd: Mutex<Vec<DCtx<'static>>>,
    deflate: Mutex<Vec<Decompress>>,
}

impl Inflate {
    /// Fills `cluster` from the start of `compressed`; bytes after the compressed data are ignored.
    pub fn run(
        &self,
        compression: Compression,
        compressed: &[u8],
        cluster: &mut [u8],
    ) -> io::Result<()> {
        match compression {
            Compression::Deflate => self.deflate(compressed, cluster),
            Compression::Zstd => self.zstd(compressed, cluster),
        }
    }

    fn deflate(&self, compressed: &[u8], cluster: &mut [u8]) -> io::Result<()> {
        let pool = || self.deflate.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = pool().pop();
        let mut state = kept.unwrap_or_else(|| Decompress::new(false));
        state.reset(false);
        let result = state.decompress(compressed, cluster, FlushDecompress::Finish);
        let length = state.total_out();
        pool().push(state);
        result.map_err(io::Error::other)?;
        full(length, cluster)
    }

    fn zstd(&self, compressed: &[u8], cluster: &mut [u8]) -> io::Result<()> {
        let frame = zstd_safe::find_frame_compressed_size(compressed).map_err(zstd_error)?;
        let frame = compressed.get(..frame).unwrap_or_default();
        let pool = || self.zstd.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = pool().pop();
        let mut state = kept.unwrap_or_default();
        // In one call: the window of the frame, which could claim gigabytes, is then never allocated.
        let result = state.decompress(cluster, frame);
        pool().push(state);
        let length = result.map_err(zstd_error)?;
        full(length as u64, cluster)
    }
}

fn zstd_error(code: usize) -> io::Error {
    io::Error::other(zstd_safe::get_error_name(code))
}

fn full(length: u64, cluster: &[u8]) -> io::Result<()> {
    if length == cluster.len() as u64 {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "it has {length} bytes instead of {}",
        cluster.len()
    )))
}
