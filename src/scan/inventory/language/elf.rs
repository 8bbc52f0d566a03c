//! The parts of an ELF file that build information is found by: named sections, and bytes at a virtual address.
//!
//! All of it comes from the guest. Sizes are capped, and a damaged file yields nothing.

use object::elf::{FileHeader32, FileHeader64, PF_W, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader as _, SectionHeader as _};
use object::{Endianness, Pod, pod};

use crate::disk::read::ReadError;

/// Reads bytes at an offset; fewer only at the end of the file.
pub type Fetch<'a> = dyn Fn(u64, &mut [u8]) -> Result<usize, ReadError> + 'a;

/// Format limit of the section count in the file header (`SHN_LORESERVE`).
const MAX_HEADERS: u16 = 0xff00;
/// Section names. An executable with debugging symbols has some hundred bytes.
const MAX_NAMES_BYTES: u64 = 1 << 20;

/// An executable or a library.
pub struct Elf<'a> {
    fetch: &'a Fetch<'a>,
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

impl<'a> Elf<'a> {
    /// Returns `None` for a file that is not ELF or is damaged.
    pub fn open(fetch: &'a Fetch<'a>) -> Result<Option<Self>, ReadError> {
        let mut header = [0; size_of::<FileHeader64<Endianness>>()];
        let filled = fetch(0, &mut header)?;
        let header = &header[..filled];
        if let Ok(header) = FileHeader64::<Endianness>::parse(header) {
            Self::read(fetch, header)
        } else if let Ok(header) = FileHeader32::<Endianness>::parse(header) {
            Self::read(fetch, header)
        } else {
            Ok(None)
        }
    }

    fn read<H>(fetch: &'a Fetch<'a>, header: &H) -> Result<Option<Self>, ReadError>
    where
        H: FileHeader<Endian = Endianness>,
    {
        let Ok(endian) = header.endian() else {
            return Ok(None);
        };
        let (offset, count) = (header.e_shoff(endian).into(), header.e_shnum(endian));
        let sections = table::<H::SectionHeader>(fetch, offset, count, header.e_shentsize(endian))?;
        let (offset, count) = (header.e_phoff(endian).into(), header.e_phnum(endian));
        let segments = table::<H::ProgramHeader>(fetch, offset, count, header.e_phentsize(endian))?;
        let (Some(sections), Some(segments)) = (sections, segments) else {
            return Ok(None);
        };
        let names = match sections.get(usize::from(header.e_shstrndx(endian).0)) {
            Some(names) if names.sh_size(endian).into() <= MAX_NAMES_BYTES => bytes(
                fetch,
                names.sh_offset(endian).into(),
                names.sh_size(endian).into(),
            )?,
            None if sections.is_empty() => Some(Vec::new()),
            _ => None,
        };
        let Some(names) = names else {
            return Ok(None);
        };
        let sections = sections.iter().filter_map(|section| {
            let name = names.get(usize::try_from(section.sh_name(endian)).ok()?..)?;
            let end = name.iter().position(|&byte| byte == 0)?;
            Some(Section {
                name: name[..end].to_vec(),
                offset: section.sh_offset(endian).into(),
                size: section.sh_size(endian).into(),
            })
        });
        let loaded = |segment: &&H::ProgramHeader| segment.p_type(endian) == PT_LOAD;
        let segments = segments.iter().filter(loaded).map(|segment| Segment {
            address: segment.p_vaddr(endian).into(),
            offset: segment.p_offset(endian).into(),
            size: segment.p_filesz(endian).into(),
            is_writable: segment.p_flags(endian).0 & PF_W.0 != 0,
        });
        Ok(Some(Self {
            fetch,
            sections: sections.collect(),
            segments: segments.collect(),
        }))
    }

    /// Returns the bytes of a section, or `None` if it is missing or larger than `max_bytes`.
    pub fn section(&self, name: &[u8], max_bytes: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let section = self.sections.iter().find(|section| section.name == name);
        match section.filter(|section| section.size <= max_bytes) {
            Some(section) => bytes(self.fetch, section.offset, section.size),
            None => Ok(None),
        }
    }

    /// Returns the beginning of the first writable segment of a file without sections.
    pub fn data(&self, max_bytes: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let mut segments = self.segments.iter().filter(|segment| segment.is_writable);
        match segments.next().filter(|_| self.sections.is_empty()) {
            Some(segment) => bytes(self.fetch, segment.offset, segment.size.min(max_bytes)),
            None => Ok(None),
        }
    }

    /// Returns `size` bytes at a virtual address.
    pub fn at(&self, address: u64, size: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let found = self.segments.iter().find_map(|segment| {
            let from = address.checked_sub(segment.address)?;
            (size <= segment.size.checked_sub(from)?).then_some(segment.offset.checked_add(from)?)
        });
        match found {
            Some(offset) => bytes(self.fetch, offset, size),
            None => Ok(None),
        }
    }
}

/// Reads a table of `count` headers of `size` bytes.
fn table<T: Pod>(
    fetch: &Fetch<'_>,
    offset: u64,
    count: u16,
    size: u16,
) -> Result<Option<Vec<T>>, ReadError> {
    if count == 0 || offset == 0 {
        return Ok(Some(Vec::new()));
    }
    if count > MAX_HEADERS || usize::from(size) != size_of::<T>() {
        return Ok(None);
    }
    let bytes = bytes(fetch, offset, u64::from(size) * u64::from(count))?;
    Ok(bytes.and_then(|bytes| Some(pod::slice_from_all_bytes(&bytes).ok()?.to_vec())))
}

fn bytes(fetch: &Fetch<'_>, offset: u64, size: u64) -> Result<Option<Vec<u8>>, ReadError> {
    let Ok(size) = usize::try_from(size) else {
        return Ok(None);
    };
    let mut bytes = vec![0; size];
    let mut filled = 0;
    while filled < size {
        let Some(at) = offset.checked_add(filled as u64) else {
            return Ok(None);
        };
        match fetch(at, &mut bytes[filled..])? {
            0 => return Ok(None),
            count => filled += count,
        }
    }
    Ok(Some(bytes))
}

#[cfg(test)]
pub mod testing {
    //! Minimal programs for tests.

    /// Builds a little-endian 64-bit file with these sections and one writable segment: its address and bytes.
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
        bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        bytes[32] = 64;
        if !sections.is_empty() {
            bytes[40..48].copy_from_slice(&at.to_le_bytes());
        }
        for (at, number) in [(54, 56), (56, 1), (58, 64), (60, count), (62, count - 1)] {
            bytes[at..at + 2].copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

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
