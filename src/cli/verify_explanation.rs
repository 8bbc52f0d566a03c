//! `karat verify`: the explanation of an image, repeated without the guest.

use super::CommandError;
use super::shared::open_image::open_image;
use super::shared::recorded_origin;
use crate::os::hash_stream;
use crate::record::explanation::{self, Repetition};
use crate::record::manifest::Manifest;
use crate::scan::report::LeftOut;
use crate::scan::run::{self, BuildOrigin, Check, ScanRequest};
use crate::scan::vulnerability::Options;
use crate::secret::Secrets;
use crate::store::{Store, StoreError};
use crate::time::Timestamp;
use crate::ui::Ui;

/// Explains the paths of an image from its base, its packages and its template, and compares the result with the explanation
/// that the build recorded. `None` if there is none, or the store has pruned what it takes.
pub(super) async fn repeat(
    store: &Store,
    manifest: &Manifest,
    ui: &Ui,
) -> Result<Option<Repetition>, CommandError> {
    let Some((path, recorded)) = store.explanation(manifest)? else {
        return Ok(None);
    };
    let image = match store.image(&manifest.outputs.image.digest) {
        Err(StoreError::NoImage(_)) => return Ok(None),
        found => found?,
    };
    let lock = recorded_origin::lock(store, &manifest.inputs)?;
    let origin = recorded_origin::origin(store, &manifest.inputs, lock).await?;
    let Some(mut origin) = origin.filter(BuildOrigin::has_packages) else {
        return Ok(None);
    };
    origin.explain = true;
    let _bar = ui.bar("explaining the image", None);
    let opened = open_image(image, &manifest.outputs.image.format).await?;
    let others = Check::ALL
        .iter()
        .filter(|check| **check != Check::Undeclared);
    let left_out = others.map(|check| LeftOut {
        check: *check,
        because: String::new(),
    });
    let left_out = left_out.collect();
    let repeated = hash_stream::blocking(move |_| {
        let request = ScanRequest {
            left_out,
            database: None,
            options: Options::at(Timestamp::now()),
            origin: Some(&origin),
            values: &Secrets::default(),
        };
        run::scan(&opened, request)
    });
    let Some(repeated) = repeated.await?.explanation else {
        return Ok(None);
    };
    let compared = explanation::compare(&recorded, &repeated);
    Ok(Some(compared.map_err(StoreError::io("read", &path))?))
}
