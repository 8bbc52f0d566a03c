//! Disk of a guest that was shut down → image file: rewritten reproducibly, or converted as it is if the template asks for that.

use std::path::{Path, PathBuf};

use super::{BuildError, Job};
use crate::digest::Digest;
use crate::disk::clean::{self, CustomRules, Owners};
use crate::disk::tree::Listing;
use crate::disk::{self, BaseImage, NormalizeRequest, NormalizedImage};
use crate::os::hash_stream;
use crate::plan::PathException;
use crate::record::manifest;
use crate::time::Timestamp;

/// A finished image file, and its part of the manifest.
pub(super) struct Finished {
    pub(super) file: disk::ImageFile,
    /// Digest of the disk's content; like the listing, only of a rewritten disk.
    pub(super) content: Option<Digest>,
    pub(super) listing: Option<Listing>,
    pub(super) owners: Owners,
    pub(super) record: manifest::Finish,
}

/// Reason in the manifest, and so part of its id, for an image that `[finish]` excludes from rewriting.
const NOT_REWRITTEN: &str = "the template says `rebuild = false`";

impl Job<'_> {
    /// Refuses a base whose disk could not be rewritten in the end.
    pub(super) async fn require_rewritable(&self, base: &BaseImage) -> Result<(), BuildError> {
        if !self.plan.finish.rebuild {
            return Ok(());
        }
        let base = base.clone();
        Ok(hash_stream::blocking(move |_| disk::require_rewritable(&base)).await?)
    }

    /// Returns the request to normalize the disk of a guest that was shut down.
    pub(super) fn normalize_request(
        &self,
        overlays: Vec<PathBuf>,
        base: &BaseImage,
        epoch: Option<Timestamp>,
    ) -> NormalizeRequest {
        let finish = &self.plan.finish;
        let paths = |rules: &[PathException]| rules.iter().map(|rule| rule.path.clone()).collect();
        NormalizeRequest {
            overlays,
            base: base.clone(),
            format: self.plan.output.format,
            // Without an epoch the base cannot be read, and `normalize` fails.
            epoch: epoch.map_or(0, Timestamp::seconds),
            custom_rules: CustomRules {
                drop: paths(&finish.drop),
                keep: paths(&finish.keep),
            },
        }
    }

    /// Writes a guest's disk to the image file `to`.
    pub(super) async fn finish_disk(
        &self,
        request: NormalizeRequest,
        to: &Path,
    ) -> Result<Finished, BuildError> {
        if !self.plan.finish.rebuild {
            return self
                .convert_disk(&request.overlays[0], to, NOT_REWRITTEN)
                .await;
        }
        let normalized = disk::normalize(request, to, self.ui).await?;
        Ok(self.rewritten(normalized))
    }

    fn rewritten(&self, normalized: NormalizedImage) -> Finished {
        for (rule, count) in &normalized.cleaned.rules {
            self.ui.detail(&format!("cleaned by {rule}: {count}"));
        }
        if normalized.cleaned.rules.contains_key("snake-oil") {
            self.ui.warn(
                "the self-signed certificate ssl-cert-snakeoil was removed: a service that uses it has to generate its own at \
                 the first boot (`make-ssl-cert generate-default-snakeoil`)",
            );
        }
        let open = self.plan.network.open;
        Finished {
            file: normalized.file,
            content: Some(normalized.content),
            listing: Some(normalized.listing),
            owners: normalized.owners,
            record: manifest::Finish {
                reproducible: !open,
                because: open.then(|| "the network was open".to_owned()),
                rules: Some(clean::digest()),
                cleaned: normalized.cleaned.rules,
            },
        }
    }

    /// Converts the disk without rewriting its file systems. `because` goes into the manifest.
    pub(super) async fn convert_disk(
        &self,
        overlay: &Path,
        to: &Path,
        because: &str,
    ) -> Result<Finished, BuildError> {
        let file = disk::convert(overlay, self.plan.output.format, to, self.ui).await?;
        Ok(Finished {
            file,
            content: None,
            listing: None,
            owners: Owners::default(),
            record: manifest::Finish {
                reproducible: false,
                because: Some(because.to_owned()),
                rules: None,
                cleaned: std::collections::BTreeMap::new(),
            },
        })
    }
}
