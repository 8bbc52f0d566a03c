//! Writes the files of the tree: directories first, so that they lie together, then the contents of the others.

use std::collections::HashMap;

use super::directory::{Directory, Name};
use super::inode::{self, Inode};
use super::xattr::{self, Attribute, PlacedAttributes, Refused};
use super::{Builder, checksum, refuse, split};
use crate::disk::read::FileType;
use crate::disk::read::ext4::layout::inode::MAP_LENGTH;
use crate::disk::read::ext4::layout::{compat, file_type, incompat, inode_flags, ro_compat};
use crate::disk::tree::{Content, File};
use crate::disk::write::WriteError;
use crate::disk::write::fields::low16;
use crate::disk::write::layout::{Region, RegionSource};

/// Maximal number of links; a directory with more subdirectories has 1 instead.
const MAX_LINKS: usize = 65_000;
/// Bytes reserved in `lost+found`, so that a repair needs no space.
const LOST_AND_FOUND_BYTES: usize = 16 << 10;

impl<'a> Builder<'a> {
    pub(super) fn directories(&mut self) -> Result<(), WriteError> {
        let mut names: HashMap<&[u8], Vec<Name<'a>>> = HashMap::new();
        for (path, file) in self.tree.paths().filter(|(path, _)| *path != b"/") {
            let (parent, name) = split(path);
            names.entry(parent).or_default().push(Name {
                bytes: name,
                inode: self.numbers[file],
                file_type: file_type(self.tree.files()[file].kind),
            });
        }
        for index in 0..self.order.len() {
            let file = self.order[index] as usize;
            if self.tree.files()[file].kind == FileType::Directory {
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
            Some(parent) if self.tree.files()[parent].kind == FileType::Directory => {
                self.numbers[parent]
            }
            _ => return Err(refuse(path, "its parent is not a directory")),
        };
        let indexed = self.format.has_compat(compat::DIR_INDEX);
        let directory = Directory {
            block_size: self.format.block_size,
            inode: number,
            parent,
            seed: self.seed(number),
            hash: indexed.then_some(&self.format.names),
        };
        let min_blocks = if number == self.format.first_inode {
            LOST_AND_FOUND_BYTES / self.format.block_size
        } else {
            1
        };
        let content = directory.content(names, min_blocks);
        let size = content.blocks.len() * self.format.block_size;
        self.begin(file, size as u64);
        let (map, blocks) = self.put_bytes(number, &content.blocks.concat())?;
        let is_directory = |name: &&Name<'_>| name.file_type == file_type(FileType::Directory);
        let links = match names.iter().filter(is_directory).count() + 2 {
            links if links <= MAX_LINKS => low16(links as u64),
            _ if self.format.ro_compat & ro_compat::DIR_NLINK != 0 => 1,
            _ => return Err(refuse(path, "it has too many subdirectories")),
        };
        let index_flag = if content.indexed {
            inode_flags::INDEX
        } else {
            0
        };
        self.is_directory[number as usize - 1] = true;
        let inode = Inode {
            size: size as u64,
            links,
            flags: inode_flags::EXTENTS | index_flag,
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
            self.compress_inodes(number)?;
            self.begin(file, data.content.size());
            let (inode, blocks) = match (&data.content, data.rdev) {
                (_, _) if data.kind == FileType::Directory => continue,
                (Content::Link(target), _) => self.link(number, target)?,
                (_, Some((major, minor))) => {
                    let inode = Inode {
                        map: inode::device(major, minor),
                        ..Inode::default()
                    };
                    (inode, 0)
                }
                (content, None) if data.kind == FileType::File => self.regular(file, content)?,
                _ => (Inode::default(), 0),
            };
            if self.links[file] as usize > MAX_LINKS {
                return Err(refuse(self.path(file), "it has too many hard links"));
            }
            let links = low16(self.links[file].into());
            self.put_file(file, Inode { links, ..inode }, blocks)?;
        }
        Ok(())
    }

    /// Writes the target of a link: into the inode if it fits there with a final zero, else into blocks.
    fn link(&mut self, number: u32, target: &[u8]) -> Result<(Inode, u64), WriteError> {
        let is_short = target.len() < MAP_LENGTH;
        let (map, blocks) = if is_short {
            (target.to_vec(), 0)
        } else {
            self.put_bytes(number, target)?
        };
        let inode = Inode {
            size: target.len() as u64,
            map,
            flags: if is_short { 0 } else { inode_flags::EXTENTS },
            ..Inode::default()
        };
        Ok((inode, blocks))
    }

    /// Maps the blocks of a regular file that are not zero. The others are holes.
    fn regular(&mut self, file: usize, content: &Content) -> Result<(Inode, u64), WriteError> {
        let runs = self.contents.runs(file);
        let size = content.size();
        let (extents, map, blocks) =
            self.map(self.numbers[file], runs.map(|run| (run.first, run.blocks)))?;
        for extent in extents {
            let offset = self.offset(extent.logical.into());
            let length = self.offset(extent.length.into());
            self.regions.push(Region {
                at: self.offset(extent.physical),
                length: length.min(size.saturating_sub(offset)),
                source: RegionSource::File { file, offset },
            });
        }
        let inode = Inode {
            size,
            map,
            flags: inode_flags::EXTENTS,
            ..Inode::default()
        };
        Ok((inode, blocks))
    }

    /// Completes an inode with the fields that all kinds of files have.
    fn put_file(&mut self, file: usize, inode: Inode, blocks: u64) -> Result<(), WriteError> {
        let data = &self.tree.files()[file];
        let path = self.path(file);
        let (placed, values) = self.attributes(data, path)?;
        let space = inode::attribute_space(self.format.inode_size);
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
            flags: inode.flags | data.flags.bits(),
            time: (data.mtime.seconds, data.mtime.nanoseconds),
            attributes_block,
            attributes: placed.inode_area(space),
            ..inode
        };
        self.put_inode(self.numbers[file], &inode);
        Ok(())
    }

    /// Places the attributes of a file. Large values go into inodes of their own, whose blocks count as the file's.
    fn attributes(
        &mut self,
        data: &File,
        path: &[u8],
    ) -> Result<(PlacedAttributes, u64), WriteError> {
        let explain = |refused| {
            let problem = match refused {
                Refused::Name => {
                    "the name of an extended attribute has an unknown prefix, or is too long"
                }
                Refused::List => "an access control list is malformed",
                Refused::TooLarge => "its extended attributes are too large",
            };
            refuse(path, problem)
        };
        let mut attributes = Vec::with_capacity(data.xattrs.len());
        let mut blocks = 0;
        for xattr in &data.xattrs {
            let mut attribute = Attribute::new(&xattr.name, &xattr.value).map_err(explain)?;
            if self.format.has_incompat(incompat::EA_INODE)
                && let Some(value) = attribute.large_value(self.format.block_size)
            {
                let (inode, hash, used) = self.value(value)?;
                attribute.move_value(inode, hash);
                blocks += used;
            }
            attributes.push(attribute);
        }
        let space = inode::attribute_space(self.format.inode_size);
        let placed = xattr::place(attributes, space, self.format.block_size).map_err(explain)?;
        Ok((placed, blocks))
    }

    /// Writes the value of an attribute to an inode of its own. Returns its number, its hash, and the number of its blocks.
    fn value(&mut self, value: &[u8]) -> Result<(u32, u32, u64), WriteError> {
        let number = self.new_inode();
        let (map, blocks) = self.put_bytes(number, value)?;
        let hash = checksum::crc32c(self.format.checksums.seed().unwrap_or(!0), value);
        let inode = Inode {
            mode: 0o100_600,
            size: value.len() as u64,
            links: 1,
            sectors: self.sectors(blocks),
            flags: inode_flags::EXTENTS | inode_flags::EA_INODE,
            map,
            value_hash: Some(hash),
            ..Inode::default()
        };
        self.put_inode(number, &inode);
        Ok((number, hash, blocks))
    }
}

/// Refuses a file that cannot be written as it is.
pub(super) fn check(file: &File, path: &[u8], format: &super::Format) -> Result<(), WriteError> {
    let name = split(path).1;
    let has = |flag| file.flags.bits() & flag != 0;
    let most = u64::from(u32::MAX) * format.block_size as u64;
    for (wrong, problem) in [
        (name.len() > 255, "its name is longer than 255 bytes"),
        (
            has(inode_flags::CASEFOLD),
            "it is a case-insensitive directory",
        ),
        (has(inode_flags::PROJECT_INHERIT), "it belongs to a project"),
        (has(inode_flags::VERITY), "it is protected by fs-verity"),
        (file.content.size() > most, "it is too large for ext4"),
        (
            !inode::can_store_time(format.inode_size, file.mtime.seconds),
            "its time cannot be stored",
        ),
        (
            file.content.size() > format.block_size as u64 && file.kind == FileType::Link,
            "its target is too long",
        ),
    ] {
        if wrong {
            return Err(refuse(path, problem));
        }
    }
    Ok(())
}
