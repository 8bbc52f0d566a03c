//! The base disk of a build. An image of the store is exported to the cache first.

use std::borrow::Cow;

use super::BuildError;
use crate::base::{self, BaseContext, BaseDisk, BaseError};
use crate::fetch::Cache;
use crate::os::atomic_file;
use crate::plan;
use crate::store::Store;
use crate::ui::Ui;

/// Prepares the base disk and verifies it.
pub(super) async fn prepare(
    base: &plan::Base,
    store: &Store,
    context: BaseContext<'_>,
    ui: &Ui,
) -> Result<BaseDisk, BuildError> {
    let base = export_stored(base, store, context.cache, ui).await?;
    Ok(base::prepare(&base, context, ui).await?)
}

/// Like [`prepare`], but returns `None` if the base would have to be downloaded or bootstrapped.
pub(super) async fn find_local(
    base: &plan::Base,
    store: &Store,
    context: BaseContext<'_>,
    ui: &Ui,
) -> Result<Option<BaseDisk>, BuildError> {
    let base = export_stored(base, store, context.cache, ui).await?;
    Ok(base::find_local(&base, context, ui).await?)
}

/// Exports a base that is an image of the store to the cache, unless it is there, and returns that file as base.
async fn export_stored<'b>(
    base: &'b plan::Base,
    store: &Store,
    cache: &Cache,
    ui: &Ui,
) -> Result<Cow<'b, plan::Base>, BuildError> {
    let plan::Base::Manifest(name) = base else {
        return Ok(Cow::Borrowed(base));
    };
    let stored = store.manifest(store.resolve(name)?)?;
    let digest = stored.manifest.outputs.image.digest;
    let path = cache.path(&digest);
    if !path.is_file() {
        let directory = atomic_file::directory_of(&path);
        std::fs::create_dir_all(directory).map_err(|source| BaseError::Read {
            path: directory.to_owned(),
            source,
        })?;
        store.export(&stored.manifest, &path, true, ui).await?;
    }
    let sha256 = Some(digest);
    Ok(Cow::Owned(plan::Base::File { path, sha256 }))
}
