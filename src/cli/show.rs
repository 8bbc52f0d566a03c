//! `karat show`

use std::io::{self, Write};

use clap::Args;

use super::shared::attestation_status;
use super::shared::store_args::{StoreArgs, StoredError, plain, size};
use crate::record::manifest::{
    Action, Base, BaseKind, Manifest, ManifestId, Origin, Request, Step,
};
use crate::scan::report::{LeftOut, number};
use crate::sign::{MANIFEST, Signature, fingerprint};
use crate::store::{Record, Store, Stored, Tombstone};

/// Show what an image was made from and what it is
#[derive(Clone, Debug, Args)]
pub struct ShowArgs {
    /// Show the manifest with this id (its first 8 digits or more will do), or the one that a channel points to
    pub id: String,

    /// Print the manifest itself: exactly the bytes whose SHA-256 is its id
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub store: StoreArgs,
}

/// Prints a manifest.
///
/// # Errors
/// There is no such manifest, it was tampered with, or the store cannot be read.
pub fn run(args: &ShowArgs, out: &mut dyn Write) -> Result<(), StoredError> {
    let store = args.store.open()?;
    let stored = store.manifest(store.resolve(&args.id)?)?;
    if args.json {
        out.write_all(&stored.bytes)?;
    } else {
        print(&stored, &store.records_of(stored.id)?, out)?;
        print_scan(&store, stored.id, out)?;
        print_signatures(&store, &stored, out)?;
        print_standing(&store, stored.id, out)?;
    }
    Ok(out.flush()?)
}

fn print(stored: &Stored, records: &[Record], out: &mut dyn Write) -> io::Result<()> {
    let Manifest {
        inputs, outputs, ..
    } = &stored.manifest;
    let mut row = |key: &str, value: String| writeln!(out, "{key:12} {}", plain(&value));
    row("id", stored.id.to_string())?;
    row("image", inputs.image.name.clone())?;
    if !inputs.image.description.is_empty() {
        row("description", inputs.image.description.clone())?;
    }
    for record in records {
        row("built", built(record))?;
    }
    let image = &outputs.image;
    row("file", format!("{}, {}", image.format, size(image.size)))?;
    row("", image.digest.to_string())?;
    row("disk", size(image.virtual_size))?;
    row("machine", format!("{}, {}", outputs.arch, outputs.firmware))?;
    row("base", base(&inputs.base))?;
    row("", inputs.base.digest.to_string())?;
    row("template", inputs.template.digest.to_string())?;
    if let Some(lock) = &inputs.lock {
        row("lock", lock.digest.to_string())?;
    }
    for (name, value) in &inputs.variables {
        row("variable", format!("{name} = {value:?}"))?;
    }
    for name in inputs.secrets.keys() {
        row("secret", name.clone())?;
    }
    for file in &inputs.files {
        row("put in", file.destination.clone())?;
    }
    for (index, Step { name, action, .. }) in inputs.steps.iter().enumerate() {
        row("step", format!("{} {name} ({})", index + 1, kind(action)))?;
    }
    row("packages", packages(&stored.manifest))?;
    let network = if inputs.network.open {
        "open while it was provisioned: not hermetic"
    } else {
        "sealed"
    };
    row("network", network.to_owned())?;
    for request in &inputs.network.requests {
        row("fetched", fetched(request))?;
    }
    if let Some(tree) = outputs.tree {
        row("files", tree.digest.to_string())?;
    }
    if let Some(finish) = &outputs.finish {
        let because = finish.because.as_deref().unwrap_or_default();
        let text = if finish.reproducible {
            "yes: `karat rebuild` gives the same bytes".to_owned()
        } else {
            format!("no: {because}")
        };
        row("same again", text)?;
    }
    Ok(())
}

/// The last scan of an image, and where its bills of materials are.
fn print_scan(store: &Store, id: ManifestId, out: &mut dyn Write) -> Result<(), StoredError> {
    let Some(scan) = store.scans_of(id)?.pop() else {
        return Ok(());
    };
    let counts = &scan.report.counts;
    let found = match counts.findings - counts.accepted {
        0 => "nothing found".to_owned(),
        count => number(count, "finding"),
    };
    let failing = match counts.failing {
        0 => String::new(),
        count => format!(", {count} that the policy refuses"),
    };
    let mut row = |key: &str, value: String| writeln!(out, "{key:12} {}", plain(&value));
    row("scanned", format!("{}: {found}{failing}", scan.scanned))?;
    for left_out in &scan.report.left_out {
        let LeftOut { check, because } = left_out;
        row("", format!("without {}: {because}", check.name()))?;
    }
    let path = |digest| store.blob(digest).display().to_string();
    row(
        "sbom",
        format!("{} (CycloneDX)", path(&scan.sboms.cyclonedx)),
    )?;
    row("", format!("{} (SPDX)", path(&scan.sboms.spdx)))?;
    Ok(())
}

/// Whose keys have signed it; whether that counts is for `karat verify` to say.
fn print_signatures(
    store: &Store,
    stored: &Stored,
    out: &mut dyn Write,
) -> Result<(), StoredError> {
    for signature in store.signatures_of(stored.id)? {
        let verified = Signature::parse(&signature.text);
        let verified = verified.and_then(|it| it.verify(MANIFEST, &stored.bytes));
        let by = verified.map_or_else(
            |_| "a signature that does not fit".to_owned(),
            |key| fingerprint(&key),
        );
        writeln!(out, "{:12} {by}", "signed by")?;
    }
    Ok(())
}

/// What was said about it, who wants it kept, and what became of it.
fn print_standing(store: &Store, id: ManifestId, out: &mut dyn Write) -> Result<(), StoredError> {
    let mut row = |key: &str, value: String| writeln!(out, "{key:12} {}", plain(&value));
    for attestation in store.attestations_of(id)? {
        row(
            "attested",
            attestation_status::name(&attestation.statement.kind).to_owned(),
        )?;
    }
    for name in store.channels()? {
        if store.channel(&name)?.head().map(|head| head.manifest) == Some(id) {
            row("channel", name.to_string())?;
        }
    }
    for pin in store.pins_of(id)? {
        row(
            "pinned",
            format!("{} by {} {}", pin.pinned, pin.by, pin.reason),
        )?;
    }
    if let Some(revoked) = store.revoked(id)? {
        let said = revoked.revocation;
        row(
            "revoked",
            format!("{} by {}: {}", said.revoked, said.by, said.reason),
        )?;
    }
    let mark = store.tombstones()?.images.get(&id).copied();
    match mark {
        Some(Tombstone {
            removed: Some(at), ..
        }) => row("removed", at.to_string())?,
        Some(mark) => row("to be removed", format!("marked {}", mark.since))?,
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

fn built(record: &Record) -> String {
    format!(
        "{} on {} ({}) by karat {}",
        record.finished, record.host, record.accelerator, record.karat
    )
}

fn base(base: &Base) -> String {
    let origin = match base.kind {
        BaseKind::File => "file".to_owned(),
        BaseKind::Manifest => "image of the store".to_owned(),
        BaseKind::Url => base.url.clone().unwrap_or_default(),
        BaseKind::Bootstrap => [&base.distribution, &base.suite]
            .map(|word| word.clone().unwrap_or_default())
            .join(" "),
        BaseKind::Ami => [&base.ami, &base.region]
            .map(|word| word.clone().unwrap_or_default())
            .join(" in "),
    };
    format!("{origin}, {}, {}", base.format, size(base.size))
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
        "{}: {} of the base, {} declared, {} that those need",
        packages.len(),
        count(Origin::Base),
        count(Origin::Declared),
        count(Origin::Dependency)
    )
}
