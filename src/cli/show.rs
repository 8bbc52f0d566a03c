//! `karat show`

use std::cmp::Reverse;
use std::collections::BTreeMap;

use clap::Args;

use super::shared::attestation_status;
use super::shared::stdout::{FormatArgs, OutputFormat, Rows, Stdout};
use super::shared::store_args::StoreArgs;
use super::{CommandError, lineage, why};
use crate::record::manifest::{
    Action, Base, BaseKind, Manifest, ManifestId, Origin, Request, Step,
};
use crate::scan::report::LeftOut;
use crate::sign::{MANIFEST, Signature, fingerprint};
use crate::store::{BuildInfo, Store, StoreError, StoredManifest, Tombstone};
use crate::ui::text::{counted, human_size};

/// Packages whose scripts made most paths: they fit into a line or two.
const MAX_SCRIPT_PACKAGES: usize = 5;

/// Show the contents and inputs of an image
///
/// With --format json, prints the manifest: exactly the bytes whose SHA-256 is the id.
#[derive(Clone, Debug, Args)]
pub(crate) struct ShowArgs {
    /// Image: 4 or more digits of its id, NAME, NAME@latest, or a channel that points at it
    id: String,

    /// Show the images that it is built on, and those that are built on it, instead
    #[arg(long)]
    lineage: bool,

    /// Show what put a path, or "boot code", into the image: the base, a package, a part of the template
    #[arg(long, value_name = "PATH", conflicts_with = "lineage")]
    why: Option<String>,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    store: StoreArgs,
}

pub(crate) fn run(args: &ShowArgs, out: &mut Stdout) -> Result<(), CommandError> {
    let store = args.store.open()?;
    let stored = store.manifest(store.resolve(&args.id)?)?;
    let format = args.format.with_json_as(OutputFormat::Json);
    if args.lineage {
        return lineage::show(&store, &stored, format, out);
    }
    if let Some(path) = &args.why {
        return why::show(&store, &stored, path, format, out);
    }
    match format {
        OutputFormat::Text => {}
        // Canonical JSON is a single line.
        OutputFormat::Jsonl => return out.bytes(&[&stored.bytes[..], b"\n"].concat()),
        OutputFormat::Json | OutputFormat::Documents => return out.bytes(&stored.bytes),
    }
    let mut rows = Rows::default();
    add_image(&mut rows, &stored, &store.records_of(stored.id)?);
    add_inputs(&mut rows, &stored.manifest);
    add_outputs(&mut rows, &stored.manifest);
    add_scripts(&mut rows, &store, &stored.manifest)?;
    add_scan(&mut rows, &store, stored.id)?;
    add_signatures(&mut rows, &store, &stored)?;
    add_status(&mut rows, &store, stored.id)?;
    out.text(&rows.into_text())
}

fn add_image(rows: &mut Rows, stored: &StoredManifest, records: &[BuildInfo]) {
    let Manifest {
        inputs, outputs, ..
    } = &stored.manifest;
    rows.add("id", stored.id.to_string());
    rows.add("image", &inputs.image.name);
    if !inputs.image.description.is_empty() {
        rows.add("description", &inputs.image.description);
    }
    for record in records {
        rows.add("built", built(record));
    }
    let image = &outputs.image;
    rows.add(
        "file",
        format!("{}, {}", image.format, human_size(image.size)),
    );
    rows.add("", image.digest.to_string());
    rows.add("disk", human_size(image.virtual_size));
    rows.add("machine", format!("{}, {}", outputs.arch, outputs.firmware));
}

fn add_inputs(rows: &mut Rows, manifest: &Manifest) {
    let inputs = &manifest.inputs;
    rows.add("base", base(&inputs.base));
    rows.add("", inputs.base.digest.to_string());
    rows.add("template", inputs.template.digest.to_string());
    if let Some(lock) = &inputs.lock {
        rows.add("lock", lock.digest.to_string());
    }
    for (name, value) in &inputs.variables {
        rows.add("variable", format!("{name} = {value:?}"));
    }
    for name in inputs.secrets.keys() {
        rows.add("secret", name);
    }
    for file in &inputs.files {
        rows.add("copied", &file.destination);
    }
    for (index, step) in inputs.steps.iter().enumerate() {
        let Step {
            name,
            action,
            creates,
        } = step;
        rows.add("step", format!("{} {name} ({})", index + 1, kind(action)));
        if !creates.is_empty() {
            let creates: Vec<_> = creates.iter().map(ToString::to_string).collect();
            rows.add("", format!("creates {}", creates.join(" ")));
        }
    }
    rows.add("packages", packages(manifest));
    let network = if inputs.network.open {
        "open during provisioning: not hermetic"
    } else {
        "sealed"
    };
    rows.add("network", network);
    for request in &inputs.network.requests {
        rows.add("fetched", fetched(request));
    }
}

fn add_outputs(rows: &mut Rows, manifest: &Manifest) {
    if let Some(tree) = manifest.outputs.tree {
        rows.add("files", tree.digest.to_string());
    }
    if let Some(finish) = &manifest.outputs.finish {
        let because = finish.because.as_deref().unwrap_or_default();
        let text = if finish.reproducible {
            "yes: `karat rebuild` gives the same bytes".to_owned()
        } else {
            format!("no: {because}")
        };
        rows.add("reproducible", text);
    }
}

/// Adds the packages whose maintainer scripts made paths of an image, those with the most paths first.
fn add_scripts(rows: &mut Rows, store: &Store, manifest: &Manifest) -> Result<(), StoreError> {
    let made = store.made_by_scripts(manifest)?;
    if made.is_empty() {
        return Ok(());
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for package in made.values().flatten() {
        *counts.entry(package).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| Reverse(*count));
    let named = counts.iter().take(MAX_SCRIPT_PACKAGES);
    let mut parts: Vec<_> = named
        .map(|(package, count)| format!("{count} of {package}"))
        .collect();
    let more = counts.len() - parts.len();
    if more > 0 {
        parts.push(format!("others of {}", counted(more, "more package")));
    }
    let unknown = made.values().filter(|package| package.is_none()).count();
    if unknown > 0 {
        parts.push(format!("{unknown} of no known package"));
    }
    rows.add("scripts", format!("made {}", counted(made.len(), "path")));
    rows.add("", parts.join(", "));
    Ok(())
}

/// Adds the last scan of an image, and the paths of its SBOMs.
fn add_scan(rows: &mut Rows, store: &Store, id: ManifestId) -> Result<(), StoreError> {
    let Some(scan) = store.scans_of(id)?.pop() else {
        return Ok(());
    };
    let counts = &scan.report.counts;
    let findings = match counts.findings - counts.accepted {
        0 => "no findings".to_owned(),
        count => counted(count, "finding"),
    };
    let failing = match counts.failing {
        0 => String::new(),
        count => format!(", {count} that the policy refuses"),
    };
    rows.add("scanned", format!("{}: {findings}{failing}", scan.scanned));
    for LeftOut { check, because } in &scan.report.left_out {
        rows.add("", format!("without {check}: {because}"));
    }
    let path = |digest| store.blob(digest).display().to_string();
    rows.add(
        "sbom",
        format!("{} (CycloneDX)", path(&scan.sboms.cyclonedx)),
    );
    rows.add("", format!("{} (SPDX)", path(&scan.sboms.spdx)));
    Ok(())
}

/// Adds the signing keys. `karat verify` decides whether they are trusted.
fn add_signatures(
    rows: &mut Rows,
    store: &Store,
    stored: &StoredManifest,
) -> Result<(), StoreError> {
    for signature in store.signatures_of(stored.id)? {
        let verified = Signature::parse(&signature.text)
            .and_then(|signature| signature.verify(MANIFEST, &stored.bytes));
        let signer = verified.map_or_else(
            |_| "an invalid signature".to_owned(),
            |key| fingerprint(&key),
        );
        rows.add("signed by", signer);
    }
    Ok(())
}

/// Adds attestations, channels, pins, revocation and removal of an image.
fn add_status(rows: &mut Rows, store: &Store, id: ManifestId) -> Result<(), StoreError> {
    for attestation in store.attestations_of(id)? {
        rows.add(
            "attested",
            attestation_status::kind_name(&attestation.statement.kind),
        );
    }
    for name in store.channels()? {
        if store.channel(&name)?.head().map(|head| head.manifest) == Some(id) {
            rows.add("channel", name.to_string());
        }
    }
    for pin in store.pins_of(id)? {
        rows.add(
            "pinned",
            format!("{} by {} {}", pin.pinned, pin.by, pin.reason),
        );
    }
    if let Some(revoked) = store.revoked(id)? {
        let revocation = revoked.revocation;
        rows.add(
            "revoked",
            format!(
                "{} by {}: {}",
                revocation.revoked, revocation.by, revocation.reason
            ),
        );
    }
    let tombstones = store.tombstones()?;
    match tombstones.images.get(&id) {
        Some(Tombstone {
            removed: Some(time),
            ..
        }) => rows.add("removed", time.to_string()),
        Some(mark) => rows.add("to be removed", format!("marked {}", mark.since)),
        None => {}
    }
    Ok(())
}

fn fetched(request: &Request) -> String {
    let status = request.status.map(|status| format!(" (status {status})"));
    let digest = request.sha256.map(|digest| format!(" {digest}"));
    let [status, digest] = [status, digest].map(Option::unwrap_or_default);
    format!("{}{status}{digest}", request.url)
}

fn built(record: &BuildInfo) -> String {
    format!(
        "{} on {} ({}) by karat {}",
        record.finished, record.host, record.accelerator, record.karat
    )
}

fn base(base: &Base) -> String {
    let origin = match base.kind {
        BaseKind::File => "file".to_owned(),
        BaseKind::Manifest => "image in the store".to_owned(),
        BaseKind::Url => base.url.clone().unwrap_or_default(),
        BaseKind::Bootstrap => [&base.distribution, &base.suite]
            .map(|word| word.clone().unwrap_or_default())
            .join(" "),
        BaseKind::Ami => [&base.ami, &base.region]
            .map(|word| word.clone().unwrap_or_default())
            .join(" in "),
    };
    format!("{origin}, {}, {}", base.format, human_size(base.size))
}

fn kind(action: &Action) -> &'static str {
    match action {
        Action::Shell { .. } => "shell",
        Action::File(_) => "file",
        Action::Download { .. } => "download",
        Action::Reboot {} => "reboot",
        Action::Pause { .. } => "pause",
    }
}

fn packages(manifest: &Manifest) -> String {
    let packages = &manifest.outputs.packages;
    let count = |origin| {
        packages
            .iter()
            .filter(|package| package.origin == origin)
            .count()
    };
    format!(
        "{}: {} from the base, {} declared, {} from dependencies",
        packages.len(),
        count(Origin::Base),
        count(Origin::Declared),
        count(Origin::Dependency)
    )
}
