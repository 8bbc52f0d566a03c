//! Headers of files in a cpio archive of the "new" kind, as in an initrd.

use std::io::{self, BufRead, Read as _};

/// Maximum length of a path on Linux.
const MAX_NAME_BYTES: u64 = 4096;
const HEADER_BYTES: usize = 110;

/// A file of an archive. Its content follows, then padding.
pub(super) struct CpioEntry {
    pub name: Vec<u8>,
    /// Type and permissions.
    pub mode: u64,
    pub links: u64,
    /// Number of the file and its device, which hard links share.
    pub inode: [u64; 3],
    pub size: u64,
}

impl CpioEntry {
    /// Reads a header and the name after it; `None` if there is none.
    pub fn read(source: &mut impl BufRead) -> Option<Self> {
        let mut header = [0; HEADER_BYTES];
        source.read_exact(&mut header).ok()?;
        let field = |number: usize| {
            let digits = std::str::from_utf8(header.get(6 + number * 8..)?.get(..8)?).ok()?;
            u64::from_str_radix(digits, 16).ok()
        };
        let length = field(11)?;
        let is_new = header.starts_with(b"070701") || header.starts_with(b"070702");
        if !is_new || length == 0 || length > MAX_NAME_BYTES {
            return None;
        }
        let mut name = Vec::new();
        source.take(length).read_to_end(&mut name).ok()?;
        // The kernel reads it to the first zero.
        let end = name.iter().position(|byte| *byte == 0);
        name.truncate(end.unwrap_or(name.len()));
        let padding = (HEADER_BYTES as u64 + length).wrapping_neg() % 4;
        let skipped = io::copy(&mut source.take(padding), &mut io::sink()).ok()?;
        (skipped == padding).then_some(Self {
            name,
            mode: field(1)?,
            links: field(4)?,
            inode: [field(0)?, field(7)?, field(8)?],
            size: field(6)?,
        })
    }

    /// Returns whether it marks the end of the archive.
    pub fn is_trailer(&self) -> bool {
        self.name == b"TRAILER!!!"
    }

    /// Returns the number of bytes between the content and the next header.
    pub fn padding(&self) -> u64 {
        self.size.wrapping_neg() % 4
    }
}

#[cfg(test)]
pub(super) mod testing {
    //! Archives for tests.

    /// A name, mode, content, inode and number of links.
    pub type Entry<'a> = (&'a str, usize, &'a [u8], usize, usize);

    /// Writes an archive with its end.
    pub fn cpio(entries: &[Entry<'_>]) -> Vec<u8> {
        let mut all = Vec::new();
        let end = [("TRAILER!!!", 0, &b""[..], 0, 1)];
        for (name, mode, content, inode, links) in entries.iter().chain(&end) {
            let mut fields = [0; 13];
            (fields[0], fields[1], fields[4]) = (*inode, *mode, *links);
            (fields[6], fields[11]) = (content.len(), name.len() + 1);
            all.extend(b"070701");
            let fields = fields.iter();
            all.extend(fields.flat_map(|field| format!("{field:08X}").into_bytes()));
            all.extend(name.bytes());
            all.push(0);
            all.resize(all.len().next_multiple_of(4), 0);
            all.extend(*content);
            all.resize(all.len().next_multiple_of(4), 0);
        }
        all
    }
}
