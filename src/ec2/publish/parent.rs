//! Which snapshot a new one differs least from: one of an image of the same name, of which the bytes are known.

use super::publication::{self, Published};
use super::upload::Parent;
use super::{Place, PublishError, Source};
use crate::record::channel::ChannelName;
use crate::record::manifest::ManifestId;
use crate::store::StoreError;

/// An image that was published here.
struct Candidate {
    id: ManifestId,
    published: Published,
    /// A channel points to it.
    is_head: bool,
}

impl Place<'_> {
    /// The best one that is there: where a channel of this image points to, the last one first.
    pub(super) async fn parent(&self) -> Result<Option<Parent>, PublishError> {
        for candidate in self.candidates()? {
            if let Some(parent) = self.usable(&candidate).await? {
                return Ok(Some(parent));
            }
        }
        Ok(None)
    }

    /// The parent with this snapshot, if it can still be had: `None` when it cannot, `Some(None)` when there is none.
    pub(super) async fn parent_of(
        &self,
        snapshot: Option<&str>,
    ) -> Result<Option<Option<Parent>>, PublishError> {
        let Some(snapshot) = snapshot else {
            return Ok(Some(None));
        };
        let mut candidates = self.candidates()?.into_iter();
        match candidates.find(|it| it.published.publication.snapshot == snapshot) {
            Some(candidate) => Ok(self.usable(&candidate).await?.map(Some)),
            None => Ok(None),
        }
    }

    fn candidates(&self) -> Result<Vec<Candidate>, StoreError> {
        let store = self.job.store;
        let mut heads = Vec::new();
        let is_ours = |name: &ChannelName| name.image == self.about.image;
        for name in store.channels()?.into_iter().filter(is_ours) {
            heads.extend(store.channel(&name)?.head().map(|it| it.manifest));
        }
        let mut found = Vec::new();
        for id in store.ids()? {
            if id == self.about.id
                || store.manifest(id)?.manifest.inputs.image.name != self.about.image
            {
                continue;
            }
            let here = publication::of(store, id)?.into_iter().filter(|it| {
                let it = &it.publication;
                it.region == self.region.name()
                    && it.account == self.account
                    && it.encrypted == self.job.settings.encrypted
                    && it.kms_key == self.key
            });
            found.extend(here.map(|published| Candidate {
                id,
                published,
                is_head: heads.contains(&id),
            }));
        }
        found.sort_by(|one, other| {
            let key = |it: &Candidate| (it.is_head, it.published.when.clone());
            key(other).cmp(&key(one))
        });
        Ok(found)
    }

    /// Its bytes are in the store, and its snapshot is at AWS.
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
        let snapshot = match self.region.snapshot(id).await {
            Ok(snapshot) => snapshot,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if snapshot.state != "completed" || snapshot.volume_size > self.about.size {
            return Ok(None);
        }
        let source = Source::open(store, &manifest, &self.job.cache, self.job.ui).await?;
        Ok(Some(Parent {
            snapshot: id.clone(),
            disk: source.disk,
        }))
    }
}
