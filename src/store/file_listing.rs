//! Lists of the files of images.

use std::io;

use super::{Store, StoreError, intact};
use crate::disk::tree::Listing;
use crate::record::manifest::Manifest;

impl Store {
    /// The list of an image's files; `None` when the image has none, or the store has it no more.
    ///
    /// # Errors
    /// It cannot be read, or is not the one that the manifest names.
    pub fn listing_of(&self, manifest: &Manifest) -> Result<Option<Listing>, StoreError> {
        let Some(tree) = manifest.outputs.tree else {
            return Ok(None);
        };
        let path = self.blob(&tree.listing);
        let packed = match intact(&path) {
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            packed => packed?,
        };
        let listing = Listing::from_packed(packed).map_err(StoreError::io("read", &path))?;
        let actual = listing.digest();
        if actual != tree.digest {
            return Err(StoreError::Tampered { path, actual });
        }
        Ok(Some(listing))
    }
}
