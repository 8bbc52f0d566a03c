//! Extended attributes: in the inode, in one block, or a large value in an inode of its own.

use super::super::fields::{Fields, low16};
use super::checksum::crc32c;
use crate::disk::read::ext4::acl_to_disk;
use crate::disk::read::ext4::layout::xattr as field;

/// An attribute as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Attribute {
    namespace: u8,
    name: Vec<u8>,
    value: Value,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Value {
    Here(Vec<u8>),
    /// In an inode of its own.
    Inode {
        inode: u32,
        size: u32,
        hash: u32,
    },
}

/// Bytes of the zeros that end the entries.
const END: usize = 4;

/// Prefixes of names and their numbers. The first match counts.
const PREFIXES: [(&[u8], u8); 6] = [
    (b"system.posix_acl_access", field::ACL_ACCESS),
    (b"system.posix_acl_default", field::ACL_DEFAULT),
    (b"user.", field::USER),
    (b"trusted.", field::TRUSTED),
    (b"security.", field::SECURITY),
    (b"system.", field::SYSTEM),
];

/// An attribute that cannot be stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    /// ext4 has no number for the prefix, or the name is too long.
    Name,
    /// The access control list is malformed.
    List,
    /// All attributes together are too large for one block.
    TooLarge,
}

impl Attribute {
    /// Converts an attribute from the form that programs see.
    pub(super) fn new(name: &[u8], value: &[u8]) -> Result<Self, Refused> {
        let is_acl = |namespace: u8| matches!(namespace, field::ACL_ACCESS | field::ACL_DEFAULT);
        let known = PREFIXES.iter().find_map(|(prefix, namespace)| {
            let rest = name.strip_prefix(*prefix)?;
            // The names of lists are complete; all other prefixes need a rest.
            (is_acl(*namespace) == rest.is_empty()).then_some((*namespace, rest))
        });
        let (namespace, rest) = known.ok_or(Refused::Name)?;
        if rest.len() > 255 {
            return Err(Refused::Name);
        }
        let value = if is_acl(namespace) {
            acl_to_disk(value).ok_or(Refused::List)?
        } else {
            value.to_vec()
        };
        Ok(Self {
            namespace,
            name: rest.to_vec(),
            value: Value::Here(value),
        })
    }

    /// Returns the value if it is too large for a block.
    pub(super) fn large_value(&self, block_size: usize) -> Option<&[u8]> {
        let value = self.value_here()?;
        let size = field::BLOCK_HEADER + entry_size(&self.name) + END + padded(value.len());
        (size > block_size).then_some(value)
    }

    /// Replaces the value by a reference to an inode that contains it.
    pub(super) fn move_value(&mut self, inode: u32, hash: u32) {
        if let Value::Here(value) = &self.value {
            // The kernel allows 64 KiB.
            let size = u32::try_from(value.len()).unwrap_or(u32::MAX);
            self.value = Value::Inode { inode, size, hash };
        }
    }

    /// Returns the sort key by which the kernel searches a block.
    fn rank(&self) -> (u8, usize, &[u8]) {
        (self.namespace, self.name.len(), &self.name)
    }

    fn size(&self) -> usize {
        entry_size(&self.name) + self.value_here().map_or(0, |value| padded(value.len()))
    }

    fn value_here(&self) -> Option<&[u8]> {
        match &self.value {
            Value::Here(value) => Some(value),
            Value::Inode { .. } => None,
        }
    }

    fn hash(&self) -> u32 {
        let name = self
            .name
            .iter()
            .fold(0_u32, |hash, byte| hash.rotate_left(5) ^ u32::from(*byte));
        let mix = |hash: u32, word: u32| hash.rotate_left(16) ^ word;
        match &self.value {
            Value::Inode { hash, .. } => mix(name, *hash),
            Value::Here(value) => value.chunks(4).fold(name, |hash, bytes| {
                let mut word = [0; 4];
                word[..bytes.len()].copy_from_slice(bytes);
                mix(hash, u32::from_le_bytes(word))
            }),
        }
    }
}

/// The attributes of an inode, divided between the inode and a block.
#[derive(Debug, Default)]
pub(super) struct PlacedAttributes {
    inode: Vec<Attribute>,
    block: Vec<Attribute>,
}

/// Places attributes. The ones that the kernel searches first go into the inode as long as they fit there. If the others then
/// do not fit into a block, the largest ones go into the inode.
pub(super) fn place(
    mut attributes: Vec<Attribute>,
    inode_space: usize,
    block_size: usize,
) -> Result<PlacedAttributes, Refused> {
    attributes.sort_by(|one, other| one.rank().cmp(&other.rank()));
    if let Some(placed) = divide(&attributes, inode_space, block_size) {
        return Ok(placed);
    }
    attributes.sort_by_key(|attribute| std::cmp::Reverse(attribute.size()));
    let mut placed = divide(&attributes, inode_space, block_size).ok_or(Refused::TooLarge)?;
    for part in [&mut placed.inode, &mut placed.block] {
        part.sort_by(|one, other| one.rank().cmp(&other.rank()));
    }
    Ok(placed)
}

fn divide(
    attributes: &[Attribute],
    inode_space: usize,
    block_size: usize,
) -> Option<PlacedAttributes> {
    let mut placed = PlacedAttributes::default();
    let mut inode = field::INODE_HEADER + END;
    let mut block = field::BLOCK_HEADER + END;
    for attribute in attributes {
        let size = attribute.size();
        if inode + size <= inode_space {
            inode += size;
            placed.inode.push(attribute.clone());
        } else {
            block += size;
            placed.block.push(attribute.clone());
        }
    }
    (block <= block_size).then_some(placed)
}

impl PlacedAttributes {
    pub(super) fn needs_block(&self) -> bool {
        !self.block.is_empty()
    }

    /// Returns the bytes after the fields of the inode, if it has attributes.
    pub(super) fn inode_area(&self, space: usize) -> Option<Vec<u8>> {
        if self.inode.is_empty() {
            return None;
        }
        let mut area = Fields::new(space);
        area.put32(0, field::MAGIC_NUMBER);
        put_entries(
            &mut area,
            field::INODE_HEADER,
            field::INODE_HEADER,
            &self.inode,
        );
        Some(area.into_bytes())
    }

    /// Returns the block with this number.
    pub(super) fn block(&self, size: usize, number: u64, seed: Option<u32>) -> Vec<u8> {
        let mut block = Fields::new(size);
        block.put32(0, field::MAGIC_NUMBER);
        block.put32(field::REFERENCES, 1);
        block.put32(field::BLOCKS, 1);
        put_entries(&mut block, field::BLOCK_HEADER, 0, &self.block);
        let hash = self
            .block
            .iter()
            .map(Attribute::hash)
            .try_fold(0_u32, |all, hash| {
                // One hash of zero marks the block as not shareable.
                (hash != 0).then_some(all.rotate_left(16) ^ hash)
            });
        block.put32(field::HASH, hash.unwrap_or(0));
        if let Some(seed) = seed {
            let checksum = crc32c(crc32c(seed, &number.to_le_bytes()), block.bytes());
            block.put32(field::CHECKSUM, checksum);
        }
        block.into_bytes()
    }
}

/// Writes entries upwards from `at`, and values downwards from the end. Offsets of values count from `base`.
fn put_entries(area: &mut Fields, mut at: usize, base: usize, attributes: &[Attribute]) {
    let mut end = area.bytes().len() - (area.bytes().len() - base) % 4;
    for attribute in attributes {
        // `Attribute::new` has refused names of more than 255 bytes.
        let name_length = u8::try_from(attribute.name.len()).unwrap_or(u8::MAX);
        area.put8(at + field::NAME_LENGTH, name_length);
        area.put8(at + field::NAMESPACE, attribute.namespace);
        match &attribute.value {
            Value::Here(value) => {
                end -= padded(value.len());
                if !value.is_empty() {
                    area.put16(at + field::VALUE_OFFSET, low16((end - base) as u64));
                }
                let size = u32::try_from(value.len()).unwrap_or(u32::MAX);
                area.put32(at + field::VALUE_SIZE, size);
                area.put(end, value);
            }
            Value::Inode { inode, size, .. } => {
                area.put32(at + field::VALUE_INODE, *inode);
                area.put32(at + field::VALUE_SIZE, *size);
            }
        }
        area.put32(at + field::ENTRY_HASH, attribute.hash());
        area.put(at + field::NAME, &attribute.name);
        at += entry_size(&attribute.name);
    }
}

fn entry_size(name: &[u8]) -> usize {
    padded(field::NAME + name.len())
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
            let found = made.map(|made| (made.namespace, String::from_utf8(made.name).unwrap()));
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
            // In the order of names, the first would take the space that the second needs.
            (&[10, 50, 930], 1, Ok(2)),
        ] {
            let all = sizes
                .iter()
                .enumerate()
                .map(|(n, size)| attribute(&format!("user.{n}"), *size));
            let placed = place(all.collect(), 96, 1024);
            let counts = placed.map(|placed| (placed.inode.len(), placed.block.len()));

            assert_eq!(counts, block.map(|block| (inside, block)), "{sizes:?}");
        }
    }
}
