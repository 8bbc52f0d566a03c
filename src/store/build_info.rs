//! Build records: time, host and duration of one build. They differ from build to build, so they are not part of the manifest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::sidecar::{add_sidecar, read_sidecars};
use super::{Store, StoreError, Writing};
use crate::digest::Digest;
use crate::os::user;
use crate::record::canonical;
use crate::record::manifest::ManifestId;
use crate::time::Timestamp;

const SCHEMA: &str = "karat.record/1";

/// One build of a manifest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    pub schema: String,
    pub manifest: ManifestId,
    pub started: Timestamp,
    pub finished: Timestamp,
    /// Milliseconds for each phase.
    pub phases: BTreeMap<String, u64>,
    /// Name of the machine that karat ran on.
    pub host: String,
    /// QEMU accelerator: `kvm`, `tcg`.
    pub accelerator: String,
    /// Version of karat that made the build.
    pub karat: String,
}

/// Facts about a build that the builder knows and a [`Record`] keeps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// Start of the build.
    pub started: Timestamp,
    /// Time at which the image was complete.
    pub finished: Timestamp,
    /// Milliseconds for each phase.
    pub phases: BTreeMap<String, u64>,
    /// QEMU accelerator: `kvm`, `tcg`.
    pub accelerator: String,
}

impl Record {
    /// Returns the record of a build by this karat on this host.
    pub fn new(manifest: ManifestId, run: Run) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            manifest,
            started: run.started,
            finished: run.finished,
            phases: run.phases,
            host: user::host(),
            accelerator: run.accelerator,
            karat: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

impl Store {
    /// Returns the build records of a manifest, oldest first.
    ///
    /// # Errors
    /// A record is damaged.
    pub fn records_of(&self, id: ManifestId) -> Result<Vec<Record>, StoreError> {
        let records = read_sidecars(&self.records(), id, |record: &Record| record.manifest)?;
        let mut records: Vec<_> = records.into_iter().map(|(record, _)| record).collect();
        records.sort_by_key(|record| (record.finished, record.started));
        Ok(records)
    }
}

impl Writing {
    pub(super) fn add_record(&self, record: &Record) -> Result<(), StoreError> {
        let bytes = canonical::to_bytes(record)?;
        let directory = self.store().records().join(record.manifest.to_string());
        let path = directory.join(format!("{}.json", Digest::of(&bytes).hex()));
        add_sidecar(&path, &bytes)
    }
}
