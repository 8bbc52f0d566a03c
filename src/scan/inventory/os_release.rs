//! `os-release`: distribution and release of a system.

use super::Release;
use crate::scan::{Root, ScanError};

/// Far larger than any distribution's file.
const MAX_BYTES: u64 = 64 << 10;

/// Reads the first existing file.
pub fn read(root: &Root<'_>) -> Result<Option<Release>, ScanError> {
    for path in ["/etc/os-release", "/usr/lib/os-release"] {
        if let Some(bytes) = root.read(path.as_bytes(), MAX_BYTES)? {
            return Ok(Some(parse(&String::from_utf8_lossy(&bytes))));
        }
    }
    Ok(None)
}

fn parse(text: &str) -> Release {
    let mut release = Release::default();
    for line in text.lines() {
        let Some((name, value)) = line.trim_ascii().split_once('=') else {
            continue;
        };
        // Shell words; an unterminated one is used as it is.
        let value = shlex::split(value).map_or_else(|| value.to_owned(), |words| words.join(" "));
        match name {
            "ID" => release.id = value.to_ascii_lowercase(),
            "VERSION_ID" => release.version = value,
            "VERSION_CODENAME" => release.codename = value,
            "ID_LIKE" => release.like = value.split_whitespace().map(str::to_owned).collect(),
            _ => {}
        }
    }
    release
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::testing::Planted;

    #[test]
    fn values_are_read_with_and_without_quotes() {
        let text = "# comment\nID=Rocky\nVERSION_ID=\"9.4\"\nID_LIKE='rhel centos fedora'\nNAME=\"a \\\"b\nVERSION_CODENAME=\n";
        let release = parse(text);
        assert_eq!(
            (release.id.as_str(), release.version.as_str()),
            ("rocky", "9.4")
        );
        assert_eq!(release.like, ["rhel", "centos", "fedora"]);
        assert_eq!(release.codename, "");
    }

    #[test]
    fn the_link_to_the_vendors_file_is_followed() {
        let tree = Planted::default()
            .file("/usr/lib/os-release", 0o644, "ID=debian\nVERSION_ID=12\n")
            .link("/etc/os-release", "../usr/lib/os-release");
        let release = read(&tree.root()).unwrap().unwrap();
        assert_eq!(
            (release.id.as_str(), release.version.as_str()),
            ("debian", "12")
        );
        assert_eq!(read(&Planted::default().root()).unwrap(), None);
    }
}
