//! What qemu-img makes up for each image of some formats, put to what the disk's content says: the same for the same disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use crate::digest::Digest;
use crate::plan::Format;

/// A footer of VHD: "Virtual Hard Disk Image Format Specification", version 1.0, "Hard Disk Footer Format".
const FOOTER: usize = 512;
const COOKIE: &[u8] = b"conectix";
const TIME: std::ops::Range<usize> = 24..28;
const CHECKSUM: std::ops::Range<usize> = 64..68;
const UUID: std::ops::Range<usize> = 68..84;
/// The descriptor of VMDK is near the start: "Virtual Disk Format 5.0", "The Descriptor File".
const DESCRIPTOR: usize = 64 << 10;
const CONTENT_ID: &[u8] = b"\nCID=";
const CONTENT_ID_DIGITS: usize = 8;

/// Rewrites the identity of an image file; formats without one are left alone.
pub(super) fn settle(file: &File, format: Format, content: Digest) -> io::Result<()> {
    match format {
        Format::Vmdk => vmdk(file, content),
        Format::Vhd => vhd(file, content),
        Format::Qcow2 | Format::Raw => Ok(()),
    }
}

fn vmdk(file: &File, content: Digest) -> io::Result<()> {
    let mut start = vec![0; DESCRIPTOR];
    let length = file.read_at(&mut start, 0)?;
    let at = start[..length]
        .windows(CONTENT_ID.len())
        .position(|window| window == CONTENT_ID)
        .ok_or_else(|| io::Error::other("the image has no content id"))?;
    let digits = &content.hex()[..CONTENT_ID_DIGITS];
    file.write_all_at(digits.as_bytes(), (at + CONTENT_ID.len()) as u64)
}

/// The footer is at the end, and once more at the start of a disk that grows.
fn vhd(file: &File, content: Digest) -> io::Result<()> {
    let end = file.metadata()?.len().saturating_sub(FOOTER as u64);
    for offset in [0, end] {
        let mut footer = [0; FOOTER];
        file.read_exact_at(&mut footer, offset)?;
        if !footer.starts_with(COOKIE) {
            continue;
        }
        footer[TIME].fill(0);
        footer[CHECKSUM].fill(0);
        let uuid = data_encoding::HEXLOWER.decode(&content.hex().as_bytes()[..2 * UUID.len()]);
        footer[UUID].copy_from_slice(&uuid.map_err(io::Error::other)?);
        let sum: u32 = footer.iter().map(|&byte| u32::from(byte)).sum();
        footer[CHECKSUM].copy_from_slice(&(!sum).to_be_bytes());
        file.write_all_at(&footer, offset)?;
    }
    Ok(())
}
