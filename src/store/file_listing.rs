//! Lists of the files of images.

use std::io;

use super::layout::read_verified;
use super::{Store, StoreError};
use crate::disk::tree::Listing;
use crate::record::manifest::Manifest;

impl Store {
    /// Returns the list of an image's files; `None` if the manifest names none, or the store does not have it.
    pub(crate) fn listing_of(&self, manifest: &Manifest) -> Result<Option<Listing>, StoreError> {
        let Some(tree) = manifest.outputs.tree else {
            return Ok(None);
        };
        let path = self.blob(&tree.listing);
        let packed = match read_verified(&path) {
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
