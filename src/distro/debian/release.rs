//! `InRelease` and `Release`: the list of an archive's indices.

use std::str::FromStr;

use miette::Diagnostic;
use thiserror::Error;

use super::control;
use crate::digest::Digest;

/// A parsed release file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Release {
    /// Creation date as written.
    pub date: Option<String>,
    /// Indices can be fetched by digest, even for a while after they were replaced.
    pub by_hash: bool,
    /// apt never chooses a version of this archive on its own (backports).
    pub not_automatic: bool,
    /// Packages of architecture `all` have an index of their own instead of being in the index of every architecture.
    pub separate_all: bool,
    /// Files listed with a SHA-256.
    pub files: Vec<ListedFile>,
}

/// A file listed in a release file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedFile {
    /// Path relative to the release file.
    pub path: String,
    /// Size of the file in bytes.
    pub size: u64,
    /// SHA-256 of the file.
    pub digest: Digest,
}

/// A release file that cannot be parsed.
#[derive(Debug, Error, Diagnostic, PartialEq, Eq)]
#[error("invalid release file of a package archive: {0}")]
#[diagnostic(help("check that the URI in the machine's package sources points to an archive"))]
pub struct InvalidRelease(&'static str);

/// Debian's own release file lists about 5,000 files.
const MAX_FILES: usize = 1_000_000;

impl Release {
    /// Returns an architecture's index of every component, each with the compression that is cheapest to unpack.
    #[must_use]
    pub fn indices(&self, architecture: &str) -> Vec<&ListedFile> {
        let directory = format!("binary-{architecture}/Packages");
        let mut stems: Vec<&str> = self
            .files
            .iter()
            .map(|file| stem(&file.path))
            // A flat archive has one index for all architectures.
            .filter(|stem| {
                *stem == "Packages"
                    || stem.ends_with(&directory) && !stem.contains("debian-installer")
            })
            .collect();
        stems.sort_unstable();
        stems.dedup();
        let best = |stem: &str| {
            ["gz", "xz", ""].iter().find_map(|ending| {
                let path = match *ending {
                    "" => stem.to_owned(),
                    ending => format!("{stem}.{ending}"),
                };
                self.files.iter().find(|file| file.path == path)
            })
        };
        stems.into_iter().filter_map(best).collect()
    }
}

fn stem(path: &str) -> &str {
    let ending = [".gz", ".xz", ".bz2", ".lzma", ".zst", ".lz4"];
    let stem = ending.iter().find_map(|ending| path.strip_suffix(ending));
    stem.unwrap_or(path)
}

impl FromStr for Release {
    type Err = InvalidRelease;

    /// Parses either file. The signature is not verified: apt does that in the machine.
    fn from_str(text: &str) -> Result<Self, InvalidRelease> {
        let text = match text.strip_prefix("-----BEGIN PGP SIGNED MESSAGE-----") {
            Some(signed) => body(signed).ok_or(InvalidRelease("truncated signature"))?,
            None => text,
        };
        let paragraph = control::paragraphs(text)
            .next()
            .ok_or(InvalidRelease("empty file"))?;
        let yes = |name| {
            paragraph
                .field(name)
                .is_some_and(|value| value.eq_ignore_ascii_case("yes"))
        };
        let has = |name, word| {
            let value = paragraph.field(name).unwrap_or_default();
            value.split_ascii_whitespace().any(|item| item == word)
        };
        let files = paragraph
            .lines_of("SHA256")
            .skip(1)
            .take(MAX_FILES)
            .map(|line| listed(line).ok_or(InvalidRelease("invalid line in the SHA256 list")));
        let files = files.collect::<Result<Vec<_>, _>>()?;
        if files.is_empty() {
            return Err(InvalidRelease("no SHA-256 digests listed"));
        }
        Ok(Self {
            date: paragraph.field("Date").map(str::to_owned),
            by_hash: yes("Acquire-By-Hash"),
            not_automatic: yes("NotAutomatic"),
            separate_all: has("Architectures", "all")
                && !has("No-Support-for-Architecture-all", "Packages"),
            files,
        })
    }
}

/// Returns the text between the armor's headers and the signature. Lines beginning with `-` would be escaped; a release
/// file has none.
fn body(signed: &str) -> Option<&str> {
    let (headers, rest) = signed
        .split_once("\n\n")
        .or_else(|| signed.split_once("\r\n\r\n"))?;
    let (body, _) = rest.split_once("-----BEGIN PGP SIGNATURE-----")?;
    (!headers.contains("-----")).then_some(body)
}

fn listed(line: &str) -> Option<ListedFile> {
    let mut words = line.split_ascii_whitespace();
    let digest = words.next()?.parse().ok()?;
    let size = words.next()?.parse().ok()?;
    let path = words.next()?;
    // The path becomes part of a URL below the archive's.
    let plain =
        path.split('/').all(|name| !matches!(name, "" | "." | "..")) && words.next().is_none();
    plain.then(|| ListedFile {
        path: path.to_owned(),
        size,
        digest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn text(files: &[&str]) -> String {
        let lines: Vec<_> = files
            .iter()
            .map(|path| format!(" {HEX} 12 {path}\n"))
            .collect();
        let lines = lines.concat();
        format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nSuite: stable\nDate: Sat, 11 Jul 2026 10:16:37 UTC\n\
             Acquire-By-Hash: yes\nSHA1:\n abc 1 x\nSHA256:\n{lines}-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n"
        )
    }

    #[test]
    fn the_cheapest_index_of_each_component_is_found() {
        let text = text(&[
            "main/binary-amd64/Packages",
            "main/binary-amd64/Packages.xz",
            "main/binary-amd64/Packages.gz",
            "main/debian-installer/binary-amd64/Packages.gz",
            "main/binary-arm64/Packages.gz",
            "contrib/binary-amd64/Packages.xz",
            "contrib/binary-amd64/Packages.bz2",
            "non-free/binary-amd64/Packages",
            "extra/binary-amd64/Packages.bz2",
            "main/Contents-amd64.gz",
        ]);
        let release: Release = text.parse().unwrap();
        let paths: Vec<_> = release
            .indices("amd64")
            .iter()
            .map(|file| file.path.as_str())
            .collect();
        assert_eq!(
            paths,
            [
                "contrib/binary-amd64/Packages.xz",
                "main/binary-amd64/Packages.gz",
                "non-free/binary-amd64/Packages"
            ]
        );
        assert!(release.by_hash && !release.not_automatic && !release.separate_all);
        for (fields, expected) in [
            ("Architectures: all amd64\n", true),
            ("Architectures: amd64\n", false),
            (
                "Architectures: all amd64\nNo-Support-for-Architecture-all: Packages\n",
                false,
            ),
        ] {
            let text = text.replace("SHA256:\n", &format!("{fields}SHA256:\n"));
            let release: Release = text.parse().unwrap();
            assert_eq!(release.separate_all, expected, "{fields}");
        }
        assert_eq!(
            release.date.as_deref(),
            Some("Sat, 11 Jul 2026 10:16:37 UTC")
        );
        assert!(release.indices("s390x").is_empty());
    }

    #[test]
    fn a_flat_archive_has_one_index() {
        let release: Release = text(&["Packages", "Packages.gz"]).parse().unwrap();
        assert_eq!(release.indices("amd64")[0].path, "Packages.gz");
    }

    #[test]
    fn what_is_no_release_is_refused() {
        let good = text(&["Packages"]);
        for (text, why) in [
            (String::new(), "empty file"),
            ("<html>".to_owned(), "no SHA-256 digests listed"),
            (good.replace(HEX, "12"), "invalid line in the SHA256 list"),
            (
                good.replace(" Packages", " ../Packages"),
                "invalid line in the SHA256 list",
            ),
            (
                good.replace(" Packages", " /Packages"),
                "invalid line in the SHA256 list",
            ),
            (
                good.replace("BEGIN PGP SIGNATURE", "x"),
                "truncated signature",
            ),
        ] {
            assert_eq!(text.parse::<Release>(), Err(InvalidRelease(why)), "{text}");
        }
    }
}
