//! The format of a disk image, detected once. A guest can write any header into a raw disk, so from then on the
//! format is given to QEMU explicitly and never probed again.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use miette::Diagnostic;
use serde::Deserialize;
use thiserror::Error;

/// Bytes of a qcow2 header that say whether other files are involved.
const HEADER: usize = 80;

/// Incompatible feature bit 2 of qcow2: guest data is in another file.
const EXTERNAL_DATA: u64 = 1 << 2;

/// What qemu-img says about an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Format {
    /// QEMU's name for it: `qcow2`, `raw`, `vmdk`, ...
    pub name: String,
    /// Size of the disk that a guest sees.
    pub virtual_size: u64,
}

/// Why an image cannot be a base.
#[derive(Debug, Error, Diagnostic)]
pub enum FormatError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The image.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// qemu-img cannot be run.
    #[error("cannot run qemu-img")]
    #[diagnostic(help("install it (Debian and Ubuntu: package qemu-utils)"))]
    NoTool(#[source] io::Error),
    /// qemu-img does not like the image.
    #[error("qemu-img cannot read {}: {message}", path.display())]
    #[diagnostic(help(
        "check that the file is a whole disk image and that no virtual machine is using it"
    ))]
    Refused {
        /// The image.
        path: PathBuf,
        /// The end of what qemu-img wrote.
        message: String,
    },
    /// It is only a part of a disk.
    #[error("{} is not a whole disk: {needs}", path.display())]
    #[diagnostic(help(
        "its digest would say nothing about that; make a standalone image with \
         `qemu-img convert -O qcow2 {} standalone.qcow2`", path.display()
    ))]
    NotWhole {
        /// The image.
        path: PathBuf,
        /// What else it needs.
        needs: String,
    },
}

/// The part of `qemu-img info --output=json` that matters here.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Info {
    format: String,
    virtual_size: u64,
    backing_filename: Option<String>,
    #[serde(default)]
    encrypted: bool,
    #[serde(default)]
    format_specific: Specific,
}

#[derive(Deserialize, Default)]
struct Specific {
    #[serde(default)]
    data: SpecificData,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
struct SpecificData {
    data_file: Option<String>,
    #[serde(default)]
    extents: Vec<Extent>,
}

#[derive(Deserialize)]
struct Extent {
    filename: Option<PathBuf>,
}

/// Detects the format of the image at `path`, which must stand alone.
///
/// # Errors
/// See [`FormatError`].
pub async fn detect(path: &Path) -> Result<Format, FormatError> {
    let read = |source| FormatError::Read {
        path: path.to_owned(),
        source,
    };
    let not_whole = |needs: String| FormatError::NotWhole {
        path: path.to_owned(),
        needs,
    };
    // An absolute path cannot be taken for a protocol such as `nbd:`.
    let absolute = std::path::absolute(path).map_err(read)?;
    // Looked at before qemu-img is: it would open the other file, wherever the image says that is.
    if let Some(needs) = qcow2_needs(&header(&absolute).map_err(read)?) {
        return Err(not_whole(needs.to_owned()));
    }
    let output = tokio::process::Command::new("qemu-img")
        .args(["info", "--output=json", "--"])
        .arg(&absolute)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(FormatError::NoTool)?;
    let refused = |message: String| FormatError::Refused {
        path: path.to_owned(),
        message,
    };
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let start = text.ceil_char_boundary(text.len().saturating_sub(4096));
        return Err(refused(text[start..].trim().to_owned()));
    }
    let info: Info =
        serde_json::from_slice(&output.stdout).map_err(|error| refused(error.to_string()))?;
    if let Some(needs) = needs(&info, &absolute) {
        return Err(not_whole(needs));
    }
    Ok(Format {
        name: info.format,
        virtual_size: info.virtual_size,
    })
}

fn needs(info: &Info, path: &Path) -> Option<String> {
    if let Some(backing) = &info.backing_filename {
        return Some(format!("it has the backing file {backing:?}"));
    }
    let specific = &info.format_specific.data;
    if let Some(data) = &specific.data_file {
        return Some(format!("its data is in the file {data:?}"));
    }
    let mut extents = specific
        .extents
        .iter()
        .filter_map(|extent| extent.filename.as_deref());
    if let Some(other) = extents.find(|extent| *extent != path) {
        return Some(format!("a part of it is in the file {}", other.display()));
    }
    info.encrypted
        .then(|| "it is encrypted, and needs a key".to_owned())
}

fn header(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(HEADER);
    File::open(path)?
        .take(HEADER as u64)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What else an image with this qcow2 header needs.
fn qcow2_needs(header: &[u8]) -> Option<&'static str> {
    let number = |at: usize| {
        let bytes = header.get(at..at + 8)?.try_into().ok()?;
        Some(u64::from_be_bytes(bytes))
    };
    if !header.starts_with(b"QFI\xfb") {
        return None;
    }
    // Version 2 has no feature bits: there these bytes belong to something else.
    let has_features = header.get(4..8)? != [0, 0, 0, 2];
    if number(8)? != 0 {
        Some("it has a backing file")
    } else if has_features && number(72)? & EXTERNAL_DATA != 0 {
        Some("its data is in another file")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn qemu_img(directory: &Path, arguments: &[&str]) {
        let status = std::process::Command::new("qemu-img")
            .args(arguments)
            .current_dir(directory)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "qemu-img {arguments:?}");
    }

    #[tokio::test]
    async fn only_whole_disks_are_bases() {
        let scratch = tempfile::tempdir().unwrap();
        let at = scratch.path();
        let size = "8M";
        qemu_img(at, &["create", "-f", "qcow2", "plain.qcow2", size]);
        qemu_img(
            at,
            &[
                "create",
                "-f",
                "qcow2",
                "-o",
                "compat=0.10",
                "old.qcow2",
                size,
            ],
        );
        qemu_img(at, &["create", "-f", "vmdk", "plain.vmdk", size]);
        qemu_img(
            at,
            &[
                "create",
                "-f",
                "qcow2",
                "-b",
                "plain.qcow2",
                "-F",
                "qcow2",
                "overlay.qcow2",
            ],
        );
        let data = "data_file=data.raw";
        qemu_img(
            at,
            &["create", "-f", "qcow2", "-o", data, "data.qcow2", size],
        );
        let flat = "subformat=monolithicFlat";
        qemu_img(at, &["create", "-f", "vmdk", "-o", flat, "flat.vmdk", size]);
        for (file, expected) in [
            ("plain.qcow2", Ok("qcow2")),
            ("old.qcow2", Ok("qcow2")),
            ("plain.vmdk", Ok("vmdk")),
            ("overlay.qcow2", Err("backing file")),
            ("data.qcow2", Err("another file")),
            ("flat.vmdk", Err("in the file")),
            ("missing", Err("cannot read")),
        ] {
            match (detect(&at.join(file)).await, expected) {
                (Ok(format), Ok(name)) => {
                    assert_eq!(
                        (format.name.as_str(), format.virtual_size),
                        (name, 8 << 20),
                        "{file}"
                    );
                }
                (Err(error), Err(text)) => {
                    assert!(error.to_string().contains(text), "{file}: {error}");
                }
                (outcome, _) => panic!("{file}: {outcome:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_name_that_looks_like_a_protocol_is_a_file() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("nbd:disk.raw");
        std::fs::write(&path, vec![0; 1 << 20]).unwrap();
        let format = detect(&path).await.unwrap();
        assert_eq!(
            (format.name.as_str(), format.virtual_size),
            ("raw", 1 << 20)
        );
    }
}
