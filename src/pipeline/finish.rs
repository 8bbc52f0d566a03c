//! Disk of a guest that was shut down → image file: rewritten reproducibly if its file systems allow, else converted as is.

use std::path::{Path, PathBuf};

use super::{BuildError, Job};
use crate::digest::Digest;
use crate::disk::clean::{self, Own, Owners};
use crate::disk::tree::Listing;
use crate::disk::{self, Anew, Renewed};
use crate::plan::PathException;
use crate::record::manifest;
use crate::time::Timestamp;

/// A finished image file, and its part of the manifest.
pub(super) struct Finished {
    pub(super) file: disk::Finished,
    /// Digest of the disk's content; like the listing, only of a rewritten disk.
    pub(super) content: Option<Digest>,
    pub(super) listing: Option<Listing>,
    pub(super) owners: Owners,
    pub(super) record: manifest::Finish,
}

/// Reason in the manifest, and so part of its id, for an image that `[finish]` excludes from rewriting.
const NOT_REWRITTEN: &str = "the template says `rebuild = false`";

impl Job<'_> {
    /// Writes the overlay and its base to the image file `to`.
    pub(super) async fn finish_disk(
        &self,
        overlay: PathBuf,
        base: &disk::Base,
        epoch: Option<Timestamp>,
        to: &Path,
    ) -> Result<Finished, BuildError> {
        let finish = &self.plan.finish;
        if !finish.rebuild {
            return self.convert_disk(&overlay, to, NOT_REWRITTEN).await;
        }
        let paths = |rules: &[PathException]| rules.iter().map(|rule| rule.path.clone()).collect();
        let anew = Anew {
            overlay: overlay.clone(),
            base: base.clone(),
            format: self.plan.output.format,
            // Without an epoch the base cannot be read, and `renew` fails.
            epoch: epoch.map_or(0, Timestamp::seconds),
            own: Own {
                drop: paths(&finish.drop),
                keep: paths(&finish.keep),
            },
        };
        match disk::renew(anew, to, self.ui).await {
            Ok(renewed) => Ok(self.rewritten(renewed)),
            Err(error) => match error.unknown() {
                Some(what) => {
                    self.ui.warn(&format!(
                        "the image is not reproducible, and its disk is kept as the guest left it: it has {what}"
                    ));
                    // Part of the manifest, and so of its id.
                    let because = format!("it has {what}, which cannot be written anew");
                    self.convert_disk(&overlay, to, &because).await
                }
                None => Err(error.into()),
            },
        }
    }

    fn rewritten(&self, renewed: Renewed) -> Finished {
        for (rule, count) in &renewed.cleaned.rules {
            self.ui.detail(&format!("cleaned by {rule}: {count}"));
        }
        if renewed.cleaned.rules.contains_key("snake-oil") {
            self.ui.warn(
                "the self-signed certificate ssl-cert-snakeoil was removed: a service that uses it has to generate its own at \
                 the first boot (`make-ssl-cert generate-default-snakeoil`)",
            );
        }
        let open = self.plan.network.open;
        Finished {
            file: renewed.finished,
            content: Some(renewed.content),
            listing: Some(renewed.listing),
            owners: renewed.owners,
            record: manifest::Finish {
                reproducible: !open,
                because: open.then(|| "the network was open".to_owned()),
                rules: Some(clean::digest()),
                cleaned: renewed.cleaned.rules,
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
        let file = disk::finish(overlay, self.plan.output.format, to, self.ui).await?;
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
