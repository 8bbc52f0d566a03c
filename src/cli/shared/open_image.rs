//! Opens an image of the store to read its files.

use std::path::PathBuf;

use crate::cli::CommandError;
use crate::os::hash_stream;
use crate::scan::{self, Opened};
use crate::store::{Image, ImageDisk};

/// Opens an image in the format that its manifest names.
pub(in crate::cli) async fn open_image(image: Image, format: &str) -> Result<Opened, CommandError> {
    if let Some(path) = image.path() {
        return Ok(scan::open::recorded(path, format).await?);
    }
    if matches!(format, "qcow2" | "raw") {
        let name = PathBuf::from(image.digest().to_string());
        let disk = ImageDisk::new(image);
        return Ok(scan::open::bytes(disk, format == "qcow2", &name)?);
    }
    // qemu-img reads the other formats, and needs a file. The file is deleted at the end; what was opened of it stays open.
    let cannot = |error| CommandError::io("cannot create a temporary file", &error);
    let file = tempfile::Builder::new()
        .prefix("karat-scan-")
        .tempfile()
        .map_err(cannot)?;
    let (mut target, path) = (file.reopen().map_err(cannot)?, file.path().to_owned());
    hash_stream::blocking(move |stop| image.write_to(&mut target, &path, stop)).await?;
    Ok(scan::open::recorded(file.path(), format).await?)
}
