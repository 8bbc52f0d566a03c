//! An image as JSON.

use serde::Serialize;

use crate::digest::Digest;
use crate::record::manifest::{Manifest, ManifestId};

/// An image that a verb has built, imported or exported.
#[derive(Serialize)]
pub(in crate::cli) struct ImageLine<'a> {
    id: ManifestId,
    name: &'a str,
    /// The name again, as versions before 0.2 called it.
    image: &'a str,
    format: &'a str,
    size: u64,
    digest: Digest,
}

impl<'a> ImageLine<'a> {
    pub(in crate::cli) fn new(id: ManifestId, manifest: &'a Manifest) -> Self {
        let (name, image) = (&manifest.inputs.image.name, &manifest.outputs.image);
        Self {
            id,
            name,
            image: name,
            format: &image.format,
            size: image.size,
            digest: image.digest,
        }
    }
}
