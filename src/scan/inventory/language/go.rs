//! Go version and modules of an executable, as written by Go's linker.
//!
//! The blob begins with a magic text, the pointer size and flags. Since Go 1.18 the two texts follow, each preceded by its
//! length; older versions have pointers to Go strings instead.

use memchr::memmem;

use super::elf::Elf;
use crate::disk::read::ReadError;

const SECTION: &[u8] = b".go.buildinfo";
const MAGIC: &[u8] = b"\xff Go buildinf:";
/// Offset of the texts.
const HEAD: usize = 32;
const BIG: u8 = 1;
const INLINE: u8 = 2;
/// Size of the marker before and after the module list.
const FENCE: usize = 16;
/// The module lists of the largest programs have some hundred KiB.
const MAX_BYTES: u64 = 4 << 20;

/// Path and version of a module; the standard library is one.
pub type Module = (String, String);

/// Returns the modules of a Go executable, the main one first; empty for other executables.
pub fn modules(elf: &Elf<'_>) -> Result<Vec<Module>, ReadError> {
    let bytes = match elf.section(SECTION, MAX_BYTES)? {
        Some(bytes) => Some(bytes),
        None => elf.data(MAX_BYTES)?,
    };
    let blob = bytes.as_deref().and_then(|bytes| {
        let blob = &bytes[memmem::find(bytes, MAGIC)?..];
        (blob.len() >= HEAD).then_some(blob)
    });
    let Some(blob) = blob else {
        return Ok(Vec::new());
    };
    let (pointer, flags) = (blob[14], blob[15]);
    let texts = if flags & INLINE != 0 {
        let mut rest = &blob[HEAD..];
        take(&mut rest).map(|version| (version.to_vec(), take(&mut rest).map(<[u8]>::to_vec)))
    } else {
        let string = |number| pointed(elf, blob, number, pointer.into(), flags & BIG != 0);
        match string(0)? {
            Some(version) => Some((version, string(1)?)),
            None => None,
        }
    };
    Ok(texts.map_or_else(Vec::new, |(version, list)| {
        let list = list.unwrap_or_default();
        parse(
            &String::from_utf8_lossy(&version),
            &String::from_utf8_lossy(within(&list)),
        )
    }))
}

/// Takes a text preceded by its length.
fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        length |= usize::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            break;
        }
        shift += 7;
    }
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(text)
}

/// Follows one of the blob's pointers to a Go string: a pointer and a length.
fn pointed(
    elf: &Elf<'_>,
    blob: &[u8],
    which: usize,
    size: usize,
    is_big: bool,
) -> Result<Option<Vec<u8>>, ReadError> {
    let word = |bytes: &[u8], which: usize| {
        let bytes = bytes.get(which * size..)?.get(..size)?.iter();
        let push = |value, byte: &u8| value << 8 | u64::from(*byte);
        Some(if is_big {
            bytes.fold(0, push)
        } else {
            bytes.rev().fold(0, push)
        })
    };
    if ![4, 8].contains(&size) {
        return Ok(None);
    }
    let Some(address) = word(&blob[16..HEAD], which) else {
        return Ok(None);
    };
    let Some(header) = elf.at(address, 2 * size as u64)? else {
        return Ok(None);
    };
    match word(&header, 0).zip(word(&header, 1)) {
        Some((address, length)) if length <= MAX_BYTES => elf.at(address, length),
        _ => Ok(None),
    }
}

/// Returns the list without its markers; empty without markers.
fn within(list: &[u8]) -> &[u8] {
    let end = list.len().saturating_sub(FENCE);
    let inner = list.get(FENCE..end).unwrap_or_default();
    if inner.ends_with(b"\n") { inner } else { b"" }
}

/// Parses the module list: `mod` is the main module, `dep` a dependency, `=>` the replacement of the previous one. A
/// program built without modules has only the `path` of its main package, without a version.
fn parse(version: &str, list: &str) -> Vec<Module> {
    let mut modules: Vec<Module> = Vec::new();
    let mut main = None;
    for line in list.lines() {
        let mut words = line.split('\t');
        let (kind, name, version) = (words.next(), words.next(), words.next());
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            continue;
        };
        let module = (name.to_owned(), version.unwrap_or_default().to_owned());
        match kind {
            Some("path") if name != "command-line-arguments" => main = Some(module),
            Some("mod" | "dep") => modules.push(module),
            // A replacement directory has neither name nor version; the module keeps its own.
            Some("=>") if !name.starts_with(['.', '/']) => {
                if let Some(last) = modules.last_mut() {
                    *last = module;
                }
            }
            _ => {}
        }
    }
    if modules.is_empty() {
        modules.extend(main);
    }
    let mut words = version.split_ascii_whitespace();
    if let Some(version) = words.find_map(|word| word.strip_prefix("go")) {
        modules.push(("stdlib".to_owned(), version.to_owned()));
    }
    modules
}

#[cfg(test)]
mod tests {
    use super::super::elf::testing::{fetch, program};
    use super::*;

    fn read(bytes: &[u8]) -> Vec<Module> {
        let fetch = fetch(bytes);
        modules(&Elf::open(&fetch).unwrap().unwrap()).unwrap()
    }

    #[test]
    fn both_forms_of_the_blob_are_read() {
        let fence = [7; FENCE];
        let list = [&fence[..], b"mod\texample.org/a\tv1.0.0\n", &fence].concat();
        let inline = [
            &[MAGIC, &[8, INLINE], &[0; 16]].concat()[..],
            b"\x06go1.20",
            &[u8::try_from(list.len()).unwrap()],
            &list,
        ];
        let inline = inline.concat();
        let expected = [
            ("example.org/a".to_owned(), "v1.0.0".to_owned()),
            ("stdlib".to_owned(), "1.20".to_owned()),
        ];
        assert_eq!(
            read(&program(&[(".go.buildinfo", &inline)], (0, b""))),
            expected
        );
        // Without sections, the blob is in the first writable segment.
        let padded = [&[0; 32][..], &inline].concat();
        assert_eq!(read(&program(&[], (0x5000, &padded))), expected);
        for end in 0..inline.len() {
            read(&program(&[(".go.buildinfo", &inline[..end])], (0, b"")));
        }

        let words = |numbers: &[u64]| {
            numbers
                .iter()
                .flat_map(|number| number.to_le_bytes())
                .collect::<Vec<_>>()
        };
        let data = [
            words(&[0x1020, 6, 0x1026, list.len() as u64]),
            b"go1.20".to_vec(),
            list,
        ];
        let pointers = |one, two| [MAGIC, &[8, 0], &words(&[one, two])].concat();
        let old = |one, two| {
            program(
                &[(".go.buildinfo", &pointers(one, two))],
                (0x1000, &data.concat()),
            )
        };
        assert_eq!(read(&old(0x1000, 0x1010)), expected);
        assert_eq!(read(&old(0x1000, 0)), expected[1..]);
        assert!(read(&old(0x1010, u64::MAX)).is_empty());
        assert!(read(&old(0, 0)).is_empty());
    }

    #[test]
    fn a_replacement_is_listed_instead_of_its_module() {
        let list = "path\texample.org/app/cmd\nmod\texample.org/app\t(devel)\t\ndep\texample.org/one\tv1.0.0\th1:x\n\
            dep\texample.org/two\tv2.0.0\n=>\texample.org/fork\tv2.0.1\th1:y\ndep\texample.org/three\tv3.0.0\n=>\t./three\t(devel)\t\n\
            build\t-compiler=gc\n\n=>\n";
        let modules = parse("go1.22.1 X:boringcrypto", list);
        let shown: Vec<_> = modules
            .iter()
            .map(|(name, version)| format!("{name} {version}"))
            .collect();
        assert_eq!(
            shown,
            [
                "example.org/app (devel)",
                "example.org/one v1.0.0",
                "example.org/fork v2.0.1",
                "example.org/three v3.0.0",
                "stdlib 1.22.1",
            ]
        );
        assert_eq!(
            parse("devel go1.23-abc", ""),
            [("stdlib".into(), "1.23-abc".into())]
        );
        assert!(parse("unknown", "=>\tx\tv1\n").is_empty());
        let alone = parse("", "path\texample.org/app/cmd\n");
        assert_eq!(alone, [("example.org/app/cmd".into(), String::new())]);
    }

    #[test]
    fn lengths_and_markers_are_checked() {
        assert_eq!(take(&mut &b"\x03abcd"[..]), Some(&b"abc"[..]));
        assert_eq!(
            take(&mut &[&[0x80, 1][..], &[7; 128]].concat()[..]),
            Some(&[7; 128][..])
        );
        for bytes in [&b""[..], b"\x05abc", b"\x80", &[0xff; 12]] {
            assert_eq!(take(&mut &bytes[..]), None, "{bytes:?}");
        }
        let fence = [1; FENCE];
        assert_eq!(within(&[&fence[..], b"mod\n", &fence].concat()), b"mod\n");
        for list in [&b""[..], &fence, &[1; 40]] {
            assert_eq!(within(list), b"");
        }
    }
}
