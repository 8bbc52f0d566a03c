//! Checksum files: the digest of a file name.

use crate::digest::Digest;

/// Reason why a checksum file has no digest for a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotListed {
    /// No line has the name.
    Missing,
    /// Lines with the name disagree.
    Contradictory,
}

/// Finds the SHA-256 of `name` in the text of a `SHA256SUMS` file.
///
/// Lines are `<hex>  name`, `<hex> *name` or `SHA256 (name) = <hex>`. A file that holds only one digest applies to any name. Other
/// lines (comments, other algorithms) are skipped.
pub fn find(text: &str, name: &str) -> Result<Digest, NotListed> {
    if let Some(digest) = bare_hex(text.trim()) {
        return Ok(digest);
    }
    let mut found = None;
    for (digest, listed) in text.lines().filter_map(line) {
        // Some projects list `./name` or a path below the checksum file's own directory.
        if listed != name && listed.rsplit('/').next() != Some(name) {
            continue;
        }
        if found.is_some_and(|earlier| earlier != digest) {
            return Err(NotListed::Contradictory);
        }
        found = Some(digest);
    }
    found.ok_or(NotListed::Missing)
}

fn line(line: &str) -> Option<(Digest, &str)> {
    let line = line.trim_end();
    if let Some(rest) = line.strip_prefix("SHA256 (") {
        let (name, digest) = rest.rsplit_once(") = ")?;
        return Some((bare_hex(digest)?, name));
    }
    let (digest, name) = line.split_once(' ')?;
    let name = name.strip_prefix([' ', '*']).unwrap_or(name);
    Some((bare_hex(digest)?, name))
}

fn bare_hex(text: &str) -> Option<Digest> {
    (text.len() == 64).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_form_is_read() {
        let one = "11".repeat(32);
        let upper = "AB".repeat(32);
        let digest = |text: &str| Ok(text.parse::<Digest>().unwrap());
        for (text, name, expected) in [
            (format!("{one}  a.img\n"), "a.img", digest(&one)),
            (format!("{one} *a.img\n"), "a.img", digest(&one)),
            (format!("{upper}  a.img\r\n"), "a.img", digest(&upper)),
            (format!("{one}  ./a.img\n"), "a.img", digest(&one)),
            (format!("SHA256 (a.img) = {one}\n"), "a.img", digest(&one)),
            (
                format!("SHA256 (a (1).img) = {one}"),
                "a (1).img",
                digest(&one),
            ),
            (format!("{one}\n"), "a.img", digest(&one)),
            (
                format!("# sums\n{upper}  b\n{one}  a b\n"),
                "a b",
                digest(&one),
            ),
            (format!("{one}  ba.img\n"), "a.img", Err(NotListed::Missing)),
            (
                "d41d8cd9  a.img\n".to_owned(),
                "a.img",
                Err(NotListed::Missing),
            ),
            (
                format!("{one}{one}  a.img\n"),
                "a.img",
                Err(NotListed::Missing),
            ),
            (String::new(), "a.img", Err(NotListed::Missing)),
            (format!("{one}  a\n{one}  a\n"), "a", digest(&one)),
            (
                format!("{one}  a\n{upper}  a\n"),
                "a",
                Err(NotListed::Contradictory),
            ),
        ] {
            assert_eq!(find(&text, name), expected, "{name} in {text:?}");
        }
    }
}
