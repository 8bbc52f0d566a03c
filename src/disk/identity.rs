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
const DESCRIPTION: &[u8] = b"# Disk DescriptorFile";
const CONTENT_ID: &[u8] = b"\nCID=";
/// The only extent is this very file. qemu-img notes the name that it had while it was written, which is another each time;
/// nobody looks for it.
const EXTENT: &[u8] = b" SPARSE \"";
const EXTENT_NAME: &[u8] = b"image.vmdk";
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
    let missing = |what| io::Error::other(format!("the image has no {what}"));
    let find = |part: &[u8], from: usize| {
        let found = start[from..length]
            .windows(part.len())
            .position(|window| window == part);
        found.map(|at| from + at)
    };
    let at = find(DESCRIPTION, 0).ok_or_else(|| missing("descriptor"))?;
    let end = find(&[0], at).ok_or_else(|| missing("end of its descriptor"))?;
    let mut text = start[at..end].to_vec();
    replace(
        &mut text,
        CONTENT_ID,
        b'\n',
        &content.hex().as_bytes()[..CONTENT_ID_DIGITS],
    )
    .ok_or_else(|| missing("content id"))?;
    replace(&mut text, EXTENT, b'"', EXTENT_NAME).ok_or_else(|| missing("extent"))?;
    // Behind the text there are zeros, as long as it does not become longer.
    if text.len() > end - at {
        return Err(missing("room for the name of its extent"));
    }
    text.resize(end - at, 0);
    file.write_all_at(&text, at as u64)
}

/// Puts other bytes between what comes before and the byte that comes after.
fn replace(text: &mut Vec<u8>, before: &[u8], after: u8, new: &[u8]) -> Option<()> {
    let start = text.windows(before.len()).position(|part| part == before)? + before.len();
    let length = text[start..].iter().position(|byte| *byte == after)?;
    text.splice(start..start + length, new.iter().copied());
    Some(())
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
