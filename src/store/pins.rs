//! Pins: images that are kept whatever happens to channels.

use std::fs;

use serde::{Deserialize, Serialize};

use super::sidecar::add_beside;
use super::{Store, StoreError, Writing, entries};
use crate::digest::Digest;
use crate::os::atomic_file;
use crate::record::audit::{About, Event};
use crate::record::canonical;
use crate::record::manifest::ManifestId;
use crate::time::Timestamp;

/// Name and version of the form of pins.
const SCHEMA: &str = "karat.pin/1";

/// Why an image is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Always `karat.pin/1`.
    pub schema: String,
    /// The image.
    pub manifest: ManifestId,
    /// Who wants it.
    pub by: String,
    /// Since when.
    pub pinned: Timestamp,
    /// What for.
    pub reason: String,
}

impl Pin {
    /// A pin from now on.
    #[must_use]
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
    /// The pins of an image.
    ///
    /// # Errors
    /// One cannot be read, or was tampered with.
    pub fn pins_of(&self, id: ManifestId) -> Result<Vec<Pin>, StoreError> {
        let pins = Self::beside(&self.pins(), id, |it: &Pin| it.manifest)?;
        let mut pins: Vec<_> = pins.into_iter().map(|(pin, _)| pin).collect();
        pins.sort_by_key(|pin| pin.pinned);
        Ok(pins)
    }

    /// Images that have a pin.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn pinned(&self) -> Result<Vec<ManifestId>, StoreError> {
        let mut ids = Vec::new();
        for directory in entries(&self.pins())? {
            let name = directory.file_name().and_then(|name| name.to_str());
            let id: Option<ManifestId> = name.and_then(|name| name.parse().ok());
            if !entries(&directory)?.is_empty() {
                ids.extend(id);
            }
        }
        ids.sort();
        Ok(ids)
    }
}

impl Writing {
    /// Keeps an image.
    ///
    /// # Errors
    /// The store cannot be written.
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
        add_beside(&directory.join(format!("{}.json", digest.hex())), &bytes)
    }

    /// Takes the pins of an image away; says whether there were any.
    ///
    /// # Errors
    /// The store cannot be written.
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
        // Whether the empty directory goes too does not matter.
        let _ = fs::remove_dir(&directory);
        atomic_file::sync_directory(&pins).map_err(StoreError::io("write", &pins))?;
        Ok(true)
    }
}
