//! Scan results. They are sidecars because they depend on the vulnerability database and the day.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::layout::read_verified;
use super::sidecar::{add_sidecar, read_sidecars};
use super::{Store, StoreError, Writing};
use crate::digest::Digest;
use crate::record::audit::{About, Event};
use crate::record::canonical;
use crate::record::manifest::{ManifestError, ManifestId};
use crate::scan::report::sbom::{self, Subject};
use crate::scan::report::{Json, Report};

use crate::scan::run::Contents;
use crate::time::Timestamp;

const SCHEMA: &str = "karat.scanned/1";
/// Compression level of the inventory.
const ZSTD_LEVEL: i32 = 9;
/// The inventory of a large system has a few MiB.
const MAX_INVENTORY_BYTES: usize = 256 << 20;

/// Result of one scan of an image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScanRecord {
    pub schema: String,
    pub manifest: ManifestId,
    /// Number of the scan, from 1: the order of scans, which the clock cannot tell within a second or after it was set back.
    /// Zero in records of older versions.
    #[serde(default)]
    pub number: u64,
    pub scanned: Timestamp,
    /// Blob with the inventory: JSON, compressed with zstd.
    pub contents: Digest,
    pub sboms: Sboms,
    pub report: Json,
}

/// Blobs with the bills of materials of an image: CycloneDX 1.6 and SPDX 2.3.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sboms {
    pub cyclonedx: Digest,
    pub spdx: Digest,
}

impl ScanRecord {
    pub fn blobs(&self) -> [Digest; 3] {
        [self.contents, self.sboms.cyclonedx, self.sboms.spdx]
    }
}

impl Store {
    /// Returns the scans of an image, oldest first.
    ///
    /// # Errors
    /// A scan record is damaged.
    pub fn scans_of(&self, id: ManifestId) -> Result<Vec<ScanRecord>, StoreError> {
        let scans = self.scans_with_digests(id)?.into_iter();
        Ok(scans.map(|(scan, _)| scan).collect())
    }

    fn scans_with_digests(&self, id: ManifestId) -> Result<Vec<(ScanRecord, Digest)>, StoreError> {
        let mut scans = read_sidecars(&self.scans(), id, |scan: &ScanRecord| scan.manifest)?;
        // Two concurrent scans may have the same number.
        scans.sort_by_key(|(scan, _)| (scan.number, scan.scanned));
        Ok(scans)
    }

    /// Returns the last scan of an image, and the digest of its record.
    pub(crate) fn last_scan_of(
        &self,
        id: ManifestId,
    ) -> Result<Option<(ScanRecord, Digest)>, StoreError> {
        Ok(self.scans_with_digests(id)?.pop())
    }

    /// Returns the inventory of an image from its last scan; `None` if it was never scanned.
    pub(crate) fn contents_of(&self, id: ManifestId) -> Result<Option<Contents>, StoreError> {
        let Some((scan, _)) = self.last_scan_of(id)? else {
            return Ok(None);
        };
        let path = self.blob(&scan.contents);
        let json = zstd::bulk::decompress(&read_verified(&path)?, MAX_INVENTORY_BYTES)
            .map_err(StoreError::io("read", &path))?;
        serde_json::from_slice(&json).map(Some).map_err(|error| {
            let source = ManifestError::Form(error);
            StoreError::Unreadable { path, source }
        })
    }
}

impl Writing {
    /// Adds the result of a scan, with the inventory and the bills of materials.
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
        let add_sbom = |document: Value| {
            let text = canonical::to_bytes(&document)?;
            Ok::<_, StoreError>(self.add_text(&text)?.digest)
        };
        let sboms = Sboms {
            cyclonedx: add_sbom(sbom::cyclonedx(subject, inventory, licenses))?,
            spdx: add_sbom(sbom::spdx_2_3(subject, inventory, licenses))?,
        };
        let json = canonical::to_bytes(contents)?;
        let last = self.store().scans_of(id)?.pop();
        let directory = self.store().scans().join(id.to_string());
        let compressed =
            zstd::bulk::compress(&json, ZSTD_LEVEL).map_err(StoreError::io("write", &directory))?;
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
        add_sidecar(&path, &bytes)?;
        Ok(record)
    }
}
