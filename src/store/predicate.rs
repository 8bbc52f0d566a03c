//! What attestations say: where an image comes from, what a scan found, where it was published, that it is forbidden.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::digest::Digest;
use crate::record::lock::Lock;
use crate::record::manifest::{BaseKind, Manifest, ManifestId};
use crate::store::{Record, ScanRecord};
use crate::time::Timestamp;

/// Where an image comes from: <https://slsa.dev/spec/v1.0/provenance>.
pub const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
/// What a scan found.
pub const SCAN: &str = "urn:karat:scan:1";
/// Where an image was put.
pub const PUBLICATION: &str = "urn:karat:publication:1";
/// That an image is forbidden.
pub const REVOCATION: &str = "urn:karat:revocation:1";

/// What SLSA calls the way that something is built.
const BUILD_TYPE: &str = "urn:karat:build:1";

/// What a build knows of where it runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Surroundings {
    /// The working copy that the template is in.
    pub git: Option<Git>,
    /// The address or name of the run of a CI system.
    pub run: Option<String>,
}

/// A working copy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Git {
    /// Where it was cloned from, without any password.
    pub remote: Option<String>,
    /// The commit that is checked out.
    pub commit: String,
    /// Files differ from that commit.
    pub dirty: bool,
}

/// SLSA's provenance of an image.
#[must_use]
pub fn provenance(
    manifest: &Manifest,
    lock: Option<&Lock>,
    record: &Record,
    around: &Surroundings,
) -> Value {
    let inputs = &manifest.inputs;
    let mut dependencies = vec![json!({
        "name": "template",
        "digest": {"sha256": inputs.template.digest.hex()},
    })];
    let mut base = json!({"name": "base", "digest": {"sha256": inputs.base.digest.hex()}});
    if let Some(url) = &inputs.base.url {
        base["uri"] = url.clone().into();
    }
    if inputs.base.kind == BaseKind::Bootstrap {
        let of = [&inputs.base.distribution, &inputs.base.suite];
        let words: Vec<_> = of.into_iter().flatten().cloned().collect();
        base["annotations"] = json!({"bootstrap": words.join(" ")});
    }
    if let Some((ami, region)) = inputs.base.ami.as_ref().zip(inputs.base.region.as_ref()) {
        // Its digest in the manifest is that of its name: nobody else could check one of its bytes.
        base = json!({
            "name": "base",
            "uri": format!("aws:ec2:{region}:{ami}"),
            "annotations": {"snapshot": inputs.base.snapshot},
        });
    }
    dependencies.push(base);
    if let Some(lock) = &inputs.lock {
        dependencies.push(json!({"name": "lock", "digest": {"sha256": lock.digest.hex()}}));
    }
    let packages = lock.map_or(&[][..], |lock| &lock.packages);
    dependencies.extend(packages.iter().map(|it| {
        json!({
            "name": it.name,
            "uri": format!("{}/{}", it.archive.trim_end_matches('/'), it.path),
            "digest": {"sha256": it.sha256.hex()},
            "annotations": {"version": it.version, "architecture": it.architecture},
        })
    }));
    for (path, source) in &inputs.sources {
        dependencies.push(json!({"name": path, "digest": {"sha256": source.digest.hex()}}));
    }
    if let Some(git) = &around.git {
        let mut source = json!({
            "name": "source",
            "digest": {"gitCommit": git.commit},
            "annotations": {"dirty": git.dirty},
        });
        if let Some(remote) = &git.remote {
            source["uri"] = format!("git+{remote}").into();
        }
        dependencies.push(source);
    }
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
            "resolvedDependencies": dependencies,
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

/// What the last scan of an image found. `digest` is that of the scan's record.
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

/// Where an image was put.
#[must_use]
pub fn publication(location: &str, digest: &Digest) -> Value {
    json!({
        "location": location,
        "digest": {"sha256": digest.hex()},
        "published": Timestamp::now().to_string(),
    })
}

/// That an image is forbidden.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// Why.
    pub reason: String,
    /// Who said it.
    pub by: String,
    /// When.
    pub revoked: Timestamp,
    /// The image that this one was built on, which is why this one is forbidden too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because_of: Option<ManifestId>,
}
