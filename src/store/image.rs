//! An image in the store: chunks with an index, or one blob, as older versions stored it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::chunk_index::{Chunk, Encoding};
use super::chunk_reader::Segment;
use super::layout::entries;
use super::{Store, StoreError};
use crate::digest::Digest;
use crate::os::if_exists;

/// Bytes of a whole blob that are read at once.
const READ_BYTES: usize = 1 << 18;

/// An image of the store, ready to be read.
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
    /// Finds an image. Of several chunk indexes it uses one whose chunks all exist. The error of an incomplete image names its
    /// first missing or damaged file.
    ///
    /// # Errors
    /// The image is not in the store, or a file of it is missing or damaged.
    pub fn image(&self, digest: &Digest) -> Result<Image, StoreError> {
        let mut problem = StoreError::NoImage(*digest);
        let image = |size, form| Image {
            store: self.clone(),
            digest: *digest,
            size,
            form,
        };
        for index in self.chunk_indexes(digest)?.into_iter().rev() {
            let complete = index.and_then(|index| {
                self.check_chunks_exist(digest, &index.chunks)?;
                Ok(index)
            });
            match complete {
                Ok(index) => return Ok(image(index.size, Form::Chunks(index.chunks))),
                Err(error) => problem = error,
            }
        }
        let path = self.blob(digest);
        match if_exists(fs::metadata(&path)).map_err(StoreError::io("read", &path))? {
            Some(metadata) => Ok(image(metadata.len(), Form::Whole(path))),
            None => Err(problem),
        }
    }

    /// Returns the blobs of an image: the chunks of all its indexes, and the image itself if it is one blob.
    ///
    /// # Errors
    /// The image is not in the store, or an index of it is damaged.
    pub fn chunks_of(&self, image: &Digest) -> Result<BTreeSet<Digest>, StoreError> {
        let indexes = self.chunk_indexes(image)?;
        let is_blob = self.blob(image).exists();
        if indexes.is_empty() && !is_blob {
            return Err(StoreError::NoImage(*image));
        }
        let mut blobs: BTreeSet<_> = is_blob.then_some(*image).into_iter().collect();
        for index in indexes {
            blobs.extend(index?.chunks.iter().filter_map(Chunk::blob));
        }
        Ok(blobs)
    }

    /// Like [`Self::chunks_of`]; empty if the image is not in the store.
    pub(super) fn image_blobs(&self, image: &Digest) -> Result<BTreeSet<Digest>, StoreError> {
        match self.chunks_of(image) {
            Err(StoreError::NoImage(_)) => Ok(BTreeSet::new()),
            blobs => blobs,
        }
    }

    /// Returns whether the store has an image, complete or not.
    pub(crate) fn has_image(&self, image: &Digest) -> Result<bool, StoreError> {
        Ok(self.blob(image).exists() || !entries(&self.recipes_of(image))?.is_empty())
    }

    /// Removes the chunk indexes of an image.
    pub(super) fn remove_chunk_indexes(&self, image: &Digest) -> Result<(), StoreError> {
        let directory = self.recipes_of(image);
        for path in entries(&directory)? {
            fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
        }
        if_exists(fs::remove_dir(&directory)).map_err(StoreError::io("remove", &directory))?;
        Ok(())
    }

    fn check_chunks_exist(&self, image: &Digest, chunks: &[Chunk]) -> Result<(), StoreError> {
        let blobs = chunks.iter().filter_map(Chunk::blob);
        let mut paths = blobs.map(|digest| self.blob(&digest));
        let image = *image;
        match paths.find(|path| !path.exists()) {
            Some(path) => Err(StoreError::MissingChunk { image, path }),
            None => Ok(()),
        }
    }
}

impl Image {
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the file of an image that is a single blob.
    pub fn path(&self) -> Option<&Path> {
        match &self.form {
            Form::Whole(path) => Some(path),
            Form::Chunks(_) => None,
        }
    }

    /// Returns the segments of the image, in order.
    pub(super) fn segments(&self) -> Vec<Segment> {
        match &self.form {
            Form::Whole(_) => {
                let starts = (0..self.size).step_by(READ_BYTES);
                let segment =
                    |from| Segment::Range(from, (READ_BYTES as u64).min(self.size - from));
                starts.map(segment).collect()
            }
            Form::Chunks(chunks) => {
                let segment = |chunk: &Chunk| match chunk.encoding {
                    Encoding::Zeros => Segment::Zeros(chunk.length),
                    Encoding::Plain(_) | Encoding::Zstd(_) => Segment::Chunk(*chunk),
                };
                chunks.iter().map(segment).collect()
            }
        }
    }

    /// Returns the blobs that are read to assemble the image.
    pub(super) fn blobs(&self) -> BTreeSet<Digest> {
        match &self.form {
            Form::Whole(_) => BTreeSet::from([self.digest]),
            Form::Chunks(chunks) => chunks.iter().filter_map(Chunk::blob).collect(),
        }
    }

    /// Returns the path to name in errors: the blob, or the directory of chunk indexes.
    pub(super) fn location(&self) -> PathBuf {
        match &self.form {
            Form::Whole(path) => path.clone(),
            Form::Chunks(_) => self.store.recipes_of(&self.digest),
        }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }
}
