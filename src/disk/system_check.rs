//! Refuses files that are not disks, and disks without a system. Reads a few sectors and a directory, without `qemu-img`.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use super::read::partitions::{SECTOR, boot};
use super::read::qcow2::{Layer, external_file, hidden_content, open_chain};
use super::read::{self, BlockRead, RawFile, ReadError, partitions};
use super::{BaseImage, DiskError};

/// Offset of the first volume descriptor of ISO 9660, behind its type byte, and the identifier there.
const ISO_MAGIC: (u64, &[u8]) = (0x8001, b"CD001");
/// Magic numbers of gzip, xz, zstd, bzip2, zip and 7-Zip.
const COMPRESSED_MAGICS: [&[u8]; 6] = [
    &[0x1f, 0x8b],
    b"\xfd7zXZ",
    &[0x28, 0xb5, 0x2f, 0xfd],
    b"BZh",
    b"PK\x03\x04",
    b"7z\xbc\xaf",
];
/// Offsets and magic numbers of disk formats besides qcow2 and raw. A fixed VHD cannot be told from a raw disk, and is
/// one with 512 extra bytes.
const OTHER_FORMATS: [(usize, &[u8]); 6] = [
    (0, b"KDMV"),
    (0, b"COWD"),
    (0, b"# Disk DescriptorFile"),
    (0, b"conectix"),
    (0, b"vhdxfile"),
    (0x40, b"\x7f\x10\xda\xbe"),
];

/// Root file system of a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Root {
    Present,
    Missing,
    /// The disk or one of its file systems is of a kind that karat cannot read.
    Unknown,
}

/// Returns the format of a file that karat reads itself, `qcow2` or `raw`; `None` for the others.
pub(crate) fn native_format(path: &Path) -> io::Result<Option<&'static str>> {
    let mut head = Vec::new();
    File::open(path)?.take(SECTOR).read_to_end(&mut head)?;
    let is_other =
        |(at, magic): &(usize, &[u8])| head.get(*at..).is_some_and(|rest| rest.starts_with(magic));
    Ok(if head.starts_with(b"QFI\xfb") {
        Some("qcow2")
    } else if OTHER_FORMATS.iter().any(is_other) {
        None
    } else {
        Some("raw")
    })
}

/// Checks a file of unknown format as far as karat reads it. Returns the size of its disk, if that is known.
///
/// # Errors
/// The file cannot be read, needs another file, or has no system.
pub(crate) fn check_file(path: &Path) -> Result<Option<u64>, DiskError> {
    let Some(format) = native_format(path).map_err(DiskError::read(path))? else {
        return Ok(None);
    };
    require_whole_disk(path)?;
    let image = BaseImage {
        path: path.to_owned(),
        format: format.to_owned(),
    };
    let disk = Disk::open(&image);
    disk.require_system()?;
    Ok(disk.blocks.map(|blocks| blocks.len()))
}

/// Refuses a qcow2 file that needs another file, or holds more than its disk. Other formats pass.
///
/// # Errors
/// The file cannot be read, needs another file, or has content that does not belong to its disk.
pub(crate) fn require_whole_disk(path: &Path) -> Result<(), DiskError> {
    if let Some(other) = external_file(path).map_err(DiskError::read(path))? {
        return Err(DiskError::NotStandalone {
            path: path.to_owned(),
            other: other.to_owned(),
        });
    }
    let hidden = RawFile::open(path).and_then(|file| hidden_content(&file));
    match hidden.map_err(|error| DiskError::read(path)(io::Error::other(error)))? {
        Some(what) => Err(DiskError::HiddenContent {
            path: path.to_owned(),
            what,
        }),
        None => Ok(()),
    }
}

/// Refuses a file that is not a disk, and a disk in which karat sees no system that boots. A disk that karat cannot read passes.
///
/// # Errors
/// The file cannot be read, is not a disk, has no boot sector, or has no root file system.
pub(crate) fn require_system(image: &BaseImage) -> Result<(), DiskError> {
    Disk::open(image).require_system()
}

/// Checks an image that another builder made. A root file system without a boot sector is one, too.
///
/// # Errors
/// The file cannot be read, is not a disk, or has neither a root file system nor a boot sector.
pub(crate) fn require_image(image: &BaseImage) -> Result<(), DiskError> {
    let disk = Disk::open(image);
    match disk.root() {
        Root::Missing => disk.require_bootable(),
        Root::Present | Root::Unknown => disk.require_disk(),
    }
}

/// Refuses a disk that no firmware boots.
///
/// # Errors
/// The file cannot be read, is not a disk, or its first sector has no boot signature, which MBR and GPT have too.
pub(crate) fn require_bootable(image: &BaseImage) -> Result<(), DiskError> {
    Disk::open(image).require_bootable()
}

/// Refuses a file that qemu-img takes for a raw disk because it takes any file for one, and an ISO.
///
/// # Errors
/// The file cannot be read, does not consist of sectors, is compressed, text or an ISO.
pub(crate) fn require_disk(image: &BaseImage) -> Result<(), DiskError> {
    Disk::open(image).require_disk()
}

/// An image that is being checked.
struct Disk<'a> {
    image: &'a BaseImage,
    /// `None` if it is damaged or in a format that karat does not read.
    blocks: Option<Arc<dyn BlockRead>>,
}

impl<'a> Disk<'a> {
    fn open(image: &'a BaseImage) -> Self {
        let path = image.path.clone();
        let layer = match image.format.as_str() {
            "raw" => Some(Layer::Raw(path)),
            "qcow2" => Some(Layer::Qcow2(path)),
            _ => None,
        };
        let blocks = layer.and_then(|layer| open_chain(&[layer]).ok());
        Self { image, blocks }
    }

    fn require_system(&self) -> Result<(), DiskError> {
        self.require_bootable()?;
        match self.root() {
            Root::Missing => Err(DiskError::NoRoot(self.image.path.clone())),
            Root::Present | Root::Unknown => Ok(()),
        }
    }

    fn require_bootable(&self) -> Result<(), DiskError> {
        self.require_disk()?;
        let Some(blocks) = &self.blocks else {
            return Ok(());
        };
        let mut signature = [0; 2];
        // A qcow2 file whose table is damaged is a matter of qemu-img.
        match blocks.read_at(boot::SIGNATURE as u64, &mut signature) {
            Ok(()) if u16::from_le_bytes(signature) != boot::SIGNATURE_VALUE => {
                Err(DiskError::NotBootable(self.image.path.clone()))
            }
            _ => Ok(()),
        }
    }

    fn require_disk(&self) -> Result<(), DiskError> {
        let path = &self.image.path;
        if self.image.format == "raw" && !has_sectors(path).map_err(DiskError::read(path))? {
            return Err(DiskError::NotADisk(path.clone()));
        }
        // A disk that was once overwritten with an ISO may still have its magic number before the first partition.
        if self.is_iso() && self.root() != Root::Present {
            return Err(DiskError::Iso(path.clone()));
        }
        self.require_one_table()
    }

    /// Refuses a partition table that two programs could read differently.
    fn require_one_table(&self) -> Result<(), DiskError> {
        let table = self.blocks.as_deref().map(partitions::read);
        match table {
            Some(Err(ReadError::Ambiguous { problem })) => Err(DiskError::Ambiguous {
                path: self.image.path.clone(),
                problem,
            }),
            _ => Ok(()),
        }
    }

    fn is_iso(&self) -> bool {
        let (at, magic) = ISO_MAGIC;
        let mut found = vec![0; magic.len()];
        let blocks = self.blocks.as_ref();
        let read = blocks.and_then(|blocks| blocks.read_at(at, &mut found).ok());
        read.is_some() && found == magic
    }

    fn root(&self) -> Root {
        let blocks = self.blocks.as_ref();
        let roots = blocks.and_then(|blocks| read::find_roots(blocks).ok());
        match roots {
            Some(roots) if !roots.found.is_empty() => Root::Present,
            Some(roots) if roots.unsupported.is_none() => Root::Missing,
            _ => Root::Unknown,
        }
    }
}

/// Returns whether a raw file consists of sectors, and is neither compressed nor text.
fn has_sectors(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut start = [0; 512];
    let is_compressed = |start: &[u8]| {
        let mut magics = COMPRESSED_MAGICS.iter();
        magics.any(|magic| start.starts_with(magic))
    };
    let is_text = |start: &[u8]| {
        let mut bytes = start.iter();
        bytes.all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
    };
    Ok(length.is_multiple_of(SECTOR)
        && file.read_exact_at(&mut start, 0).is_ok()
        && !is_compressed(&start)
        && !is_text(&start))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    #[test]
    fn remains_of_an_iso_before_the_first_partition_do_not_matter() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        let image = BaseImage {
            path: at("disk.raw"),
            format: "raw".to_owned(),
        };
        let mut start = vec![0; 1 << 20];
        start[0x8001..0x8006].copy_from_slice(b"CD001");
        let entry = boot::entry(0);
        start[entry + boot::TYPE] = 0x83;
        start[entry + boot::FIRST..][..4].copy_from_slice(&2048_u32.to_le_bytes());
        start[entry + boot::SECTORS..][..4].copy_from_slice(&(14_u32 << 11).to_le_bytes());
        start[boot::SIGNATURE..][..2].copy_from_slice(&boot::SIGNATURE_VALUE.to_le_bytes());
        for name in ["etc", "usr"] {
            fs::create_dir_all(at("root").join(name)).unwrap();
        }
        for (root, is_system) in [("root", true), ("root/etc", false)] {
            fs::write(&image.path, &start).unwrap();
            let file = File::options().write(true).open(&image.path).unwrap();
            file.set_len(15 << 20).unwrap();
            let mut command = Command::new("/sbin/mke2fs");
            command.args(["-q", "-t", "ext4", "-E", "offset=1048576", "-d"]);
            let status = command.arg(at(root)).arg(&image.path).arg("14M").status();
            assert!(status.unwrap().success());
            let checked = require_system(&image);
            assert_eq!(checked.is_ok(), is_system, "{root}: {checked:?}");
            assert_eq!(require_image(&image).is_ok(), is_system, "{root}");
        }
    }
}
