//! Looking into an image of the store.

use std::path::PathBuf;

use crate::cli::Failed;
use crate::os::hash_stream;
use crate::scan::{self, Opened};
use crate::store::{Image, ImageDisk};

/// Opens an image of the store, in the format that its manifest has.
pub(in crate::cli) async fn opened(image: Image, format: &str) -> Result<Opened, Failed> {
    if let Some(path) = image.path() {
        let opened = scan::open::recorded(path, format).await;
        return opened.map_err(Failed::new);
    }
    if matches!(format, "qcow2" | "raw") {
        let name = PathBuf::from(image.digest().to_string());
        let opened = scan::open::bytes(ImageDisk::new(image), format == "qcow2", &name);
        return opened.map_err(Failed::new);
    }
    // Only qemu-img reads it, and wants a file. It is removed below: what is opened of it stays open.
    let io = |error| Failed::io("cannot make a temporary file", error);
    let file = tempfile::Builder::new().prefix("karat-scan-").tempfile();
    let file = file.map_err(io)?;
    let (mut to, path) = (file.reopen().map_err(io)?, file.path().to_owned());
    let restored = hash_stream::blocking(move |stop| image.write_to(&mut to, &path, stop));
    let restored = restored.await;
    restored.map_err(|error| Failed::with(error.exit_code(), error))?;
    let opened = scan::open::recorded(file.path(), format).await;
    opened.map_err(Failed::new)
}
