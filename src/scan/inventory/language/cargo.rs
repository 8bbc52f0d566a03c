//! Crates of an executable built with `cargo auditable`: zlib-compressed JSON in a section.

use std::io::Read as _;

use flate2::read::ZlibDecoder;
use serde::Deserialize;

use super::elf::Elf;
use crate::disk::read::ReadError;

const SECTION: &[u8] = b".dep-v0";
/// Default limit of readers of the format; the largest programs have some hundred KiB.
const MAX_BYTES: u64 = 8 << 20;

#[derive(Deserialize)]
struct Crates {
    packages: Vec<Crate>,
}

#[derive(Deserialize)]
pub struct Crate {
    pub name: String,
    pub version: String,
    /// `build` for build dependencies; `runtime` by default.
    #[serde(default)]
    kind: String,
}

/// Returns the crates of an executable, if it lists any. The unpacked size is subtracted from `left`, which bounds the
/// work for a disk full of such sections.
pub fn crates(elf: &Elf<'_>, left: &mut u64) -> Result<Vec<Crate>, ReadError> {
    let section = elf.section(SECTION, MAX_BYTES)?;
    Ok(section
        .and_then(|bytes| parse(&bytes, left))
        .unwrap_or_default())
}

fn parse(bytes: &[u8], left: &mut u64) -> Option<Vec<Crate>> {
    let mut json = Vec::new();
    let read = ZlibDecoder::new(bytes)
        .take(MAX_BYTES + 1)
        .read_to_end(&mut json);
    let size = json.len() as u64;
    *left = left.saturating_sub(size);
    if read.is_err() || size > MAX_BYTES {
        return None;
    }
    let crates: Crates = serde_json::from_slice(&json).ok()?;
    let mut crates = crates.packages;
    crates.retain(|package| package.kind != "build");
    Some(crates)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use flate2::{Compression, write::ZlibEncoder};
    use std::io::Write as _;

    pub fn packed(json: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(json).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn build_dependencies_are_left_out() {
        let json = br#"{"packages":[{"name":"app","version":"0.1.0","source":"local","root":true,"dependencies":[2]},
            {"name":"cc","version":"1.0.1","source":"crates.io","kind":"build"},
            {"name":"serde","version":"1.0.2","source":"crates.io","kind":"runtime"}],"format":1}"#;
        let mut left = 1000;
        let crates = parse(&packed(json), &mut left).unwrap();
        let shown: Vec<_> = crates
            .iter()
            .map(|one| format!("{} {}", one.name, one.version))
            .collect();
        assert_eq!(shown, ["app 0.1.0", "serde 1.0.2"]);
        assert_eq!(left, 1000 - json.len() as u64);
    }

    #[test]
    fn damaged_or_huge_sections_give_nothing() {
        let mut left = 10 << 20;
        for bytes in [
            Vec::new(),
            b"{}".to_vec(),
            packed(b"{}"),
            packed(b"{\"packages\": 1}"),
            packed(&vec![b' '; 9 << 20]),
        ] {
            assert!(parse(&bytes, &mut left).is_none());
        }
        assert!(left < 2 << 20, "{left} bytes are left");
    }
}
