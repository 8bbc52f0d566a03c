//! The bytes of the AMI that a build started from, with which the scan compares the image.

use std::path::PathBuf;

use super::Site;
use crate::base::BaseDisk;
use crate::disk;
use crate::ec2::machine::{Ami, Ec2Error, Ec2Machine, Part, begin_snapshot};
use crate::pipeline::phases::Phases;
use crate::pipeline::{BuildError, Job};
use crate::scan::run::Check;

/// How the bytes of an AMI can be had, to compare with.
pub(super) enum Bytes {
    /// They were read before.
    Cached(PathBuf),
    /// From this snapshot, which is to be removed afterwards if it was made for that alone.
    Snapshot { id: String, ours: bool },
    /// Not at all, or nobody wants them.
    None,
}

impl Job<'_> {
    /// An AMI's owner reads its snapshot. Of others', one is taken of the disk that an instance has only just got: it is as
    /// the AMI, but for the first seconds of a boot.
    pub(super) async fn bytes_of_base(
        &self,
        site: &Site<'_>,
        machine: &Ec2Machine,
        phases: &mut Phases<'_>,
    ) -> Bytes {
        if self.settings.scan.without.contains(&Check::Undeclared) {
            return Bytes::None;
        }
        let cached = self.place_of_base(&site.ami);
        if cached.is_file() {
            return Bytes::Cached(cached);
        }
        let rental = &site.rental;
        let look = async {
            Ok(rental
                .region
                .blocks(&site.ami.pinned.snapshot)
                .await
                .is_ok())
        };
        if matches!(phases.run("look at the AMI", look).await, Ok(true)) {
            let id = site.ami.pinned.snapshot.clone();
            return Bytes::Snapshot { id, ours: false };
        }
        let name = &self.plan.image.name;
        let begin = begin_snapshot(machine, Part::Base, name, rental);
        let begin = async { Ok(rental.make(self.cancel, begin).await?) };
        match phases.run_to_end("snapshot the AMI's disk", begin).await {
            Ok(id) => Bytes::Snapshot { id, ours: true },
            // It is found out anew at once.
            Err(BuildError::Cancelled) => Bytes::None,
            Err(error) => {
                self.ui
                    .warn(&format!("the AMI cannot be compared with: {error}"));
                Bytes::None
            }
        }
    }

    pub(super) async fn read_base(&self, site: &Site<'_>, bytes: Bytes) -> Option<BaseDisk> {
        let path = match bytes {
            Bytes::None => return None,
            Bytes::Cached(path) => path,
            Bytes::Snapshot { id, ours } => {
                let read = self.read_to_cache(site, &id).await;
                if ours && let Err(error) = site.rental.region.delete_snapshot(&id).await {
                    self.ui.warn(&format!("{id} is left over: {error}"));
                }
                match read {
                    Ok(path) => path,
                    Err(error) => {
                        self.ui
                            .warn(&format!("the AMI cannot be compared with: {error}"));
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

    async fn read_to_cache(&self, site: &Site<'_>, snapshot: &str) -> Result<PathBuf, Ec2Error> {
        let path = self.place_of_base(&site.ami);
        let scratch = site.run.path().join("base");
        let region = &site.rental.region;
        // The instance's own disk may be larger than the AMI's.
        let bytes = site.ec2.volume_size.unwrap_or(site.ami.size);
        self.read_snapshot(region, snapshot, bytes, &scratch)
            .await?;
        let placed = crate::os::atomic_file::directory_of(&path);
        let placed =
            std::fs::create_dir_all(placed).and_then(|()| std::fs::rename(&scratch, &path));
        placed.map_err(|source| Ec2Error::Write {
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }

    fn place_of_base(&self, ami: &Ami) -> PathBuf {
        let digest = ami.locked().digest;
        self.settings.cache.root().join("ami").join(digest.hex())
    }
}
