//! `repomd.xml` and `primary.xml`. Both are written by programs, a tag at a time, so that a scan for tags will do: text
//! between tags has no `<` in it, and nothing that is looked for can be elsewhere.

use crate::digest::Digest;

/// The index of packages that a `repomd.xml` names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Primary {
    /// Path below the repository.
    pub path: String,
    /// SHA-256 of its bytes.
    pub digest: Digest,
}

/// Finds the index of packages; `None` when there is none with a SHA-256 and a plain path.
#[must_use]
pub fn primary(repomd: &str) -> Option<Primary> {
    let data =
        elements(repomd, "data").find(|data| attribute(data.head, "type") == Some("primary"))?;
    let checksum = elements(data.body, "checksum").next()?;
    let sha256 = attribute(checksum.head, "type") == Some("sha256");
    let digest = checksum.body.trim_ascii().parse().ok().filter(|_| sha256)?;
    let path = attribute(elements(data.body, "location").next()?.head, "href")?;
    let plain = |name: &str| !matches!(name, "" | "." | "..");
    path.split('/').all(plain).then(|| Primary {
        path: path.to_owned(),
        digest,
    })
}

/// Name, architecture and version (`[epoch:]version-release`) of every package of a `primary.xml`.
pub fn packages(primary: &str) -> impl Iterator<Item = (&str, &str, String)> {
    elements(primary, "package").filter_map(|package| {
        let text = |name| Some(elements(package.body, name).next()?.body.trim_ascii());
        let version = elements(package.body, "version").next()?.head;
        let epoch = attribute(version, "epoch").filter(|epoch| !matches!(*epoch, "" | "0"));
        let epoch = epoch.map(|epoch| format!("{epoch}:")).unwrap_or_default();
        let (number, release) = (attribute(version, "ver")?, attribute(version, "rel")?);
        Some((
            text("name")?,
            text("arch")?,
            format!("{epoch}{number}-{release}"),
        ))
    })
}

struct Element<'a> {
    /// What stands in the opening tag behind the name.
    head: &'a str,
    /// What stands between opening and closing tag.
    body: &'a str,
}

/// The elements of that name, in order; none of them holds another of its own name.
fn elements<'a>(text: &'a str, name: &'static str) -> impl Iterator<Item = Element<'a>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            rest = rest.split_once('<')?.1;
            let Some(behind) = rest.strip_prefix(name) else {
                continue;
            };
            if !behind.starts_with(|c: char| c.is_ascii_whitespace() || matches!(c, '>' | '/')) {
                continue;
            }
            let (head, after) = behind.split_once('>')?;
            if let Some(head) = head.strip_suffix('/') {
                rest = after;
                return Some(Element { head, body: "" });
            }
            let end = after.find(&format!("</{name}>"))?;
            rest = &after[end..];
            let body = &after[..end];
            return Some(Element { head, body });
        }
    })
}

fn attribute<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = head;
    loop {
        let (key, value) = rest.split_once('=')?;
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (value, behind) = value[1..].split_once(quote)?;
        if key.trim_ascii() == name {
            return Some(value);
        }
        rest = behind;
    }
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
    }

    #[test]
    fn packages_are_read() {
        let text = "<metadata packages=\"3\">\
            <package type=\"rpm\"><name>a</name><arch>noarch</arch><version epoch=\"0\" ver=\"1\" rel=\"2\"/>\
            <packager>x &lt;version epoch=\"9\"&gt;</packager>\
            <format><rpm:requires><rpm:entry name=\"b\" ver=\"7\"/></rpm:requires></format></package>\
            <package type=\"rpm\">\n <name>b</name>\n <arch>x86_64</arch>\n <version rel=\"1\" ver=\"3~rc1\" epoch=\"2\"/></package>\
            <package type=\"rpm\"><name>c</name></package></metadata>";
        let found: Vec<_> = packages(text).collect();
        assert_eq!(
            found,
            [
                ("a", "noarch", "1-2".to_owned()),
                ("b", "x86_64", "2:3~rc1-1".to_owned())
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_odd(text in "(<|>|/|=|\"|'|package|version|name| |\u{e9}|a){0,40}") {
            packages(&text).for_each(drop);
            let _ = primary(&text);
        }
    }
}
