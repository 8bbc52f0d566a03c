//! How an image is put together again: `images/<image>/<digest of recipe>.json`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Store, StoreError, entries, intact};
use crate::digest::Digest;
use crate::record::canonical;
use crate::record::manifest::{ManifestError, Unrepresentable};

/// Name and version of the form of recipes.
const SCHEMA: &str = "karat.chunks/1";
/// No chunk is longer: far more than is ever cut, and little enough for memory.
const LONGEST: u64 = 16 << 20;

/// The parts of an image, in order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recipe {
    schema: String,
    /// The image.
    pub(super) image: Digest,
    /// Its bytes.
    pub(super) size: u64,
    /// Its parts.
    pub(super) chunks: Vec<Chunk>,
}

/// A part of an image. Written as `[digest, length, kind]`: there are thousands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "(String, u64, u8)", into = "(String, u64, u8)")]
pub(super) struct Chunk {
    /// Bytes of the image.
    pub(super) length: u64,
    /// Where they are.
    pub(super) kept: Kept,
}

/// How a part of an image is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kept {
    /// Nowhere: they are zeros.
    Zeros,
    /// As this blob.
    Plain(Digest),
    /// As this blob, which is compressed.
    Zstd(Digest),
}

/// Kinds as they are written.
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
const ZEROS: u8 = 2;

/// A part that is not known.
#[derive(Debug, Error)]
#[error("[{0:?}, {1}, {2}] is no chunk")]
pub(super) struct NoChunk(String, u64, u8);

impl TryFrom<(String, u64, u8)> for Chunk {
    type Error = NoChunk;

    fn try_from((digest, length, kind): (String, u64, u8)) -> Result<Self, NoChunk> {
        let kept = match (kind, digest.parse()) {
            (ZEROS, _) if digest.is_empty() && length > 0 => Some(Kept::Zeros),
            (PLAIN, Ok(digest)) if (1..=LONGEST).contains(&length) => Some(Kept::Plain(digest)),
            (ZSTD, Ok(digest)) if (1..=LONGEST).contains(&length) => Some(Kept::Zstd(digest)),
            _ => None,
        };
        let kept = kept.ok_or(NoChunk(digest, length, kind))?;
        Ok(Self { length, kept })
    }
}

impl From<Chunk> for (String, u64, u8) {
    fn from(chunk: Chunk) -> Self {
        let (digest, kind) = match chunk.kept {
            Kept::Zeros => (String::new(), ZEROS),
            Kept::Plain(digest) => (digest.hex(), PLAIN),
            Kept::Zstd(digest) => (digest.hex(), ZSTD),
        };
        (digest, chunk.length, kind)
    }
}

impl Chunk {
    /// The blob that it needs.
    pub(super) fn blob(&self) -> Option<Digest> {
        match self.kept {
            Kept::Zeros => None,
            Kept::Plain(digest) | Kept::Zstd(digest) => Some(digest),
        }
    }
}

impl Recipe {
    /// The recipe of an image that has been cut.
    pub(super) fn new(image: Digest, size: u64, chunks: Vec<Chunk>) -> Self {
        let schema = SCHEMA.to_owned();
        Self {
            schema,
            image,
            size,
            chunks,
        }
    }

    /// Its bytes, and the file that they belong into.
    pub(super) fn to_file(&self, store: &Store) -> Result<(PathBuf, Vec<u8>), Unrepresentable> {
        let bytes = canonical::to_bytes(self)?;
        let name = format!("{}.json", Digest::of(&bytes).hex());
        Ok((store.recipes_of(&self.image).join(name), bytes))
    }

    /// Whether all of it fits together, for this image.
    fn is_of(&self, image: &Digest) -> bool {
        let lengths = self.chunks.iter().map(|chunk| chunk.length);
        let size = lengths.fold(0, u64::saturating_add);
        self.schema == SCHEMA && self.image == *image && self.size == size
    }
}

impl Store {
    /// Where recipes are, in a directory for each image.
    pub(super) fn images_directory(&self) -> PathBuf {
        self.root().join("images")
    }

    pub(super) fn recipes_of(&self, image: &Digest) -> PathBuf {
        self.images_directory().join(image.hex())
    }

    /// Every recipe of an image that has its name, in the order of their names; what is wrong with the others.
    pub(super) fn recipes(
        &self,
        image: &Digest,
    ) -> Result<Vec<Result<Recipe, StoreError>>, StoreError> {
        let mut paths = entries(&self.recipes_of(image))?;
        paths.retain(|path| super::name_of::<Digest>(path, "json").is_some());
        paths.sort();
        let read = |path: PathBuf| {
            let bytes = intact(&path)?;
            match serde_json::from_slice::<Recipe>(&bytes) {
                Ok(recipe) if recipe.is_of(image) => Ok(recipe),
                // A sound recipe of another image, moved here, would pass that one off as this one.
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
    fn a_recipe_is_compact_and_read_back() {
        let digest = Digest::of(b"x");
        let chunk = |length, kept| Chunk { length, kept };
        let chunks = vec![
            chunk(65_536, Kept::Zstd(digest)),
            chunk(7, Kept::Plain(digest)),
            chunk(1 << 40, Kept::Zeros),
        ];
        let recipe = Recipe::new(digest, (1 << 40) + 65_543, chunks);
        let bytes = canonical::to_bytes(&recipe).unwrap();
        let hex = digest.hex();
        assert_eq!(
            String::from_utf8_lossy(&bytes),
            format!(
                r#"{{"chunks":[["{hex}",65536,1],["{hex}",7,0],["",1099511627776,2]],"image":"sha256:{hex}","schema":"karat.chunks/1","size":1099511693319}}"#
            )
        );
        let back: Recipe = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(back, recipe);
        assert!(back.is_of(&digest) && !back.is_of(&Digest::of(b"y")));
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
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
