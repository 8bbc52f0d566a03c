//! Extended attributes: in the inode, in one block, or a large value in an inode of its own.

use super::checksum::crc32c;
use crate::disk::read::ext4::acl_to_disk;
use crate::disk::write::fields::{Fields, low16};

/// An attribute as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Attribute {
    index: u8,
    name: Vec<u8>,
    value: Value,
}

/// Where a value is.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Value {
    Here(Vec<u8>),
    /// In an inode of its own, which is given a number later.
    Apart {
        inode: u32,
        size: u32,
        hash: u32,
    },
}

/// Bytes of an entry beside its name.
const ENTRY: usize = 16;
/// Bytes of a block's header.
const HEADER: usize = 32;
/// What both places begin with.
const MAGIC: u32 = 0xea02_0000;
/// Four zero bytes end the entries.
const END: usize = 4;

/// Prefixes of names and the numbers that stand for them. The first that fits counts.
const PREFIXES: [(&[u8], u8); 6] = [
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"user.", 1),
    (b"trusted.", 4),
    (b"security.", 6),
    (b"system.", 7),
];

/// Why attributes cannot be stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    /// ext4 has no number for the prefix, or the name is too long.
    Name,
    /// It is not an access control list.
    List,
    /// All of them together are too large for one block.
    TooLarge,
}

impl Attribute {
    /// From the name and the value that programs see.
    pub(super) fn new(name: &[u8], value: &[u8]) -> Result<Self, Refused> {
        let known = PREFIXES.iter().find_map(|(prefix, index)| {
            let rest = name.strip_prefix(*prefix)?;
            // Lists are whole names, all others need something behind the prefix.
            ((*index == 2 || *index == 3) == rest.is_empty()).then_some((*index, rest))
        });
        let (index, rest) = known.ok_or(Refused::Name)?;
        if rest.len() > 255 {
            return Err(Refused::Name);
        }
        let value = match index {
            2 | 3 => acl_to_disk(value).ok_or(Refused::List)?,
            _ => value.to_vec(),
        };
        Ok(Self {
            index,
            name: rest.to_vec(),
            value: Value::Here(value),
        })
    }

    /// The value, if it is too large for a block.
    pub(super) fn large(&self, block_size: usize) -> Option<&[u8]> {
        match &self.value {
            Value::Here(value)
                if HEADER + entry_size(&self.name) + END + padded(value.len()) > block_size =>
            {
                Some(value)
            }
            _ => None,
        }
    }

    /// Notes that the value is in an inode of its own.
    pub(super) fn put_apart(&mut self, inode: u32, hash: u32) {
        if let Value::Here(value) = &self.value {
            // The kernel allows 64 KiB.
            let size = u32::try_from(value.len()).unwrap_or(u32::MAX);
            self.value = Value::Apart { inode, size, hash };
        }
    }

    /// Order in which the kernel searches a block.
    fn rank(&self) -> (u8, usize, &[u8]) {
        (self.index, self.name.len(), &self.name)
    }

    fn size(&self) -> usize {
        entry_size(&self.name) + self.here().map_or(0, |value| padded(value.len()))
    }

    fn here(&self) -> Option<&[u8]> {
        match &self.value {
            Value::Here(value) => Some(value),
            Value::Apart { .. } => None,
        }
    }

    fn hash(&self) -> u32 {
        let name = self
            .name
            .iter()
            .fold(0_u32, |hash, byte| hash.rotate_left(5) ^ u32::from(*byte));
        let mix = |hash: u32, word: u32| hash.rotate_left(16) ^ word;
        match &self.value {
            Value::Apart { hash, .. } => mix(name, *hash),
            Value::Here(value) => value.chunks(4).fold(name, |hash, bytes| {
                let mut word = [0; 4];
                word[..bytes.len()].copy_from_slice(bytes);
                mix(hash, u32::from_le_bytes(word))
            }),
        }
    }
}

/// The attributes of one inode, placed.
#[derive(Debug, Default)]
pub(super) struct Placed {
    inside: Vec<Attribute>,
    block: Vec<Attribute>,
}

/// Places attributes. Those that the kernel looks for first go into the inode as long as there is room; or, if the others then
/// do not fit into a block, the largest that do.
pub(super) fn place(
    mut attributes: Vec<Attribute>,
    room: usize,
    block_size: usize,
) -> Result<Placed, Refused> {
    attributes.sort_by(|one, other| one.rank().cmp(&other.rank()));
    if let Some(placed) = divide(&attributes, room, block_size) {
        return Ok(placed);
    }
    attributes.sort_by_key(|attribute| std::cmp::Reverse(attribute.size()));
    let mut placed = divide(&attributes, room, block_size).ok_or(Refused::TooLarge)?;
    for part in [&mut placed.inside, &mut placed.block] {
        part.sort_by(|one, other| one.rank().cmp(&other.rank()));
    }
    Ok(placed)
}

fn divide(attributes: &[Attribute], room: usize, block_size: usize) -> Option<Placed> {
    let mut placed = Placed::default();
    let (mut inside, mut block) = (4 + END, HEADER + END);
    for attribute in attributes {
        let size = attribute.size();
        if inside + size <= room {
            inside += size;
            placed.inside.push(attribute.clone());
        } else {
            block += size;
            placed.block.push(attribute.clone());
        }
    }
    (block <= block_size).then_some(placed)
}

impl Placed {
    /// Whether a block is needed.
    pub(super) fn needs_block(&self) -> bool {
        !self.block.is_empty()
    }

    /// What the inode holds behind its fields.
    pub(super) fn inside(&self, room: usize) -> Option<Vec<u8>> {
        if self.inside.is_empty() {
            return None;
        }
        let mut area = Fields::new(room);
        area.put32(0, MAGIC);
        put_entries(&mut area, 4, 4, &self.inside);
        Some(area.into_bytes())
    }

    /// The block at `place`.
    pub(super) fn block(&self, size: usize, place: u64, seed: Option<u32>) -> Vec<u8> {
        let mut block = Fields::new(size);
        block.put32(0, MAGIC);
        block.put32(4, 1);
        block.put32(8, 1);
        put_entries(&mut block, HEADER, 0, &self.block);
        let hash = self
            .block
            .iter()
            .map(Attribute::hash)
            .try_fold(0_u32, |all, hash| {
                // A hash of nothing makes the block one that is not shared.
                (hash != 0).then_some(all.rotate_left(16) ^ hash)
            });
        block.put32(12, hash.unwrap_or(0));
        if let Some(seed) = seed {
            let checksum = crc32c(crc32c(seed, &place.to_le_bytes()), block.bytes());
            block.put32(16, checksum);
        }
        block.into_bytes()
    }
}

/// Entries upwards from `at`, values downwards from the end; offsets count from `base`.
fn put_entries(area: &mut Fields, mut at: usize, base: usize, attributes: &[Attribute]) {
    let mut end = area.bytes().len() - (area.bytes().len() - base) % 4;
    for attribute in attributes {
        // Names have at most 255 bytes.
        area.put8(at, u8::try_from(attribute.name.len()).unwrap_or(u8::MAX));
        area.put8(at + 1, attribute.index);
        match &attribute.value {
            Value::Here(value) => {
                end -= padded(value.len());
                if !value.is_empty() {
                    area.put16(at + 2, low16((end - base) as u64));
                }
                area.put32(at + 8, u32::try_from(value.len()).unwrap_or(u32::MAX));
                area.put(end, value);
            }
            Value::Apart { inode, size, .. } => {
                area.put32(at + 4, *inode);
                area.put32(at + 8, *size);
            }
        }
        area.put32(at + 12, attribute.hash());
        area.put(at + ENTRY, &attribute.name);
        at += entry_size(&attribute.name);
    }
}

fn entry_size(name: &[u8]) -> usize {
    padded(ENTRY + name.len())
}

fn padded(size: usize) -> usize {
    size.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_numbers() {
        for (name, expected) in [
            ("user.a", Ok((1, "a"))),
            ("security.capability", Ok((6, "capability"))),
            ("trusted.overlay.opaque", Ok((4, "overlay.opaque"))),
            ("system.data", Ok((7, "data"))),
            ("user.", Err(Refused::Name)),
            ("os2.x", Err(Refused::Name)),
            ("system.posix_acl_access", Err(Refused::List)),
        ] {
            let made = Attribute::new(name.as_bytes(), b"v");
            let found = made.map(|made| (made.index, String::from_utf8(made.name).unwrap()));
            assert_eq!(
                found,
                expected.map(|(index, rest)| (index, rest.to_owned())),
                "{name}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_into_the_inode_goes_into_a_block() {
        let attribute = |name: &str, size| Attribute::new(name.as_bytes(), &vec![1; size]).unwrap();
        for (sizes, inside, block) in [
            (&[10][..], 1, Ok(0)),
            (&[10, 200], 1, Ok(1)),
            (&[200, 10], 1, Ok(1)),
            (&[900, 10], 1, Ok(1)),
            (&[600, 600], 0, Err(Refused::TooLarge)),
            // In the order of names, the first would take the room that the second needs.
            (&[10, 50, 930], 1, Ok(2)),
        ] {
            let all = sizes
                .iter()
                .enumerate()
                .map(|(n, size)| attribute(&format!("user.{n}"), *size));
            let placed = place(all.collect(), 96, 1024);
            let counts = placed.map(|placed| (placed.inside.len(), placed.block.len()));
            assert_eq!(counts, block.map(|block| (inside, block)), "{sizes:?}");
        }
    }
}
