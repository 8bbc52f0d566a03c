//! Converts the overlay of a stopped guest to a standalone, compact image file with its digest.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::path::Path;

use super::qemu_img::{QemuImg, run_with};
use super::{DiskError, absolute, inspect_as};
use crate::digest::Digest;
use crate::os::atomic_file::Unfinished;
use crate::os::hash_stream;
use crate::plan::Format;
use crate::ui::{Bar, Ui};

/// Upper limit of `qemu-img convert -m`.
const MAX_COROUTINES: usize = 16;
/// Permission bits of an image file: an image holds no secrets.
const IMAGE_MODE: u32 = 0o644;

/// Sizes and digest of a finished image file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImageFile {
    /// Size of the disk that a guest sees, in bytes.
    pub virtual_size: u64,
    /// Size of the file in bytes.
    pub size: u64,
    /// SHA-256 of the file.
    pub digest: Digest,
}

/// Writes the disk that `overlay` (qcow2) and its base make together to a new file `to`.
///
/// The image is written beside its target, synced, then renamed: a failed run leaves nothing under the final name.
///
/// # Errors
/// `to` exists, the disk is full, or `qemu-img` fails.
pub async fn convert(
    overlay: &Path,
    format: Format,
    to: &Path,
    ui: &Ui,
) -> Result<ImageFile, DiskError> {
    let write = DiskError::write(to);
    if to.try_exists().map_err(&write)? {
        return Err(DiskError::Exists {
            path: to.to_owned(),
        });
    }
    let virtual_size = inspect_as(overlay, Some("qcow2")).await?.virtual_size;
    let file = create(to)?;
    let mut call = QemuImg::new("convert", to);
    // karat made the overlay, and a guest cannot reach its header, so the base that it names can be trusted.
    call.args(["-p", "-f", "qcow2"]);
    call.args(options(format).iter().copied());
    call.args(["-m", &coroutines().to_string()]);
    call.arg(absolute(overlay)?).arg(absolute(file.path())?);
    let bar = ui.bar("writing the image", Some(virtual_size));
    run_convert(call, &bar, virtual_size).await?;
    drop(bar);
    let size = file.path().metadata().map_err(&write)?.len();
    let bar = ui.bar("hashing the image", Some(size));
    let path = file.path().to_owned();
    let (digest, size) = hash_stream::blocking(move |stop| {
        let mut written = File::open(path)?;
        let hashed = hash_stream::digest(&mut written, stop, |bytes| bar.advance(bytes))?;
        written.sync_all()?;
        Ok(hashed)
    })
    .await
    .map_err(write)?;
    // On this thread: a rename on another one could still happen after the caller was cancelled.
    place(file, to)?;
    Ok(ImageFile {
        virtual_size,
        size,
        digest,
    })
}

/// Creates an empty file beside `to`, which is removed unless it gets that name.
pub(super) fn create(to: &Path) -> Result<Unfinished, DiskError> {
    Unfinished::create(to, IMAGE_MODE).map_err(DiskError::write(to))
}

/// Renames a file to its target unless that exists: another build may have finished under the same name meanwhile.
pub(super) fn place(file: Unfinished, target: &Path) -> Result<(), DiskError> {
    let path = target.to_owned();
    file.finish_new().map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => DiskError::Exists { path },
        _ => DiskError::Write { path, source },
    })
}

/// Converts a raw disk of `size` bytes to another format, sequentially: in parallel, the bytes would differ between runs.
pub(super) async fn repack(
    raw: &Path,
    format: Format,
    file: &Path,
    to: &Path,
    bar: &Bar,
    size: u64,
) -> Result<(), DiskError> {
    let mut call = QemuImg::new("convert", to);
    // One coroutine: with more, the order of the writes depends on which of them is ready first.
    call.args(["-p", "-m", "1", "-f", "raw"]);
    let sequential = options(format).iter().filter(|option| **option != "-W");
    call.args(sequential.copied());
    call.arg(absolute(raw)?).arg(absolute(file)?);
    run_convert(call, bar, size).await
}

async fn run_convert(call: QemuImg, bar: &Bar, total: u64) -> Result<(), DiskError> {
    let mut progress = Progress::default();
    run_with(call, &mut |bytes| bar.advance(progress.push(bytes, total))).await
}

/// Returns the options for a format: compressed where the format can be, else sparse.
fn options(format: Format) -> &'static [&'static str] {
    match format {
        // -W: clusters are compressed in parallel and written in the order in which they are ready.
        Format::Qcow2 => &["-O", "qcow2", "-c", "-W", "-o", "compression_type=zstd"],
        Format::Raw => &["-O", "raw", "-W"],
        // The subformat that the import tools of VMware and the clouds accept; it can only be written sequentially.
        Format::Vmdk => &["-O", "vmdk", "-o", "subformat=streamOptimized"],
        // Without `force_size` the disk would be rounded to a geometry, and the backup partition table be misplaced.
        Format::Vhd => &["-O", "vpc", "-W", "-o", "subformat=dynamic,force_size=on"],
    }
}

/// Returns QEMU's name of a format.
#[must_use]
pub fn qemu_format(format: Format) -> &'static str {
    match format {
        Format::Qcow2 => "qcow2",
        Format::Raw => "raw",
        Format::Vmdk => "vmdk",
        Format::Vhd => "vpc",
    }
}

fn coroutines() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    (processors * 2).clamp(2, MAX_COROUTINES)
}

/// Parses the output of `qemu-img convert -p`: `    (12.34/100%)`, each followed by a carriage return.
#[derive(Default)]
struct Progress {
    line: Vec<u8>,
    done: u64,
}

impl Progress {
    /// Adds output and returns the number of bytes of `total` that it reports as newly done.
    fn push(&mut self, bytes: &[u8], total: u64) -> u64 {
        let before = self.done;
        for &byte in bytes {
            if byte != b'\r' && byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            if let Some(hundredths) = hundredths(&self.line) {
                let done = u128::from(total) * u128::from(hundredths.min(10_000)) / 10_000;
                self.done = self.done.max(u64::try_from(done).unwrap_or(total));
            }
            self.line.clear();
        }
        self.done - before
    }
}

/// Returns the hundredths of a percent in one line of progress.
fn hundredths(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line)
        .ok()?
        .trim()
        .strip_prefix('(')?
        .strip_suffix("/100%)")?;
    let (whole, fraction) = text.split_once('.')?;
    let fraction: u64 = fraction.get(..2)?.parse().ok()?;
    Some(whole.parse::<u64>().ok()? * 100 + fraction)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::process::Command;

    use super::super::{BaseImage, inspect, overlay};
    use super::*;

    #[test]
    fn progress_is_read_in_any_pieces() {
        let mut progress = Progress::default();
        for (bytes, more) in [
            (&b"    (0.00/100%)\r    (1"[..], 0),
            (b"2.50/100%)", 0),
            (b"\r", 125),
            (b"    (12.50/100%)\rnonsense\r(x/100%)\r", 0),
            (b"    (100.00/100%)\r    (100.00/100%)\r\n", 875),
        ] {
            assert_eq!(
                progress.push(bytes, 1000),
                more,
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    /// A base of 8 MiB with a pattern, and an overlay grown to 16 MiB.
    async fn disk(directory: &Path) -> (PathBuf, Vec<u8>) {
        let base = BaseImage {
            path: directory.join("base.img"),
            format: "raw".into(),
        };
        let mut content: Vec<u8> = (0..8 << 12)
            .flat_map(|at: u32| [at.to_le_bytes()[0]; 256])
            .collect();
        fs::write(&base.path, &content).unwrap();
        let disk = directory.join("disk.qcow2");
        overlay(&base, &disk, Some(16 << 20)).await.unwrap();
        content.resize(16 << 20, 0);
        (disk, content)
    }

    #[tokio::test]
    async fn every_format_is_standalone_and_holds_the_same_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let (overlay, content) = disk(directory.path()).await;
        for (format, name) in [
            (Format::Qcow2, "qcow2"),
            (Format::Raw, "raw"),
            (Format::Vmdk, "vmdk"),
            (Format::Vhd, "vpc"),
        ] {
            let to = directory.path().join(format!("image.{name}"));
            let finished = convert(&overlay, format, &to, &Ui::default())
                .await
                .unwrap();
            let bytes = fs::read(&to).unwrap();
            assert_eq!(
                (finished.size, finished.digest),
                (bytes.len() as u64, Digest::of(&bytes)),
                "{name}"
            );
            let info = inspect(&to).await.unwrap();
            assert_eq!(
                (info.format.as_str(), info.virtual_size, &info.needs),
                (name, 16 << 20, &None)
            );
            let raw = directory.path().join("raw");
            let status = Command::new("qemu-img")
                .args(["convert", "-f", name, "-O", "raw"])
                .args([&to, &raw])
                .status();
            assert!(status.unwrap().success());
            assert!(
                fs::read(&raw).unwrap() == content,
                "{name} holds other bytes"
            );
        }
        let info = Command::new("qemu-img")
            .arg("info")
            .arg(directory.path().join("image.qcow2"))
            .output()
            .unwrap();
        assert!(String::from_utf8_lossy(&info.stdout).contains("compression type: zstd"));
    }

    #[tokio::test]
    async fn nothing_is_left_when_it_fails_and_nothing_is_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let (overlay, _) = disk(directory.path()).await;
        let outputs = tempfile::tempdir().unwrap();
        let to = outputs.path().join("image.qcow2");
        fs::remove_file(directory.path().join("base.img")).unwrap();
        let failed = convert(&overlay, Format::Qcow2, &to, &Ui::default()).await;
        assert!(
            matches!(failed, Err(DiskError::Failed { .. })),
            "{failed:?}"
        );
        assert_eq!(fs::read_dir(outputs.path()).unwrap().count(), 0);
        fs::write(&to, "mine").unwrap();
        let refused = convert(&overlay, Format::Qcow2, &to, &Ui::default()).await;
        assert!(
            matches!(refused, Err(DiskError::Exists { .. })),
            "{refused:?}"
        );
        assert_eq!(fs::read(&to).unwrap(), b"mine");
        let nowhere = convert(
            &overlay,
            Format::Qcow2,
            Path::new("/nonexistent/image"),
            &Ui::default(),
        )
        .await;
        assert!(
            matches!(nowhere, Err(DiskError::Write { .. })),
            "{nowhere:?}"
        );
    }

    #[tokio::test]
    async fn a_dropped_conversion_leaves_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let (overlay, _) = disk(directory.path()).await;
        let outputs = tempfile::tempdir().unwrap();
        let to = outputs.path().join("image.qcow2");
        // The child creates its file at an unpredictable moment.

        for millis in [1, 2, 3, 5, 7, 10, 15, 20, 30] {
            let ui = Ui::default();
            let finishing = convert(&overlay, Format::Qcow2, &to, &ui);
            let limit = std::time::Duration::from_millis(millis);
            if tokio::time::timeout(limit, finishing).await.is_err() {
                assert_eq!(
                    fs::read_dir(outputs.path()).unwrap().count(),
                    0,
                    "after {millis} ms"
                );
            }
        }
    }
}
