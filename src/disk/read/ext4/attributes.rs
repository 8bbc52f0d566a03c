//! Extended attributes: in the inode, in a block of their own, and large values in inodes of their own.

use super::super::fields::{Fields, to_index};
use super::super::{ReadError, Xattr};
use super::file_cache::Files;
use super::inode::Node;
use super::volume::Volume;
use super::{Feature, acl, crc32c, damaged, too_large};

const MAGIC: u32 = 0xea02_0000;
/// Bytes of the header of a block, and of the one in an inode.
const BLOCK_HEADER: usize = 32;
const INODE_HEADER: usize = 4;
/// Bytes of an entry before its name.
const ENTRY: usize = 16;
/// The kernel shows no longer value.
const MOST_VALUE: u32 = 1 << 16;
/// What is kept in place of a file's content, when it is not its attribute.
const SYSTEM: u8 = 7;
const INLINE_DATA: &[u8] = b"data";

/// An entry, and its value if it is beside it.
struct Stored<'a> {
    namespace: u8,
    name: &'a [u8],
    value: Value<'a>,
}

enum Value<'a> {
    Here(&'a [u8]),
    Inode { number: u32, size: u32 },
}

/// All attributes that root sees, sorted by name.
pub(super) fn all(volume: &Volume, files: &Files, node: &Node) -> Result<Vec<Xattr>, ReadError> {
    let mut found = Vec::new();
    for stored in in_inode(node)? {
        found.extend(shown(volume, files, &stored)?);
    }
    if node.attribute_block() != 0 {
        let bytes = block(volume, node)?;
        for stored in entries(node, &bytes, BLOCK_HEADER, 0)? {
            found.extend(shown(volume, files, &stored)?);
        }
    }
    // Stable: where both have a name, the inode's own counts, as for the kernel.
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found.dedup_by(|later, first| later.name == first.name);
    Ok(found)
}

/// The part of an inline file that does not fit in place of its map.
pub(super) fn inline_data(node: &Node) -> Result<Vec<u8>, ReadError> {
    let stored = in_inode(node)?;
    let data = stored
        .iter()
        .find(|stored| stored.namespace == SYSTEM && stored.name == INLINE_DATA);
    Ok(match data.map(|data| &data.value) {
        Some(Value::Here(bytes)) => bytes.to_vec(),
        _ => Vec::new(),
    })
}

fn bad(node: &Node, problem: &str) -> ReadError {
    damaged(format!("inode {}: {problem}", node.number))
}

fn in_inode(node: &Node) -> Result<Vec<Stored<'_>>, ReadError> {
    let room = node.attribute_room();
    if Fields(room).le32(0) != MAGIC {
        return Ok(Vec::new());
    }
    entries(node, room, INODE_HEADER, INODE_HEADER)
}

fn block(volume: &Volume, node: &Node) -> Result<Vec<u8>, ReadError> {
    let number = node.attribute_block();
    let bytes = volume.block(number)?;
    let fields = Fields(&bytes);
    if fields.le32(0) != MAGIC || fields.le32(8) != 1 {
        return Err(bad(node, "its block of attributes is none"));
    }
    if volume.verifies(Feature::METADATA_CSUM) {
        let seed = crc32c(volume.superblock.checksum_seed, &number.to_le_bytes());
        let seed = crc32c(crc32c(seed, fields.bytes(0, 0x10)), &[0; 4]);
        if crc32c(seed, bytes.get(0x14..).unwrap_or_default()) != fields.le32(0x10) {
            return Err(bad(
                node,
                "the checksum of its block of attributes is wrong",
            ));
        }
    }
    Ok(bytes)
}

/// The entries from `start` on; where their values are is counted from `base`.
fn entries<'a>(
    node: &Node,
    bytes: &'a [u8],
    start: usize,
    base: usize,
) -> Result<Vec<Stored<'a>>, ReadError> {
    let mut found = Vec::new();
    let mut rest = bytes.get(start..).unwrap_or_default();
    while Fields(rest).le32(0) != 0 {
        let fields = Fields(rest);
        let length = usize::from(fields.u8(0));
        let name = rest.get(ENTRY..).and_then(|rest| rest.get(..length));
        let size = fields.le32(8);
        let value = match fields.le32(4) {
            0 => {
                let from = base + usize::from(fields.le16(2));
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
            return Err(bad(node, "an attribute is not within its room"));
        };
        found.push(Stored {
            namespace: fields.u8(1),
            name,
            value,
        });
        rest = rest
            .get((ENTRY + length).next_multiple_of(4)..)
            .unwrap_or_default();
    }
    Ok(found)
}

fn shown(volume: &Volume, files: &Files, stored: &Stored) -> Result<Option<Xattr>, ReadError> {
    let (prefix, is_acl): (&[u8], _) = match stored.namespace {
        1 => (b"user.", false),
        2 => (b"system.posix_acl_access", true),
        3 => (b"system.posix_acl_default", true),
        4 => (b"trusted.", false),
        6 => (b"security.", false),
        8 => (b"system.richacl", false),
        10 => (b"gnu.", false),
        // No kernel shows these.
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

/// A value in an inode of its own.
fn large(volume: &Volume, files: &Files, number: u32, size: u32) -> Result<Vec<u8>, ReadError> {
    if size > MOST_VALUE {
        return Err(too_large(format!("an attribute has {size} bytes")));
    }
    let opened = files.open(volume, number)?;
    let node = &opened.node;
    if !node.is_attribute() || node.size != u64::from(size) {
        return Err(bad(
            node,
            "it is not the attribute's value that it is said to be",
        ));
    }
    let mut value = vec![0; to_index(size)];
    opened.read_at(volume, 0, &mut value)?;
    let verify = volume.verifies(Feature::METADATA_CSUM);
    if verify && crc32c(volume.superblock.checksum_seed, &value) != node.attribute_hash() {
        return Err(bad(node, "the hash of the attribute in it is wrong"));
    }
    Ok(value)
}
