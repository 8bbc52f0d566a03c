//! Disk images: probe, overlay and convert them with `qemu-img`; read, normalize and write them natively.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::os::hash_stream;

mod container_ids;
mod convert;
mod error;
pub(crate) mod gpt;
pub mod normalize;
mod qemu_img;
mod system_check;

pub mod clean;
pub(crate) mod content;
pub mod read;
pub mod tree;
pub mod write;

pub use convert::{ImageFile, convert, qemu_format};
pub use error::DiskError;
pub(crate) use normalize::change_times;
pub use normalize::{
    CleanedTree, NormalizeError, NormalizeRequest, NormalizedImage, cleaned_tree, creation_time,
    normalize, normalize_raw, open_disk, require_rewritable,
};
use qemu_img::{QemuImg, run};
pub(crate) use system_check::{
    check_file, native_format, require_bootable, require_disk, require_image, require_system,
    require_whole_disk,
};

/// A base image. Its format is detected once, on import, and is fixed from then on: bytes that a guest writes into a disk
/// never decide how the disk is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BaseImage {
    /// Path of the image file.
    pub path: PathBuf,
    /// `qemu-img`'s name of its format, as in `qcow2`, `raw`, `vmdk`, `vpc`.
    pub format: String,
}

/// Properties of an image file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImageInfo {
    /// `qemu-img`'s name of its format.
    pub format: String,
    /// Size of the disk that a guest sees, in bytes.
    pub virtual_size: u64,
    /// A dependency outside of the file: a backing file, an external data file, an extent, a key.
    pub needs: Option<String>,
}

impl ImageInfo {
    /// Refuses an image that needs another file: its author could name any file of this host.
    ///
    /// # Errors
    /// The image needs another file.
    pub fn require_standalone(self, path: &Path) -> Result<Self, DiskError> {
        match self.needs {
            Some(other) => Err(DiskError::NotStandalone {
                path: path.to_owned(),
                other,
            }),
            None => Ok(self),
        }
    }
}

/// The part of the output of `qemu-img info` that is needed here.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawInfo {
    format: String,
    virtual_size: u64,
    backing_filename: Option<String>,
    #[serde(default)]
    encrypted: bool,
    format_specific: Option<serde_json::Value>,
}

/// Inspects an untrusted image of unknown format, and refuses one that is not a whole disk.
///
/// # Errors
/// `qemu-img` is missing or cannot read the file, or the image needs another file.
pub async fn inspect(path: &Path) -> Result<ImageInfo, DiskError> {
    // Before qemu-img, which would open another file, wherever the image says that is.
    let checked = path.to_owned();
    hash_stream::blocking(move |_| require_whole_disk(&checked)).await?;
    inspect_as(path, None).await?.require_standalone(path)
}

async fn inspect_as(path: &Path, format: Option<&str>) -> Result<ImageInfo, DiskError> {
    // -U: ignore the lock of a build that runs on the same base.
    let mut command = QemuImg::new("info", path);
    command.args(["--output=json", "-U"]);
    if let Some(format) = format {
        command.args(["-f", format]);
    }
    let path = absolute(path)?;
    command.arg(&path);
    let output = run(command).await?;
    parse(&output, &path)
}

/// Parses the output of `qemu-img info`.
fn parse(output: &str, path: &Path) -> Result<ImageInfo, DiskError> {
    let info: RawInfo = serde_json::from_str(output).map_err(|source| DiskError::Answer {
        path: path.to_owned(),
        source,
    })?;
    let data = info
        .format_specific
        .as_ref()
        .map(|specific| &specific["data"]);
    let data_file = data.and_then(|data| data["data-file"].as_str());
    let extent = data
        .and_then(|data| data["extents"].as_array())
        .into_iter()
        .flatten()
        .filter_map(|extent| extent["filename"].as_str())
        .find(|extent| Path::new(extent) != path);
    let needs = info
        .backing_filename
        .or_else(|| data_file.or(extent).map(str::to_owned))
        .or_else(|| {
            info.encrypted
                .then(|| "a key, as it is encrypted".to_owned())
        });
    Ok(ImageInfo {
        format: info.format,
        virtual_size: info.virtual_size,
        needs,
    })
}

/// Creates a qcow2 overlay at `to` that takes all writes; the base is only read. `size` grows the disk.
///
/// # Errors
/// The base cannot be read, needs another file or is larger than `size`; or the overlay cannot be written.
pub async fn overlay(base: &BaseImage, to: &Path, size: Option<u64>) -> Result<(), DiskError> {
    let info = inspect_as(&base.path, Some(&base.format))
        .await?
        .require_standalone(&base.path)?;
    require_fit(size, info.virtual_size)?;
    let command = QemuImg::new("create", to);
    create_overlay(command, base, to, size.unwrap_or(info.virtual_size)).await
}

/// Creates a qcow2 overlay at `to` for the disk of a running guest, whose overlay `below` is kept as it is from then on.
///
/// # Errors
/// `below` cannot be read, or the overlay cannot be written.
pub async fn overlay_on_running(below: &Path, to: &Path) -> Result<(), DiskError> {
    let below = BaseImage {
        path: below.to_owned(),
        format: "qcow2".to_owned(),
    };
    let info = inspect_as(&below.path, Some(&below.format)).await?;
    let mut command = QemuImg::new("create", to);
    // -u: the disk below is in use, and is not opened.
    command.arg("-u");
    create_overlay(command, &below, to, info.virtual_size).await
}

async fn create_overlay(
    mut command: QemuImg,
    below: &BaseImage,
    to: &Path,
    size: u64,
) -> Result<(), DiskError> {
    command.args(["-q", "-f", "qcow2", "-F", &below.format, "-b"]);
    // qemu-img would look for a relative path beside the overlay.
    command.arg(absolute(&below.path)?);
    command.arg(absolute(to)?).arg(size.to_string());
    run(command).await.map(drop)
}

/// Refuses a `disk_size` that is smaller than the disk of the base.
pub(crate) fn require_fit(wanted: Option<u64>, base: u64) -> Result<(), DiskError> {
    match wanted {
        Some(wanted) if wanted < base => Err(DiskError::TooSmall { wanted, base }),
        _ => Ok(()),
    }
}

/// Converts an untrusted image to the raw file `raw`.
///
/// # Errors
/// The image needs another file, or `qemu-img` cannot read it.
pub async fn to_raw(path: &Path, raw: &Path) -> Result<(), DiskError> {
    let info = inspect(path).await?;
    let mut command = QemuImg::new("convert", path);
    command.args(["-f", &info.format, "-O", "raw"]);
    command.arg(absolute(path)?).arg(absolute(raw)?);
    run(command).await.map(drop)
}

/// Makes a path absolute: `qemu-img` never takes such a path for an option or a protocol (`nbd:...`).
fn absolute(path: &Path) -> Result<PathBuf, DiskError> {
    std::path::absolute(path).map_err(DiskError::write(path))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_an_image_needs_besides_itself_is_seen() {
        let path = Path::new("/images/base.vmdk");
        for (output, needs) in [
            (
                r#"{"format": "qcow2", "virtual-size": 1, "format-specific": {"type": "qcow2", "data": {"compat": "1.1"}}}"#,
                None,
            ),
            (r#"{"format": "raw", "virtual-size": 1}"#, None),
            (
                r#"{"format": "qcow2", "virtual-size": 1, "backing-filename": "x", "full-backing-filename": "/etc/shadow"}"#,
                Some("x"),
            ),
            (
                r#"{"format": "qcow2", "virtual-size": 1, "backing-filename": "/etc/shadow"}"#,
                Some("/etc/shadow"),
            ),
            (
                r#"{"format": "qcow2", "virtual-size": 1, "format-specific": {"data": {"data-file": "/dev/sda"}}}"#,
                Some("/dev/sda"),
            ),
            (
                r#"{"format": "vmdk", "virtual-size": 1, "format-specific": {"data": {"extents": [{"filename": "/images/base.vmdk"}]}}}"#,
                None,
            ),
            (
                r#"{"format": "vmdk", "virtual-size": 1, "format-specific": {"data": {"extents": [{"filename": "/etc/shadow"}]}}}"#,
                Some("/etc/shadow"),
            ),
        ] {
            assert_eq!(
                parse(output, path).unwrap().needs.as_deref(),
                needs,
                "{output}"
            );
        }
        assert!(parse("qemu-img: help", path).is_err());
    }

    #[tokio::test]
    async fn an_overlay_grows_and_never_shrinks_its_base() {
        let directory = tempfile::tempdir().unwrap();
        let base = BaseImage {
            path: directory.path().join("a b,c.img"),
            format: "raw".into(),
        };
        fs::File::create(&base.path)
            .unwrap()
            .set_len(4 << 20)
            .unwrap();
        let info = inspect(&base.path).await.unwrap();
        assert_eq!(
            (info.format.as_str(), info.virtual_size, &info.needs),
            ("raw", 4 << 20, &None)
        );
        for (name, size, expected) in [
            ("same", None, Some(4 << 20)),
            ("grown", Some(8 << 20), Some(8 << 20)),
            ("shrunk", Some(1 << 20), None),
        ] {
            let to = directory.path().join(name);
            let made = overlay(&base, &to, size).await;
            assert_eq!(made.is_ok(), expected.is_some(), "{name}: {made:?}");
            if let Some(expected) = expected {
                let info = inspect_as(&to, Some("qcow2")).await.unwrap();
                assert_eq!(info.virtual_size, expected);
                assert!(inspect(&to).await.is_err(), "an overlay is not a base");
            }
        }
    }

    #[tokio::test]
    async fn a_qcow2_header_written_into_a_raw_base_does_not_change_how_it_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("inner.qcow2");
        let base = BaseImage {
            path: directory.path().join("base.img"),
            format: "raw".into(),
        };
        fs::write(directory.path().join("secret"), vec![7; 1 << 20]).unwrap();
        let secret = BaseImage {
            path: directory.path().join("secret"),
            format: "raw".into(),
        };
        overlay(&secret, &inner, None).await.unwrap();
        fs::copy(&inner, &base.path).unwrap();
        overlay(&base, &directory.path().join("disk.qcow2"), None)
            .await
            .unwrap();
        let unsafe_base = BaseImage {
            format: "qcow2".into(),
            ..base
        };
        let refused = overlay(&unsafe_base, &directory.path().join("other.qcow2"), None).await;
        assert!(
            matches!(refused, Err(DiskError::NotStandalone { .. })),
            "{refused:?}"
        );
    }

    fn qemu_img(directory: &Path, arguments: &str) {
        let status = std::process::Command::new("qemu-img")
            .args(arguments.split(' '))
            .current_dir(directory)
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "qemu-img {arguments}");
    }

    #[tokio::test]
    async fn only_whole_disks_are_bases() {
        let scratch = tempfile::tempdir().unwrap();
        let at = scratch.path();
        for arguments in [
            "create -f qcow2 plain.qcow2 8M",
            "create -f qcow2 -o compat=0.10 old.qcow2 8M",
            "create -f vmdk plain.vmdk 8M",
            "create -f qcow2 -b plain.qcow2 -F qcow2 overlay.qcow2",
            "create -f qcow2 -o data_file=data.raw data.qcow2 8M",
            "create -f vmdk -o subformat=monolithicFlat flat.vmdk 8M",
        ] {
            qemu_img(at, arguments);
        }
        for (file, expected) in [
            ("plain.qcow2", Ok("qcow2")),
            ("old.qcow2", Ok("qcow2")),
            ("plain.vmdk", Ok("vmdk")),
            ("overlay.qcow2", Err("backing file")),
            ("data.qcow2", Err("data file")),
            ("flat.vmdk", Err("flat-flat.vmdk")),
            ("missing", Err("cannot read")),
        ] {
            match (inspect(&at.join(file)).await, expected) {
                (Ok(info), Ok(name)) => {
                    assert_eq!((info.format.as_str(), info.virtual_size), (name, 8 << 20));
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
        fs::write(&path, vec![0; 1 << 20]).unwrap();
        let info = inspect(&path).await.unwrap();
        assert_eq!((info.format.as_str(), info.virtual_size), ("raw", 1 << 20));
    }
}
