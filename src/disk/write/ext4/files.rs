//! The files of the tree: directories first, so that they lie together, then what is in the others.

use std::collections::HashMap;

use super::directory::{self, Directory, Name};
use super::format::{compatible, for_writers, incompatible};
use super::inode::{self, Inode};
use super::xattr::{self, Attribute, Placed, Refused};
use super::{EXTENTS_FLAG, Layer, checksum, refuse, split};
use crate::disk::read::{Flags, Kind};
use crate::disk::tree::{Content, File};
use crate::disk::write::WriteError;
use crate::disk::write::fields::low16;
use crate::disk::write::layout::{Piece, Source};

/// Links that a file can have; a directory with more subdirectories says 1.
const MOST_LINKS: usize = 65_000;
/// Bytes of a link's target that fit into its inode, with the zero behind them.
const SHORT_LINK: usize = 60;
/// Bytes that are kept in `lost+found`, so that a repair needs no space.
const LOST_AND_FOUND: usize = 16 << 10;
/// The directory has an index.
const INDEX_FLAG: u32 = 0x1000;
/// The inode is the value of an attribute.
const VALUE_FLAG: u32 = 0x20_0000;

impl<'a> Layer<'a> {
    pub(super) fn directories(&mut self) -> Result<(), WriteError> {
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
            let file = self.order[index] as usize;
            if self.tree.files()[file].kind == Kind::Directory {
                let path = self.path(file);
                self.directory(file, names.get(path).map_or(&[], Vec::as_slice))?;
            }
        }
        Ok(())
    }

    fn directory(&mut self, file: usize, names: &[Name<'a>]) -> Result<(), WriteError> {
        let number = self.numbers[file];
        let path = self.path(file);
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
        self.begin(file, size as u64);
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

    pub(super) fn files(&mut self) -> Result<(), WriteError> {
        for index in 0..self.order.len() {
            let file = self.order[index] as usize;
            let data = &self.tree.files()[file];
            let number = self.numbers[file];
            // Directories are done, and the others come in the order of their numbers.
            self.pack_inodes(number)?;
            self.begin(file, data.content.size());
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
            if self.links[file] as usize > MOST_LINKS {
                return Err(refuse(self.path(file), "it has too many names"));
            }
            let links = low16(self.links[file].into());
            self.put_file(file, Inode { links, ..inode }, blocks)?;
        }
        Ok(())
    }

    /// A regular file's blocks: those that are not zero. The others are holes.
    fn regular(&mut self, file: usize, content: &Content) -> Result<(Inode, u64), WriteError> {
        let runs = self.contents.runs(file);
        let size = content.size();
        let (extents, map, blocks) =
            self.map(self.numbers[file], runs.map(|run| (run.first, run.blocks)))?;
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
        let path = self.path(file);
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

/// Refuses what cannot be written as it is.
pub(super) fn check(file: &File, path: &[u8], format: &super::Format) -> Result<(), WriteError> {
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
