//! What a scan is of: a disk image, an unpacked root, or what is recorded.

use std::collections::HashMap;
use std::io;

use super::{Failed, ScanArgs, Wrong};
use crate::cli::shared::open_image::opened;
use crate::digest::Digest;
use crate::record::channel::ChannelName;
use crate::record::lock::Lock;
use crate::record::manifest::{self, IdPrefix, ManifestId, Source, SourceKind};
use crate::scan::report::LeftOut;
use crate::scan::report::sbom;
use crate::scan::run::{Check, Contents, Origin};
use crate::scan::{self, Opened};
use crate::store::{Store, StoreError};
use crate::time::Timestamp;

/// What is scanned.
pub(super) enum Target {
    /// A system, and what it was made from, where that is known.
    Opened(Opened, Option<Box<Origin>>),
    /// What was stored of an image that is gone.
    Contents(Contents),
}

/// Opens what was named: what is there as a file or directory, else an id.
pub(super) async fn open(
    args: &ScanArgs,
) -> Result<(Target, sbom::Subject, Option<ManifestId>), Failed> {
    let path = &args.target;
    if path.exists() {
        let opened = scan::open(path).await.map_err(Failed::new)?;
        let name = path.file_name().unwrap_or(path.as_os_str());
        let subject = sbom::Subject {
            name: name.to_string_lossy().into_owned(),
            digest: None,
            created: Timestamp::now(),
        };
        return Ok((Target::Opened(opened, None), subject, None));
    }
    let no_target = || Failed::with(2, Wrong::NoTarget(path.clone()));
    let prefix = path
        .to_str()
        .filter(|text| text.parse::<IdPrefix>().is_ok() || text.parse::<ChannelName>().is_ok());
    let prefix = prefix.ok_or_else(no_target)?;
    let store = args.store.open().map_err(Failed::new)?;
    let stored = store.resolve(prefix).and_then(|id| store.manifest(id));
    let stored = stored.map_err(|error| match error {
        // It may as well have been meant as a path.
        StoreError::NoChannel(_) => no_target(),
        error => Failed::with(error.exit_code(), error),
    })?;
    let image = &stored.manifest.outputs.image;
    let lock = lock(&store, &stored.manifest.inputs)?;
    let epoch = lock.as_ref().and_then(|lock| lock.epoch);
    let target = match store.image(&image.digest) {
        Ok(found) => {
            let opened = opened(found, &image.format).await?;
            let origin = origin(&store, &stored.manifest.inputs, lock).await?;
            Target::Opened(opened, origin.map(Box::new))
        }
        Err(StoreError::NoImage(digest)) => {
            let contents = store.contents_of(stored.id);
            let contents = contents.map_err(|error| Failed::with(error.exit_code(), error))?;
            Target::Contents(contents.ok_or_else(|| Failed::new(StoreError::NoImage(digest)))?)
        }
        Err(error) => return Err(Failed::with(error.exit_code(), error)),
    };
    let subject = sbom::Subject {
        name: stored.manifest.inputs.image.name.clone(),
        digest: Some(image.digest),
        created: epoch.unwrap_or_else(Timestamp::now),
    };
    Ok((target, subject, Some(stored.id)))
}

/// What a recorded image was made from, if all of it is still in the store.
async fn origin(
    store: &Store,
    inputs: &manifest::Inputs,
    lock: Option<Lock>,
) -> Result<Option<Origin>, Failed> {
    let base = match store.image(&inputs.base.digest) {
        Err(StoreError::NoImage(_)) => return Ok(None),
        found => found.map_err(|error| Failed::with(error.exit_code(), error))?,
    };
    let Some(lock) = lock else {
        return Ok(None);
    };
    Ok(Some(Origin {
        base: opened(base, &inputs.base.format).await?,
        lock,
        inputs: inputs.clone(),
        listings: listings(store, inputs),
    }))
}

/// The lock of a recorded image, if it is still in the store.
fn lock(store: &Store, inputs: &manifest::Inputs) -> Result<Option<Lock>, Failed> {
    let Some(lock) = inputs.lock else {
        return Ok(None);
    };
    let path = store.blob(&lock.digest);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failed::io("cannot read the lock in the store", error)),
    };
    let actual = Digest::of(text.as_bytes());
    if actual != lock.digest {
        let error = StoreError::Tampered { path, actual };
        return Err(Failed::with(error.exit_code(), error));
    }
    let lock = Lock::from_toml(&text, &path);
    lock.map(Some)
        .map_err(|error| Failed::with(error.exit_code(), error))
}

/// What was in the directories that an image was made from, by digest.
fn listings(store: &Store, inputs: &manifest::Inputs) -> HashMap<Digest, Vec<u8>> {
    let sources = inputs.sources.values();
    let directories = sources.filter(|source| source.kind == SourceKind::Directory);
    let listing = |source: &Source| {
        let listing = std::fs::read(store.blob(&source.digest)).ok()?;
        (Digest::of(&listing) == source.digest).then_some((source.digest, listing))
    };
    directories.filter_map(listing).collect()
}

/// Checks that cannot be made of this target, and those that nobody wants.
pub(super) fn left_out(args: &ScanArgs, target: &Target) -> Vec<LeftOut> {
    let because = |check: &Check, because: &str| LeftOut {
        check: *check,
        because: because.to_owned(),
    };
    let asked = args
        .without
        .iter()
        .map(|check| because(check, "as asked for"));
    let mut left_out: Vec<_> = asked.collect();
    let (checks, reason): (&[Check], _) = match target {
        Target::Opened(_, Some(_)) => (&[], ""),
        Target::Opened(_, None) => (
            &[Check::Undeclared],
            "only of an image in the store is known what it was made from",
        ),
        Target::Contents(_) => (
            &[Check::Hygiene, Check::Secrets, Check::Undeclared],
            "the image is gone; its inventory is in the store",
        ),
    };
    for check in checks.iter().filter(|check| !args.without.contains(check)) {
        left_out.push(because(check, reason));
    }
    left_out
}
