//! What differs from run to run: when, where, how fast. Kept beside a manifest, never in it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::os::user;
use crate::record::manifest::ManifestId;
use crate::time::Timestamp;

/// Name and version of the form of records.
pub const SCHEMA: &str = "karat.record/1";

/// How one build of a manifest went.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// The manifest that this is about.
    pub manifest: ManifestId,
    /// When the build began.
    pub started: Timestamp,
    /// When the image was finished.
    pub finished: Timestamp,
    /// Milliseconds for each phase.
    pub phases: BTreeMap<String, u64>,
    /// Name of the machine that built.
    pub host: String,
    /// What ran the guest's instructions: `kvm`, `tcg`.
    pub accelerator: String,
    /// Version of karat.
    pub karat: String,
}

/// What a build knows about its own run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// When it began.
    pub started: Timestamp,
    /// When the image was finished.
    pub finished: Timestamp,
    /// Milliseconds for each phase.
    pub phases: BTreeMap<String, u64>,
    /// What ran the guest's instructions: `kvm`, `tcg`.
    pub accelerator: String,
}

impl Record {
    /// The record of a run on this host by this karat.
    #[must_use]
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
