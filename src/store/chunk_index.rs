//! Chunk indexes: `images/<image>/<digest of the index>.json` lists the chunks that an image is assembled from.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::layout::{entries, parse_stem, read_verified};
use super::{Store, StoreError};
use crate::digest::Digest;
use crate::record::canonical;
use crate::record::manifest::{ManifestError, Unrepresentable};

const SCHEMA: &str = "karat.chunks/1";
/// Maximum length of a chunk: far above what the chunker makes, and small enough for memory.
const MAX_CHUNK_BYTES: u64 = 16 << 20;

/// Chunks of an image, in order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChunkIndex {
    schema: String,
    pub(super) image: Digest,
    /// Size of the image in bytes.
    pub(super) size: u64,
    pub(super) chunks: Vec<Chunk>,
}

/// A chunk of an image. Serialized as `[digest, length, kind]` because an index has thousands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "(String, u64, u8)", into = "(String, u64, u8)")]
pub(super) struct Chunk {
    /// Number of bytes in the image.
    pub(super) length: u64,
    pub(super) encoding: Encoding,
}

/// Storage form of the bytes of a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Encoding {
    /// All zeros: needs no blob.
    Zeros,
    Plain(Digest),
    Zstd(Digest),
}

/// Kinds in the serialized form.
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
const ZEROS: u8 = 2;

#[derive(Debug, Error)]
#[error("[{0:?}, {1}, {2}] is not a chunk")]
pub(super) struct InvalidChunk(String, u64, u8);

impl TryFrom<(String, u64, u8)> for Chunk {
    type Error = InvalidChunk;

    fn try_from((digest, length, kind): (String, u64, u8)) -> Result<Self, InvalidChunk> {
        let is_valid = (1..=MAX_CHUNK_BYTES).contains(&length);
        let encoding = match (kind, digest.parse()) {
            (ZEROS, _) if digest.is_empty() && length > 0 => Encoding::Zeros,
            (PLAIN, Ok(digest)) if is_valid => Encoding::Plain(digest),
            (ZSTD, Ok(digest)) if is_valid => Encoding::Zstd(digest),
            _ => return Err(InvalidChunk(digest, length, kind)),
        };
        Ok(Self { length, encoding })
    }
}

impl From<Chunk> for (String, u64, u8) {
    fn from(chunk: Chunk) -> Self {
        let (digest, kind) = match chunk.encoding {
            Encoding::Zeros => (String::new(), ZEROS),
            Encoding::Plain(digest) => (digest.hex(), PLAIN),
            Encoding::Zstd(digest) => (digest.hex(), ZSTD),
        };
        (digest, chunk.length, kind)
    }
}

impl Chunk {
    /// Returns the blob that holds the chunk.
    pub(super) fn blob(&self) -> Option<Digest> {
        match self.encoding {
            Encoding::Zeros => None,
            Encoding::Plain(digest) | Encoding::Zstd(digest) => Some(digest),
        }
    }
}

impl ChunkIndex {
    pub(super) fn new(image: Digest, size: u64, chunks: Vec<Chunk>) -> Self {
        let schema = SCHEMA.to_owned();
        Self {
            schema,
            image,
            size,
            chunks,
        }
    }

    /// Returns the path and the content of the index file.
    pub(super) fn to_file(&self, store: &Store) -> Result<(PathBuf, Vec<u8>), Unrepresentable> {
        let bytes = canonical::to_bytes(self)?;
        let name = format!("{}.json", Digest::of(&bytes).hex());
        Ok((store.recipes_of(&self.image).join(name), bytes))
    }

    /// Returns whether the index is consistent and belongs to `image`.
    fn is_of(&self, image: &Digest) -> bool {
        let lengths = self.chunks.iter().map(|chunk| chunk.length);
        let size = lengths.fold(0, u64::saturating_add);
        self.schema == SCHEMA && self.image == *image && self.size == size
    }
}

impl Store {
    /// Reads the chunk indexes of an image, in order of their names. Each may fail on its own.
    pub(super) fn chunk_indexes(
        &self,
        image: &Digest,
    ) -> Result<Vec<Result<ChunkIndex, StoreError>>, StoreError> {
        let mut paths = entries(&self.recipes_of(image))?;
        paths.retain(|path| parse_stem::<Digest>(path, "json").is_some());
        paths.sort();
        let read = |path: PathBuf| {
            let bytes = read_verified(&path)?;
            match serde_json::from_slice::<ChunkIndex>(&bytes) {
                Ok(index) if index.is_of(image) => Ok(index),
                // A valid index that was moved here from another image would substitute that image for this one.
                Ok(_) => {
                    let actual = Digest::of(&bytes);
                    Err(StoreError::Tampered { path, actual })
                }
                Err(error) => {
                    let source = ManifestError::Form(error);
                    Err(StoreError::Unreadable { path, source })
                }
            }
        };
        Ok(paths.into_iter().map(read).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_index_is_compact_and_read_back() {
        let digest = Digest::of(b"x");
        let chunk = |length, encoding| Chunk { length, encoding };
        let chunks = vec![
            chunk(65_536, Encoding::Zstd(digest)),
            chunk(7, Encoding::Plain(digest)),
            chunk(1 << 40, Encoding::Zeros),
        ];
        let index = ChunkIndex::new(digest, (1 << 40) + 65_543, chunks);
        let bytes = canonical::to_bytes(&index).unwrap();
        let hex = digest.hex();
        assert_eq!(
            String::from_utf8_lossy(&bytes),
            format!(
                r#"{{"chunks":[["{hex}",65536,1],["{hex}",7,0],["",1099511627776,2]],"image":"sha256:{hex}","schema":"karat.chunks/1","size":1099511693319}}"#
            )
        );
        let back: ChunkIndex = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(back, index);
        assert!(back.is_of(&digest) && !back.is_of(&Digest::of(b"y")));
    }

    #[test]
    fn an_invalid_chunk_is_refused() {
        let hex = Digest::of(b"x").hex();
        for (text, good) in [
            (format!(r#"["{hex}", 1, 0]"#), true),
            (format!(r#"["{hex}", 0, 0]"#), false),
            (format!(r#"["{hex}", 1, 2]"#), false),
            (format!(r#"["{hex}", 1, 3]"#), false),
            (format!(r#"["{hex}", 16777217, 1]"#), false),
            (r#"["", 1, 0]"#.to_owned(), false),
            (r#"["", 0, 2]"#.to_owned(), false),
        ] {
            let chunk = serde_json::from_str::<Chunk>(&text);
            assert_eq!(chunk.is_ok(), good, "{text}");
        }
    }
}
