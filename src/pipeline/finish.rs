//! From the disk of a guest that was shut down to an image file: written anew where that is possible, else as it is.

use std::path::{Path, PathBuf};

use super::{BuildError, Job};
use crate::digest::Digest;
use crate::disk::clean::{self, Own, Owners};
use crate::disk::tree::Listing;
use crate::disk::{self, Anew, Renewed};
use crate::plan::Exception;
use crate::record::manifest;
use crate::time::Timestamp;

/// A finished image, and what is on record about it.
pub(super) struct Finished {
    pub(super) file: disk::Finished,
    /// Digest of the disk's content, and the listing of its tree, where it was written anew.
    pub(super) content: Option<Digest>,
    pub(super) listing: Option<Listing>,
    pub(super) owners: Owners,
    pub(super) record: manifest::Finish,
}

impl Job<'_> {
    /// Turns an overlay on a base into the image file `to`.
    pub(super) async fn finish(
        &self,
        overlay: PathBuf,
        base: &disk::Base,
        epoch: Option<Timestamp>,
        to: &Path,
    ) -> Result<Finished, BuildError> {
        let finish = &self.plan.finish;
        if !finish.rebuild {
            let because = "the template says `rebuild = false`";
            return self.as_it_is(&overlay, to, because).await;
        }
        let paths = |all: &[Exception]| all.iter().map(|it| it.path.clone()).collect();
        let anew = Anew {
            overlay: overlay.clone(),
            base: base.clone(),
            format: self.plan.output.format,
            // Without one the base cannot be read, which is found out below.
            epoch: epoch.map_or(0, Timestamp::seconds),
            own: Own {
                drop: paths(&finish.drop),
                keep: paths(&finish.keep),
            },
        };
        match disk::renew(anew, to, self.ui).await {
            Ok(renewed) => Ok(self.renewed(renewed)),
            Err(error) => match error.unknown() {
                Some(what) => {
                    self.ui.warn(&format!(
                        "the image is kept as the guest left it, and is not reproducible: it has {what}"
                    ));
                    let because = format!("it has {what}, which cannot be written anew");
                    self.as_it_is(&overlay, to, &because).await
                }
                None => Err(error.into()),
            },
        }
    }

    fn renewed(&self, renewed: Renewed) -> Finished {
        for (rule, count) in &renewed.cleaned.rules {
            self.ui.detail(&format!("cleaned by {rule}: {count}"));
        }
        if renewed.cleaned.rules.contains_key("snake-oil") {
            self.ui.warn(
                "the self-signed certificate ssl-cert-snakeoil was taken out: a service that uses it needs one of its own at \
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

    pub(super) async fn as_it_is(
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
