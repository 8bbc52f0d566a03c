//! Pins: images that pruning keeps regardless of channels.

use std::fs;

use serde::{Deserialize, Serialize};

use super::layout::{entries, parse_name};
use super::sidecar::{add_sidecar, read_sidecars};
use super::{Store, StoreError, Writing};
use crate::digest::Digest;
use crate::os::atomic_file;
use crate::record::audit::{About, Event};
use crate::record::canonical;
use crate::record::manifest::ManifestId;
use crate::time::Timestamp;

const SCHEMA: &str = "karat.pin/1";

/// A request to keep an image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    pub schema: String,
    pub manifest: ManifestId,
    /// User who pinned the image.
    pub by: String,
    pub pinned: Timestamp,
    pub reason: String,
}

impl Pin {
    /// Returns a pin that is made now.
    pub fn new(manifest: ManifestId, by: String, reason: String) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            manifest,
            by,
            pinned: Timestamp::now(),
            reason,
        }
    }
}

impl Store {
    /// Returns the pins of an image, oldest first.
    pub(crate) fn pins_of(&self, id: ManifestId) -> Result<Vec<Pin>, StoreError> {
        let pins = read_sidecars(&self.pins(), id, |pin: &Pin| pin.manifest)?;
        let mut pins: Vec<_> = pins.into_iter().map(|(pin, _)| pin).collect();
        pins.sort_by_key(|pin| pin.pinned);
        Ok(pins)
    }

    /// Returns the images that are pinned.
    ///
    /// # Errors
    /// The directory of pins cannot be read.
    pub fn pinned(&self) -> Result<Vec<ManifestId>, StoreError> {
        let mut ids = Vec::new();
        for directory in entries(&self.pins())? {
            if !entries(&directory)?.is_empty() {
                ids.extend(parse_name::<ManifestId>(&directory));
            }
        }
        ids.sort();
        Ok(ids)
    }
}

impl Writing {
    pub fn pin(&self, pin: &Pin) -> Result<(), StoreError> {
        let bytes = canonical::to_bytes(pin)?;
        let digest = Digest::of(&bytes);
        let about = About {
            ids: vec![pin.manifest],
            digest: Some(digest),
            reason: Some(pin.reason.clone()),
            ..About::default()
        };
        self.log(Event::Pin, about)?;
        let directory = self.store().pins().join(pin.manifest.to_string());
        add_sidecar(&directory.join(format!("{}.json", digest.hex())), &bytes)
    }

    /// Removes all pins of an image. Returns whether it had any.
    pub fn unpin(&self, id: ManifestId) -> Result<bool, StoreError> {
        let pins = self.store().pins();
        let directory = pins.join(id.to_string());
        let paths = entries(&directory)?;
        if paths.is_empty() {
            return Ok(false);
        }
        let about = About {
            ids: vec![id],
            ..About::default()
        };
        self.log(Event::Unpin, about)?;
        for path in &paths {
            fs::remove_file(path).map_err(StoreError::io("remove", path))?;
        }
        // An empty directory does no harm.
        let _ = fs::remove_dir(&directory);
        atomic_file::sync_directory(&pins).map_err(StoreError::io("write", &pins))?;
        Ok(true)
    }
}
