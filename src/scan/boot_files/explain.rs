//! Explanation of the members of an initrd: by the trees that it was made from, and the table of generated members.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};

use data_encoding::HEXLOWER;

use super::BootTrees;
use super::generated::{Generated, ROWS};
use super::initrd::{Member, MemberContent, unpacked_sum};
use crate::disk::read::{FileType, ReadError};
use crate::disk::tree::{File, listing_lines};
use crate::scan::integrity::{Algorithm, Checksum, checksums};
use crate::scan::{Root, ScanError};

/// Extensions of compressed kernel modules, which initramfs-tools unpacks.
const COMPRESSED: [&str; 3] = [".xz", ".zst", ".gz"];

/// Returns the members that nothing explains.
pub(super) fn unexplained(
    mut members: Vec<Member>,
    trees: &BootTrees<'_>,
) -> Result<Vec<Member>, ScanError> {
    for root in [trees.image, trees.base] {
        let sums = TreeSums::read(root, &members)?;
        members.retain(|member| !sums.explain(root, member));
    }
    let mut left = Vec::new();
    for member in members {
        if !is_unpacked_module(trees.image, &member)? {
            left.push(member);
        }
    }
    // A step may have changed a file after the initrd was made.
    if let Some(listing) = trees.before.filter(|_| !left.is_empty()) {
        let places = left.iter().filter_map(|member| place(trees.image, member));
        let places: HashSet<Vec<u8>> = places.collect();
        let mut sums = HashMap::new();
        for line in listing_lines(listing).filter(|line| places.contains(&line.path)) {
            if let Some(sum) = line.keys.get("sha256").and_then(|sum| sum.as_str()) {
                sums.insert(line.path, sum.to_owned());
            }
        }
        left.retain(|member| match &member.content {
            MemberContent::File { sha256, .. } => {
                let sum = place(trees.image, member).and_then(|place| sums.get(&place).cloned());
                sum != Some(HEXLOWER.encode(sha256))
            }
            MemberContent::Link(_) => true,
        });
    }
    Ok(left)
}

/// Returns the place of a member in a tree, with the links of the tree followed.
fn place(root: &Root<'_>, member: &Member) -> Option<Vec<u8>> {
    root.resolve(&[b"/", &member.path[..]].concat())
}

/// Digests of the files of a tree that may explain members.
struct TreeSums {
    /// By index, of files at the places of members.
    places: HashMap<(usize, Algorithm), Checksum>,
    /// By number of the row, of files that are copied elsewhere.
    rows: HashSet<(usize, Checksum)>,
    /// Rows by index of the files that these name.
    copied: HashMap<usize, Vec<usize>>,
}

impl TreeSums {
    fn read(root: &Root<'_>, members: &[Member]) -> Result<Self, ScanError> {
        let files = root.tree().files();
        let (mut wanted, mut sizes) = (HashSet::new(), HashSet::new());
        for member in members {
            let MemberContent::File { size, .. } = member.content else {
                continue;
            };
            let index = place(root, member).and_then(|place| root.tree().find(&place));
            let index = index.filter(|index| is_file(&files[*index], size));
            wanted.extend(index.map(|index| (index, Algorithm::Sha256)));
            sizes.extend(Generated::of(&member.path).map(|(row, _)| (row, size)));
        }
        let places = checksums(root, &wanted)?;
        let mut copied: HashMap<usize, Vec<usize>> = HashMap::new();
        for (number, row) in ROWS.iter().enumerate() {
            for index in row.from.iter().flat_map(|from| below(root, from)) {
                copied.entry(index).or_default().push(number);
            }
        }
        let is_wanted = |index: &usize, rows: &[usize]| {
            let size = files[*index].content.size();
            let mut rows = rows.iter();
            is_file(&files[*index], size) && rows.any(|row| sizes.contains(&(*row, size)))
        };
        let wanted = copied.iter().filter(|(index, rows)| is_wanted(index, rows));
        let wanted = wanted.map(|(index, _)| (*index, Algorithm::Sha256));
        let sums = checksums(root, &wanted.collect())?;
        let rows = sums.into_iter().flat_map(|((index, _), sum)| {
            let rows = copied[&index].iter();
            rows.map(move |row| (*row, sum))
        });
        let rows = rows.collect();
        Ok(Self {
            places,
            rows,
            copied,
        })
    }

    /// Returns whether the tree or the table explains a member.
    fn explain(&self, root: &Root<'_>, member: &Member) -> bool {
        let mut rows = Generated::of(&member.path);
        match &member.content {
            MemberContent::File { sha256, text, .. } => {
                let sum = Checksum::Sha256(*sha256);
                let index = place(root, member).and_then(|place| root.tree().find(&place));
                let known = index.and_then(|index| self.places.get(&(index, Algorithm::Sha256)));
                known == Some(&sum)
                    || rows.any(|(number, row)| {
                        self.rows.contains(&(number, sum))
                            || row.explains(member.mode, text.as_deref())
                    })
            }
            MemberContent::Link(target) => {
                let path = [b"/", &member.path[..]].concat();
                let parent = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
                let target = if target.starts_with(b"/") {
                    target.clone()
                } else {
                    [&path[..=parent], target].concat()
                };
                let Some(end) = root.resolve(&target) else {
                    return rows.any(|(_, row)| row.is_any());
                };
                let index = root.tree().find(&end);
                let copied = index.and_then(|index| self.copied.get(&index));
                root.resolve(&path).as_ref() == Some(&end)
                    || rows.any(|(number, row)| {
                        row.is_any() || copied.is_some_and(|rows| rows.contains(&number))
                    })
            }
        }
    }
}

/// Returns the index of a file, or of everything below a directory.
fn below(root: &Root<'_>, from: &str) -> Vec<usize> {
    let (place, tree) = (root.resolve(from.as_bytes()), root.tree());
    let Some(place) = place else {
        return Vec::new();
    };
    let below = tree.below(&place).map(|(_, index)| index);
    tree.find(&place).into_iter().chain(below).collect()
}

fn is_file(file: &File, size: u64) -> bool {
    file.kind == FileType::File && file.content.size() == size
}

/// Returns whether a member is the content of a compressed kernel module.
fn is_unpacked_module(root: &Root<'_>, member: &Member) -> Result<bool, ScanError> {
    let MemberContent::File { size, sha256, .. } = &member.content else {
        return Ok(false);
    };
    if !member.path.ends_with(b".ko") {
        return Ok(false);
    }
    for extension in COMPRESSED {
        let path = [b"/", &member.path[..], extension.as_bytes()].concat();
        let file = root.resolve(&path).and_then(|path| root.get(&path));
        let Some(file) = file.filter(|file| file.kind == FileType::File) else {
            continue;
        };
        let mut reader = FileReader::new(root, file);
        let sum = unpacked_sum(&mut reader, *size);
        reader.finish()?;
        if sum.as_ref() == Some(sha256) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Content of a file of an image.
pub(super) struct FileReader<'a> {
    root: &'a Root<'a>,
    file: &'a File,
    at: u64,
    failed: Option<ReadError>,
}

impl<'a> FileReader<'a> {
    pub(super) fn new(root: &'a Root<'a>, file: &'a File) -> Self {
        Self {
            root,
            file,
            at: 0,
            failed: None,
        }
    }

    /// Returns the error of the image that ended the content.
    pub(super) fn finish(self) -> Result<(), ScanError> {
        self.failed.map_or(Ok(()), |error| Err(error.into()))
    }
}

impl Read for FileReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.root.read_at(self.file, self.at, buffer) {
            Ok(count) => {
                self.at += count as u64;
                Ok(count)
            }
            Err(error) => {
                self.failed = Some(error);
                Err(io::ErrorKind::Other.into())
            }
        }
    }
}
