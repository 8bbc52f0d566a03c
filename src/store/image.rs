//! An image in the store: one blob, as older versions stored it, or chunks with the recipe that puts them together.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::chunk_index::{Chunk, Kept};
use super::chunk_reader::Part;
use super::{Store, StoreError};
use crate::digest::Digest;

/// Bytes that are read of a whole blob at once.
const PIECE: u64 = 1 << 18;

/// An image that can be read.
#[derive(Clone, Debug)]
pub struct Image {
    store: Store,
    digest: Digest,
    size: u64,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    Whole(PathBuf),
    Chunks(Vec<Chunk>),
}

impl Store {
    /// Finds an image. Of several recipes it takes one whose chunks are all there.
    ///
    /// # Errors
    /// It is not in the store, or a part of it is missing or was changed: the first one that is, is named.
    pub fn image(&self, digest: &Digest) -> Result<Image, StoreError> {
        let mut problem = StoreError::NoImage(*digest);
        let image = |size, form| Image {
            store: self.clone(),
            digest: *digest,
            size,
            form,
        };
        for recipe in self.recipes(digest)?.into_iter().rev() {
            let found = recipe.and_then(|recipe| {
                self.present(digest, &recipe.chunks)?;
                Ok(recipe)
            });
            match found {
                Ok(recipe) => return Ok(image(recipe.size, Form::Chunks(recipe.chunks))),
                Err(error) => problem = error,
            }
        }
        let path = self.blob(digest);
        match fs::metadata(&path) {
            Ok(found) => Ok(image(found.len(), Form::Whole(path))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(problem),
            Err(error) => Err(StoreError::io("read", &path)(error)),
        }
    }

    /// The blobs that an image needs: its chunks by every recipe of it, or the image itself if that is one blob.
    ///
    /// # Errors
    /// The image is not in the store, or a recipe cannot be read or was changed.
    pub fn chunks_of(&self, image: &Digest) -> Result<Vec<Digest>, StoreError> {
        let mut needed = Vec::new();
        if self.blob(image).exists() {
            needed.push(*image);
        }
        for recipe in self.recipes(image)? {
            needed.extend(recipe?.chunks.iter().filter_map(Chunk::blob));
        }
        if needed.is_empty() && self.recipes(image)?.is_empty() {
            return Err(StoreError::NoImage(*image));
        }
        needed.sort_unstable();
        needed.dedup();
        Ok(needed)
    }

    fn present(&self, image: &Digest, chunks: &[Chunk]) -> Result<(), StoreError> {
        let blobs = chunks.iter().filter_map(Chunk::blob);
        let mut paths = blobs.map(|digest| self.blob(&digest));
        match paths.find(|path| !path.exists()) {
            Some(path) => Err(missing(*image, path)),
            None => Ok(()),
        }
    }
}

fn missing(image: Digest, path: PathBuf) -> StoreError {
    StoreError::MissingChunk { image, path }
}

impl Image {
    /// Its digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The file that it is, if it is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.form {
            Form::Whole(path) => Some(path),
            Form::Chunks(_) => None,
        }
    }

    /// What its bytes are, in order.
    pub(super) fn parts(&self) -> Vec<Part> {
        match &self.form {
            Form::Whole(_) => {
                let starts = (0..self.size).step_by(1 << 18);
                let part = |from| Part::Range(from, PIECE.min(self.size - from));
                starts.map(part).collect()
            }
            Form::Chunks(chunks) => {
                let part = |chunk: &Chunk| match chunk.kept {
                    Kept::Zeros => Part::Zeros(chunk.length),
                    Kept::Plain(_) | Kept::Zstd(_) => Part::Chunk(*chunk),
                };
                chunks.iter().map(part).collect()
            }
        }
    }

    /// The blobs that it is put together from, each once.
    pub(super) fn blobs(&self) -> BTreeSet<Digest> {
        match &self.form {
            Form::Whole(_) => BTreeSet::from([self.digest]),
            Form::Chunks(chunks) => chunks.iter().filter_map(Chunk::blob).collect(),
        }
    }

    /// Where it is: its file, or the directory of its recipes.
    pub(super) fn place(&self) -> PathBuf {
        match &self.form {
            Form::Whole(path) => path.clone(),
            Form::Chunks(_) => self.store.recipes_of(&self.digest),
        }
    }

    /// The store that it is in.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }
}
