//! Metadata files of Python and npm packages.

use serde_json::Value;

pub struct Metadata {
    pub name: String,
    pub version: String,
    pub license: String,
}

/// Parses Python's `METADATA` or `PKG-INFO`: mail header fields, up to the first blank line.
pub fn python(bytes: &[u8]) -> Option<Metadata> {
    let text = String::from_utf8_lossy(bytes);
    let head = text
        .lines()
        .take_while(|line| !line.trim_ascii().is_empty());
    let (mut name, mut version, mut license) = (None, None, None);
    for line in head {
        let Some((field, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim_ascii();
        match field {
            "Name" => name = Some(value.to_owned()),
            "Version" => version = Some(value.to_owned()),
            // The newer field is an expression; the older one may hold a full licence text.
            "License-Expression" => license = Some(value.to_owned()),
            "License" if license.is_none() => license = Some(value.to_owned()),
            _ => {}
        }
    }
    Some(Metadata {
        name: name?,
        version: version?,
        license: license.unwrap_or_default(),
    })
}

pub fn npm(bytes: &[u8]) -> Option<Metadata> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let license = &value["license"];
    Some(Metadata {
        name: text(&value["name"])?,
        version: text(&value["version"])?,
        license: text(license)
            .or_else(|| text(&license["type"]))
            .unwrap_or_default(),
    })
}
