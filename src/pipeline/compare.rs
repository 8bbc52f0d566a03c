//! Comparison of two builds: the level of reproducibility that they reach, and their first differences. Pure.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::disk::tree::{Listing, ListingPair, join_listings};
use crate::record::manifest::{Manifest, Package};

/// Number of differences in a report; the rest is counted.
const MAX_DIFFERENCES: usize = 20;

/// Level of reproducibility, from the weakest to the strongest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub(crate) enum Level {
    /// The inputs are recorded.
    #[serde(rename = "L0")]
    Recorded,
    /// The inputs are the same.
    #[serde(rename = "L1")]
    Inputs,
    /// The image has the same packages.
    #[serde(rename = "L2")]
    Packages,
    /// The image has the same files.
    #[serde(rename = "L3")]
    Tree,
    /// The image has the same bytes, and so the same manifest.
    #[serde(rename = "L4")]
    Bytes,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Recorded => "L0 recorded",
            Self::Inputs => "L1 inputs locked",
            Self::Packages => "L2 same packages",
            Self::Tree => "L3 same tree",
            Self::Bytes => "L4 same bytes",
        })
    }
}

impl Level {
    /// Returns the level that a manifest promises: the same bytes, unless it says otherwise.
    pub(crate) fn claimed(manifest: &Manifest) -> Self {
        match &manifest.outputs.finish {
            Some(finish) if finish.reproducible && manifest.inputs.hermetic => Self::Bytes,
            _ if manifest.inputs.hermetic => Self::Packages,
            _ => Self::Recorded,
        }
    }
}

/// Result of a comparison.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Comparison {
    /// Level that the builds reach.
    pub level: Level,
    /// At most [`MAX_DIFFERENCES`], in order.
    pub differences: Vec<Difference>,
    /// Number of further differences.
    pub more: usize,
}

impl Comparison {
    /// Formats the differences, one a line.
    pub(crate) fn told(&self) -> String {
        let mut lines: Vec<String> = self
            .differences
            .iter()
            .map(|difference| format!("  {difference}"))
            .collect();
        if self.more > 0 {
            lines.push(format!("  and {} more", self.more));
        }
        lines.join("\n")
    }
}

/// One difference between two builds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub(crate) struct Difference {
    /// Input, package or path.
    pub what: String,
    /// Both values, or the side that has it.
    pub how: String,
    /// Package that owns the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Usual cause for such a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
}

impl Difference {
    fn new(what: impl Into<String>, how: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            how: how.into(),
            package: None,
            cause: None,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.how)?;
        if let Some(package) = &self.package {
            write!(f, " (of {package})")?;
        }
        if let Some(cause) = self.cause {
            write!(f, "; probably {cause}")?;
        }
        Ok(())
    }
}

/// One of the two builds.
#[derive(Clone, Copy)]
pub(crate) struct Compared<'a> {
    pub manifest: &'a Manifest,
    /// Listing of its files, if its disk was rewritten.
    pub listing: Option<&'a Listing>,
}

/// Compares two builds. `owner` returns the package that owns a path.
pub(crate) fn compare(
    first: Compared<'_>,
    second: Compared<'_>,
    owner: impl Fn(&str) -> Option<String>,
) -> Comparison {
    let inputs = inputs(first.manifest, second.manifest);
    if !inputs.is_empty() {
        return told(Level::Recorded, inputs);
    }
    let packages = packages(
        &first.manifest.outputs.packages,
        &second.manifest.outputs.packages,
    );
    if !packages.is_empty() {
        return told(Level::Inputs, packages);
    }
    let (one, other) = (&first.manifest.outputs, &second.manifest.outputs);
    let digests = (
        one.tree.map(|tree| tree.digest),
        other.tree.map(|tree| tree.digest),
    );
    if digests.0.is_none() || digests.0 != digests.1 {
        let paths = match (first.listing, second.listing) {
            (Some(first), Some(second)) if one.tree.is_some() && other.tree.is_some() => {
                paths(first, second, owner)
            }
            _ => vec![Difference::new("the tree", "was not read in both builds")],
        };
        return told(Level::Packages, paths);
    }
    if one.image != other.image {
        let how = format!("{} and {}", one.image.digest, other.image.digest);
        return told(Level::Tree, vec![Difference::new("the image file", how)]);
    }
    // A build that only compares is not scanned, so it explains nothing.
    let unexplained = |manifest: &Manifest| {
        let mut manifest = manifest.clone();
        manifest.outputs.explanation = None;
        manifest
    };
    if unexplained(first.manifest) != unexplained(second.manifest) {
        return told(
            Level::Tree,
            vec![Difference::new("the manifest", "differs outside the image")],
        );
    }
    told(Level::Bytes, Vec::new())
}

fn told(level: Level, mut differences: Vec<Difference>) -> Comparison {
    let more = differences.len().saturating_sub(MAX_DIFFERENCES);
    differences.truncate(MAX_DIFFERENCES);
    Comparison {
        level,
        differences,
        more,
    }
}

/// Compares the inputs, key by key of the manifest.
fn inputs(first: &Manifest, second: &Manifest) -> Vec<Difference> {
    let keys = |manifest: &Manifest| match serde_json::to_value(&manifest.inputs) {
        Ok(Value::Object(keys)) => keys,
        _ => serde_json::Map::new(),
    };
    let (first, second) = (keys(first), keys(second));
    let names = first.keys().chain(second.keys());
    let mut names: Vec<&String> = names
        .filter(|name| first.get(*name) != second.get(*name))
        .collect();
    names.sort();
    names.dedup();
    let none = Value::Null;
    let difference = |name: &&String| {
        let of =
            |keys: &serde_json::Map<String, Value>| shortened(keys.get(*name).unwrap_or(&none));
        Difference::new(
            format!("inputs.{name}"),
            format!("{} and {}", of(&first), of(&second)),
        )
    };
    names.iter().map(difference).collect()
}

/// Returns a value as text, cut to a length that still identifies it.
fn shortened(value: &Value) -> String {
    const MAX_CHARACTERS: usize = 120;
    let text = value.to_string();
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn packages(first: &[Package], second: &[Package]) -> Vec<Difference> {
    let versions = |packages: &[Package]| -> BTreeMap<String, String> {
        packages
            .iter()
            .map(|package| {
                let name = format!("{}:{}", package.name, package.arch);
                (name, package.version.clone())
            })
            .collect()
    };
    changes(&versions(first), &versions(second))
        .into_iter()
        .map(|(name, how)| Difference::new(format!("package {name}"), how))
        .collect()
}

/// Returns the differences between two maps, in order of their keys.
fn changes(
    first: &BTreeMap<String, String>,
    second: &BTreeMap<String, String>,
) -> Vec<(String, String)> {
    let mut all: Vec<_> = first
        .iter()
        .filter_map(|(name, value)| match second.get(name) {
            Some(other) if other == value => None,
            Some(other) => Some((name.clone(), format!("{value} and {other}"))),
            None => Some((name.clone(), "only in the first".to_owned())),
        })
        .collect();
    let new = second.keys().filter(|name| !first.contains_key(*name));
    all.extend(new.map(|name| (name.clone(), "only in the second".to_owned())));
    all.sort();
    all
}

fn paths(
    first: &Listing,
    second: &Listing,
    owner: impl Fn(&str) -> Option<String>,
) -> Vec<Difference> {
    let differences = join_listings(first, second).filter_map(|pair| {
        let (line, how) = match pair {
            ListingPair::First(line) => (line, "only in the first".to_owned()),
            ListingPair::Second(line) => (line, "only in the second".to_owned()),
            ListingPair::Both(one, other) => {
                let how = keys_that_differ(&one.keys, &other.keys);
                (one, how)
            }
        };
        (!how.is_empty()).then(|| Difference {
            package: owner(&line.name),
            cause: cause(&line.name),
            ..Difference::new(line.name, how)
        })
    });
    differences.collect()
}

fn keys_that_differ(
    first: &serde_json::Map<String, Value>,
    second: &serde_json::Map<String, Value>,
) -> String {
    let text = |keys: &serde_json::Map<String, Value>| -> BTreeMap<String, String> {
        keys.iter()
            .map(|(name, value)| (name.clone(), shortened(value)))
            .collect()
    };
    changes(&text(first), &text(second))
        .iter()
        .map(|(name, how)| format!("{name} {how}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Usual causes by path; the first match counts.
const CAUSES: &[(&str, &str)] = &[
    (
        "/etc/{shadow,gshadow}",
        "a password that was set in a step: its salt is random; give the hash itself",
    ),
    ("**/*.pyc", "compiled from a source with another time"),
    (
        "/boot/{initrd,initramfs}*",
        "an initramfs made by a tool that stores the time",
    ),
    (
        "**/*.{gz,tgz,zip,jar,tar,xz,zst}",
        "an archive, which stores times and the order of files",
    ),
    (
        "**/*.{db,sqlite,sqlite3,mdb,rdb,aof}",
        "a database, which stores times or random numbers",
    ),
    (
        "/var/lib/{mysql,postgresql,redis,mongodb}/**",
        "a database, which stores times or random numbers",
    ),
    (
        "**/*.{pem,key,crt,cer,p12,jks}",
        "a key generated in a step; generate it at the first boot",
    ),
    ("**/{log,logs}/**", "a log"),
    ("**/*.log", "a log"),
    ("**/{cache,.cache,Cache}/**", "a cache"),
];

fn cause(path: &str) -> Option<&'static str> {
    CAUSES
        .iter()
        .find(|(glob, _)| fast_glob::glob_match(glob, path))
        .map(|(_, cause)| *cause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::record::manifest::Tree;
    use crate::record::manifest::tests::example;

    fn with_tree(listing: &str) -> Manifest {
        let mut made = example("web", "x", b"image");
        made.outputs.tree = Some(Tree {
            digest: Digest::of(listing.as_bytes()),
            listing: Digest::of(b"compressed"),
        });
        made
    }

    fn level(change: impl FnOnce(&mut Manifest)) -> Comparison {
        let first = with_tree("");
        let mut second = first.clone();
        change(&mut second);
        let listing = Listing::of_text("");
        let build = |manifest| Compared {
            manifest,
            listing: Some(&listing),
        };
        compare(build(&first), build(&second), |_| None)
    }

    type Change = fn(&mut Manifest);

    #[test]
    fn each_level_needs_the_one_below() {
        let cases: [(Change, Level); 5] = [
            (|_| (), Level::Bytes),
            (
                |manifest| manifest.outputs.image.digest = Digest::of(b"other"),
                Level::Tree,
            ),
            (|manifest| manifest.outputs.tree = None, Level::Packages),
            (|manifest| manifest.outputs.packages.clear(), Level::Inputs),
            (
                |manifest| manifest.inputs.hermetic = !manifest.inputs.hermetic,
                Level::Recorded,
            ),
        ];
        for (change, expected) in cases {
            let comparison = level(change);
            assert_eq!(comparison.level, expected, "{comparison:?}");
            assert_eq!(comparison.differences.is_empty(), expected == Level::Bytes);
        }
    }

    #[test]
    fn paths_that_differ_are_told_with_package_and_cause() {
        let first = "{\"mode\":\"0644\",\"path\":\"/a\",\"sha256\":\"1\"}\n{\"path\":\"/etc/shadow\",\"sha256\":\"1\"}\n{\"path\":\"/gone\"}\n";
        let second = "{\"mode\":\"0600\",\"path\":\"/a\",\"sha256\":\"1\"}\n{\"path\":\"/etc/shadow\",\"sha256\":\"2\"}\n{\"path\":\"/new\"}\n";
        let owner = |path: &str| (path == "/a").then(|| "app".to_owned());
        let listings = [first, second].map(Listing::of_text);
        let manifests = [first, second].map(with_tree);
        let build = |number: usize| Compared {
            manifest: &manifests[number],
            listing: Some(&listings[number]),
        };
        let comparison = compare(build(0), build(1), owner);
        let told: Vec<_> = comparison
            .differences
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(comparison.level, Level::Packages);
        assert_eq!(
            told,
            [
                "/a: mode \"0644\" and \"0600\" (of app)",
                "/etc/shadow: sha256 \"1\" and \"2\"; probably a password that was set in a step: its salt is random; give the hash itself",
                "/gone: only in the first",
                "/new: only in the second",
            ]
        );
    }

    #[test]
    fn only_the_first_differences_are_told() {
        let listing = |name: &str| {
            let lines = (0..50).map(|number| format!("{{\"path\":\"/{name}{number:02}\"}}"));
            lines.collect::<Vec<_>>().join("\n")
        };
        let texts = [listing("a"), listing("b")];
        let listings = [0, 1].map(|number: usize| Listing::of_text(&texts[number]));
        let manifests = [0, 1].map(|number: usize| with_tree(&texts[number]));
        let build = |number: usize| Compared {
            manifest: &manifests[number],
            listing: Some(&listings[number]),
        };
        let comparison = compare(build(0), build(1), |_| None);
        assert_eq!(
            (comparison.differences.len(), comparison.more),
            (MAX_DIFFERENCES, 80)
        );
    }
}
