//! Scans of images: kept beside a manifest, never in it, since what they say depends on a database and the day.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sidecar::add_beside;
use super::{Store, StoreError, Writing, intact};
use crate::digest::Digest;
use crate::record::audit::{About, Event};
use crate::record::canonical;
use crate::record::manifest::{ManifestError, ManifestId};
use crate::scan::report::sbom::{self, Subject};
use crate::scan::report::{Json, Report};
use crate::scan::run::Contents;
use crate::time::Timestamp;

/// Name and version of the form of what is stored of a scan.
pub const SCHEMA: &str = "karat.scanned/1";

/// What one scan of an image found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScanRecord {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// The manifest that this is about.
    pub manifest: ManifestId,
    /// How many scans of it this makes, from 1: their order, which a clock cannot tell within a second or once it was
    /// set back. Zero in records from before they had one.
    #[serde(default)]
    pub number: u64,
    /// When it was scanned.
    pub scanned: Timestamp,
    /// The blob with what is installed: JSON, compressed by zstd.
    pub contents: Digest,
    /// Blobs with its bills of materials.
    pub sboms: Sboms,
    /// What was found.
    pub report: Json,
}

/// The bills of materials of an image: one document in each form.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sboms {
    /// CycloneDX 1.6.
    pub cyclonedx: Digest,
    /// SPDX 2.3.
    pub spdx: Digest,
}

impl ScanRecord {
    /// The blobs that it refers to.
    #[must_use]
    pub fn blobs(&self) -> [Digest; 3] {
        [self.contents, self.sboms.cyclonedx, self.sboms.spdx]
    }
}

/// Level of the compression of what is installed.
const LEVEL: i32 = 9;
/// The inventory of a large system has some MiB.
const MOST: usize = 256 << 20;

impl Store {
    /// The scans of an image, the first one first.
    ///
    /// # Errors
    /// One cannot be read, or was tampered with.
    pub fn scans_of(&self, id: ManifestId) -> Result<Vec<ScanRecord>, StoreError> {
        let scans = self.scans_with_digests(id)?.into_iter();
        Ok(scans.map(|(scan, _)| scan).collect())
    }

    fn scans_with_digests(&self, id: ManifestId) -> Result<Vec<(ScanRecord, Digest)>, StoreError> {
        let mut scans = Self::beside(&self.scans(), id, |it: &ScanRecord| it.manifest)?;
        // Two processes may have taken one number.
        scans.sort_by_key(|(scan, _)| (scan.number, scan.scanned));
        Ok(scans)
    }

    /// The last scan of an image, with the digest of its record.
    ///
    /// # Errors
    /// One cannot be read, or was tampered with.
    pub fn last_scan_of(&self, id: ManifestId) -> Result<Option<(ScanRecord, Digest)>, StoreError> {
        Ok(self.scans_with_digests(id)?.pop())
    }

    /// What is installed in an image, by its last scan; `None` when it was never scanned.
    ///
    /// # Errors
    /// It cannot be read, or was tampered with.
    pub fn contents_of(&self, id: ManifestId) -> Result<Option<Contents>, StoreError> {
        let Some(scan) = self.scans_of(id)?.pop() else {
            return Ok(None);
        };
        let path = self.blob(&scan.contents);
        let bytes = intact(&path)?;
        let json = zstd::bulk::decompress(&bytes, MOST).map_err(StoreError::io("read", &path))?;
        serde_json::from_slice(&json).map(Some).map_err(|error| {
            let source = ManifestError::Form(error);
            StoreError::Unreadable { path, source }
        })
    }
}

impl Writing {
    /// Puts a scan beside a manifest.
    ///
    /// # Errors
    /// The store cannot be written, or an earlier scan of it cannot be read.
    pub fn add_scan(
        &self,
        id: ManifestId,
        subject: &Subject,
        contents: &Contents,
        report: &Report,
    ) -> Result<ScanRecord, StoreError> {
        let Contents {
            inventory,
            licenses,
        } = contents;
        let bill = |document: Value| {
            let text = canonical::to_bytes(&document)?;
            Ok::<_, StoreError>(self.add_text(&text)?.digest)
        };
        let sboms = Sboms {
            cyclonedx: bill(sbom::cyclonedx(subject, inventory, licenses))?,
            spdx: bill(sbom::spdx_2_3(subject, inventory, licenses))?,
        };
        let json = canonical::to_bytes(contents)?;
        let last = self.store().scans_of(id)?.pop();
        let directory = self.store().scans().join(id.to_string());
        let compressed =
            zstd::bulk::compress(&json, LEVEL).map_err(StoreError::io("write", &directory))?;
        let record = ScanRecord {
            schema: SCHEMA.to_owned(),
            manifest: id,
            number: last.map_or(0, |last| last.number) + 1,
            scanned: Timestamp::now(),
            contents: self.add_text(&compressed)?.digest,
            sboms,
            report: report.json(),
        };
        let bytes = canonical::to_bytes(&record)?;
        let digest = Digest::of(&bytes);
        let about = About {
            ids: vec![id],
            digest: Some(digest),
            ..About::default()
        };
        self.log(Event::Scan, about)?;
        let path = directory.join(format!("{}.json", digest.hex()));
        add_beside(&path, &bytes)?;
        Ok(record)
    }
}
