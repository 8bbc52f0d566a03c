//! What changed between two images. Pure: values in, value out.

mod change;
mod changelog;
mod files;
mod findings;
mod packages;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use change::Change;
pub use changelog::cves;
pub use files::{FileChange, FileKind, Files, Group, Owner};
pub use findings::{Findings, Scan};
pub use packages::{PackageChange, PackageKind};

use crate::disk::tree::Listing;
use crate::record::manifest::{Action, Manifest, ManifestId};

/// Name and version of the form of a difference.
pub const SCHEMA: &str = "karat.diff/1";

/// What changed from one image to another.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Diff {
    /// Always [`SCHEMA`].
    pub schema: &'static str,
    /// The image that was given first.
    pub first: Side,
    /// The image that was given second.
    pub second: Side,
    /// Both have the same manifest: nothing differs.
    pub identical: bool,
    /// What they were made from, by key of the manifest's `inputs`; only those that differ. The text of a template is
    /// told by its digest.
    pub inputs: BTreeMap<String, Vec<Change>>,
    /// Packages that differ, by name.
    pub packages: Vec<PackageChange>,
    /// Files that differ. Absent when the lists of files are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Files>,
    /// What their last scans found. Absent when one has no scan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub findings: Option<Findings>,
    /// What else they are, by key of the manifest's `outputs`; only those that differ.
    pub outputs: BTreeMap<String, Vec<Change>>,
    /// How large they are.
    pub size: Sizes,
    /// What could not be compared, and why.
    pub not_compared: Vec<NotCompared>,
}

/// One of two images.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Side {
    /// The id of its manifest.
    pub id: ManifestId,
    /// Its name.
    pub name: String,
}

/// A number of both images.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Numbers {
    /// Of the first.
    pub from: u64,
    /// Of the second.
    pub to: u64,
}

/// How large two images are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Sizes {
    /// Bytes of the image file.
    pub image: Numbers,
    /// Bytes of the disk that a guest sees.
    pub virtual_size: Numbers,
    /// Paths. Absent when the lists of files are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Numbers>,
}

/// Something that could not be compared.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NotCompared {
    /// What.
    pub what: String,
    /// Why.
    pub because: String,
}

/// Tells the package that has a path.
pub type PackageOf<'a> = &'a dyn Fn(&[u8]) -> Option<String>;

/// What is known of an image.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// The id of its manifest.
    pub id: ManifestId,
    /// Its manifest.
    pub manifest: &'a Manifest,
    /// Its files.
    pub listing: Option<&'a Listing>,
    /// Its last scan.
    pub scan: Option<Scan<'a>>,
    /// Tells the package that has a path. Absent when its database of packages cannot be read.
    pub owner: Option<PackageOf<'a>>,
}

impl Known<'_> {
    fn owner(&self, path: &[u8]) -> Owner {
        let Some(owner) = self.owner else {
            return Owner::Unknown;
        };
        match owner(path) {
            Some(package) => Owner::Package { package },
            None if self.puts(path) => Owner::Template,
            None => Owner::Nobody,
        }
    }

    /// Whether the template has put a file there, or a directory above it.
    fn puts(&self, path: &[u8]) -> bool {
        let inputs = &self.manifest.inputs;
        let steps = inputs.steps.iter().filter_map(|step| match &step.action {
            Action::File(file) => Some(file),
            _ => None,
        });
        inputs.files.iter().chain(steps).any(|file| {
            let rest = path.strip_prefix(file.destination.as_bytes());
            // Only a directory keeps the modes of what is in it.
            rest.is_some_and(|rest| rest.is_empty() || file.mode.is_none() && rest[0] == b'/')
        })
    }
}

/// Compares two images. `changelog` tells the CVEs that a package's changelog names between two versions.
#[must_use]
pub fn diff(
    first: &Known<'_>,
    second: &Known<'_>,
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
                format!("the {which} has no list of its files in the store"),
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
                format!("the {which} has no scan that can be read"),
            );
            None
        }
    };
    let mut packages = packages::packages(one, other);
    for package in &mut packages {
        package.changelog = changelog(package);
        if let Some(findings) = &findings {
            let about = |all: &[crate::scan::Finding]| -> BTreeSet<String> {
                let of = all
                    .iter()
                    .filter(|it| it.package.as_ref() == Some(&package.name));
                of.map(|it| it.id.clone()).collect()
            };
            (package.fixed, package.introduced) =
                (about(&findings.fixed), about(&findings.introduced));
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
            image: numbers(|it| it.outputs.image.size),
            virtual_size: numbers(|it| it.outputs.image.virtual_size),
            files: counts,
        },
        not_compared,
    }
}

/// What differs between two values, for tests.
#[cfg(test)]
pub(crate) fn explain(first: &serde_json::Value, second: &serde_json::Value) -> String {
    format!("{:?}", change::changes(Some(first), Some(second)))
}

fn side(known: &Known<'_>) -> Side {
    Side {
        id: known.id,
        name: known.manifest.inputs.image.name.clone(),
    }
}

#[cfg(test)]
mod tests;
