//! A tree laid out as an ext4 file system. The same tree and format give the same bytes: inodes are numbered in the order of
//! paths, blocks are handed out in that order, and there is neither a clock nor chance.

use std::collections::HashMap;
use std::ops::Range;

use self::directory::{Directory, Name};
use self::extents::Extent;
use self::format::{compatible, for_writers, incompatible};
use self::geometry::Geometry;
use self::inode::Inode;
use self::space::Space;
use self::superblock::Totals;
use self::xattr::{Attribute, Placed, Refused};
use super::WriteError;
use super::little::{Fields, low16, low32};
use super::pieces::{Piece, Source};
use crate::disk::read::{Flags, Kind};
use crate::disk::tree::{Content, Contents, File, Tree};

mod checksum;
mod directory;
mod extents;
mod finish;
mod format;
mod geometry;
mod hash;
mod inode;
mod orphans;
mod space;
mod superblock;
mod xattr;

pub use format::Format;

const ROOT_INODE: u32 = 2;
const RESIZE_INODE: u32 = 7;
const JOURNAL_INODE: u32 = 8;
/// Links that a file can have; a directory with more subdirectories says 1.
const MOST_LINKS: usize = 65_000;
/// Bytes of a link's target that fit into its inode, with the zero behind them.
const SHORT_LINK: usize = 60;
/// Bytes that are kept in `lost+found`, so that a repair needs no space.
const LOST_AND_FOUND: usize = 16 << 10;
/// Where repairs put what has lost its name. Its inode is the first that is not reserved.
const LOST_AND_FOUND_PATH: &[u8] = b"/lost+found";

/// No structure has a longer one at the end of its block.
const CHECKSUM_TAIL: usize = 12;

/// The inode is mapped by extents.
const EXTENTS_FLAG: u32 = 0x8_0000;
/// The directory has an index.
const INDEX_FLAG: u32 = 0x1000;
/// The inode is the value of an attribute.
const VALUE_FLAG: u32 = 0x20_0000;

/// Lays out a tree: pieces at offsets within a partition of so many bytes.
pub(super) fn lay(
    format: &Format,
    bytes: u64,
    tree: &Tree,
    contents: &Contents,
) -> Result<Vec<Piece>, WriteError> {
    let geometry = Geometry::new(format, bytes)?;
    let mut layer = Layer::new(format, geometry, tree, contents)?;
    layer.journal()?;
    layer.resize_inode()?;
    layer.orphan_file()?;
    layer.directories()?;
    layer.files()?;
    layer.finish()
}

/// A file system in the making.
struct Layer<'a> {
    format: &'a Format,
    geometry: Geometry,
    tree: &'a Tree,
    contents: &'a Contents,
    space: Space,
    pieces: Vec<Piece>,
    /// The number of every file of the tree that has a path; 0 for others.
    numbers: Vec<u32>,
    /// Files in the order of their numbers.
    order: Vec<usize>,
    /// One path of every file.
    paths: Vec<&'a [u8]>,
    links: Vec<usize>,
    /// Inodes as bytes by number, from 1.
    inodes: Vec<Option<Vec<u8>>>,
    next_inode: u32,
    /// Directories among the inodes.
    is_directory: Vec<bool>,
    totals: Totals,
}

impl<'a> Layer<'a> {
    fn new(
        format: &'a Format,
        geometry: Geometry,
        tree: &'a Tree,
        contents: &'a Contents,
    ) -> Result<Self, WriteError> {
        let count = tree.files().len();
        let mut layer = Self {
            format,
            space: Space::new(geometry.fixed.clone(), geometry.blocks),
            geometry,
            tree,
            contents,
            pieces: Vec::new(),
            numbers: vec![0; count],
            order: Vec::with_capacity(count),
            paths: vec![&[]; count],
            links: vec![0; count],
            inodes: vec![None; format.first_inode as usize],
            next_inode: format.first_inode + 1,
            is_directory: vec![false; format.first_inode as usize],
            totals: Totals::default(),
        };
        layer.totals.inodes =
            layer.geometry.groups.len() as u64 * u64::from(format.inodes_per_group);
        if format.compatible(compatible::ORPHAN_FILE) {
            layer.totals.orphans_inode = Some(layer.new_inode());
        }
        layer.number_files()?;
        Ok(layer)
    }

    fn number_files(&mut self) -> Result<(), WriteError> {
        for (path, file) in self.tree.paths() {
            self.links[file] += 1;
            if self.links[file] > 1 {
                continue;
            }
            check(&self.tree.files()[file], path, self.format)?;
            self.numbers[file] = match path {
                b"/" => ROOT_INODE,
                LOST_AND_FOUND_PATH => self.format.first_inode,
                _ => self.new_inode(),
            };
            self.paths[file] = path;
            self.order.push(file);
        }
        let lost = self
            .tree
            .find(LOST_AND_FOUND_PATH)
            .map(|file| self.tree.files()[file].kind);
        if lost != Some(Kind::Directory) || self.tree.find(b"/").is_none() {
            return Err(WriteError::File {
                path: "/lost+found".to_owned(),
                problem: "a root file system has this directory, and here it is missing".to_owned(),
            });
        }
        Ok(())
    }

    fn new_inode(&mut self) -> u32 {
        let number = self.next_inode;
        self.next_inode += 1;
        self.inodes.push(None);
        self.is_directory.push(false);
        number
    }

    /// Seed of the checksums of what belongs to an inode.
    fn seed(&self, number: u32) -> Option<u32> {
        self.format.checksums.inode_seed(number, 0)
    }

    fn offset(&self, block: u64) -> u64 {
        block * self.format.block_size as u64
    }

    /// Keeps what is not zero: most directories fill a small part of their block, and have a checksum at its end.
    fn put_block(&mut self, block: u64, mut bytes: Vec<u8>) {
        let at = self.offset(block);
        let tail = bytes.split_off(bytes.len().saturating_sub(CHECKSUM_TAIL));
        let tail_at = at + bytes.len() as u64;
        let used = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        if used + CHECKSUM_TAIL < bytes.len() {
            bytes.truncate(used);
            self.pieces.push(Piece::here(at, bytes));
            self.pieces.push(Piece::here(tail_at, tail));
        } else {
            bytes.extend(tail);
            self.pieces.push(Piece::here(at, bytes));
        }
    }

    fn put_inode(&mut self, number: u32, inode: &Inode) {
        let bytes = inode.bytes(number, self.format.inode_size, self.format.checksums);
        self.inodes[number as usize - 1] = Some(bytes);
    }

    /// Takes blocks for runs of a file and maps them. Says where they are and how many blocks that took in all.
    fn map(
        &mut self,
        number: u32,
        runs: impl IntoIterator<Item = (u64, u64)>,
    ) -> Result<(Vec<Extent>, Vec<u8>, u64), WriteError> {
        let mut extents: Vec<Extent> = Vec::new();
        let mut blocks = 0;
        for (first, count) in runs {
            let mut logical = first;
            blocks += count;
            for piece in self.space.take(count)? {
                let length = piece.end - piece.start;
                extents.push(Extent {
                    logical: low32(logical),
                    physical: piece.start,
                    length: low32(length),
                });
                logical += length;
            }
        }
        let divided = extents::divided(&extents);
        let block_size = self.format.block_size;
        let count = extents::tree_blocks(divided.len(), block_size) as u64;
        let places: Vec<_> = self.space.take(count)?.into_iter().flatten().collect();
        let map = extents::map(&divided, block_size, self.seed(number), &places);
        for (place, bytes) in map.blocks {
            self.put_block(place, bytes);
        }
        Ok((extents, map.root, blocks + count))
    }

    /// Puts bytes into new blocks of an inode and maps them.
    fn put_bytes(&mut self, number: u32, bytes: &[u8]) -> Result<(Vec<u8>, u64), WriteError> {
        let block_size = self.format.block_size;
        let count = bytes.len().div_ceil(block_size) as u64;
        let (extents, map, blocks) = self.map(number, [(0, count)])?;
        let mut rest = bytes;
        for extent in extents {
            let (piece, after) =
                rest.split_at((extent.length as usize * block_size).min(rest.len()));
            self.put_block(extent.physical, piece.to_vec());
            rest = after;
        }
        Ok((map, blocks))
    }

    fn sectors(&self, blocks: u64) -> u64 {
        self.offset(blocks) / 512
    }

    /// An empty journal of the base's size.
    fn journal(&mut self) -> Result<(), WriteError> {
        if !self.format.compatible(compatible::JOURNAL) {
            return Ok(());
        }
        let blocks = self.format.journal_blocks;
        let (extents, map, used) = self.map(JOURNAL_INODE, [(0, blocks.into())])?;
        let size = self.offset(blocks.into());
        self.totals.journal = Some((map.clone(), size));
        self.put_block(
            extents[0].physical,
            superblock::journal(self.format, blocks),
        );
        let inode = Inode {
            mode: 0o100_600,
            size,
            links: 1,
            sectors: self.sectors(used),
            flags: EXTENTS_FLAG,
            time: self.format.now(),
            map,
            ..Inode::default()
        };
        self.put_inode(JOURNAL_INODE, &inode);
        Ok(())
    }

    /// The inode that owns the blocks kept for descriptors of groups to come: one indirect block for each of them, which is
    /// the block of the first copy and points at the others.
    fn resize_inode(&mut self) -> Result<(), WriteError> {
        if !self.format.compatible(compatible::RESIZE_INODE) {
            return Ok(());
        }
        let geometry = &self.geometry;
        let per_block = self.format.block_size / 4;
        let copies: Vec<_> = geometry
            .groups
            .iter()
            .skip(1)
            .filter(|group| group.has_superblock)
            .collect();
        let first = geometry.first_block + 1 + geometry.descriptor_blocks;
        let mut top = Fields::new(self.format.block_size);
        let mut lists = Vec::new();
        for reserved in 0..geometry.reserved_descriptor_blocks {
            let block = first + reserved;
            // At the place that says which descriptors it will hold.
            let slot = (geometry.descriptor_blocks + reserved) % per_block as u64;
            top.put32(4 * low16(slot) as usize, low32(block));
            let mut list = Fields::new(self.format.block_size);
            for (index, group) in copies.iter().enumerate() {
                let distance = group.first - geometry.first_block;
                list.put32(4 * index, low32(block + distance));
            }
            lists.push((block, list.into_bytes()));
        }
        let blocks = 1 + geometry.reserved_descriptor_blocks * (1 + copies.len() as u64);
        let place = self.space.take_one()?;
        let mut map = Fields::new(extents::ROOT);
        // The doubly indirect block.
        map.put32(13 * 4, low32(place));
        self.put_block(place, top.into_bytes());
        for (block, list) in lists {
            self.put_block(block, list);
        }
        // As large as direct, indirect and doubly indirect blocks allow.
        let per_block = per_block as u64;
        let inode = Inode {
            mode: 0o100_600,
            size: self.offset(per_block * per_block + per_block + 12),
            links: 1,
            sectors: self.sectors(blocks),
            time: self.format.now(),
            map: map.into_bytes(),
            ..Inode::default()
        };
        self.put_inode(RESIZE_INODE, &inode);
        Ok(())
    }

    fn directories(&mut self) -> Result<(), WriteError> {
        let mut names: HashMap<&[u8], Vec<Name<'a>>> = HashMap::new();
        for (path, file) in self.tree.paths().filter(|(path, _)| *path != b"/") {
            let (parent, name) = split(path);
            names.entry(parent).or_default().push(Name {
                bytes: name,
                inode: self.numbers[file],
                kind: directory_kind(self.tree.files()[file].kind),
            });
        }
        for index in 0..self.order.len() {
            let file = self.order[index];
            if self.tree.files()[file].kind == Kind::Directory {
                let path = self.paths[file];
                self.directory(file, names.get(path).map_or(&[], Vec::as_slice))?;
            }
        }
        Ok(())
    }

    fn directory(&mut self, file: usize, names: &[Name<'a>]) -> Result<(), WriteError> {
        let number = self.numbers[file];
        let path = self.paths[file];
        let parent = match self.tree.find(split(path).0) {
            Some(parent) if self.tree.files()[parent].kind == Kind::Directory => {
                self.numbers[parent]
            }
            _ => return Err(refuse(path, "what it is in is no directory")),
        };
        let indexed = self.format.compatible(compatible::DIR_INDEX);
        let directory = Directory {
            block_size: self.format.block_size,
            inode: number,
            parent,
            seed: self.seed(number),
            hash: indexed.then_some(&self.format.names),
        };
        let least = if number == self.format.first_inode {
            LOST_AND_FOUND / self.format.block_size
        } else {
            1
        };
        let made = directory.blocks(names, least);
        let size = made.blocks.len() * self.format.block_size;
        let (map, blocks) = self.put_bytes(number, &made.blocks.concat())?;
        let subdirectories = names
            .iter()
            .filter(|name| name.kind == directory::DIRECTORY)
            .count();
        let links = match subdirectories + 2 {
            links if links <= MOST_LINKS => low16(links as u64),
            _ if self.format.for_writers & for_writers::MANY_SUBDIRECTORIES != 0 => 1,
            _ => return Err(refuse(path, "it has too many directories in it")),
        };
        self.is_directory[number as usize - 1] = true;
        let inode = Inode {
            size: size as u64,
            links,
            flags: EXTENTS_FLAG | if made.indexed { INDEX_FLAG } else { 0 },
            map,
            ..Inode::default()
        };
        self.put_file(file, inode, blocks)
    }

    fn files(&mut self) -> Result<(), WriteError> {
        for index in 0..self.order.len() {
            let file = self.order[index];
            let data = &self.tree.files()[file];
            let number = self.numbers[file];
            let (inode, blocks) = match (&data.content, data.rdev) {
                (_, _) if data.kind == Kind::Directory => continue,
                (Content::Link(target), _) if target.len() < SHORT_LINK => {
                    let inode = Inode {
                        size: target.len() as u64,
                        map: target.clone(),
                        ..Inode::default()
                    };
                    (inode, 0)
                }
                (Content::Link(target), _) => {
                    let (map, blocks) = self.put_bytes(number, target)?;
                    let size = target.len() as u64;
                    (
                        Inode {
                            size,
                            map,
                            flags: EXTENTS_FLAG,
                            ..Inode::default()
                        },
                        blocks,
                    )
                }
                (_, Some((major, minor))) => {
                    let inode = Inode {
                        map: inode::device(major, minor),
                        ..Inode::default()
                    };
                    (inode, 0)
                }
                (content, None) if data.kind == Kind::File => self.regular(file, content)?,
                _ => (Inode::default(), 0),
            };
            if self.links[file] > MOST_LINKS {
                return Err(refuse(self.paths[file], "it has too many names"));
            }
            let links = low16(self.links[file] as u64);
            self.put_file(file, Inode { links, ..inode }, blocks)?;
        }
        Ok(())
    }

    /// A regular file's blocks: those that are not zero. The others are holes.
    fn regular(&mut self, file: usize, content: &Content) -> Result<(Inode, u64), WriteError> {
        let runs = self
            .contents
            .of(file)
            .map_or(&[][..], |contents| &contents.runs);
        let size = content.size();
        let (extents, map, blocks) = self.map(
            self.numbers[file],
            runs.iter().map(|run| (run.first, run.blocks)),
        )?;
        for extent in extents {
            let offset = self.offset(extent.logical.into());
            let piece = Piece {
                at: self.offset(extent.physical),
                length: self
                    .offset(extent.length.into())
                    .min(size.saturating_sub(offset)),
                source: Source::File { file, offset },
            };
            self.pieces.push(piece);
        }
        Ok((
            Inode {
                size,
                map,
                flags: EXTENTS_FLAG,
                ..Inode::default()
            },
            blocks,
        ))
    }

    /// Completes an inode with what all kinds of files have.
    fn put_file(&mut self, file: usize, inode: Inode, blocks: u64) -> Result<(), WriteError> {
        let data = &self.tree.files()[file];
        let path = self.paths[file];
        let (placed, values) = self.attributes(data, path)?;
        let room = inode::attribute_room(self.format.inode_size);
        let mut blocks = blocks + values;
        let mut attributes_block = 0;
        if placed.needs_block() {
            attributes_block = self.space.take_one()?;
            let seed = self.format.checksums.seed();
            let block = placed.block(self.format.block_size, attributes_block, seed);
            self.put_block(attributes_block, block);
            blocks += 1;
        }
        let inode = Inode {
            mode: data.kind.mode_bits() | (data.mode & 0o7777),
            uid: data.uid,
            gid: data.gid,
            sectors: self.sectors(blocks),
            flags: inode.flags | flags(data.flags),
            time: (data.mtime.seconds, data.mtime.nanoseconds),
            attributes_block,
            attributes: placed.inside(room),
            ..inode
        };
        self.put_inode(self.numbers[file], &inode);
        Ok(())
    }

    /// Places the attributes of a file; large values go into inodes of their own, whose blocks count as the file's.
    fn attributes(&mut self, data: &File, path: &[u8]) -> Result<(Placed, u64), WriteError> {
        let explain = |refused| {
            let what = match refused {
                Refused::Name => {
                    "the name of an extended attribute has an unknown prefix, or is too long"
                }
                Refused::List => "an access control list is malformed",
                Refused::TooLarge => "its extended attributes are too large",
            };
            refuse(path, what)
        };
        let mut attributes = Vec::with_capacity(data.xattrs.len());
        let mut blocks = 0;
        for xattr in &data.xattrs {
            let mut attribute = Attribute::new(&xattr.name, &xattr.value).map_err(explain)?;
            if self.format.incompatible(incompatible::EA_INODE)
                && let Some(value) = attribute.large(self.format.block_size)
            {
                let (inode, hash, used) = self.value(value)?;
                attribute.put_apart(inode, hash);
                blocks += used;
            }
            attributes.push(attribute);
        }
        let room = inode::attribute_room(self.format.inode_size);
        let placed = xattr::place(attributes, room, self.format.block_size).map_err(explain)?;
        Ok((placed, blocks))
    }

    /// An inode with the value of an attribute.
    fn value(&mut self, value: &[u8]) -> Result<(u32, u32, u64), WriteError> {
        let number = self.new_inode();
        let (map, blocks) = self.put_bytes(number, value)?;
        let hash = checksum::crc32c(self.format.checksums.seed().unwrap_or(!0), value);
        let inode = Inode {
            mode: 0o100_600,
            size: value.len() as u64,
            links: 1,
            sectors: self.sectors(blocks),
            flags: EXTENTS_FLAG | VALUE_FLAG,
            map,
            value_hash: Some(hash),
            ..Inode::default()
        };
        self.put_inode(number, &inode);
        Ok((number, hash, blocks))
    }
}

/// The parent and the name of a path.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let slash = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    (
        if slash == 0 { b"/" } else { &path[..slash] },
        &path[slash + 1..],
    )
}

fn refuse(path: &[u8], problem: &str) -> WriteError {
    WriteError::File {
        path: String::from_utf8_lossy(path).into_owned(),
        problem: problem.to_owned(),
    }
}

/// Refuses what cannot be written as it is.
fn check(file: &File, path: &[u8], format: &Format) -> Result<(), WriteError> {
    let name = split(path).1;
    let Flags {
        casefold,
        project_inherit,
        verity,
        ..
    } = file.flags;
    let most = u64::from(u32::MAX) * format.block_size as u64;
    for (wrong, problem) in [
        (name.len() > 255, "its name is longer than 255 bytes"),
        (casefold, "names in it do not differ by case alone"),
        (project_inherit, "it belongs to a project"),
        (verity, "it is protected by fs-verity"),
        (file.content.size() > most, "it is too large for ext4"),
        (
            !inode::holds(format.inode_size, file.mtime.seconds),
            "its time cannot be stored",
        ),
        (
            file.content.size() > format.block_size as u64 && file.kind == Kind::Link,
            "its target is too long",
        ),
    ] {
        if wrong {
            return Err(refuse(path, problem));
        }
    }
    Ok(())
}

fn directory_kind(kind: Kind) -> u8 {
    match kind {
        Kind::File => 1,
        Kind::Directory => directory::DIRECTORY,
        Kind::CharDevice => 3,
        Kind::BlockDevice => 4,
        Kind::Fifo => 5,
        Kind::Socket => 6,
        Kind::Link => 7,
    }
}

/// What `chattr` sets, as bits.
fn flags(flags: Flags) -> u32 {
    [
        (flags.sync, 0x8),
        (flags.immutable, 0x10),
        (flags.append, 0x20),
        (flags.no_dump, 0x40),
        (flags.no_atime, 0x80),
        (flags.journal_data, 0x4000),
        (flags.no_tail, 0x8000),
        (flags.dir_sync, 0x1_0000),
        (flags.top_dir, 0x2_0000),
        (flags.dax, 0x200_0000),
    ]
    .into_iter()
    .fold(0, |bits, (set, bit)| if set { bits | bit } else { bits })
}

/// Marks bits.
fn mark(bitmap: &mut [u8], bits: Range<u64>) {
    for bit in bits {
        // Within a block's bits.
        let byte = usize::from(low16(bit / 8));
        bitmap[byte] |= 1 << (bit % 8);
    }
}
