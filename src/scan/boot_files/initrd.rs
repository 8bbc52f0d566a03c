//! Members of an initrd: cpio archives one after the other, each with a compression of its own, as the kernel unpacks them.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read};

use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;
use ring::digest::{Context, SHA256};
use zstd::stream::read::Decoder;

use super::generated;
use crate::scan::cpio::CpioEntry;
use crate::scan::lookahead::Lookahead;

/// Bytes of an unpacked initrd: several times those of one with the firmware of every device.
const MAX_UNPACKED_BYTES: u64 = 2 << 30;
/// Members with the bytes of their names and texts: ten times those of any initrd.
const MAX_MEMBERS: usize = 100_000;
const MAX_TEXT_BYTES: usize = 16 << 20;
/// Size of a generated text that is compared line by line, and of a link's target.
const MAX_LINES_BYTES: u64 = 64 << 10;
/// Memory for the dictionary of xz: as much as its highest level needs.
const XZ_MEMORY_KIB: u32 = 80 << 10;
const CHUNK_BYTES: usize = 64 << 10;

/// Types of files in a mode.
mod kind {
    pub const MASK: u64 = 0o170_000;
    pub const FILE: u64 = 0o100_000;
    pub const LINK: u64 = 0o120_000;
}

/// A file of an initrd, with its path without a slash in front. Directories and device nodes are left out: they do nothing
/// by themselves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Member {
    pub path: Vec<u8>,
    pub mode: u64,
    pub content: MemberContent,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum MemberContent {
    File {
        size: u64,
        sha256: [u8; 32],
        /// The content, if a row of the table compares its lines.
        text: Option<Vec<u8>>,
    },
    Link(Vec<u8>),
}

/// Reason why an initrd cannot be read to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unreadable {
    Damaged,
    TooLarge,
    /// Data that is neither an archive nor zero.
    Unknown,
    Unsupported(&'static str),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged => f.write_str("an archive in it is damaged or truncated"),
            Self::TooLarge => f.write_str("its archives are larger than those of any initrd"),
            Self::Unknown => f.write_str("it has data in no archive"),
            Self::Unsupported(name) => write!(f, "it is compressed with {name}"),
        }
    }
}

/// Reads all members of an initrd.
pub(super) fn read(input: &mut dyn Read) -> Result<Vec<Member>, Unreadable> {
    let mut reader = MemberReader {
        left: MAX_UNPACKED_BYTES,
        text: 0,
        members: Vec::new(),
        links: HashMap::new(),
    };
    let mut input = Counted::new(input, MAX_UNPACKED_BYTES);
    let read = reader.archives(&mut Lookahead::new(&mut input), Layer::Outer);
    input.failed.map_or(read, Err)?;
    Ok(reader.members)
}

/// Returns the SHA-256 of a compressed file's content; `None` if it is not of `size` bytes.
pub(super) fn unpacked_sum(input: &mut dyn Read, size: u64) -> Option<[u8; 32]> {
    let mut source = Lookahead::new(input);
    let mut decoder = decoder(&mut source).ok()?;
    let (sum, count, _) = hash(&mut (&mut decoder).take(size), false).ok()?;
    let is_end = decoder.read(&mut [0]).is_ok_and(|count| count == 0);
    (count == size && is_end).then_some(sum)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    Outer,
    Unpacked,
}

struct MemberReader {
    left: u64,
    text: usize,
    members: Vec<Member>,
    /// Hard links of the current archive: members with their names, and the only content.
    links: HashMap<[u64; 3], HardLinks>,
}

#[derive(Default)]
struct HardLinks {
    names: Vec<(Vec<u8>, u64)>,
    content: Option<MemberContent>,
}

impl MemberReader {
    fn archives(&mut self, source: &mut Lookahead, layer: Layer) -> Result<(), Unreadable> {
        while source.skip_zeros() {
            if source.head().starts_with(b"0") {
                self.archive(source)?;
            } else if layer == Layer::Outer {
                let mut unpacked = Counted::new(decoder(source)?, self.left);
                let read = self.archives(&mut Lookahead::new(&mut unpacked), Layer::Unpacked);
                self.left = unpacked.left;
                unpacked.failed.map_or(read, Err)?;
            } else {
                return Err(Unreadable::Unknown);
            }
        }
        Ok(())
    }

    fn archive(&mut self, source: &mut Lookahead) -> Result<(), Unreadable> {
        loop {
            let entry = CpioEntry::read(source).ok_or(Unreadable::Damaged)?;
            let mut body = (&mut *source).take(entry.size);
            if !entry.is_trailer() {
                self.member(&entry, &mut body)?;
            }
            let rest = io::copy(&mut body, &mut io::sink());
            let is_whole = rest.is_ok() && body.limit() == 0;
            let padding = (&mut *source)
                .take(entry.padding())
                .read_to_end(&mut Vec::new());
            if !is_whole || padding.ok().map(|count| count as u64) != Some(entry.padding()) {
                return Err(Unreadable::Damaged);
            }
            if entry.is_trailer() {
                return self.finish_links();
            }
        }
    }

    fn member(&mut self, entry: &CpioEntry, body: &mut dyn Read) -> Result<(), Unreadable> {
        let mut path = &entry.name[..];
        while let Some(rest) = path.strip_prefix(b"/").or_else(|| path.strip_prefix(b"./")) {
            path = rest;
        }
        let content = match entry.mode & kind::MASK {
            kind::FILE => {
                let keep = entry.size <= MAX_LINES_BYTES && generated::has_lines(path);
                let (sha256, size, text) = hash(body, keep).map_err(|_| Unreadable::Damaged)?;
                MemberContent::File { size, sha256, text }
            }
            kind::LINK if entry.size <= MAX_LINES_BYTES => {
                let mut target = Vec::new();
                let read = body.read_to_end(&mut target);
                read.map_err(|_| Unreadable::Damaged)?;
                let end = target.iter().position(|byte| *byte == 0);
                target.truncate(end.unwrap_or(target.len()));
                MemberContent::Link(target)
            }
            kind::LINK => return Err(Unreadable::Damaged),
            _ => return Ok(()),
        };
        self.text += path.len()
            + match &content {
                MemberContent::File { text, .. } => text.as_ref().map_or(0, Vec::len),
                MemberContent::Link(target) => target.len(),
            };
        if self.members.len() >= MAX_MEMBERS || self.text > MAX_TEXT_BYTES {
            return Err(Unreadable::TooLarge);
        }
        if entry.links < 2 || entry.mode & kind::MASK != kind::FILE {
            self.members.push(Member {
                path: path.to_vec(),
                mode: entry.mode,
                content,
            });
            return Ok(());
        }
        let links = self.links.entry(entry.inode).or_default();
        links.names.push((path.to_vec(), entry.mode));
        // One of the names has the content. A second content would replace it under all names.
        if entry.size > 0 && links.content.replace(content).is_some() {
            return Err(Unreadable::Damaged);
        }
        Ok(())
    }

    /// Adds the hard links of an archive.
    fn finish_links(&mut self) -> Result<(), Unreadable> {
        for (_, links) in self.links.drain() {
            // Empty files are harmless under any name.
            let Some(content) = links.content else {
                continue;
            };
            if self.members.len() + links.names.len() > MAX_MEMBERS {
                return Err(Unreadable::TooLarge);
            }
            let members = links.names.into_iter().map(|(path, mode)| Member {
                path,
                mode,
                content: content.clone(),
            });
            self.members.extend(members);
        }
        Ok(())
    }
}

/// Returns the decoder of compressed data.
fn decoder<'a>(source: &'a mut Lookahead<'_>) -> Result<Box<dyn Read + 'a>, Unreadable> {
    Ok(match source.head() {
        [0x1f, 0x8b, 8, ..] => Box::new(GzDecoder::new(source)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let decoder = Decoder::with_buffer(source).map_err(|_| Unreadable::Damaged)?;
            Box::new(decoder.single_frame())
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            Box::new(XzReader::new_mem_limit(source, false, XZ_MEMORY_KIB))
        }
        [0x02 | 0x04, 0x21 | 0x22, 0x4c | 0x4d, 0x18, ..] => {
            return Err(Unreadable::Unsupported("LZ4"));
        }
        [b'B', b'Z', b'h', ..] => return Err(Unreadable::Unsupported("bzip2")),
        [0x5d, 0, 0, ..] => return Err(Unreadable::Unsupported("LZMA")),
        [0x89, b'L', b'Z', b'O', ..] => return Err(Unreadable::Unsupported("LZO")),
        _ => return Err(Unreadable::Unknown),
    })
}

/// Hashes an input to its end. Returns its content, too, if that is to be kept.
fn hash(input: &mut dyn Read, keep: bool) -> io::Result<([u8; 32], u64, Option<Vec<u8>>)> {
    let (mut context, mut size, mut text) = (Context::new(&SHA256), 0, keep.then(Vec::new));
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let count = input.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        context.update(&buffer[..count]);
        size += count as u64;
        if let Some(text) = &mut text {
            text.extend(&buffer[..count]);
        }
    }
    let sum = context.finish();
    let sum = sum.as_ref().try_into();
    Ok((sum.expect("a SHA-256 has 32 bytes"), size, text))
}

/// An input that is limited, and whose failure is recorded: some decoders loop forever when they are called again.
struct Counted<R> {
    input: R,
    left: u64,
    failed: Option<Unreadable>,
}

impl<R: Read> Counted<R> {
    fn new(input: R, left: u64) -> Self {
        Self {
            input,
            left,
            failed: None,
        }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.failed.is_some() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        match self.input.read(buffer) {
            Ok(count) => {
                let Some(left) = self.left.checked_sub(count as u64) else {
                    self.failed = Some(Unreadable::TooLarge);
                    return Err(io::ErrorKind::InvalidData.into());
                };
                self.left = left;
                Ok(count)
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::Interrupted {
                    self.failed = Some(Unreadable::Damaged);
                }
                Err(error)
            }
        }
    }
}
