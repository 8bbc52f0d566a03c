//! Explanation of an image: what put each path of its tree there.
//!
//! It is stored like the [listing](crate::disk::tree::Listing) of the tree: a line of canonical JSON for each path, sorted by
//! bytes, compressed with zstd.

use std::io::{self, BufRead as _, BufReader, Write as _};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use super::canonical;

/// Compression level, as of listings.
const LEVEL: i32 = 6;

/// Cause of a path in an image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "cause")]
pub enum Cause {
    /// It is as in the base.
    Base,
    /// A package has it, with the same content.
    Package {
        /// Name of the package.
        package: String,
    },
    /// It was made or changed before the first file and step: by scripts of packages, or by the running system.
    Scripts,
    /// The template declares it.
    Declared {
        /// The part of the template: `` `[[files]]` ``, `` `creates` of the step "name" ``.
        by: String,
    },
    /// It enables a unit, as the unit itself says.
    Enabled,
    /// It holds accounts, whose changed lines are declared.
    Accounts,
    /// Every running system writes it.
    Running,
    /// Nothing explains it; the policy accepted it.
    Undeclared,
}

#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// In place of the path if it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    #[serde(flatten)]
    cause: Cause,
}

/// Writes an explanation as it is stored.
///
/// # Errors
/// It cannot be compressed.
pub fn pack<'p>(causes: impl Iterator<Item = (&'p [u8], Cause)>) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
    for (path, cause) in causes {
        let text = str::from_utf8(path).ok().map(str::to_owned);
        let line = Line {
            path_hex: text.is_none().then(|| HEXLOWER.encode(path)),
            path: text,
            cause,
        };
        let bytes = canonical::to_bytes(&line).map_err(io::Error::other)?;
        encoder.write_all(&bytes)?;
        encoder.write_all(b"\n")?;
    }
    encoder.finish()
}

/// Returns the cause of a path; `None` if the image does not have it.
///
/// # Errors
/// The stored explanation is damaged.
pub fn find(packed: &[u8], path: &[u8]) -> io::Result<Option<Cause>> {
    let text = BufReader::new(zstd::Decoder::new(packed)?);
    let (name, hex) = (str::from_utf8(path).ok(), HEXLOWER.encode(path));
    for line in text.lines() {
        let line: Line = serde_json::from_str(&line?)?;
        if line.path.as_deref().is_some_and(|path| Some(path) == name)
            || line.path_hex.is_some_and(|path| path == hex)
        {
            return Ok(Some(line.cause));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_of_every_path_is_found_again() {
        let package = Cause::Package {
            package: "web".to_owned(),
        };
        let by = Cause::Declared {
            by: "`[[files]]`".to_owned(),
        };
        let causes = [
            (&b"/"[..], Cause::Base),
            (b"/srv/\xff", by.clone()),
            (b"/usr/bin/web", package.clone()),
        ];
        let packed = pack(causes.clone().into_iter()).unwrap();
        for (path, cause) in causes {
            assert_eq!(find(&packed, path).unwrap(), Some(cause));
        }
        assert_eq!(find(&packed, b"/usr").unwrap(), None);
        assert_eq!(
            packed,
            pack(
                [
                    (&b"/"[..], Cause::Base),
                    (b"/srv/\xff", by),
                    (b"/usr/bin/web", package)
                ]
                .into_iter()
            )
            .unwrap()
        );
        find(&packed[..packed.len() / 2], b"/usr").unwrap_err();
    }
}
