//! Differences between two images. Pure: values in, value out.

mod change;
mod changelog;
mod files;
mod findings;
mod packages;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use change::Change;
pub use changelog::cves;
pub use files::{FileChange, FileKind, Files, Owner};
pub use findings::{Findings, Scan};
pub use packages::{PackageChange, PackageKind};

use crate::disk::tree::Listing;
use crate::record::explanation::MadeByScripts;
use crate::record::manifest::{Action, Manifest, ManifestId};
use crate::scan::Finding;

/// Name and version of the JSON format.
pub const SCHEMA: &str = "karat.diff/1";

/// Difference between two images.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Diff {
    pub schema: &'static str,
    pub first: Side,
    pub second: Side,
    /// Both images have the same manifest.
    pub identical: bool,
    /// Changed inputs, by key of the manifest's `inputs`. The text of a template is represented by its digest.
    pub inputs: BTreeMap<String, Vec<Change>>,
    /// Changed packages, sorted by name.
    pub packages: Vec<PackageChange>,
    /// Changed files, unless a directory listing is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Files>,
    /// Findings that differ, unless a scan is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub findings: Option<Findings>,
    /// Other changed outputs, by key of the manifest's `outputs`.
    pub outputs: BTreeMap<String, Vec<Change>>,
    pub size: Sizes,
    pub not_compared: Vec<NotCompared>,
}

/// One of the two images.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Side {
    pub id: ManifestId,
    pub name: String,
}

/// A number in the first and in the second image.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Numbers {
    pub from: u64,
    pub to: u64,
}

/// Sizes of two images.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Sizes {
    /// Image file in bytes.
    pub image: Numbers,
    /// Virtual disk in bytes.
    pub virtual_size: Numbers,
    /// Number of paths, unless a directory listing is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Numbers>,
}

/// A part of the images that could not be compared.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NotCompared {
    pub what: String,
    pub because: String,
}

/// Returns the package that owns a path.
pub type PackageOf<'a> = &'a dyn Fn(&[u8]) -> Option<String>;

/// An image to compare.
#[derive(Clone, Copy)]
pub struct DiffInput<'a> {
    pub id: ManifestId,
    pub manifest: &'a Manifest,
    pub listing: Option<&'a Listing>,
    pub scan: Option<Scan<'a>>,
    /// Returns the package that owns a path, unless the package database is unreadable.
    pub owner: Option<PackageOf<'a>>,
    /// Paths that maintainer scripts made, as the explanation of the image says.
    pub made_by_scripts: &'a MadeByScripts,
}

impl DiffInput<'_> {
    fn owner(&self, path: &[u8]) -> Owner {
        if let Some(package) = self.made_by_scripts.get(path) {
            let package = package.clone();
            return Owner::Scripts { package };
        }
        let Some(owner) = self.owner else {
            return Owner::Unknown;
        };
        match owner(path) {
            Some(package) => Owner::Package { package },
            None if self.puts(path) => Owner::Template,
            None => Owner::Nobody,
        }
    }

    /// Returns whether the template copied a file to this path, or a directory above it.
    fn puts(&self, path: &[u8]) -> bool {
        let inputs = &self.manifest.inputs;
        let steps = inputs.steps.iter().filter_map(|step| match &step.action {
            Action::File(file) => Some(file),
            _ => None,
        });
        inputs.files.iter().chain(steps).any(|file| {
            let rest = path.strip_prefix(file.destination.as_bytes());
            // Only a directory is copied without a mode.
            rest.is_some_and(|rest| rest.is_empty() || file.mode.is_none() && rest[0] == b'/')
        })
    }
}

/// Compares two images. `changelog` returns the CVEs that a package's changelog names between the two versions.
pub fn diff(
    first: &DiffInput<'_>,
    second: &DiffInput<'_>,
    changelog: impl Fn(&PackageChange) -> Option<BTreeSet<String>>,
) -> Diff {
    let (one, other) = (first.manifest, second.manifest);
    let mut not_compared = Vec::new();
    let mut missing = |what: &str, because: String| {
        let what = what.to_owned();
        not_compared.push(NotCompared { what, because });
    };
    let (files, counts) = match (first.listing, second.listing) {
        (Some(one), Some(other)) => {
            let of_first = |path: &[u8]| first.owner(path);
            let of_second = |path: &[u8]| second.owner(path);
            let (files, [from, to]) = files::files(one, other, [&of_first, &of_second]);
            (Some(files), Some(Numbers { from, to }))
        }
        (one, _) => {
            let which = if one.is_none() { "first" } else { "second" };
            missing(
                "files",
                format!("the {which} image has no directory listing in the store"),
            );
            (None, None)
        }
    };
    let findings = match (first.scan, second.scan) {
        (Some(one), Some(other)) => Some(findings::findings(one, other, &mut not_compared)),
        (one, _) => {
            let which = if one.is_none() { "first" } else { "second" };
            missing(
                "findings",
                format!("the {which} image has no readable scan"),
            );
            None
        }
    };
    let mut packages = packages::packages(one, other);
    for package in &mut packages {
        package.changelog = changelog(package);
        if let Some(findings) = &findings {
            let ids = |findings: &[Finding]| -> BTreeSet<String> {
                let about = |finding: &&Finding| finding.package.as_ref() == Some(&package.name);
                let findings = findings.iter().filter(about);
                findings.map(|finding| finding.id.clone()).collect()
            };
            package.fixed = ids(&findings.fixed);
            package.introduced = ids(&findings.introduced);
        }
    }
    let numbers = |of: fn(&Manifest) -> u64| Numbers {
        from: of(one),
        to: of(other),
    };
    let mut inputs = change::by_key(&one.inputs, &other.inputs, &[]);
    if let Some(template) = inputs.get_mut("template") {
        template.retain(|change| change.what != ["text"]);
    }
    Diff {
        schema: SCHEMA,
        first: side(first),
        second: side(second),
        identical: first.id == second.id,
        inputs,
        packages,
        files,
        findings,
        outputs: change::by_key(&one.outputs, &other.outputs, &["packages"]),
        size: Sizes {
            image: numbers(|manifest| manifest.outputs.image.size),
            virtual_size: numbers(|manifest| manifest.outputs.image.virtual_size),
            files: counts,
        },
        not_compared,
    }
}

fn side(known: &DiffInput<'_>) -> Side {
    Side {
        id: known.id,
        name: known.manifest.inputs.image.name.clone(),
    }
}

#[cfg(test)]
mod tests;
