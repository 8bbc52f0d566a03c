//! `repomd.xml` and `primary.xml`: the index of an RPM repository, and its packages.

use quick_xml::DeError;
use serde::Deserialize;

use crate::digest::Digest;

/// Package index that a `repomd.xml` names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Primary {
    /// Path relative to the repository.
    pub path: String,
    pub digest: Digest,
}

/// A package of a `primary.xml`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Package {
    pub name: String,
    pub architecture: String,
    /// Version formatted as `[epoch:]version-release`.
    pub version: String,
}

#[derive(Deserialize)]
struct Repomd {
    #[serde(default)]
    data: Vec<Data>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "@type")]
    kind: Option<String>,
    checksum: Option<Checksum>,
    location: Option<Location>,
}

#[derive(Deserialize)]
struct Checksum {
    #[serde(rename = "@type")]
    kind: Option<String>,
    #[serde(rename = "$text", default)]
    digits: String,
}

#[derive(Deserialize)]
struct Location {
    #[serde(rename = "@href")]
    href: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    package: Vec<PackageElement>,
}

#[derive(Deserialize)]
struct PackageElement {
    name: Option<String>,
    arch: Option<String>,
    version: Option<Evr>,
}

#[derive(Deserialize)]
struct Evr {
    #[serde(rename = "@epoch")]
    epoch: Option<String>,
    #[serde(rename = "@ver")]
    version: Option<String>,
    #[serde(rename = "@rel")]
    release: Option<String>,
}

/// Returns the package index, or `None` without one that has a SHA-256 and a plain relative path.
pub fn primary(repomd: &str) -> Option<Primary> {
    let repomd: Repomd = quick_xml::de::from_str(repomd).ok()?;
    let mut indices = repomd.data.into_iter();
    let data = indices.find(|data| data.kind.as_deref() == Some("primary"))?;
    let checksum = data.checksum?;
    let is_sha256 = checksum.kind.as_deref() == Some("sha256");
    let digest = checksum.digits.trim_ascii().parse().ok();
    let digest = digest.filter(|_| is_sha256)?;
    let path = data.location?.href?;
    let is_plain = |name: &str| !matches!(name, "" | "." | "..");
    path.split('/')
        .all(is_plain)
        .then_some(Primary { path, digest })
}

/// Reads every package of a `primary.xml`; incomplete ones are left out.
pub fn packages(primary: &str) -> Result<Vec<Package>, DeError> {
    let metadata: Metadata = quick_xml::de::from_str(primary)?;
    let packages = metadata.package.into_iter().filter_map(|element| {
        let version = element.version?;
        let epoch = version
            .epoch
            .filter(|epoch| !epoch.is_empty() && epoch != "0");
        let epoch = epoch.map(|epoch| format!("{epoch}:")).unwrap_or_default();
        Some(Package {
            name: element.name?.trim_ascii().to_owned(),
            architecture: element.arch?.trim_ascii().to_owned(),
            version: format!("{epoch}{}-{}", version.version?, version.release?),
        })
    });
    Ok(packages.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_packages_is_found() {
        let hex = Digest::of(b"primary").hex();
        let text = |kind: &str, algorithm: &str, path: &str| {
            format!(
                "<?xml version=\"1.0\"?>\n<repomd><revision>1</revision><data type=\"filelists\"><checksum type=\"sha256\">x\
                 </checksum></data>\n<data type=\"{kind}\">\n <open-checksum type=\"sha256\">y</open-checksum>\
                 <checksum type='{algorithm}'>{hex}</checksum><location href=\"{path}\"/></data></repomd>"
            )
        };
        let found = primary(&text("primary", "sha256", "repodata/p.xml.gz")).unwrap();
        assert_eq!(
            (found.path.as_str(), found.digest),
            ("repodata/p.xml.gz", Digest::of(b"primary"))
        );
        for text in [
            text("primary_db", "sha256", "repodata/p"),
            text("primary", "sha512", "repodata/p"),
            text("primary", "sha256", "../p"),
            text("primary", "sha256", "/p"),
            "<html>".to_owned(),
            String::new(),
        ] {
            assert_eq!(primary(&text), None, "{text}");
        }
        let found = primary(&text("primary", "sha256", "repodata/a&amp;b.xml.gz")).unwrap();
        assert_eq!(found.path, "repodata/a&b.xml.gz");
    }

    #[test]
    fn packages_are_read() {
        let text = "<metadata packages=\"3\">\
            <package type=\"rpm\"><name>a</name><arch>noarch</arch><version epoch=\"0\" ver=\"1\" rel=\"2\"/>\
            <packager>x &lt;version epoch=\"9\"&gt;</packager>\
            <format><rpm:requires><rpm:entry name=\"b\" ver=\"7\"/></rpm:requires></format></package>\
            <package type=\"rpm\">\n <name>b</name>\n <arch>x86_64</arch>\n <version rel=\"1\" ver=\"3~rc1\" epoch=\"2\"/></package>\
            <package type=\"rpm\"><name>c</name></package></metadata>";
        let package = |name: &str, architecture: &str, version: &str| Package {
            name: name.to_owned(),
            architecture: architecture.to_owned(),
            version: version.to_owned(),
        };
        assert_eq!(
            packages(text).unwrap(),
            [
                package("a", "noarch", "1-2"),
                package("b", "x86_64", "2:3~rc1-1")
            ]
        );
        packages(&text[..text.len() - 1]).unwrap_err();
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "(<|>|/|=|\"|'|package|version|name| |\u{e9}|a){0,40}") {
            let _ = packages(&text);
            let _ = primary(&text);
        }
    }
}
