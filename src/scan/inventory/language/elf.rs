//! As much of ELF as it takes to find a named section, and bytes by their address. All of it comes from the guest: every size
//! is bounded, and whatever does not fit gives nothing.

use crate::disk::read::ReadError;

/// Reads bytes at an offset; fewer only at the end of the file.
pub type Fetch<'a> = dyn Fn(u64, &mut [u8]) -> Result<usize, ReadError> + 'a;

/// The format's own limit of sections that are counted in the header.
const MOST_HEADERS: u64 = 0xff00;
/// Far more than either kind of header has.
const MOST_HEADER: u64 = 256;
/// Names of sections; an executable with debugging symbols has some hundred bytes.
const MOST_NAMES: u64 = 1 << 20;

const LOADED: u64 = 1;
const WRITABLE: u64 = 2;

/// An executable or a library.
pub struct Elf<'a> {
    fetch: &'a Fetch<'a>,
    is_wide: bool,
    is_big: bool,
    sections: Vec<Section>,
    segments: Vec<Segment>,
}

struct Section {
    name: Vec<u8>,
    offset: u64,
    size: u64,
}

struct Segment {
    address: u64,
    offset: u64,
    size: u64,
    is_writable: bool,
}

/// Where a header has what: offsets for 32 and for 64 bits.
type Place = [usize; 2];

impl<'a> Elf<'a> {
    /// `None` where it is none, or a damaged one.
    pub fn open(fetch: &'a Fetch<'a>) -> Result<Option<Self>, ReadError> {
        let mut header = [0; 64];
        let filled = fetch(0, &mut header)?;
        let (is_wide, is_big) = match &header[..6] {
            [0x7f, b'E', b'L', b'F', class @ 1..=2, order @ 1..=2] => (*class == 2, *order == 2),
            _ => return Ok(None),
        };
        if filled < if is_wide { 64 } else { 52 } {
            return Ok(None);
        }
        let mut elf = Self {
            fetch,
            is_wide,
            is_big,
            sections: Vec::new(),
            segments: Vec::new(),
        };
        let whole = elf.read_sections(&header)?.is_some() & elf.read_segments(&header)?.is_some();
        Ok(whole.then_some(elf))
    }

    /// A section's bytes; `None` where there is no such section, or it has more than `most`.
    pub fn section(&self, name: &[u8], most: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let section = self.sections.iter().find(|section| section.name == name);
        match section.filter(|section| section.size <= most) {
            Some(section) => self.bytes(section.offset, section.size),
            None => Ok(None),
        }
    }

    /// The beginning of the first segment that is written to, where there are no sections that would be named.
    pub fn data(&self, most: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let mut segments = self.segments.iter().filter(|segment| segment.is_writable);
        match segments.next().filter(|_| self.sections.is_empty()) {
            Some(segment) => self.bytes(segment.offset, segment.size.min(most)),
            None => Ok(None),
        }
    }

    /// So many bytes at an address of memory.
    pub fn at(&self, address: u64, size: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let found = self.segments.iter().find_map(|segment| {
            let from = address.checked_sub(segment.address)?;
            (size <= segment.size.checked_sub(from)?).then_some(segment.offset.checked_add(from)?)
        });
        match found {
            Some(offset) => self.bytes(offset, size),
            None => Ok(None),
        }
    }

    fn read_sections(&mut self, header: &[u8]) -> Result<Option<()>, ReadError> {
        let Some((table, size)) = self.table(header, [32, 40], [46, 58])? else {
            return Ok(None);
        };
        if size == 0 {
            return Ok(Some(()));
        }
        let names = self.number(header, [50, 62], [2, 2]);
        let places: Option<Vec<_>> = table
            .chunks_exact(size)
            .map(|entry| {
                let offset = self.number(entry, [16, 24], [4, 8])?;
                let size = self.number(entry, [20, 32], [4, 8])?;
                Some((self.number(entry, [0, 0], [4, 4])?, offset, size))
            })
            .collect();
        let Some((places, names)) = places.zip(names) else {
            return Ok(None);
        };
        let names = usize::try_from(names).ok().and_then(|at| places.get(at));
        let Some(&(_, offset, size)) = names.filter(|(.., size)| *size <= MOST_NAMES) else {
            return Ok(None);
        };
        let Some(names) = self.bytes(offset, size)? else {
            return Ok(None);
        };
        let sections = places.into_iter().filter_map(|(at, offset, size)| {
            let name = names.get(usize::try_from(at).ok()?..)?;
            let end = name.iter().position(|&byte| byte == 0)?;
            Some(Section {
                name: name[..end].to_vec(),
                offset,
                size,
            })
        });
        self.sections = sections.collect();
        Ok(Some(()))
    }

    fn read_segments(&mut self, header: &[u8]) -> Result<Option<()>, ReadError> {
        let Some((table, size)) = self.table(header, [28, 32], [42, 54])? else {
            return Ok(None);
        };
        if size == 0 {
            return Ok(Some(()));
        }
        let segments = table.chunks_exact(size).filter_map(|entry| {
            let loaded = self.number(entry, [0, 0], [4, 4])? == LOADED;
            let flags = self.number(entry, [24, 4], [4, 4])?;
            loaded.then_some(Segment {
                offset: self.number(entry, [4, 8], [4, 8])?,
                address: self.number(entry, [8, 16], [4, 8])?,
                size: self.number(entry, [16, 32], [4, 8])?,
                is_writable: flags & WRITABLE != 0,
            })
        });
        self.segments = segments.collect();
        Ok(Some(()))
    }

    /// A table of headers and the size of each, by where the file's header says that it is, and how large.
    fn table(
        &self,
        header: &[u8],
        offset: Place,
        sizes: Place,
    ) -> Result<Option<(Vec<u8>, usize)>, ReadError> {
        let offset = self.number(header, offset, [4, 8]);
        let size = self.number(header, sizes, [2, 2]);
        let count = self.number(header, [sizes[0] + 2, sizes[1] + 2], [2, 2]);
        let (Some(offset), Some(size), Some(count)) = (offset, size, count) else {
            return Ok(None);
        };
        if count == 0 || offset == 0 {
            return Ok(Some((Vec::new(), 0)));
        }
        if count > MOST_HEADERS || size == 0 || size > MOST_HEADER {
            return Ok(None);
        }
        let table = self.bytes(offset, size * count)?;
        let size = usize::try_from(size).unwrap_or_default();
        Ok(table.map(|table| (table, size)))
    }

    fn bytes(&self, offset: u64, size: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let Ok(size) = usize::try_from(size) else {
            return Ok(None);
        };
        let mut bytes = vec![0; size];
        let mut filled = 0;
        while filled < size {
            let Some(at) = offset.checked_add(filled as u64) else {
                return Ok(None);
            };
            match (self.fetch)(at, &mut bytes[filled..])? {
                0 => return Ok(None),
                count => filled += count,
            }
        }
        Ok(Some(bytes))
    }

    /// A number in a header.
    fn number(&self, bytes: &[u8], at: Place, length: Place) -> Option<u64> {
        let wide = usize::from(self.is_wide);
        number(bytes.get(at[wide]..)?.get(..length[wide])?, self.is_big)
    }
}

/// A number of up to eight bytes.
pub fn number(bytes: &[u8], is_big: bool) -> Option<u64> {
    let mut whole = [0; 8];
    if is_big {
        whole
            .get_mut(8 - bytes.len().min(8)..)?
            .copy_from_slice(bytes);
        return Some(u64::from_be_bytes(whole));
    }
    whole.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(u64::from_le_bytes(whole))
}

#[cfg(test)]
pub mod testing {
    //! Programs with nothing in them but what tests look for.

    /// 64 bits, low byte first: sections, and one segment that is written to at an address, which has `data`.
    pub fn program(sections: &[(&str, &[u8])], data: (u64, &[u8])) -> Vec<u8> {
        let (mut bytes, mut names) = (vec![0; 64 + 56], vec![0]);
        let mut table = vec![0; 64];
        let mut put = |name: &str, content: &[u8], bytes: &mut Vec<u8>| {
            let mut entry = [0; 64];
            entry[..4].copy_from_slice(&u32::try_from(names.len()).unwrap().to_le_bytes());
            entry[24..32].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
            names.extend([name.as_bytes(), b"\0"].concat());
            let whole = [content, if name == ".names" { &names } else { b"" }].concat();
            entry[32..40].copy_from_slice(&(whole.len() as u64).to_le_bytes());
            bytes.extend(whole);
            table.extend(entry);
        };
        for (name, content) in sections {
            put(name, content, &mut bytes);
        }
        put(".names", b"", &mut bytes);
        let count = u16::try_from(sections.len() + 2).unwrap();
        let at = bytes.len() as u64;
        bytes.extend(table);
        let segment = [
            &1_u32.to_le_bytes()[..],
            &6_u32.to_le_bytes(),
            &(bytes.len() as u64).to_le_bytes(),
            &data.0.to_le_bytes(),
            &[0; 8],
            &(data.1.len() as u64).to_le_bytes(),
        ];
        let segment = segment.concat();
        bytes[64..64 + segment.len()].copy_from_slice(&segment);
        bytes.extend(data.1);
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[32] = 64;
        if !sections.is_empty() {
            bytes[40..48].copy_from_slice(&at.to_le_bytes());
        }
        for (at, number) in [(54, 56), (56, 1), (58, 64), (60, count), (62, count - 1)] {
            bytes[at..at + 2].copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// Reads from memory.
    pub fn fetch(bytes: &[u8]) -> impl Fn(u64, &mut [u8]) -> Result<usize, super::ReadError> {
        move |at, buffer| {
            let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..));
            let rest = rest.unwrap_or_default();
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            Ok(length)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{fetch, program};
    use super::*;

    #[test]
    fn sections_are_found_by_name_and_bytes_by_address() {
        let bytes = program(&[(".one", b"first"), (".two", b"")], (0x1000, b"data"));
        let fetch = fetch(&bytes);
        let elf = Elf::open(&fetch).unwrap().unwrap();
        for (name, most, expected) in [
            (".one", 5, Some(&b"first"[..])),
            (".one", 4, None),
            (".two", 5, Some(b"")),
            (".three", 5, None),
        ] {
            let found = elf.section(name.as_bytes(), most).unwrap();
            assert_eq!(found.as_deref(), expected, "{name} {most}");
        }
        assert_eq!(elf.at(0x1001, 3).unwrap().as_deref(), Some(&b"ata"[..]));
        for (address, size) in [(0xfff, 1), (0x1001, 4), (u64::MAX, 8), (0x1000, u64::MAX)] {
            assert_eq!(elf.at(address, size).unwrap(), None, "{address} {size}");
        }
    }

    #[test]
    fn this_very_program_is_understood() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let fetch = fetch(&bytes);
        let elf = Elf::open(&fetch).unwrap().unwrap();
        assert!(elf.section(b".text", u64::MAX).unwrap().is_some());
        assert!(super::super::go::modules(&elf).unwrap().is_empty());
    }

    #[test]
    fn a_program_that_is_cut_short_or_damaged_gives_nothing_or_less() {
        let bytes = program(&[(".one", b"first")], (0x1000, b"data"));
        for end in 0..bytes.len() - 4 {
            let fetch = fetch(&bytes[..end]);
            assert!(Elf::open(&fetch).unwrap().is_none(), "{end} bytes");
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] = value;
                let fetch = fetch(&bytes);
                if let Some(elf) = Elf::open(&fetch).unwrap() {
                    let _ = (
                        elf.section(b".one", 100).unwrap(),
                        elf.at(0x1000, 4).unwrap(),
                    );
                }
            }
        }
    }
}
