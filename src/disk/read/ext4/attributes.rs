//! Extended attributes: in the inode, in a block of their own, and large values in inodes of their own.

use super::super::fields::{Fields, to_index};
use super::super::{ReadError, Xattr};
use super::file_cache::Files;
use super::inode::Node;
use super::layout::xattr as field;
use super::volume::Volume;
use super::{Feature, acl, crc32c, damaged, too_large};

/// The kernel's limit (`XATTR_SIZE_MAX`).
const MAX_VALUE_BYTES: u32 = 1 << 16;
/// Name, in the namespace `SYSTEM`, of the attribute with the rest of an inline file.
const INLINE_DATA: &[u8] = b"data";

struct StoredAttribute<'a> {
    namespace: u8,
    name: &'a [u8],
    value: Value<'a>,
}

enum Value<'a> {
    Here(&'a [u8]),
    Inode { number: u32, size: u32 },
}

/// Reads all attributes that root sees, sorted by name.
pub(super) fn read_all(
    volume: &Volume,
    files: &Files,
    node: &Node,
) -> Result<Vec<Xattr>, ReadError> {
    let mut found = Vec::new();
    for stored in in_inode(node)? {
        found.extend(visible(volume, files, &stored)?);
    }
    if node.attribute_block() != 0 {
        let bytes = block(volume, node)?;
        for stored in entries(node, &bytes, field::BLOCK_HEADER, 0)? {
            found.extend(visible(volume, files, &stored)?);
        }
    }
    // Stable: of two equal names the inode's own counts, as for the kernel.
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found.dedup_by(|later, first| later.name == first.name);
    Ok(found)
}

/// Reads the part of an inline file that does not fit in place of its map.
pub(super) fn inline_data(node: &Node) -> Result<Vec<u8>, ReadError> {
    let stored = in_inode(node)?;
    let data = stored
        .iter()
        .find(|stored| stored.namespace == field::SYSTEM && stored.name == INLINE_DATA);
    Ok(match data.map(|data| &data.value) {
        Some(Value::Here(bytes)) => bytes.to_vec(),
        _ => Vec::new(),
    })
}

fn bad(node: &Node, problem: &str) -> ReadError {
    damaged(format!("inode {}: {problem}", node.number))
}

fn in_inode(node: &Node) -> Result<Vec<StoredAttribute<'_>>, ReadError> {
    let area = node.attribute_area();
    if Fields(area).le32(0) != field::MAGIC_NUMBER {
        return Ok(Vec::new());
    }
    entries(node, area, field::INODE_HEADER, field::INODE_HEADER)
}

fn block(volume: &Volume, node: &Node) -> Result<Vec<u8>, ReadError> {
    let number = node.attribute_block();
    let bytes = volume.block(number)?;
    let fields = Fields(&bytes);
    if fields.le32(0) != field::MAGIC_NUMBER || fields.le32(field::BLOCKS) != 1 {
        return Err(bad(node, "its block of attributes has no header"));
    }
    if volume.verifies(Feature::METADATA_CSUM) {
        let seed = crc32c(volume.superblock.checksum_seed, &number.to_le_bytes());
        let seed = crc32c(seed, fields.bytes(0, field::CHECKSUM));
        let rest = bytes.get(field::AFTER_CHECKSUM..).unwrap_or_default();
        if crc32c(crc32c(seed, &[0; 4]), rest) != fields.le32(field::CHECKSUM) {
            return Err(bad(
                node,
                "the checksum of its block of attributes is wrong",
            ));
        }
    }
    Ok(bytes)
}

/// Parses the entries from `start` on; offsets of values count from `base`.
fn entries<'a>(
    node: &Node,
    bytes: &'a [u8],
    start: usize,
    base: usize,
) -> Result<Vec<StoredAttribute<'a>>, ReadError> {
    let mut found = Vec::new();
    let mut rest = bytes.get(start..).unwrap_or_default();
    while Fields(rest).le32(0) != 0 {
        let fields = Fields(rest);
        let length = usize::from(fields.u8(field::NAME_LENGTH));
        let name = rest.get(field::NAME..).and_then(|rest| rest.get(..length));
        let size = fields.le32(field::VALUE_SIZE);
        let value = match fields.le32(field::VALUE_INODE) {
            0 => {
                let from = base + usize::from(fields.le16(field::VALUE_OFFSET));
                let length = to_index(size);
                let value = if size == 0 {
                    Some(&[][..])
                } else {
                    bytes.get(from..).and_then(|rest| rest.get(..length))
                };
                value.map(Value::Here)
            }
            number => Some(Value::Inode { number, size }),
        };
        let (Some(name), Some(value)) = (name, value) else {
            return Err(bad(node, "an attribute reaches past the end of its area"));
        };
        found.push(StoredAttribute {
            namespace: fields.u8(field::NAMESPACE),
            name,
            value,
        });
        rest = rest
            .get((field::NAME + length).next_multiple_of(4)..)
            .unwrap_or_default();
    }
    Ok(found)
}

/// Returns an attribute as user space sees it, if it does.
fn visible(
    volume: &Volume,
    files: &Files,
    stored: &StoredAttribute,
) -> Result<Option<Xattr>, ReadError> {
    let (prefix, is_acl): (&[u8], _) = match stored.namespace {
        field::USER => (b"user.", false),
        field::ACL_ACCESS => (b"system.posix_acl_access", true),
        field::ACL_DEFAULT => (b"system.posix_acl_default", true),
        field::TRUSTED => (b"trusted.", false),
        field::SECURITY => (b"security.", false),
        field::RICHACL => (b"system.richacl", false),
        field::HURD => (b"gnu.", false),
        // Hidden by every kernel.
        _ => return Ok(None),
    };
    let value = match stored.value {
        Value::Here(bytes) => bytes.to_vec(),
        Value::Inode { number, size } => large(volume, files, number, size)?,
    };
    Ok(Some(Xattr {
        name: [prefix, if is_acl { &[] } else { stored.name }].concat(),
        value: if is_acl {
            acl::from_disk(&value)?
        } else {
            value
        },
    }))
}

/// Reads a value from an inode of its own.
fn large(volume: &Volume, files: &Files, number: u32, size: u32) -> Result<Vec<u8>, ReadError> {
    if size > MAX_VALUE_BYTES {
        return Err(too_large(format!("an attribute has {size} bytes")));
    }
    let opened = files.open(volume, number)?;
    let node = &opened.node;
    if !node.is_attribute() || node.size != u64::from(size) {
        return Err(bad(
            node,
            "an attribute names it as its value, which it is not",
        ));
    }
    let mut value = vec![0; to_index(size)];
    opened.read_at(volume, 0, &mut value)?;
    let verify = volume.verifies(Feature::METADATA_CSUM);
    if verify && crc32c(volume.superblock.checksum_seed, &value) != node.attribute_hash() {
        return Err(bad(node, "the hash of its attribute value is wrong"));
    }
    Ok(value)
}
