//! Explanation of an image: what put each path of its tree there.
//!
//! It is stored like the [listing](crate::disk::tree::Listing) of the tree: a line of canonical JSON for each path, sorted by
//! bytes, compressed with zstd. Parts of the disk outside of the root file system follow, such as `boot code`, and the files
//! of the EFI partition.

use std::collections::{HashMap, HashSet};
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
    Scripts {
        /// Name of the package, where it can be told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        package: Option<String>,
    },
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

/// Paths that maintainer scripts made, each with the name of the package where it was told.
pub type MadeByScripts = HashMap<Vec<u8>, Option<String>>;

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

/// Reads an explanation: each path with its cause.
///
/// # Errors
/// The stored explanation is damaged; so is an item of the iterator.
pub fn read(packed: &[u8]) -> io::Result<impl Iterator<Item = io::Result<(Vec<u8>, Cause)>>> {
    let lines = BufReader::new(zstd::Decoder::new(packed)?).lines();
    Ok(lines.map(|line| {
        let line: Line = serde_json::from_str(&line?)?;
        let path = match (line.path, line.path_hex) {
            (Some(path), _) => path.into_bytes(),
            (None, hex) => {
                let hex = hex.unwrap_or_default();
                let path = HEXLOWER.decode(hex.as_bytes());
                path.map_err(io::Error::other)?
            }
        };
        Ok((path, line.cause))
    }))
}

/// Returns the paths that scripts of packages made, or the running system before the first step.
///
/// # Errors
/// The stored explanation is damaged.
pub fn made_by_scripts(packed: &[u8]) -> io::Result<MadeByScripts> {
    let mut made = MadeByScripts::new();
    for line in read(packed)? {
        if let (path, Cause::Scripts { package }) = line? {
            made.insert(path, package);
        }
    }
    Ok(made)
}

/// Returns the cause of a path; `None` if the image does not have it.
///
/// # Errors
/// The stored explanation is damaged.
pub fn find(packed: &[u8], path: &[u8]) -> io::Result<Option<Cause>> {
    for line in read(packed)? {
        let (other, cause) = line?;
        if other == path {
            return Ok(Some(cause));
        }
    }
    Ok(None)
}

/// Result of repeating an explanation from the image, its base and its packages.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Repetition {
    /// Number of paths of the base, packages and declarations, which are the same again.
    pub confirmed: usize,
    /// Number of paths whose cause only the build could see: what scripts of packages and steps did in the guest.
    pub attested: usize,
    /// Paths whose cause is another one now.
    pub contradicted: Vec<Vec<u8>>,
}

/// Compares a recorded explanation with one that was made without the tree before the steps.
///
/// A path that a build found in the base or in a package has to be there again. A declared path has to be declared by the same
/// part of the template; a directory above a declared file is known only to the build.
///
/// # Errors
/// One of them is damaged.
pub fn compare(recorded: &[u8], repeated: &[u8]) -> io::Result<Repetition> {
    let mut declarations = HashSet::new();
    for line in read(repeated)? {
        if let Cause::Declared { by } = line?.1 {
            declarations.insert(by);
        }
    }
    let mut result = Repetition::default();
    let (mut recorded, mut repeated) = (read(recorded)?, read(repeated)?);
    loop {
        let (recorded, repeated) = match (recorded.next(), repeated.next()) {
            (None, None) => return Ok(result),
            (Some(recorded), Some(repeated)) => (recorded?, repeated?),
            (Some(one), None) | (None, Some(one)) => {
                result.contradicted.push(one?.0);
                return Ok(result);
            }
        };
        if recorded.0 != repeated.0 {
            result.contradicted.push(recorded.0.min(repeated.0));
            return Ok(result);
        }
        let (path, cause) = recorded;
        let is_confirmed = match &cause {
            Cause::Base | Cause::Package { .. } => cause == repeated.1,
            Cause::Declared { by } => declarations.contains(by),
            _ => {
                result.attested += 1;
                continue;
            }
        };
        if is_confirmed {
            result.confirmed += 1;
        } else {
            result.contradicted.push(path);
        }
    }
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

    #[test]
    fn what_was_in_the_base_or_a_package_has_to_be_there_again() {
        let package = |name: &str| Cause::Package {
            package: name.to_owned(),
        };
        let declared = |by: &str| Cause::Declared { by: by.to_owned() };
        let packed = |causes: &[(&'static str, Cause)]| {
            let causes = causes.iter().cloned();
            pack(causes.map(|(path, cause)| (path.as_bytes(), cause))).unwrap()
        };
        let now = [
            ("/", Cause::Base),
            ("/srv", Cause::Running),
            ("/srv/app", declared("`[[files]]`")),
            ("/usr/bin/web", package("web")),
            ("/var/lib/web", Cause::Running),
        ];
        let check = |at: usize, cause: Cause| {
            let mut recorded = now.clone();
            recorded[at].1 = cause;
            let result = compare(&packed(&recorded), &packed(&now)).unwrap();
            assert_eq!(
                result.confirmed + result.attested + result.contradicted.len(),
                5
            );
            result.contradicted.len()
        };
        assert_eq!(check(0, Cause::Base), 0);
        assert_eq!(check(1, declared("`[[files]]`")), 0);
        assert_eq!(check(1, declared("the step \"other\"")), 1);
        assert_eq!(check(2, Cause::Base), 1);
        assert_eq!(check(3, package("other")), 1);
        assert_eq!(check(3, Cause::Undeclared), 0);
        assert_eq!(check(4, package("web")), 1);

        let contradicted = |recorded: &[_], now: &[_]| {
            compare(&packed(recorded), &packed(now))
                .unwrap()
                .contradicted
        };
        assert_eq!(contradicted(&now[1..], &now), [b"/"]);
        assert_eq!(contradicted(&now, &now[..4]), [b"/var/lib/web"]);
        compare(&packed(&now)[..9], &packed(&now)).unwrap_err();
    }

    #[test]
    fn paths_that_scripts_made_have_their_package_if_it_was_told() {
        let package = Some("web".to_owned());
        let scripts = |package: &Option<String>| Cause::Scripts {
            package: package.clone(),
        };
        let causes = [
            (&b"/etc/x"[..], Cause::Base),
            (b"/srv/\xff", scripts(&package)),
            (b"/var/x", scripts(&None)),
        ];
        let made = made_by_scripts(&pack(causes.into_iter()).unwrap()).unwrap();
        let expected = [(b"/srv/\xff".to_vec(), package), (b"/var/x".to_vec(), None)];
        assert_eq!(made, HashMap::from(expected));
    }

    #[test]
    fn an_explanation_without_packages_of_scripts_reads_as_before() {
        let packed =
            zstd::encode_all(&b"{\"cause\":\"scripts\",\"path\":\"/x\"}\n"[..], 1).unwrap();
        let cause = Cause::Scripts { package: None };
        assert_eq!(find(&packed, b"/x").unwrap(), Some(cause.clone()));
        assert_eq!(zstd::decode_all(&*packed).unwrap(), {
            zstd::decode_all(&*pack([(&b"/x"[..], cause)].into_iter()).unwrap()).unwrap()
        });
    }
}
