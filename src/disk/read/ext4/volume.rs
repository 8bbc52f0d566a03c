//! The file system as a whole.

use std::fmt;
use std::sync::Arc;

use super::super::fields::{Fields, to_index};
use super::super::{
    BlockRead, DataRun, DirectoryEntry, FileSystem, FileType, Inode, Metadata, ReadError, Xattr,
};
use super::file_cache::{Files, Opened};
use super::inode::Node;
use super::layout::descriptor as field;
use super::layout::inode::ROOT;
use super::layout::superblock;
use super::overlay::Overlay;
use super::{
    Checksums, Feature, Superblock, attributes, crc16, crc32c, damaged, directory, journal,
    too_large,
};

/// 128 TiB with blocks of 4 KiB; each group takes 8 bytes of memory.
const MAX_GROUPS: u32 = 1 << 20;
/// The kernel's limit (`PATH_MAX`).
const MAX_LINK_TARGET_BYTES: u64 = 4096;

/// An ext2, ext3 or ext4 file system.
///
/// The content of its journal is seen as if it had been replayed; nothing is written.
#[derive(Debug)]
pub struct Ext4 {
    volume: Volume,
    files: Files,
    recovered: bool,
}

/// Blocks and inodes, read without a cache.
pub(super) struct Volume {
    pub disk: Arc<dyn BlockRead>,
    pub superblock: Superblock,
    /// First block of each group's inode table.
    tables: Vec<u64>,
    pub checksums: Checksums,
}

impl fmt::Debug for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Volume")
            .field("superblock", &self.superblock)
            .finish_non_exhaustive()
    }
}

impl Ext4 {
    /// Opens the file system that fills `disk`.
    ///
    /// # Errors
    /// The file system is missing, damaged, or has an unsupported feature.
    pub fn open(disk: Arc<dyn BlockRead>) -> Result<Self, ReadError> {
        Self::open_with(disk, Checksums::Verify)
    }

    /// Opens the file system that fills `disk`, with or without checking its checksums.
    ///
    /// # Errors
    /// As for [`Ext4::open`].
    pub fn open_with(disk: Arc<dyn BlockRead>, checksums: Checksums) -> Result<Self, ReadError> {
        let mut volume = Volume::load(Arc::clone(&disk), checksums)?;
        let recovered = volume.superblock.has(Feature::RECOVER);
        if recovered {
            let block_size = volume.superblock.block_size.into();
            let replaced = journal::replay(&volume)?;
            let overlay = Overlay::new(disk, block_size, replaced);
            volume = Volume::load(Arc::new(overlay), checksums)?;
        }
        Ok(Self {
            volume,
            files: Files::default(),
            recovered,
        })
    }

    /// Returns the superblock as the journal leaves it.
    #[must_use]
    pub fn superblock(&self) -> &Superblock {
        &self.volume.superblock
    }

    /// Returns whether the journal was needed, as the file system was not unmounted cleanly.
    #[must_use]
    pub fn recovered(&self) -> bool {
        self.recovered
    }

    fn open_file(&self, inode: Inode) -> Result<Arc<Opened>, ReadError> {
        self.files.open(&self.volume, self.volume.number(inode)?)
    }
}

impl Volume {
    fn load(disk: Arc<dyn BlockRead>, checksums: Checksums) -> Result<Self, ReadError> {
        let superblock = Superblock::read_with(&*disk, checksums)?;
        if superblock.groups > MAX_GROUPS {
            return Err(too_large(format!("it has {} groups", superblock.groups)));
        }
        let mut volume = Self {
            disk,
            superblock,
            tables: Vec::new(),
            checksums,
        };
        volume.read_groups()?;
        Ok(volume)
    }

    /// Returns whether the checksums of a feature exist and are checked.
    pub fn verifies(&self, feature: Feature) -> bool {
        self.checksums == Checksums::Verify && self.superblock.has(feature)
    }

    fn block_size(&self) -> usize {
        to_index(self.superblock.block_size)
    }

    /// Fails unless the blocks are within the file system and after its superblock.
    pub fn check_blocks(&self, first: u64, length: u64) -> Result<(), ReadError> {
        let end = first.checked_add(length);
        let low = u64::from(self.superblock.first_data_block);
        if first <= low || end.is_none_or(|end| end > self.superblock.blocks) {
            let blocks = self.superblock.blocks;
            return Err(damaged(format!(
                "{length} blocks at {first} are not within its {blocks}"
            )));
        }
        Ok(())
    }

    /// Fails unless the journal may contain this block; the superblock's is allowed, too.
    pub fn check_journaled_block(&self, block: u64) -> Result<(), ReadError> {
        if block >= self.superblock.blocks {
            return Err(damaged(format!(
                "its journal contains block {block} of {}",
                self.superblock.blocks
            )));
        }
        Ok(())
    }

    pub fn block(&self, number: u64) -> Result<Vec<u8>, ReadError> {
        self.check_blocks(number, 1)?;
        let mut bytes = vec![0; self.block_size()];
        self.disk
            .read_at(number * u64::from(self.superblock.block_size), &mut bytes)?;
        Ok(bytes)
    }

    fn read_groups(&mut self) -> Result<(), ReadError> {
        let size = usize::from(self.superblock.descriptor_size);
        let in_block = self.block_size() / size;
        let blocks = self
            .superblock
            .groups
            .div_ceil(u32::try_from(in_block).unwrap_or(u32::MAX).max(1));
        let mut group = 0;
        for index in 0..blocks {
            let bytes = self.block(self.descriptor_block(index, in_block as u64))?;
            for descriptor in bytes.chunks_exact(size) {
                if group < self.superblock.groups {
                    let table = self.descriptor(group, descriptor)?;
                    self.tables.push(table);
                    group += 1;
                }
            }
        }
        Ok(())
    }

    /// Returns the number of the `index`-th block of group descriptors.
    fn descriptor_block(&self, index: u32, in_block: u64) -> u64 {
        let superblock = &self.superblock;
        let own = 1024 / u64::from(superblock.block_size);
        let first_meta_group = Fields(&superblock.raw).le32(superblock::FIRST_META_GROUP);
        if !superblock.has(Feature::META_BG) || index < first_meta_group {
            return own + 1 + u64::from(index);
        }
        let group = in_block * u64::from(index);
        let start =
            u64::from(superblock.first_data_block) + group * u64::from(superblock.blocks_per_group);
        // With clusters, blocks of 1 KiB start to count at 0, so the superblock is in block 1.
        let shifted =
            superblock.block_size == 1024 && group == 0 && superblock.first_data_block == 0;
        start + u64::from(superblock.has_backup(group)) + u64::from(shifted)
    }

    /// Checks a group's descriptor and returns the first block of its inode table.
    fn descriptor(&self, group: u32, bytes: &[u8]) -> Result<u64, ReadError> {
        let fields = Fields(bytes);
        let stored = fields.le16(field::CHECKSUM);
        let number = group.to_le_bytes();
        let before = bytes.get(..field::CHECKSUM).unwrap_or_default();
        let after = bytes.get(field::AFTER_CHECKSUM..).unwrap_or_default();
        let expected = if self.verifies(Feature::METADATA_CSUM) {
            let covered = [&number[..], before, &[0; 2], after].concat();
            let [low, high, ..] = crc32c(self.superblock.checksum_seed, &covered).to_le_bytes();
            u16::from_le_bytes([low, high])
        } else if self.verifies(Feature::GDT_CSUM) {
            crc16(
                !0,
                &[&self.superblock.uuid[..], &number, before, after].concat(),
            )
        } else {
            stored
        };
        if stored != expected {
            return Err(damaged(format!("the checksum of group {group} is wrong")));
        }
        // The high half of a short descriptor is beyond its end, and zero.
        let table = fields.le32_halves(field::INODE_TABLE);
        let bytes =
            u64::from(self.superblock.inodes_per_group) * u64::from(self.superblock.inode_size);
        self.check_blocks(table, bytes.div_ceil(self.superblock.block_size.into()))?;
        Ok(table)
    }

    /// Returns the number of an inode, if a directory may name it.
    pub fn number(&self, inode: Inode) -> Result<u32, ReadError> {
        match u32::try_from(inode.0) {
            Ok(ROOT) => Ok(ROOT),
            Ok(number)
                if (self.superblock.first_inode..=self.superblock.inodes).contains(&number) =>
            {
                Ok(number)
            }
            _ => Err(damaged(format!("inode {} does not exist", inode.0))),
        }
    }

    /// Reads an inode, reserved or not.
    pub fn node(&self, number: u32) -> Result<Node, ReadError> {
        let per_group = self.superblock.inodes_per_group.max(1);
        let missing = || damaged(format!("inode {number} does not exist"));
        let index = number.checked_sub(1).ok_or_else(missing)?;
        let group = to_index(index / per_group);
        let table = self.tables.get(group).ok_or_else(missing)?;
        let size = self.superblock.inode_size;
        let offset = table * u64::from(self.superblock.block_size)
            + u64::from(index % per_group) * u64::from(size);
        let mut raw = vec![0; size.into()];
        self.disk.read_at(offset, &mut raw)?;
        Node::parse(number, raw, &self.superblock, self.checksums)
    }
}

impl FileSystem for Ext4 {
    fn root(&self) -> Inode {
        Inode(ROOT.into())
    }

    fn stat(&self, inode: Inode) -> Result<Metadata, ReadError> {
        let node = self.volume.node(self.volume.number(inode)?)?;
        Ok(node.metadata())
    }

    fn read_dir(&self, inode: Inode) -> Result<Vec<DirectoryEntry>, ReadError> {
        let opened = self.open_file(inode)?;
        require(&opened, FileType::Directory, inode)?;
        directory::entries(&self.volume, &opened)
    }

    fn read_link(&self, inode: Inode) -> Result<Vec<u8>, ReadError> {
        let opened = self.open_file(inode)?;
        require(&opened, FileType::Link, inode)?;
        let size = opened.node.size;
        if size == 0 || size > MAX_LINK_TARGET_BYTES {
            return Err(damaged(format!("link {} has {size} bytes", inode.0)));
        }
        let mut target = vec![0; to_index(size)];
        opened.read_at(&self.volume, 0, &mut target)?;
        if target.contains(&0) {
            return Err(damaged(format!(
                "link {} has a target with a zero byte",
                inode.0
            )));
        }
        Ok(target)
    }

    fn xattrs(&self, inode: Inode) -> Result<Vec<Xattr>, ReadError> {
        let node = self.volume.node(self.volume.number(inode)?)?;
        attributes::read_all(&self.volume, &self.files, &node)
    }

    fn runs(&self, inode: Inode) -> Result<Vec<DataRun>, ReadError> {
        let opened = self.open_file(inode)?;
        require(&opened, FileType::File, inode)?;
        Ok(opened.runs(&self.volume))
    }

    fn read_at(&self, inode: Inode, offset: u64, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let opened = self.open_file(inode)?;
        require(&opened, FileType::File, inode)?;
        opened.read_at(&self.volume, offset, buffer)
    }
}

/// Fails unless the file is of the expected kind, and its content and names can be read as they are.
fn require(opened: &Opened, kind: FileType, inode: Inode) -> Result<(), ReadError> {
    if opened.node.kind != kind {
        let is = opened.node.kind;
        return Err(damaged(format!(
            "inode {} is a {is:?}, not a {kind:?}",
            inode.0
        )));
    }
    opened.node.require_plain()
}
