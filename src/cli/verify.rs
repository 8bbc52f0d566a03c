//! `karat verify`

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;
use miette::Diagnostic;
use serde_json::{Value, json};
use thiserror::Error;

use super::shared::attestation_status::{self, Attested};
use super::shared::key_args::TrustArgs;
use super::shared::signature_policy::{Judged, Required, judge, judge_all, missing_signatures};
use super::shared::stdout::{FormatArgs, OutputFormat, Rows, Stdout};
use super::shared::store_args::StoreArgs;
use super::verify_ec2::{Ec2Report, verify_amis};
use super::verify_explanation::repeat;
use super::{CommandError, ExitStatus, audit};
use crate::digest::Digest;
use crate::os::hash_stream;
use crate::record::channel::{ChannelName, NAMESPACE};
use crate::record::explanation::Repetition;
use crate::record::manifest::{IdPrefix, Manifest, ManifestError, ManifestId};
use crate::sign::{Trust, fingerprint};
use crate::store::{ChannelPolicy, CheckReport, Store, StoreError};
use crate::ui::Ui;
use crate::ui::text::{counted, human_size, terminal_safe, with_causes};

/// Verify that images are unchanged and signed by trusted keys
///
/// Reads every byte: the manifest, its image, records, scans, attestations, the audit log and the materials of a rebuild.
/// Of one image, also explains every path again from its base, its packages and its template, and compares that with what the
/// build recorded. Without an argument, verifies the whole store. Needs no network. Exit code 4 means that something was changed or lacks
/// a required signature.
#[derive(Clone, Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Image (4 or more digits of its id, NAME, NAME@latest), a channel that points at it, an image file, or a manifest file with its signature FILE.sig
    #[arg(value_name = "ID|CHANNEL|FILE")]
    subject: Option<String>,

    /// Require valid signatures from at least N distinct keys
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..), help_heading = "Trust")]
    require: u16,

    /// Require a signature from this signer; may be repeated
    #[arg(long, value_name = "NAME", help_heading = "Trust")]
    by: Vec<String>,

    /// Verify bytes only, without signatures
    #[arg(long, conflicts_with_all = ["require", "by"], help_heading = "Trust")]
    unsigned: bool,

    /// Also read the image's AMIs in every region and compare them with the image; with a channel, also check its targets at AWS
    #[arg(long, requires = "subject")]
    ec2: bool,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    store: StoreArgs,

    #[command(flatten, next_help_heading = "Trust")]
    trust: TrustArgs,
}

#[derive(Debug, Error, Diagnostic)]
enum VerifyError {
    #[error("`--ec2` needs the id of a manifest or a channel")]
    #[diagnostic(help("see `karat list`"))]
    NotStored,
    #[error("`{0}` is neither an image, nor a channel, nor a file")]
    #[diagnostic(help("list the images with `karat list`"))]
    UnknownSubject(String),
    #[error("cannot read {}", path.display())]
    #[diagnostic(help("check its permissions"))]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is not a manifest", path.display())]
    #[diagnostic(help("expected the exact bytes of a `manifests/ID.json` from a store"))]
    NotAManifest {
        path: PathBuf,
        source: ManifestError,
    },
    #[error("{} has digest {digest}, which belongs to no manifest in the store", path.display())]
    #[diagnostic(help("it was changed, or recorded in another store (`--store`)"))]
    NotRecorded { path: PathBuf, digest: Digest },
    #[error("{}", failures(.0))]
    Faults(Vec<String>),
}

impl ExitStatus for VerifyError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Faults(_) | Self::NotRecorded { .. } | Self::NotAManifest { .. } => 4,
            Self::Read { .. } => 1,
            Self::UnknownSubject(_) | Self::NotStored => 2,
        }
    }
}

fn failures(faults: &[String]) -> String {
    let count = counted(faults.len(), "verification failure");
    format!("{count}:\n{}", faults.join("\n"))
}

/// Number of missing materials that the text names.
const MAX_NAMED_MATERIALS: usize = 5;

/// Verifies the subject. Faults are collected, printed, and returned as one error.
pub(crate) async fn run(args: &VerifyArgs, ui: &Ui, out: &mut Stdout) -> Result<(), CommandError> {
    let store = args.store.open()?;
    // Reports an unusable trust file before anything large is read.
    let trust = (!args.unsigned).then(|| args.trust.read()).transpose()?;
    let subject = subject(args, &store, ui).await?;
    if args.ec2 && !matches!(subject, Subject::Stored(_)) {
        return Err(VerifyError::NotStored.into());
    }
    let mut report = Report::check(&store, subject, ui).await?;
    if let Some(trust) = &trust {
        report.verify_signatures(&store, trust, args)?;
        report.verify_moves(&store, trust, args)?;
    }
    report.verify_records(&store, trust.as_ref())?;
    report.repeat_explanation(&store, ui).await?;
    if let (true, Subject::Stored(id)) = (args.ec2, &report.subject) {
        let channel = args.subject.as_ref().and_then(|text| text.parse().ok());
        report.ec2 = verify_amis(&store, *id, channel.as_ref(), trust.as_ref(), ui).await?;
        report.faults.append(&mut report.ec2.faults);
    }
    let format = args.format.with_json_as(OutputFormat::Jsonl);
    out.document(format, &report.json(), || report.text())?;
    if report.faults.is_empty() {
        return Ok(());
    }
    Err(VerifyError::Faults(report.faults).into())
}

/// The object to verify.
enum Subject {
    Store,
    Stored(ManifestId),
    /// An image file outside the store.
    Image(ManifestId, PathBuf),
    /// A manifest file outside the store.
    File(PathBuf),
}

impl Subject {
    /// Returns the manifests in the store that are verified.
    fn ids(&self, store: &Store) -> Result<Vec<ManifestId>, StoreError> {
        match self {
            Self::File(_) => Ok(Vec::new()),
            Self::Stored(id) | Self::Image(id, _) => Ok(vec![*id]),
            Self::Store => store.ids(),
        }
    }

    /// Returns the manifests to verify with their signatures. Skips damaged ones, which were reported when the store was
    /// checked.
    fn manifests(&self, store: &Store) -> Result<Vec<SignedManifest>, CommandError> {
        if let Self::File(path) = self {
            return Ok(vec![SignedManifest::from_file(path)?]);
        }
        let stored = self.ids(store)?.into_iter().filter_map(|id| {
            let stored = store.manifest(id).ok()?;
            let signatures = store.signatures_of(id).ok()?.into_iter();
            Some(SignedManifest {
                id,
                name: stored.manifest.inputs.image.name,
                bytes: stored.bytes,
                signatures: signatures.map(|signature| signature.text).collect(),
            })
        });
        Ok(stored.collect())
    }
}

/// A manifest and its signatures, which are not judged yet.
struct SignedManifest {
    id: ManifestId,
    /// Name of the image.
    name: String,
    bytes: Vec<u8>,
    signatures: Vec<Vec<u8>>,
}

impl SignedManifest {
    /// Reads a manifest, and the signature in the file beside it if there is one.
    fn from_file(path: &Path) -> Result<Self, VerifyError> {
        let bytes = read(path)?;
        let manifest = Manifest::from_bytes(&bytes).map_err(|source| {
            let path = path.to_owned();
            VerifyError::NotAManifest { path, source }
        })?;
        let signature = path.with_added_extension("sig");
        let signatures = if signature.exists() {
            vec![read(&signature)?]
        } else {
            Vec::new()
        };
        Ok(Self {
            id: ManifestId::of(&bytes),
            name: manifest.inputs.image.name,
            bytes,
            signatures,
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, VerifyError> {
    fs::read(path).map_err(read_error(path))
}

async fn subject(args: &VerifyArgs, store: &Store, ui: &Ui) -> Result<Subject, CommandError> {
    let Some(text) = &args.subject else {
        return Ok(Subject::Store);
    };
    let path = Path::new(text);
    if !path.exists() {
        let is_name = text.parse::<IdPrefix>().is_ok() || text.parse::<ChannelName>().is_ok();
        return match store.resolve(text) {
            Ok(id) => Ok(Subject::Stored(id)),
            // It was probably meant as a path.
            Err(StoreError::Unknown { nearest: None, .. } | StoreError::NotAChannel { .. })
                if !is_name =>
            {
                Err(VerifyError::UnknownSubject(text.clone()).into())
            }
            Err(error) => Err(error.into()),
        };
    }
    if !path.is_file() {
        return Err(VerifyError::UnknownSubject(text.clone()).into());
    }
    if is_json(path).map_err(read_error(path))? {
        return Ok(Subject::File(path.to_owned()));
    }
    let file = File::open(path).map_err(read_error(path))?;
    let length = file.metadata().map_err(read_error(path))?.len();
    let bar = ui.bar("hashing the image", Some(length));
    let hashed = hash_stream::blocking(move |stop| {
        hash_stream::digest(file, stop, |bytes| bar.advance(bytes))
    });
    let (digest, _) = hashed.await.map_err(read_error(path))?;
    let has_digest = |id: &ManifestId| {
        let stored = store.manifest(*id);
        stored.is_ok_and(|stored| stored.manifest.outputs.image.digest == digest)
    };
    let path = path.to_owned();
    match store.ids()?.into_iter().find(has_digest) {
        Some(id) => Ok(Subject::Image(id, path)),
        None => Err(VerifyError::NotRecorded { path, digest }.into()),
    }
}

fn read_error(path: &Path) -> impl FnOnce(io::Error) -> VerifyError {
    let path = path.to_owned();
    move |source| VerifyError::Read { path, source }
}

/// Returns whether a file begins like a manifest.
fn is_json(path: &Path) -> io::Result<bool> {
    let mut first = [0];
    Ok(File::open(path)?.read(&mut first)? == 1 && first == *b"{")
}

/// Reads an image with everything that belongs to it, or the whole store.
pub(super) async fn check(
    store: &Store,
    id: Option<ManifestId>,
    ui: &Ui,
) -> Result<CheckReport, CommandError> {
    let bar = ui.bar("reading the store", None);
    let path = store.root().to_owned();
    let store = store.clone();
    let checked = hash_stream::blocking(move |stop| {
        let progress = |bytes| bar.advance(bytes);
        match id {
            Some(id) => store.check_one(id, stop, &progress),
            None => store.check_all(stop, &progress),
        }
    });
    Ok(checked.await.map_err(read_error(&path))?)
}

/// Results of a verification.
struct Report {
    subject: Subject,
    checked: CheckReport,
    signed: Vec<JudgedManifest>,
    attested: Vec<Attested>,
    /// Of one image, if its explanation was recorded and could be repeated.
    explained: Option<Repetition>,
    ec2: Ec2Report,
    faults: Vec<String>,
}

/// A manifest and its judged signatures.
struct JudgedManifest {
    id: ManifestId,
    /// Name of the image.
    name: String,
    judged: Vec<Judged>,
}

impl Report {
    /// Reads every byte of the subject.
    async fn check(store: &Store, subject: Subject, ui: &Ui) -> Result<Self, CommandError> {
        let checked = match &subject {
            Subject::File(_) => CheckReport::default(),
            Subject::Stored(id) | Subject::Image(id, _) => check(store, Some(*id), ui).await?,
            Subject::Store => check(store, None, ui).await?,
        };
        let faults = checked.faults.iter().map(|fault| with_causes(fault));
        Ok(Self {
            faults: faults.collect(),
            subject,
            checked,
            signed: Vec::new(),
            attested: Vec::new(),
            explained: None,
            ec2: Ec2Report::default(),
        })
    }

    fn verify_signatures(
        &mut self,
        store: &Store,
        trust: &Trust,
        args: &VerifyArgs,
    ) -> Result<(), CommandError> {
        let required = Required {
            keys: args.require,
            signers: &args.by,
            approvals: 0,
            approvers: &[],
        };
        for manifest in self.subject.manifests(store)? {
            let texts = manifest.signatures.iter().map(Vec::as_slice);
            let judged = judge_all(trust, texts, &manifest.bytes);
            let SignedManifest { id, name, .. } = manifest;
            let label = format!("{} ({})", id.short(), terminal_safe(&name));
            self.faults
                .extend(missing_signatures(required, &label, &judged));
            self.signed.push(JudgedManifest { id, name, judged });
        }
        Ok(())
    }

    /// Verifies the moves of the channel that was named, or of all channels with the whole store.
    fn verify_moves(
        &mut self,
        store: &Store,
        trust: &Trust,
        args: &VerifyArgs,
    ) -> Result<(), CommandError> {
        let channels = match (&self.subject, &args.subject) {
            (Subject::Store, _) => store.channels()?,
            (Subject::Stored(_), Some(text)) => text.parse().into_iter().collect(),
            _ => Vec::new(),
        };
        for name in channels {
            self.faults.extend(move_faults(store, &name, trust)?);
        }
        Ok(())
    }

    /// Verifies attestations, revocations and the audit log.
    fn verify_records(&mut self, store: &Store, trust: Option<&Trust>) -> Result<(), CommandError> {
        let ids = self.subject.ids(store)?;
        self.attested = attestation_status::judge_all(store, &ids, trust, &mut self.faults);
        if let Subject::Stored(id) | Subject::Image(id, _) = &self.subject {
            self.faults
                .extend(attestation_status::revocation_fault(store, *id));
        }
        // An unreadable log was reported when the store was checked.
        if !matches!(self.subject, Subject::File(_))
            && let Ok(log) = store.audit()
        {
            let faults = audit::faults(store, &log, trust);
            self.faults.extend(faults.unwrap_or_default());
        }
        Ok(())
    }

    /// Repeats the explanation of one image, unless something is damaged.
    async fn repeat_explanation(&mut self, store: &Store, ui: &Ui) -> Result<(), CommandError> {
        let (Subject::Stored(id) | Subject::Image(id, _)) = &self.subject else {
            return Ok(());
        };
        if !self.checked.faults.is_empty() {
            return Ok(());
        }
        self.explained = repeat(store, &store.manifest(*id)?.manifest, ui).await?;
        let contradicted = self.explained.iter().flat_map(|found| &found.contradicted);
        self.faults.extend(contradicted.map(|path| {
            let path = terminal_safe(&String::from_utf8_lossy(path));
            format!("{path}: its recorded cause does not follow from the base, the packages and the template")
        }));
        Ok(())
    }

    fn text(&self) -> String {
        let mut rows = Rows::default();
        let checked = &self.checked;
        match &self.subject {
            Subject::Store => rows.add("manifests", checked.manifests.to_string()),
            Subject::Image(id, path) => {
                rows.add("manifest", id.to_string());
                rows.add("file", format!("{} matches", path.display()));
            }
            Subject::Stored(id) => rows.add("manifest", id.to_string()),
            Subject::File(path) => rows.add("file", path.display().to_string()),
        }
        for JudgedManifest { id, name, judged } in &self.signed {
            rows.add("image", format!("{} {name}", id.short()));
            for one in judged {
                let because = one.because.as_ref();
                let because = because.map(|because| format!(": not accepted, {because}"));
                rows.add("signed by", one.signer() + &because.unwrap_or_default());
            }
        }
        for attested in &self.attested {
            rows.add("attested", attested.text());
        }
        if !matches!(self.subject, Subject::File(_)) {
            let blobs = format!("{} read ({})", checked.blobs, human_size(checked.bytes));
            rows.add("blobs", blobs);
            rows.add("records", checked.records.to_string());
            if checked.moves > 0 {
                rows.add("moves", format!("{} of channels", checked.moves));
            }
            rows.add("scans", checked.scans.to_string());
            if checked.lines > 0 {
                rows.add("audit log", format!("{} lines", checked.lines));
            }
        }
        if let Some(explained) = &self.explained {
            let (confirmed, attested) = (explained.confirmed, explained.attested);
            let paths = counted(confirmed, "path");
            let told = format!(
                "{paths} by the base, the packages and the template, as the build recorded; {attested} more only the build could see"
            );
            rows.add("explained", told);
        }
        for (what, _) in checked.missing.iter().take(MAX_NAMED_MATERIALS) {
            rows.add("missing", format!("{what}; a rebuild needs it"));
        }
        if let Some(more @ 1..) = checked.missing.len().checked_sub(MAX_NAMED_MATERIALS) {
            rows.add(
                "",
                format!("and {more} more (`--format json` lists them all)"),
            );
        }
        for (region, image) in &self.ec2.verified {
            rows.add("ec2", format!("{region} {image} matches the image"));
        }
        rows.into_text()
    }

    fn json(&self) -> Value {
        let checked = &self.checked;
        let signatures = self.signed.iter().flat_map(|manifest| {
            let judged = manifest.judged.iter();
            judged.map(|one| signature_json(manifest.id, one))
        });
        let missing = checked.missing.iter();
        let missing =
            missing.map(|(what, digest)| json!({"what": what, "digest": digest.to_string()}));
        let amis = self.ec2.verified.iter();
        let amis = amis.map(|(region, image)| json!({"region": region, "image": image}));
        let mut report = json!({
            "ok": self.faults.is_empty(),
            "manifests": checked.manifests,
            "blobs": checked.blobs,
            "bytes": checked.bytes,
            "records": checked.records,
            "scans": checked.scans,
            "signatures": signatures.collect::<Vec<_>>(),
            "missing": missing.collect::<Vec<_>>(),
            "attestations": self.attested.iter().map(Attested::json).collect::<Vec<_>>(),
            "audit_lines": checked.lines,
            "faults": self.faults,
            "ec2": amis.collect::<Vec<_>>(),
        });
        if let Some(explained) = &self.explained {
            report["explained"] =
                json!({"confirmed": explained.confirmed, "attested": explained.attested});
        }
        if let Subject::Stored(id) | Subject::Image(id, _) = &self.subject {
            report["id"] = id.to_string().into();
            report["manifest"] = id.to_string().into();
        }
        report
    }
}

fn signature_json(id: ManifestId, judged: &Judged) -> Value {
    let mut row = json!({
        "id": id.to_string(),
        "manifest": id.to_string(),
        "counts": judged.is_accepted(),
        "names": judged.names,
    });
    if let Some(key) = &judged.key {
        row["key"] = fingerprint(key).into();
    }
    if let Some(because) = &judged.because {
        row["because"] = because.clone().into();
    }
    row
}

/// Reports faults of the signatures of a channel's moves. A key need only be trusted today for the last move; earlier moves
/// were judged when they were made, and must only be unchanged.
fn move_faults(
    store: &Store,
    name: &ChannelName,
    trust: &Trust,
) -> Result<Vec<String>, CommandError> {
    // A damaged channel was reported when the store was checked.
    let Ok(channel) = store.channel(name) else {
        return Ok(Vec::new());
    };
    let policy = ChannelPolicy::read(store, name)?;
    let mut faults = Vec::new();
    for entry in &channel.moves {
        let number = entry.entry.number;
        let is_last = number == channel.number();
        let Some(signature) = &entry.signature else {
            if is_last && policy.signed_moves {
                faults.push(format!("{name}: move {number} is not signed"));
            }
            continue;
        };
        let bytes = entry.entry.to_bytes().map_err(StoreError::from)?;
        let judged = judge(trust, NAMESPACE, signature.as_bytes(), &bytes);
        if let Some(because) = &judged.because
            && (judged.key.is_none() || is_last)
        {
            let signer = judged.signer();
            faults.push(format!(
                "{name}: move {number}, signed by {signer}: {because}"
            ));
        }
    }
    Ok(faults)
}
