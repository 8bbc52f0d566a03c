//! Manifests, and resolving the names that users give them.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::build_info::{BuildInfo, BuildRun};
use super::layout::{entries, parse_stem, read_verified};
use super::transaction::READ_ONLY;
use super::{Store, StoreError, Transaction};
use crate::os::atomic_file;
use crate::record::audit::{AuditEvent, ChangeDetails};
use crate::record::manifest::{IdPrefix, Manifest, ManifestId};
use crate::template::problem::nearest;
use crate::time::Timestamp;

/// A manifest read from the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredManifest {
    pub id: ManifestId,
    pub manifest: Manifest,
    /// The bytes that the id is the digest of.
    pub bytes: Vec<u8>,
}

impl Store {
    /// Returns the ids of all manifests, sorted. A store that does not exist is empty.
    ///
    /// # Errors
    /// The directory of manifests cannot be read.
    pub fn ids(&self) -> Result<Vec<ManifestId>, StoreError> {
        let paths = entries(&self.manifests())?;
        // Another process may be writing under a temporary name, which is not an id.
        let mut ids: Vec<ManifestId> = paths
            .iter()
            .filter_map(|path| parse_stem(path, "json"))
            .collect();
        ids.sort();
        Ok(ids)
    }

    /// Resolves what names an image to the id of its manifest: digits of the id, a channel, or `NAME` or `NAME@latest` for
    /// the newest image of that name.
    ///
    /// # Errors
    /// `text` is malformed, matches no manifest or several, or names a channel that does not exist.
    pub fn resolve(&self, text: &str) -> Result<ManifestId, StoreError> {
        if text.contains('/') {
            let name = self.channel_name(text, None)?;
            let head = self.channel(&name)?.head().map(|head| head.manifest);
            return head.ok_or_else(|| self.no_channel(&name));
        }
        if let Ok(prefix) = text.parse::<IdPrefix>() {
            let mut matches = self.ids()?;
            matches.retain(|id| prefix.matches(id));
            match matches[..] {
                [id] => return Ok(id),
                [] => {}
                _ => return Err(StoreError::Ambiguous { prefix, matches }),
            }
        }
        let name = text.strip_suffix("@latest").unwrap_or(text);
        let newest = match self.newest(name) {
            // Digits are no name, so what is damaged elsewhere does not matter.
            Err(_) if text.parse::<IdPrefix>().is_ok() => None,
            newest => newest?,
        };
        let id = newest.map(|stored| stored.id);
        id.ok_or_else(|| StoreError::Unknown {
            text: text.to_owned(),
            store: self.root.clone(),
            nearest: self.nearest_image(text),
        })
    }

    /// Returns the name, `NAME@latest` or channel that is most similar to `text`, or a channel of which it is half the name.
    fn nearest_image(&self, text: &str) -> Option<String> {
        let names = self.names();
        let newest = names.iter().map(|name| format!("{name}@latest"));
        let channels = self.channels().unwrap_or_default().into_iter();
        let channels = channels.map(|channel| channel.to_string());
        let references: Vec<String> = newest.chain(channels).collect();
        let candidates = names.iter().chain(&references).map(String::as_str);
        nearest(text, candidates).map(str::to_owned).or_else(|| {
            let channels = self.similar_channels(text);
            channels.first().map(ToString::to_string)
        })
    }

    /// Returns the names of all images, without verifying their manifests: for suggestions only.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let ids = self.ids().unwrap_or_default().into_iter();
        ids.filter_map(|id| self.name_of(id)).collect()
    }

    /// Returns the images of this name whose bytes are in the store, newest first, with the time of their last build. Verifies
    /// no manifest of another name.
    pub(crate) fn images_of(
        &self,
        name: &str,
    ) -> Result<Vec<(Option<Timestamp>, ManifestId)>, StoreError> {
        let mut images = Vec::new();
        for id in self.ids()? {
            let is_of_name = self.name_of(id).is_some_and(|found| found == name);
            if is_of_name && self.has_image(&self.manifest(id)?.manifest.outputs.image.digest)? {
                let built = self.records_of(id)?.last().map(|record| record.finished);
                images.push((built, id));
            }
        }
        images.sort();
        images.reverse();
        Ok(images)
    }

    /// Returns the manifest of this image name that was built last, if possible one whose image was not removed.
    ///
    /// # Errors
    /// A manifest or build record cannot be read.
    pub fn newest(&self, name: &str) -> Result<Option<StoredManifest>, StoreError> {
        let mut newest = None;
        for id in self.ids()? {
            let stored = self.manifest(id)?;
            if stored.manifest.inputs.image.name != name {
                continue;
            }
            let built = self.records_of(id)?.last().map(|record| record.finished);
            let built = (
                self.has_image(&stored.manifest.outputs.image.digest)?,
                built,
            );
            if newest.as_ref().is_none_or(|(when, _)| built > *when) {
                newest = Some((built, stored));
            }
        }
        Ok(newest.map(|(_, stored)| stored))
    }

    /// Returns the name of an image, without verifying its manifest: for suggestions only.
    pub(crate) fn name_of(&self, id: ManifestId) -> Option<String> {
        #[derive(Deserialize)]
        struct Named {
            inputs: Inputs,
        }
        #[derive(Deserialize)]
        struct Inputs {
            image: Image,
        }
        #[derive(Deserialize)]
        struct Image {
            name: String,
        }
        let bytes = std::fs::read(self.manifest_path(&id)).ok()?;
        let manifest: Named = serde_json::from_slice(&bytes).ok()?;
        Some(manifest.inputs.image.name)
    }

    /// Reads a manifest and verifies its digest.
    ///
    /// # Errors
    /// The file cannot be read, has other bytes, or is not a manifest.
    pub fn manifest(&self, id: ManifestId) -> Result<StoredManifest, StoreError> {
        let path = self.manifest_path(&id);
        let bytes = read_verified(&path)?;
        match Manifest::from_bytes(&bytes) {
            Ok(manifest) => Ok(StoredManifest {
                id,
                manifest,
                bytes,
            }),
            Err(source) => Err(StoreError::Unreadable { path, source }),
        }
    }
}

impl Transaction {
    /// Stores a manifest and the record of its build. The image must be in the store already. A manifest that is in the
    /// store already gets one more record.
    ///
    /// # Errors
    /// The image is not in the store, or the store cannot be written.
    pub fn commit(&self, manifest: &Manifest, run: BuildRun) -> Result<ManifestId, StoreError> {
        let image = &manifest.outputs.image;
        if self.store().image(&image.digest)?.size() != image.size {
            return Err(StoreError::NoImage(image.digest));
        }
        let bytes = manifest.to_bytes()?;
        let id = ManifestId::of(&bytes);
        let about = ChangeDetails {
            ids: vec![id],
            subject: Some(manifest.inputs.image.name.clone()),
            ..ChangeDetails::default()
        };
        self.log(AuditEvent::Record, about)?;
        self.add_record(&BuildInfo::new(id, run))?;
        self.write_manifest(id, &bytes)?;
        Ok(id)
    }

    /// Writes a manifest under its id. A file of that name has the same bytes, or is damaged and is replaced.
    pub(super) fn write_manifest(&self, id: ManifestId, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.store().manifest_path(&id);
        atomic_file::write(&path, READ_ONLY, bytes).map_err(StoreError::io("write", &path))
    }
}
