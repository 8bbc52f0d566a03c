//! Choice of the parent of a new snapshot: the snapshot of an image of the same name whose data is in the store.

use std::cmp::Reverse;

use super::publication::{self, Published};
use super::upload::Parent;
use super::{PublishError, RegionJob, VerifiedDisk};
use crate::ec2::client::ec2::snapshots;
use crate::record::channel::ChannelName;
use crate::record::manifest::ManifestId;
use crate::store::StoreError;

/// Image that was published in this region.
struct Candidate {
    id: ManifestId,
    published: Published,
    /// A channel points at it.
    is_head: bool,
}

impl RegionJob<'_> {
    /// Returns the best usable parent: images that a channel points at come first, then the latest.
    pub(super) async fn parent(&self) -> Result<Option<Parent>, PublishError> {
        for candidate in self.candidates()? {
            if let Some(parent) = self.usable(&candidate).await? {
                return Ok(Some(parent));
            }
        }
        Ok(None)
    }

    /// Returns the parent with this snapshot: `None` if it cannot be used now, `Some(None)` for an upload without a parent.
    pub(super) async fn parent_of(
        &self,
        snapshot: Option<&str>,
    ) -> Result<Option<Option<Parent>>, PublishError> {
        let Some(snapshot) = snapshot else {
            return Ok(Some(None));
        };
        let mut candidates = self.candidates()?.into_iter();
        match candidates.find(|candidate| candidate.published.publication.snapshot == snapshot) {
            Some(candidate) => Ok(self.usable(&candidate).await?.map(Some)),
            None => Ok(None),
        }
    }

    fn candidates(&self) -> Result<Vec<Candidate>, StoreError> {
        let store = self.job.store;
        let mut heads = Vec::new();
        let is_ours = |name: &ChannelName| name.image == self.metadata.image;
        for name in store.channels()?.into_iter().filter(is_ours) {
            heads.extend(store.channel(&name)?.head().map(|head| head.manifest));
        }
        let mut found = Vec::new();
        for id in store.ids()? {
            if id == self.metadata.id
                || store.manifest(id)?.manifest.inputs.image.name != self.metadata.image
            {
                continue;
            }
            let here = publication::list(store, id)?
                .into_iter()
                .filter(|published| {
                    let publication = &published.publication;
                    publication.region == self.region.name()
                        && publication.account == self.account
                        && publication.encrypted == self.job.settings.encrypted
                        && publication.kms_key == self.key
                });
            found.extend(here.map(|published| Candidate {
                id,
                published,
                is_head: heads.contains(&id),
            }));
        }
        found.sort_by_key(|candidate| {
            Reverse((candidate.is_head, candidate.published.when.clone()))
        });
        Ok(found)
    }

    /// Returns a candidate as parent if the store has its data and AWS its snapshot.
    async fn usable(&self, candidate: &Candidate) -> Result<Option<Parent>, PublishError> {
        let store = self.job.store;
        let manifest = store.manifest(candidate.id)?.manifest;
        let image = &manifest.outputs.image;
        let is_kept =
            ["qcow2", "raw"].contains(&image.format.as_str()) && store.image(&image.digest).is_ok();
        if !is_kept {
            return Ok(None);
        }
        let id = &candidate.published.publication.snapshot;
        let snapshot = match snapshots::get(&self.region, id).await {
            Ok(snapshot) => snapshot,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if snapshot.state != "completed" || snapshot.volume_size > self.metadata.size {
            return Ok(None);
        }
        let source = VerifiedDisk::open(store, &manifest, &self.job.cache, self.job.ui).await?;
        Ok(Some(Parent {
            snapshot: id.clone(),
            disk: source.disk,
        }))
    }
}
