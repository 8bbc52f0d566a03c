//! What `cargo auditable` writes into an executable: the crates that it was made from, as JSON that zlib has compressed.

use std::io::Read as _;

use flate2::read::ZlibDecoder;
use serde::Deserialize;

use super::elf::Elf;
use crate::disk::read::ReadError;

const SECTION: &[u8] = b".dep-v0";
/// What readers of the format take by default; the largest programs have some hundred KiB.
const MOST: u64 = 8 << 20;

#[derive(Deserialize)]
struct Crates {
    packages: Vec<Crate>,
}

/// One crate.
#[derive(Deserialize)]
pub struct Crate {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `build` where it only helped to build; `runtime` where nothing is said.
    #[serde(default)]
    kind: String,
}

/// The crates that are in an executable; none where it does not say. What it unpacks to is taken from `left`, so that a
/// disk full of such sections is not unpacked for hours.
pub fn crates(elf: &Elf<'_>, left: &mut u64) -> Result<Vec<Crate>, ReadError> {
    let section = elf.section(SECTION, MOST)?;
    let crates = section.and_then(|bytes| parse(&bytes, left));
    Ok(crates.unwrap_or_default())
}

fn parse(bytes: &[u8], left: &mut u64) -> Option<Vec<Crate>> {
    let mut json = Vec::new();
    let read = ZlibDecoder::new(bytes)
        .take(MOST + 1)
        .read_to_end(&mut json);
    let size = json.len() as u64;
    *left = left.saturating_sub(size);
    if read.is_err() || size > MOST {
        return None;
    }
    let crates: Crates = serde_json::from_slice(&json).ok()?;
    let all = crates.packages.into_iter();
    Some(all.filter(|one| one.kind != "build").collect())
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
    fn crates_that_only_helped_to_build_are_left_out() {
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
    fn what_is_damaged_or_unpacks_without_end_gives_nothing() {
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
