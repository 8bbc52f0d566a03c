//! Identifiers that qemu-img generates for VMDK and VHD images, replaced by ones derived from the disk's content: equal
//! disks give equal files.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use crate::digest::Digest;
use crate::plan::Format;

/// Bytes of a VHD footer: "Virtual Hard Disk Image Format Specification", version 1.0, "Hard Disk Footer Format".
const FOOTER: usize = 512;
const COOKIE: &[u8] = b"conectix";
const TIME: std::ops::Range<usize> = 24..28;
const CHECKSUM: std::ops::Range<usize> = 64..68;
const UUID: std::ops::Range<usize> = 68..84;
/// Bytes at the start of a VMDK image that contain its descriptor: "Virtual Disk Format 5.0", "The Descriptor File".
const DESCRIPTOR: usize = 64 << 10;
/// Header fields with the position of the descriptor, in sectors: "Hosted Sparse Extent Header".
const DESCRIPTOR_OFFSET: std::ops::Range<usize> = 28..36;
const DESCRIPTOR_LENGTH: std::ops::Range<usize> = 36..44;
const SECTOR: u64 = 512;
const DESCRIPTION: &[u8] = b"# Disk DescriptorFile";
const CONTENT_ID: &[u8] = b"\nCID=";
/// The only extent is the file itself. qemu-img writes the temporary name of the file here; readers ignore it.
const EXTENT: &[u8] = b" SPARSE \"";
const EXTENT_NAME: &[u8] = b"image.vmdk";
const CONTENT_ID_DIGITS: usize = 8;

/// Replaces the generated identifiers of an image file, if its format has any.
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
    let number = |range: std::ops::Range<usize>| {
        let bytes = start[..length].get(range)?.try_into().ok()?;
        usize::try_from(u64::from_le_bytes(bytes).checked_mul(SECTOR)?).ok()
    };
    let place = number(DESCRIPTOR_OFFSET).zip(number(DESCRIPTOR_LENGTH));
    let place = place.and_then(|(at, size)| Some((at, at.checked_add(size)?)));
    let (at, end) = place
        .filter(|(at, end)| *end <= length && start[*at..*end].starts_with(DESCRIPTION))
        .ok_or_else(|| missing("descriptor"))?;
    // The text can be followed by the rest of a longer one: qemu-img overwrites its first content id, without leading zeros.
    let size = start[at..end].iter().position(|byte| *byte == 0);
    let size = size.ok_or_else(|| missing("end of its descriptor"))?;
    let mut text = start[at..at + size].to_vec();
    replace(
        &mut text,
        CONTENT_ID,
        b'\n',
        &content.hex().as_bytes()[..CONTENT_ID_DIGITS],
    )
    .ok_or_else(|| missing("content id"))?;
    replace(&mut text, EXTENT, b'"', EXTENT_NAME).ok_or_else(|| missing("extent"))?;
    if text.len() >= end - at {
        return Err(missing("room for the name of its extent"));
    }
    text.resize(end - at, 0);
    file.write_all_at(&text, at as u64)
}

/// Replaces the bytes between `before` and the next `after`.
fn replace(text: &mut Vec<u8>, before: &[u8], after: u8, new: &[u8]) -> Option<()> {
    let start = text.windows(before.len()).position(|part| part == before)? + before.len();
    let length = text[start..].iter().position(|byte| *byte == after)?;
    text.splice(start..start + length, new.iter().copied());
    Some(())
}

/// Rewrites the footer at the end, and its copy at the start of a dynamic disk.
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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_a_longer_content_id_left_behind_the_descriptor_is_wiped() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("disk.vmdk");
        let options = [
            "create",
            "-q",
            "-f",
            "vmdk",
            "-o",
            "subformat=streamOptimized",
        ];
        let mut create = Command::new("qemu-img");
        let status = create.args(options).arg(&path).arg("1M").status();
        assert!(status.unwrap().success());
        let settled = || {
            let file = File::options().read(true).write(true).open(&path).unwrap();
            settle(&file, Format::Vmdk, Digest::of(b"content")).unwrap();
            std::fs::read(&path).unwrap()
        };
        let mut shorter = std::fs::read(&path).unwrap();
        let expected = settled();
        // Like qemu-img: the text with the new id is shorter, and the last bytes of the old one stay.

        let start = shorter.windows(5).position(|part| part == CONTENT_ID);
        let id = start.unwrap() + CONTENT_ID.len();
        let size = shorter[id..].iter().position(|byte| *byte == 0).unwrap();
        let mut text = shorter[id..id + size].to_vec();
        let digits = text.iter().position(|byte| *byte == b'\n').unwrap();
        text.splice(..digits, *b"abc");
        text.push(0);
        assert!(text.len() < size, "a byte stays");
        shorter[id..id + text.len()].copy_from_slice(&text);
        std::fs::write(&path, shorter).unwrap();
        assert!(settled() == expected);
    }
}
