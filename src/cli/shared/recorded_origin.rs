//! Inputs of a recorded image, from the materials that the store keeps for a rebuild.

use std::collections::HashMap;
use std::io;

use super::open_image::open_image;
use crate::cli::CommandError;
use crate::digest::Digest;
use crate::record::lock::Lock;
use crate::record::manifest::{self, Source, SourceKind};
use crate::scan::integrity;
use crate::scan::run::BuildOrigin;
use crate::store::{Store, StoreError};

/// Collects the inputs of a recorded image; `None` if the store has lost one.
pub(in crate::cli) async fn origin(
    store: &Store,
    inputs: &manifest::Inputs,
    lock: Option<Lock>,
) -> Result<Option<BuildOrigin>, CommandError> {
    let base = match store.image(&inputs.base.digest) {
        Err(StoreError::NoImage(_)) => return Ok(None),
        found => found?,
    };
    let Some(lock) = lock else {
        return Ok(None);
    };
    Ok(Some(BuildOrigin {
        base: open_image(base, &inputs.base.format).await?,
        packages: integrity::read_packages(&lock, None, |digest| store.blob(digest))?,
        lock,
        inputs: inputs.clone(),
        listings: listings(store, inputs),
        steps: None,
        installed: None,
        explain: false,
    }))
}

/// Reads the lock file of a recorded image; `None` if the store has lost it.
pub(in crate::cli) fn lock(
    store: &Store,
    inputs: &manifest::Inputs,
) -> Result<Option<Lock>, CommandError> {
    let Some(lock) = inputs.lock else {
        return Ok(None);
    };
    let path = store.blob(&lock.digest);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(CommandError::io(
                "cannot read the lock file in the store",
                &error,
            ));
        }
    };
    let actual = Digest::of(text.as_bytes());
    if actual != lock.digest {
        return Err(StoreError::Tampered { path, actual }.into());
    }
    Ok(Some(Lock::from_toml(&text, &path)?))
}

/// Reads the listings of the directories that an image was made from, by digest.
fn listings(store: &Store, inputs: &manifest::Inputs) -> HashMap<Digest, Vec<u8>> {
    let sources = inputs.sources.values();
    let directories = sources.filter(|source| source.kind == SourceKind::Directory);
    let listing = |source: &Source| {
        let listing = std::fs::read(store.blob(&source.digest)).ok()?;
        (Digest::of(&listing) == source.digest).then_some((source.digest, listing))
    };
    directories.filter_map(listing).collect()
}
