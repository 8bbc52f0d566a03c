//! The image of a verb whose effect is final: a name that several images have does not choose one of them.

use std::fmt::Write as _;

use miette::Diagnostic;
use thiserror::Error;

use crate::cli::{CommandError, ExitStatus};
use crate::record::manifest::ManifestId;
use crate::store::{Store, Timestamp};

#[derive(Debug, Error, Diagnostic)]
#[error("{} images have the name {name}:{}", images.len(), lines(images))]
#[diagnostic(help("give the id of the image, or {name}@latest for the newest"))]
struct SeveralImages {
    name: String,
    images: Vec<(Option<Timestamp>, ManifestId)>,
}

impl ExitStatus for SeveralImages {
    const EXIT_CODE: u8 = 2;
}

/// Resolves what names an image, as [`Store::resolve`] does, but refuses a name that several images in the store have.
pub(crate) fn resolve(store: &Store, text: &str) -> Result<ManifestId, CommandError> {
    let id = store.resolve(text)?;
    let images = store.images_of(text)?;
    // Digits of an id may be a name, too.
    if images.len() > 1 && images.iter().any(|(_, image)| *image == id) {
        let name = text.to_owned();
        return Err(SeveralImages { name, images }.into());
    }
    Ok(id)
}

fn lines(images: &[(Option<Timestamp>, ManifestId)]) -> String {
    let mut text = String::new();
    for (built, id) in images {
        let built = built.map_or_else(|| "-".to_owned(), |time| time.to_string());
        // Writing to a String cannot fail.
        let _ = write!(text, "\n  {}  {built}", id.short());
    }
    text
}
