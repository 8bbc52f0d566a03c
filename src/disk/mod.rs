//! Disks: an overlay for a guest to write to, and the finished, standalone image made of it.
//!
//! A format is always given to qemu-img, never probed: a guest can write any header.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use miette::Diagnostic;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, BufReader};

use crate::base::BaseDisk;
use crate::child;
use crate::digest::Digest;
use crate::hashing;
use crate::plan::Format;
use crate::ui::{Bar, Ui};

/// Why a disk could not be made.
#[derive(Debug, Error, Diagnostic)]
pub enum DiskError {
    /// The disk cannot shrink.
    #[error("disk_size is {wanted} bytes, and the base's disk has {base} already")]
    #[diagnostic(help("make `disk_size` at least as large as the base, or leave it out"))]
    TooSmall {
        /// `disk_size`.
        wanted: u64,
        /// Size of the base's disk.
        base: u64,
    },
    /// qemu-img cannot be run.
    #[error("cannot run qemu-img")]
    #[diagnostic(help("install it (Debian and Ubuntu: package qemu-utils)"))]
    NoTool(#[source] io::Error),
    /// qemu-img failed.
    #[error("qemu-img could not write {}: {message}", path.display())]
    #[diagnostic(help("free some space, or choose another place with `KARAT_CACHE`"))]
    Refused {
        /// What it should have written.
        path: PathBuf,
        /// The end of what it said.
        message: String,
    },
    /// The finished image cannot be read back.
    #[error("cannot read {}", path.display())]
    Read {
        /// The image.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A finished, standalone image file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finished {
    /// Where it is.
    pub path: PathBuf,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Size of the file in bytes.
    pub size: u64,
    /// Size of the disk that a guest sees, in bytes.
    pub virtual_size: u64,
    /// Its format.
    pub format: Format,
}

impl Finished {
    /// The image as something to boot from.
    #[must_use]
    pub fn as_base(&self) -> BaseDisk {
        BaseDisk {
            path: self.path.clone(),
            format: driver(self.format).to_owned(),
            digest: self.digest,
            size: self.size,
            virtual_size: self.virtual_size,
        }
    }
}

/// QEMU's name for a format.
fn driver(format: Format) -> &'static str {
    match format {
        Format::Qcow2 => "qcow2",
        Format::Raw => "raw",
        Format::Vmdk => "vmdk",
        Format::Vhd => "vpc",
    }
}

/// Makes a qcow2 overlay on `base` at `to`, grown to `size` bytes. Returns the size of its disk.
///
/// # Errors
/// `size` is smaller than the base, or qemu-img fails.
pub async fn overlay(base: &BaseDisk, to: &Path, size: Option<u64>) -> Result<u64, DiskError> {
    let size = size.unwrap_or(base.virtual_size);
    if size < base.virtual_size {
        return Err(DiskError::TooSmall {
            wanted: size,
            base: base.virtual_size,
        });
    }
    let output = child::command("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-F", &base.format, "-b"])
        .arg(&base.path)
        .arg("--")
        .arg(to)
        .arg(size.to_string())
        .output()
        .await
        .map_err(DiskError::NoTool)?;
    if output.status.success() {
        return Ok(size);
    }
    Err(DiskError::Refused {
        path: to.to_owned(),
        message: child::complaint(&output),
    })
}

/// Writes what the overlay and its base hold as one image file at `to`, and takes its digest.
///
/// # Errors
/// qemu-img fails (disk full), or the result cannot be read.
pub async fn finish(
    overlay: &Path,
    virtual_size: u64,
    format: Format,
    to: &Path,
    ui: &Ui,
) -> Result<Finished, DiskError> {
    convert(overlay, virtual_size, format, to, ui).await?;
    let read = |source| DiskError::Read {
        path: to.to_owned(),
        source,
    };
    let size = to.metadata().map_err(read)?.len();
    let bar = ui.bar("hashing the image", Some(size));
    let path = to.to_owned();
    let hashed = hashing::blocking(move |stop| {
        hashing::digest(File::open(path)?, stop, |bytes| bar.advance(bytes))
    });
    let (digest, size) = hashed.await.map_err(read)?;
    Ok(Finished {
        path: to.to_owned(),
        digest,
        size,
        virtual_size,
        format,
    })
}

async fn convert(
    overlay: &Path,
    virtual_size: u64,
    format: Format,
    to: &Path,
    ui: &Ui,
) -> Result<(), DiskError> {
    let mut command = child::command("qemu-img");
    command.args([
        "convert",
        "-p",
        "-W",
        "-m",
        "8",
        "-f",
        "qcow2",
        "-O",
        driver(format),
    ]);
    match format {
        Format::Qcow2 => {
            command.args(["-c", "-o", "compression_type=zstd"]);
        }
        Format::Vmdk => {
            command.args(["-c", "-o", "subformat=streamOptimized"]);
        }
        // A VHD's size is rounded up to whole cylinders unless told not to.
        Format::Vhd => {
            command.args(["-o", "force_size=on"]);
        }
        Format::Raw => {}
    }
    command
        .arg("--")
        .arg(overlay)
        .arg(to)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(DiskError::NoTool)?;
    let bar = ui.bar("writing the image", Some(virtual_size));
    let stdout = child.stdout.take().expect("stdout is piped");
    let (output, ()) = tokio::join!(child.wait_with_output(), follow(stdout, virtual_size, &bar));
    let output = output.map_err(DiskError::NoTool)?;
    if output.status.success() {
        return Ok(());
    }
    Err(DiskError::Refused {
        path: to.to_owned(),
        message: child::complaint(&output),
    })
}

/// Moves the bar as qemu-img prints `    (12.34/100%)` after a carriage return, again and again.
async fn follow(stdout: impl tokio::io::AsyncRead + Unpin, total: u64, bar: &Bar) {
    let mut stdout = BufReader::new(stdout);
    let (mut text, mut chunk, mut done) = (String::new(), [0; 256], 0);
    while let Ok(length @ 1..) = stdout.read(&mut chunk).await {
        text.push_str(&String::from_utf8_lossy(&chunk[..length]));
        while let Some(end) = text.find('\r') {
            let now = hundredths(&text[..end]).map_or(done, |part| total / 10_000 * part);
            bar.advance(now.saturating_sub(done));
            done = done.max(now);
            text.drain(..=end);
        }
    }
}

/// The hundredths of a per cent in `(12.34/100%)`.
fn hundredths(text: &str) -> Option<u64> {
    let number = text.split_once('(')?.1.split_once('/')?.0;
    let (whole, part) = number.split_once('.')?;
    Some(whole.parse::<u64>().ok()? * 100 + part.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read() {
        for (text, expected) in [
            ("    (0.00/100%)", Some(0)),
            ("    (12.34/100%)", Some(1234)),
            ("    (100.00/100%)", Some(10_000)),
            ("", None),
            ("(x/100%)", None),
        ] {
            assert_eq!(hundredths(text), expected, "reading {text:?}");
        }
    }

    #[tokio::test]
    async fn an_overlay_becomes_a_standalone_image_in_every_format() {
        let scratch = tempfile::tempdir().unwrap();
        let raw = scratch.path().join("base.raw");
        std::fs::write(&raw, vec![7; 1 << 20]).unwrap();
        let base = BaseDisk {
            path: raw,
            format: "raw".to_owned(),
            digest: Digest::of(b""),
            size: 1 << 20,
            virtual_size: 1 << 20,
        };
        let over = scratch.path().join("overlay");
        assert!(matches!(
            overlay(&base, &over, Some(4096)).await,
            Err(DiskError::TooSmall { .. })
        ));
        let size = overlay(&base, &over, Some(2 << 20)).await.unwrap();
        for format in [Format::Qcow2, Format::Raw, Format::Vmdk, Format::Vhd] {
            let to = scratch.path().join(driver(format));
            let finished = finish(&over, size, format, &to, &Ui::default())
                .await
                .unwrap();
            assert_eq!(finished.digest, Digest::of(&std::fs::read(&to).unwrap()));
            let found = crate::base::format::detect(&to).await.unwrap();
            assert_eq!(
                (found.name.as_str(), found.virtual_size),
                (driver(format), 2 << 20)
            );
        }
        let full = finish(
            &over,
            size,
            Format::Raw,
            Path::new("/dev/full/no"),
            &Ui::default(),
        )
        .await;
        assert!(matches!(full, Err(DiskError::Refused { .. })));
    }
}
