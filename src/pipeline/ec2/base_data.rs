//! Disk of the AMI that a build started from, which the scan compares the image with.

use std::path::PathBuf;

use super::Site;
use crate::base::BaseDisk;
use crate::disk;
use crate::ec2::client::ebs;
use crate::ec2::client::ec2::snapshots;
use crate::ec2::machine::{BaseAmi, Ec2Error, Ec2Machine, SnapshotKind, begin_snapshot};
use crate::pipeline::phases::Phases;
use crate::pipeline::{BuildError, Job};
use crate::scan::run::Check;

/// Source of the data of an AMI.
pub(super) enum BaseData {
    /// File in the cache, from an earlier build.
    Cached(PathBuf),
    /// Snapshot, which is deleted afterwards if it is `ours`, that is, created only to be read.
    Snapshot { id: String, ours: bool },
    /// Not available, or not needed.
    None,
}

impl Job<'_> {
    /// Finds the data of the AMI. Only the owner of an AMI can read its snapshot. For other AMIs, a snapshot is taken of the
    /// disk of the new instance, which equals the AMI except for the first seconds of a boot.
    pub(super) async fn find_base_data(
        &self,
        site: &Site<'_>,
        machine: &Ec2Machine,
        phases: &mut Phases<'_>,
    ) -> BaseData {
        if self.settings.scan.without.contains(&Check::Undeclared) {
            return BaseData::None;
        }
        let cached = self.cached_base(&site.ami);
        if cached.is_file() {
            return BaseData::Cached(cached);
        }
        let resources = &site.resources;
        let snapshot = &site.ami.pinned.snapshot;
        let look = async { Ok(ebs::list_blocks(&resources.region, snapshot).await.is_ok()) };
        if matches!(phases.run("look at the AMI", look).await, Ok(true)) {
            let id = snapshot.clone();
            return BaseData::Snapshot { id, ours: false };
        }
        let name = &self.plan.image.name;
        let begin = begin_snapshot(machine, SnapshotKind::Base, name, resources);
        let begin = async { Ok(resources.create(self.cancel, begin).await?) };
        match phases.run_to_end("snapshot the AMI's disk", begin).await {
            Ok(id) => BaseData::Snapshot { id, ours: true },
            // The next phase reports the cancellation.
            Err(BuildError::Cancelled) => BaseData::None,
            Err(error) => {
                self.warn_not_compared(&error);
                BaseData::None
            }
        }
    }

    pub(super) async fn read_base(&self, site: &Site<'_>, data: BaseData) -> Option<BaseDisk> {
        let path = match data {
            BaseData::None => return None,
            BaseData::Cached(path) => path,
            BaseData::Snapshot { id, ours } => {
                let read = self.read_to_cache(site, &id).await;
                if ours && let Err(error) = snapshots::delete(&site.resources.region, &id).await {
                    self.ui.warn(&format!("{id} is left over: {error}"));
                }
                match read {
                    Ok(path) => path,
                    Err(error) => {
                        self.warn_not_compared(&error);
                        return None;
                    }
                }
            }
        };
        let base = site.ami.locked();
        Some(BaseDisk {
            disk: disk::BaseImage {
                path,
                format: "raw".to_owned(),
            },
            digest: base.digest,
            size: base.size,
            virtual_size: base.size,
        })
    }

    fn warn_not_compared(&self, error: &dyn std::error::Error) {
        self.ui
            .warn(&format!("cannot compare the image with its AMI: {error}"));
    }

    async fn read_to_cache(&self, site: &Site<'_>, snapshot: &str) -> Result<PathBuf, Ec2Error> {
        let path = self.cached_base(&site.ami);
        let scratch = site.run.path().join("base");
        let region = &site.resources.region;
        // The instance's disk may be larger than the AMI's.
        let bytes = site.ec2.volume_size.unwrap_or(site.ami.size);
        self.read_snapshot(region, snapshot, bytes, &scratch)
            .await?;
        let placed = std::fs::create_dir_all(crate::os::atomic_file::directory_of(&path))
            .and_then(|()| std::fs::rename(&scratch, &path));
        match placed {
            Ok(()) => Ok(path),
            Err(source) => Err(Ec2Error::Write { path, source }),
        }
    }

    fn cached_base(&self, ami: &BaseAmi) -> PathBuf {
        let digest = ami.locked().digest;
        self.settings.cache.root().join("ami").join(digest.hex())
    }
}
