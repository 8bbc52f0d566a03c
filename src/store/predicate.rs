//! Predicates of attestations: provenance, scan result, publication, revocation.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Record, ScanRecord};
use crate::digest::Digest;
use crate::record::lock::Lock;
use crate::record::manifest::{BaseKind, Inputs, Manifest, ManifestId};
use crate::time::Timestamp;

/// Predicate type of provenance: <https://slsa.dev/spec/v1.0/provenance>.
pub const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
/// Predicate type of scan results.
pub const SCAN: &str = "urn:karat:scan:1";
/// Predicate type of publications.
pub const PUBLICATION: &str = "urn:karat:publication:1";
/// Predicate type of revocations.
pub const REVOCATION: &str = "urn:karat:revocation:1";

/// SLSA `buildType`: names the meaning of the build's parameters.
const BUILD_TYPE: &str = "urn:karat:build:1";

/// Facts about the environment of a build.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Surroundings {
    /// Working copy that contains the template.
    pub git: Option<Git>,
    /// Address or name of the run of a CI system.
    pub run: Option<String>,
}

/// A Git working copy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Git {
    /// URL it was cloned from, without a password.
    pub remote: Option<String>,
    /// The commit that is checked out.
    pub commit: String,
    /// Set if files differ from that commit.
    pub dirty: bool,
}

/// Returns the SLSA provenance of an image.
#[must_use]
pub fn provenance(
    manifest: &Manifest,
    lock: Option<&Lock>,
    record: &Record,
    around: &Surroundings,
) -> Value {
    let inputs = &manifest.inputs;
    let mut metadata = json!({
        "startedOn": record.started.to_string(),
        "finishedOn": record.finished.to_string(),
    });
    if let Some(run) = &around.run {
        metadata["invocationId"] = run.clone().into();
    }
    json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "image": inputs.image.name,
                "template": inputs.template.digest.hex(),
                "variables": inputs.variables,
            },
            "internalParameters": {
                "accelerator": record.accelerator,
                "hermetic": inputs.hermetic,
            },
            "resolvedDependencies": dependencies(inputs, lock, around.git.as_ref()),
        },
        "runDetails": {
            "builder": {
                "id": format!("urn:karat:builder:{}", record.host),
                "version": {"karat": record.karat},
            },
            "metadata": metadata,
        },
    })
}

/// Returns the SLSA `resolvedDependencies`: everything that the image was built from.
fn dependencies(inputs: &Inputs, lock: Option<&Lock>, git: Option<&Git>) -> Vec<Value> {
    let named =
        |name: &str, digest: &Digest| json!({"name": name, "digest": {"sha256": digest.hex()}});
    let mut dependencies = vec![
        named("template", &inputs.template.digest),
        base_dependency(inputs),
    ];
    dependencies.extend(inputs.lock.iter().map(|lock| named("lock", &lock.digest)));
    let packages = lock.map_or(&[][..], |lock| &lock.packages);
    dependencies.extend(packages.iter().map(|package| {
        json!({
            "name": package.name,
            "uri": format!("{}/{}", package.archive.trim_end_matches('/'), package.path),
            "digest": {"sha256": package.sha256.hex()},
            "annotations": {"version": package.version, "architecture": package.architecture},
        })
    }));
    let sources = inputs.sources.iter();
    dependencies.extend(sources.map(|(path, source)| named(path, &source.digest)));
    dependencies.extend(git.map(git_dependency));
    dependencies
}

fn base_dependency(inputs: &Inputs) -> Value {
    let base = &inputs.base;
    if let Some((ami, region)) = base.ami.as_ref().zip(base.region.as_ref()) {
        // The manifest's digest of an AMI is that of its name, which says nothing about its bytes.
        return json!({
            "name": "base",
            "uri": format!("aws:ec2:{region}:{ami}"),
            "annotations": {"snapshot": base.snapshot},
        });
    }
    let mut dependency = json!({"name": "base", "digest": {"sha256": base.digest.hex()}});
    if let Some(url) = &base.url {
        dependency["uri"] = url.clone().into();
    }
    if base.kind == BaseKind::Bootstrap {
        let words = [&base.distribution, &base.suite].into_iter().flatten();
        let words: Vec<_> = words.map(String::as_str).collect();
        dependency["annotations"] = json!({"bootstrap": words.join(" ")});
    }
    dependency
}

fn git_dependency(git: &Git) -> Value {
    let mut dependency = json!({
        "name": "source",
        "digest": {"gitCommit": git.commit},
        "annotations": {"dirty": git.dirty},
    });
    if let Some(remote) = &git.remote {
        dependency["uri"] = format!("git+{remote}").into();
    }
    dependency
}

/// Returns the result of the last scan of an image. `digest` is that of the scan record.
#[must_use]
pub fn scan(scan: &ScanRecord, digest: &Digest) -> Value {
    let counts = &scan.report.counts;
    let mut predicate = json!({
        "scanned": scan.scanned.to_string(),
        "scanner": {"karat": scan.report.karat},
        "record": {"sha256": digest.hex()},
        "passed": counts.failing == 0,
        "counts": counts,
        "checks": scan.report.checks,
        "leftOut": scan.report.left_out,
    });
    if let Some(database) = &scan.report.database {
        predicate["database"] = json!(database);
    }
    predicate
}

/// Returns the publication of an image at `location`, now.
#[must_use]
pub fn publication(location: &str, digest: &Digest) -> Value {
    json!({
        "location": location,
        "digest": {"sha256": digest.hex()},
        "published": Timestamp::now().to_string(),
    })
}

/// Revocation of an image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    pub reason: String,
    /// User who revoked the image.
    pub by: String,
    pub revoked: Timestamp,
    /// Revoked image that this one was built on, if that is the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because_of: Option<ManifestId>,
}
