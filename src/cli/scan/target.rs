//! The target of a scan: a disk image, an unpacked root, or a recorded image.

use super::{ArgumentError, ScanArgs};
use crate::cli::CommandError;
use crate::cli::shared::open_image::open_image;
use crate::cli::shared::recorded_origin::{self, origin};
use crate::record::manifest::{IdPrefix, ManifestId};
use crate::scan::report::LeftOut;
use crate::scan::report::sbom;
use crate::scan::run::{BuildOrigin, Check, Contents};
use crate::scan::{self, Opened};
use crate::store::{Store, StoreError, StoredManifest};
use crate::time::Timestamp;

pub(super) enum Target {
    /// A system, and its inputs if they are known.
    Opened(Opened, Option<Box<BuildOrigin>>),
    /// The stored inventory of an image that was pruned.
    Contents(Contents),
}

/// Finds the recorded image that was named; `None` if a file or directory was named.
pub(super) fn stored(args: &ScanArgs) -> Result<Option<(Store, StoredManifest)>, CommandError> {
    let path = &args.target;
    if path.exists() {
        return Ok(None);
    }
    let unknown = || ArgumentError::UnknownTarget(path.clone());
    let name = path.to_str().ok_or_else(unknown)?;
    let store = args.store.open()?;
    let stored = store.resolve(name).and_then(|id| store.manifest(id));
    let stored = stored.map_err(|error| match error {
        // Text that is not an id was probably meant as a path.
        StoreError::NoChannel { nearest: None, .. } | StoreError::NotAChannel { .. } => {
            unknown().into()
        }
        StoreError::Unknown { nearest: None, .. } if name.parse::<IdPrefix>().is_err() => {
            unknown().into()
        }
        error => CommandError::from(error),
    })?;
    Ok(Some((store, stored)))
}

/// Opens the recorded image, or else the file or directory that was named.
pub(super) async fn open(
    args: &ScanArgs,
    stored: Option<(Store, StoredManifest)>,
) -> Result<(Target, sbom::Subject, Option<ManifestId>), CommandError> {
    let path = &args.target;
    let Some((store, stored)) = stored else {
        let opened = scan::open(path).await?;
        let name = path.file_name().unwrap_or(path.as_os_str());
        let subject = sbom::Subject {
            name: name.to_string_lossy().into_owned(),
            digest: None,
            created: Timestamp::now(),
        };
        return Ok((Target::Opened(opened, None), subject, None));
    };
    let image = &stored.manifest.outputs.image;
    let lock = recorded_origin::lock(&store, &stored.manifest.inputs)?;
    let epoch = lock.as_ref().and_then(|lock| lock.epoch);
    let target = match store.image(&image.digest) {
        Ok(found) => {
            let opened = open_image(found, &image.format).await?;
            let origin = origin(&store, &stored.manifest.inputs, lock).await?;
            Target::Opened(opened, origin.map(Box::new))
        }
        Err(StoreError::NoImage(digest)) => {
            let contents = store.contents_of(stored.id)?;
            Target::Contents(contents.ok_or(StoreError::NoImage(digest))?)
        }
        Err(error) => return Err(error.into()),
    };
    let subject = sbom::Subject {
        name: stored.manifest.inputs.image.name.clone(),
        digest: Some(image.digest),
        created: epoch.unwrap_or_else(Timestamp::now),
    };
    Ok((target, subject, Some(stored.id)))
}

/// Lists the checks that the command line skips, and those that this target does not allow.
pub(super) fn left_out(args: &ScanArgs, target: &Target) -> Vec<LeftOut> {
    let left_out = |check: &Check, because: &str| LeftOut {
        check: *check,
        because: because.to_owned(),
    };
    let (checks, reason): (&[Check], _) = match target {
        Target::Opened(_, Some(_)) => (&[], ""),
        Target::Opened(_, None) => (
            &[Check::Undeclared],
            "needs an image in the store, whose inputs are known",
        ),
        Target::Contents(_) => (
            &[Check::Hygiene, Check::Secrets, Check::Undeclared],
            "the image was removed; its inventory is in the store",
        ),
    };
    let skipped = args.without.iter();
    let skipped = skipped.map(|check| left_out(check, "skipped with --without"));
    let impossible = checks.iter().filter(|check| !args.without.contains(check));
    skipped
        .chain(impossible.map(|check| left_out(check, reason)))
        .collect()
}
