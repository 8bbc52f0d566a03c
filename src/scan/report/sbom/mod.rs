//! Software bills of materials: the inventory as CycloneDX 1.6 and SPDX 2.3. They depend neither on the clock nor on
//! random numbers: the same subject and inventory give the same document.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::licenses::{Licenses, spdx};
use super::purl;
use crate::digest::Digest;
use crate::scan::inventory::Inventory;
use crate::time::Timestamp;

/// Image that a document describes.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Name of the image.
    pub name: String,
    /// Image digest, from which the document's identifier is derived.
    pub digest: Option<Digest>,
    /// Creation date of the document; for an image built by karat, the date of its inputs.
    pub created: Timestamp,
}

/// A system or language package.
struct Component {
    purl: String,
    name: String,
    version: String,
    licenses: BTreeSet<String>,
    /// Metadata file of a language package.
    path: Option<String>,
}

/// Returns the inventory as CycloneDX 1.6.
#[must_use]
pub fn cyclonedx(subject: &Subject, inventory: &Inventory, licenses: &Licenses) -> Value {
    let entries = entries(inventory, licenses);
    let components = entries.iter().map(|(id, entry)| {
        let mut component = json!({
            "type": "library",
            "bom-ref": id,
            "name": entry.name,
            "version": entry.version,
            "purl": entry.purl,
        });
        let licenses = entry.licenses.iter().map(|name| match spdx(name) {
            Some(id) => json!({"license": {"id": id}}),
            None => json!({"license": {"name": name}}),
        });
        let licenses: Vec<_> = licenses.collect();
        if !licenses.is_empty() {
            component["licenses"] = licenses.into();
        }
        if let Some(path) = &entry.path {
            component["evidence"] = json!({"occurrences": [{"location": path}]});
        }
        component
    });
    let mut image = json!({
        "type": "operating-system",
        "bom-ref": "image",
        "name": subject.name,
    });
    if let Some(release) = &inventory.release {
        image["description"] = format!("{} {}", release.id, release.version)
            .trim_end()
            .into();
    }
    if let Some(digest) = &subject.digest {
        image["hashes"] = json!([{"alg": "SHA-256", "content": digest.hex()}]);
    }
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": format!("urn:uuid:{}", uuid("cyclonedx", subject, inventory)),
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "karat", "version": env!("CARGO_PKG_VERSION")}]},
            "component": image,
        },
        "components": components.collect::<Vec<_>>(),
        "dependencies": [{"ref": "image", "dependsOn": entries.keys().collect::<Vec<_>>()}],
    })
}

/// Returns the inventory as SPDX 2.3.
#[must_use]
pub fn spdx_2_3(subject: &Subject, inventory: &Inventory, licenses: &Licenses) -> Value {
    let entries = entries(inventory, licenses);
    let mut own: BTreeMap<String, String> = BTreeMap::new();
    let mut image = json!({
        "SPDXID": "SPDXRef-image",
        "name": subject.name,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "primaryPackagePurpose": "OPERATING-SYSTEM",
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
    });
    if let Some(digest) = &subject.digest {
        image["checksums"] = json!([{"algorithm": "SHA256", "checksumValue": digest.hex()}]);
    }
    let mut packages = vec![image];
    let mut relationships = vec![related("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-image")];
    for (id, entry) in &entries {
        let id = format!("SPDXRef-package-{}", &Digest::of(id.as_bytes()).hex()[..32]);
        let mut package = json!({
            "SPDXID": id,
            "name": entry.name,
            "versionInfo": entry.version,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "licenseConcluded": "NOASSERTION",
            "licenseDeclared": declared(&entry.licenses, &mut own),
            "copyrightText": "NOASSERTION",
            "externalRefs": [{
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": entry.purl,
            }],
        });
        if let Some(path) = &entry.path {
            package["sourceInfo"] = format!("found at {path}").into();
        }
        packages.push(package);
        relationships.push(related("SPDXRef-image", "CONTAINS", &id));
    }
    let own = own.into_iter().map(|(id, name)| {
        let text = format!("See the copyright file of the package, which calls it {name}.");
        json!({"licenseId": id, "name": name, "extractedText": text})
    });
    let created = subject.created;
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": subject.name,
        "documentNamespace": format!("urn:uuid:{}", uuid("spdx", subject, inventory)),
        "creationInfo": {
            "created": created,
            "creators": [format!("Tool: karat-{}", env!("CARGO_PKG_VERSION"))],
            "comment": "the date is that of the image's inputs, so that the same image has the same document",
        },
        "packages": packages,
        "hasExtractedLicensingInfos": own.collect::<Vec<_>>(),
        "relationships": relationships,
    })
}

fn related(from: &str, how: &str, to: &str) -> Value {
    json!({"spdxElementId": from, "relationshipType": how, "relatedSpdxElement": to})
}

/// Returns an SPDX expression; licences unknown to SPDX become references that the document explains.
fn declared(licenses: &BTreeSet<String>, own: &mut BTreeMap<String, String>) -> String {
    let names = licenses.iter().map(|name| {
        if let Some(id) = spdx(name) {
            return id.to_owned();
        }
        let safe = |c: char| match c {
            '.' | '-' => c,
            c if c.is_ascii_alphanumeric() => c,
            _ => '-',
        };
        let readable: String = name.chars().take(40).map(safe).collect();
        // Names may differ only in the replaced characters.
        let id = format!(
            "LicenseRef-{readable}-{}",
            &Digest::of(name.as_bytes()).hex()[..8]
        );
        own.insert(id.clone(), name.clone());
        id
    });
    let names: BTreeSet<_> = names.collect();
    if names.is_empty() {
        return "NOASSERTION".to_owned();
    }
    names.into_iter().collect::<Vec<_>>().join(" AND ")
}

/// Returns every package once, by a name that is unique in the document.
fn entries(inventory: &Inventory, licenses: &Licenses) -> BTreeMap<String, Component> {
    let system = inventory.packages.iter().map(|package| Component {
        purl: purl::package_url(package, inventory.release.as_ref()),
        name: package.name.clone(),
        version: package.version.clone(),
        licenses: licenses.get(&package.name).cloned().unwrap_or_default(),
        path: None,
    });
    let language = inventory.language.iter().map(|package| Component {
        purl: purl::language_url(package),
        name: package.name.clone(),
        version: package.version.clone(),
        licenses: Some(package.license.clone())
            .filter(|license| !license.is_empty())
            .into_iter()
            .collect(),
        path: Some(package.path.clone()),
    });
    let named = system.chain(language).map(|entry| {
        let path = entry.path.as_ref().map(|path| format!("#{path}"));
        (format!("{}{}", entry.purl, path.unwrap_or_default()), entry)
    });
    named.collect()
}

/// Returns a UUID (version 8) derived from the image digest or else from the inventory.
fn uuid(form: &str, subject: &Subject, inventory: &Inventory) -> String {
    let seed = match &subject.digest {
        Some(digest) => digest.hex(),
        None => serde_json::to_string(inventory).unwrap_or_default(),
    };
    let hex = Digest::of(format!("karat {form} {} {seed}", subject.name).as_bytes()).hex();
    format!(
        "{}-{}-8{}-a{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..32]
    )
}

#[cfg(test)]
mod tests;
