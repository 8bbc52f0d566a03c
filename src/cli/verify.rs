//! `karat verify`

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use miette::Diagnostic;
use serde_json::{Value, json};
use thiserror::Error;

use super::audit;
use super::shared::attestation_status::{self, Attested};
use super::shared::failure::chain;
use super::shared::key_args::{NoConfiguration, TrustArgs};
use super::shared::signature_policy::{Asked, Judged, judge, judge_all, wanting, who};
use super::shared::store_args::{StoreArgs, plain, size};
use super::verify_ec2;
use crate::digest::Digest;
use crate::ec2::client::AwsError;
use crate::os::hash_stream;
use crate::record::channel::{ChannelName, NAMESPACE};
use crate::record::manifest::{IdPrefix, Manifest, ManifestError, ManifestId};
use crate::sign::{Trust, TrustError, fingerprint};
use crate::store::{ChannelPolicy, Checked, PolicyError, Store, StoreError};
use crate::ui::Ui;

/// Prove that an image is the one that was recorded, and that people you trust vouch for it
///
/// Reads every byte: the manifest, its image, records, scans, attestations, the audit log and what it was made from. Without an argument it reads the
/// whole store. Needs no network. Exit code 4 says that something is not as it was stored, or not signed as it should be.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// Verify the image with this id (its first 8 digits or more will do), the one that a channel points to, this image file, or this file of a manifest with its signature FILE.sig
    #[arg(value_name = "ID|CHANNEL|FILE")]
    pub subject: Option<String>,

    /// Ask for signatures of so many different keys
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub require: u16,

    /// Ask for a signature of this signer; may be given several times
    #[arg(long, value_name = "NAME")]
    pub by: Vec<String>,

    /// Ask for no signature: verify bytes only
    #[arg(long, conflicts_with_all = ["require", "by"])]
    pub unsigned: bool,

    /// Read its AMIs in every region, too, and prove that they are the image; with a channel, also that what it moves at AWS names them
    #[arg(long, requires = "subject")]
    pub ec2: bool,

    /// Print JSON
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub trust: TrustArgs,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as help")]
    pub store: StoreArgs,
}

/// Why nothing was verified.
#[derive(Debug, Error, Diagnostic)]
pub enum VerifyError {
    /// The place of the trust file.
    #[error(transparent)]
    #[diagnostic(transparent)]
    NoConfiguration(#[from] NoConfiguration),
    /// The trust file.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Trust(#[from] TrustError),
    /// The store.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
    /// The rules of a channel.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Policy(#[from] PolicyError),
    /// AWS.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Aws(#[from] AwsError),
    /// AMIs are of images of the store.
    #[error("`--ec2` needs the id of a manifest or a channel")]
    #[diagnostic(help("see `karat list`"))]
    NotStored,
    /// The argument is neither an id nor a channel nor a file.
    #[error("{0:?} is neither the id of a manifest, nor a channel, nor a file")]
    #[diagnostic(help("see `karat list` for the manifests that there are"))]
    Neither(String),
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    #[diagnostic(help("check its permissions"))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that should be a manifest is none.
    #[error("{} is no manifest", path.display())]
    #[diagnostic(help("what `manifests/ID.json` of a store has is expected, byte for byte"))]
    NoManifest {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ManifestError,
    },
    /// No manifest is about an image file.
    #[error("no manifest in the store is about {}, which is {digest}", path.display())]
    #[diagnostic(help("it was changed, or recorded in another store (`--store`)"))]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        digest: Digest,
    },
    /// Something is not as it should be.
    #[error("{0}")]
    Broken(String),
    /// Standard output.
    #[error("cannot write to stdout")]
    Output(#[from] io::Error),
}

impl VerifyError {
    /// The exit code. Whoever stopped reading standard output knows it, and that is no failure.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Broken(_) | Self::Foreign { .. } | Self::NoManifest { .. } => 4,
            Self::Store(error) => error.exit_code(),
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Read { .. } | Self::Output(_) | Self::Aws(_) => 1,
            Self::NoConfiguration(_)
            | Self::Trust(_)
            | Self::Policy(_)
            | Self::Neither(_)
            | Self::NotStored => 2,
        }
    }
}

/// Missing materials that are named one by one.
const MOST_TOLD: usize = 5;

/// What there is to verify.
enum Subject {
    Store,
    Stored(ManifestId),
    /// An image file outside of the store.
    Image(ManifestId, PathBuf),
    /// A manifest's file outside of the store.
    File(PathBuf),
}

/// What became of one manifest's signatures.
struct Signed {
    id: ManifestId,
    name: String,
    judged: Vec<Judged>,
}

/// Verifies.
///
/// # Errors
/// Something is not as it was stored or not signed as it should be, or it could not be looked at.
pub async fn run(args: &VerifyArgs, ui: &Ui, out: &mut dyn Write) -> Result<(), VerifyError> {
    let store = args.store.open()?;
    // Whatever is wrong with it is told before anything large is read.
    let trust = if args.unsigned {
        None
    } else {
        Some(args.trust.read(&args.trust.path()?)?)
    };
    let subject = subject(args, &store, ui).await?;
    if args.ec2 && !matches!(subject, Subject::Stored(_)) {
        return Err(VerifyError::NotStored);
    }
    let mut faults = Vec::new();
    let checked = match &subject {
        Subject::File(_) => Checked::default(),
        Subject::Stored(id) | Subject::Image(id, _) => check(&store, Some(*id), ui).await?,
        Subject::Store => check(&store, None, ui).await?,
    };
    faults.extend(checked.faults.iter().map(|fault| chain(fault, ": ")));
    let asked = Asked {
        require: args.require,
        by: &args.by,
        approvals: 0,
        approvers: &[],
    };
    let mut signed = Vec::new();
    if let Some(trust) = &trust {
        for (id, name, bytes, signatures) in signatures(&subject, &store)? {
            let texts = signatures.iter().map(Vec::as_slice);
            let judged = judge_all(trust, texts, &bytes);
            let about = format!("{} ({})", id.short(), plain(&name));
            faults.extend(wanting(asked, &about, &judged));
            signed.push(Signed { id, name, judged });
        }
        for name in channels(args, &subject, &store)? {
            faults.extend(moves(&store, &name, trust)?);
        }
    }
    let attested =
        attestation_status::judge_all(&store, &ids(&subject, &store)?, trust.as_ref(), &mut faults);
    if let Subject::Stored(id) | Subject::Image(id, _) = &subject {
        faults.extend(attestation_status::revoked(&store, *id));
    }
    if !matches!(subject, Subject::File(_)) {
        // What cannot be read was told as such already.
        if let Ok(log) = store.audit() {
            let against = audit::against(&store, &log, trust.as_ref());
            faults.extend(against.unwrap_or_default());
        }
    }
    let mut at_aws = verify_ec2::Found::default();
    if let (true, Subject::Stored(id)) = (args.ec2, &subject) {
        let channel = args.subject.as_ref().and_then(|it| it.parse().ok());
        at_aws = verify_ec2::look(&store, *id, channel.as_ref(), trust.as_ref(), ui).await?;
        faults.append(&mut at_aws.faults);
    }
    if args.json {
        let mut report = json_report(&subject, &checked, &signed, &attested, &faults);
        let proved = at_aws.proved.iter();
        let proved = proved.map(|(region, image)| json!({"region": region, "image": image}));
        report["ec2"] = proved.collect();
        writeln!(out, "{report}")?;
    } else {
        out.write_all(text(&subject, &checked, &signed, &attested).as_bytes())?;
        for (region, image) in &at_aws.proved {
            writeln!(out, "{:12} {region} {image} is the image", "ec2")?;
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    let count = match faults.len() {
        1 => "1 thing is not as it should be".to_owned(),
        many => format!("{many} things are not as they should be"),
    };
    Err(VerifyError::Broken(format!(
        "{count}:\n{}",
        faults.join("\n")
    )))
}

/// The channels whose moves are to be judged: the one that was named, or all.
fn channels(
    args: &VerifyArgs,
    subject: &Subject,
    store: &Store,
) -> Result<Vec<ChannelName>, VerifyError> {
    match (subject, &args.subject) {
        (Subject::Store, _) => Ok(store.channels()?),
        (Subject::Stored(_), Some(text)) => Ok(text.parse().into_iter().collect()),
        _ => Ok(Vec::new()),
    }
}

/// What is wrong with the signatures of a channel's moves. Those of the past were judged when they were made, and need only be
/// what they were; the last one must still count.
fn moves(store: &Store, name: &ChannelName, trust: &Trust) -> Result<Vec<String>, VerifyError> {
    // One that is broken was told as such already.
    let Ok(channel) = store.channel(name) else {
        return Ok(Vec::new());
    };
    let policy = ChannelPolicy::read(store, name)?;
    let mut wrong = Vec::new();
    for kept in &channel.moves {
        let number = kept.entry.number;
        let is_last = number == channel.number();
        let Some(signature) = &kept.signature else {
            if is_last && policy.signed_moves {
                wrong.push(format!("{name}: move {number} is not signed"));
            }
            continue;
        };
        let bytes = kept.entry.to_bytes().map_err(StoreError::from)?;
        let judged = judge(trust, NAMESPACE, signature.as_bytes(), &bytes);
        if let Some(because) = &judged.because
            && (judged.key.is_none() || is_last)
        {
            let who = who(&judged);
            wrong.push(format!("{name}: move {number}, signed by {who}: {because}"));
        }
    }
    Ok(wrong)
}

async fn subject(args: &VerifyArgs, store: &Store, ui: &Ui) -> Result<Subject, VerifyError> {
    let Some(text) = &args.subject else {
        return Ok(Subject::Store);
    };
    let path = Path::new(text);
    let is_name = text.parse::<IdPrefix>().is_ok() || text.parse::<ChannelName>().is_ok();
    if is_name && !path.exists() {
        return Ok(Subject::Stored(store.resolve(text)?));
    }
    if !path.is_file() {
        return Err(VerifyError::Neither(text.clone()));
    }
    let read = |source| VerifyError::Read {
        path: path.to_owned(),
        source,
    };
    let mut first = [0];
    let mut file = File::open(path).map_err(read)?;
    if file.read(&mut first).map_err(read)? == 1 && first == *b"{" {
        return Ok(Subject::File(path.to_owned()));
    }
    let file = File::open(path).map_err(read)?;
    let length = file.metadata().map_err(read)?.len();
    let bar = ui.bar("hashing the image", Some(length));
    let hashed =
        hash_stream::blocking(move |stop| hash_stream::digest(file, stop, |it| bar.advance(it)));
    let (digest, _) = hashed.await.map_err(read)?;
    let is_its = |id: &ManifestId| {
        let stored = store.manifest(*id);
        stored.is_ok_and(|it| it.manifest.outputs.image.digest == digest)
    };
    if let Some(id) = store.ids()?.into_iter().find(is_its) {
        return Ok(Subject::Image(id, path.to_owned()));
    }
    let path = path.to_owned();
    Err(VerifyError::Foreign { path, digest })
}

/// Reads an image with all that belongs to it, or the whole store.
pub(super) async fn check(
    store: &Store,
    id: Option<ManifestId>,
    ui: &Ui,
) -> Result<Checked, VerifyError> {
    let bar = ui.bar("reading the store", None);
    let store = store.clone();
    let path = store.root().to_owned();
    let checked = hash_stream::blocking(move |stop| {
        let progress = |bytes| bar.advance(bytes);
        match id {
            Some(id) => store.check_one(id, stop, &progress),
            None => store.check_all(stop, &progress),
        }
    });
    let read = |source| VerifyError::Read { path, source };
    checked.await.map_err(read)
}

/// The manifests in the store that are verified.
fn ids(subject: &Subject, store: &Store) -> Result<Vec<ManifestId>, StoreError> {
    match subject {
        Subject::File(_) => Ok(Vec::new()),
        Subject::Stored(id) | Subject::Image(id, _) => Ok(vec![*id]),
        Subject::Store => store.ids(),
    }
}

/// Id, name, bytes and signatures of a manifest.
type Unjudged = (ManifestId, String, Vec<u8>, Vec<Vec<u8>>);

/// What there is to judge. What is broken there was told as such already, and is left out here.
fn signatures(subject: &Subject, store: &Store) -> Result<Vec<Unjudged>, VerifyError> {
    if let Subject::File(path) = subject {
        return Ok(vec![of_file(path)?]);
    }
    let stored = ids(subject, store)?.into_iter().filter_map(|id| {
        let stored = store.manifest(id).ok()?;
        let signatures = store.signatures_of(id).ok()?.into_iter();
        let name = stored.manifest.inputs.image.name;
        Some((
            id,
            name,
            stored.bytes,
            signatures.map(|it| it.text).collect(),
        ))
    });
    Ok(stored.collect())
}

fn of_file(path: &Path) -> Result<Unjudged, VerifyError> {
    let read = |path: &Path| {
        fs::read(path).map_err(|source| VerifyError::Read {
            path: path.to_owned(),
            source,
        })
    };
    let bytes = read(path)?;
    let manifest = Manifest::from_bytes(&bytes).map_err(|source| VerifyError::NoManifest {
        path: path.to_owned(),
        source,
    })?;
    let mut beside = path.to_owned().into_os_string();
    beside.push(".sig");
    let beside = PathBuf::from(beside);
    let signatures = if beside.exists() {
        vec![read(&beside)?]
    } else {
        Vec::new()
    };
    Ok((
        ManifestId::of(&bytes),
        manifest.inputs.image.name,
        bytes,
        signatures,
    ))
}

fn text(subject: &Subject, checked: &Checked, signed: &[Signed], attested: &[Attested]) -> String {
    let mut text = String::new();
    let mut row = |key: &str, value: &str| {
        let _ = writeln!(text, "{key:12} {value}");
    };
    match subject {
        Subject::Store => row("manifests", &checked.manifests.to_string()),
        Subject::Image(id, path) => {
            row("manifest", &id.to_string());
            row("file", &format!("{} is its image", path.display()));
        }
        Subject::Stored(id) => row("manifest", &id.to_string()),
        Subject::File(path) => row("file", &path.display().to_string()),
    }
    for Signed { id, name, judged } in signed {
        row("image", &format!("{} {}", id.short(), plain(name)));
        for it in judged {
            let because = it
                .because
                .as_ref()
                .map(|why| format!(": does not count, {why}"));
            row("signed by", &(who(it) + &because.unwrap_or_default()));
        }
    }
    for it in attested {
        row("attested", &it.text());
    }
    if !matches!(subject, Subject::File(_)) {
        let blobs = format!("{} read ({})", checked.blobs, size(checked.bytes));
        row("blobs", &blobs);
        row("records", &checked.records.to_string());
        if checked.moves > 0 {
            row("moves", &format!("{} of channels", checked.moves));
        }
        row("scans", &checked.scans.to_string());
        if checked.lines > 0 {
            row("audit log", &format!("{} lines", checked.lines));
        }
    }
    for (what, _) in checked.missing.iter().take(MOST_TOLD) {
        row("missing", &format!("{}; a rebuild needs it", plain(what)));
    }
    if let Some(more @ 1..) = checked.missing.len().checked_sub(MOST_TOLD) {
        row("", &format!("and {more} more (`--json` has them all)"));
    }
    text
}

fn json_report(
    subject: &Subject,
    checked: &Checked,
    signed: &[Signed],
    attested: &[Attested],
    faults: &[String],
) -> Value {
    let signatures = signed.iter().flat_map(|Signed { id, judged, .. }| {
        judged.iter().map(move |it| {
            let mut row = json!({
                "manifest": id.to_string(),
                "counts": it.because.is_none(),
                "names": it.names,
            });
            if let Some(key) = &it.key {
                row["key"] = fingerprint(key).into();
            }
            if let Some(because) = &it.because {
                row["because"] = because.clone().into();
            }
            row
        })
    });
    let missing = checked.missing.iter();
    let missing = missing.map(|(what, digest)| json!({"what": what, "digest": digest.to_string()}));
    let mut report = json!({
        "ok": faults.is_empty(),
        "manifests": checked.manifests,
        "blobs": checked.blobs,
        "bytes": checked.bytes,
        "records": checked.records,
        "scans": checked.scans,
        "signatures": signatures.collect::<Vec<_>>(),
        "missing": missing.collect::<Vec<_>>(),
        "attestations": attested.iter().map(Attested::json).collect::<Vec<_>>(),
        "audit_lines": checked.lines,
        "faults": faults,
    });
    if let Subject::Stored(id) | Subject::Image(id, _) = subject {
        report["manifest"] = id.to_string().into();
    }
    report
}
