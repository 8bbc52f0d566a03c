//! What packages say of themselves.

use serde_json::Value;

/// Name, version and licence.
pub struct Described {
    pub name: String,
    pub version: String,
    pub license: String,
}

/// Python's `METADATA` and `PKG-INFO`: fields as in a mail, up to the first blank line.
pub fn python(bytes: &[u8]) -> Option<Described> {
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
            // The newer field is an expression; the older one may hold a whole licence.
            "License-Expression" => license = Some(value.to_owned()),
            "License" if license.is_none() => license = Some(value.to_owned()),
            _ => {}
        }
    }
    Some(Described {
        name: name?,
        version: version?,
        license: license.unwrap_or_default(),
    })
}

/// npm's `package.json`.
pub fn npm(bytes: &[u8]) -> Option<Described> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let license = &value["license"];
    Some(Described {
        name: text(&value["name"])?,
        version: text(&value["version"])?,
        license: text(license)
            .or_else(|| text(&license["type"]))
            .unwrap_or_default(),
    })
}
