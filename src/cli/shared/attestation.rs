//! Creates signed attestations about images, and checkpoints of the audit log.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use crate::cli::CommandError;
use crate::record::attestation::{Envelope, NAMESPACE, Statement};
use crate::record::audit::{self, Checkpoint, SignedCheckpoint};
use crate::record::lock::Lock;
use crate::record::manifest::ManifestId;
use crate::sign::{Signer, fingerprint};
use crate::store::predicate::{self, Git, Surroundings};
use crate::store::{Store, StoreError};

/// Variables in which CI systems pass the URL of a run: GitLab, Jenkins, Buildkite, Circle.
const RUN_URL_VARIABLES: [&str; 4] = [
    "CI_JOB_URL",
    "BUILD_URL",
    "BUILDKITE_BUILD_URL",
    "CIRCLE_BUILD_URL",
];

/// Stores an attestation about an image beside its manifest, unsigned when there is no signer.
pub(in crate::cli) async fn attest(
    id: ManifestId,
    kind: &str,
    predicate: serde_json::Value,
    signer: Option<&Signer>,
    store: &Store,
) -> Result<(), CommandError> {
    let manifest = store.manifest(id)?.manifest;
    let image = (
        manifest.inputs.image.name.as_str(),
        &manifest.outputs.image.digest,
    );
    let statement = Statement::new(id, image, kind, predicate);
    let mut envelope = Envelope::new(&statement).map_err(StoreError::from)?;
    if let Some(signer) = signer {
        let bytes = envelope
            .signed_bytes()
            .expect("the envelope holds the statement that it was made from");
        let signature = signer.sign(NAMESPACE, &bytes).await?;
        envelope.sign(fingerprint(signer.public()), &signature);
    }
    let writing = store.begin().await?;
    Ok(writing.add_attestation(id, &envelope, &statement)?)
}

/// Attests the provenance of an image from the record of its last build.
pub(in crate::cli) async fn provenance(
    id: ManifestId,
    template: Option<&Path>,
    signer: &Signer,
    store: &Store,
) -> Result<(), CommandError> {
    let manifest = store.manifest(id)?.manifest;
    let Some(record) = store.records_of(id)?.pop() else {
        return Ok(());
    };
    let lock = manifest.inputs.lock.and_then(|lock| {
        let path = store.blob(&lock.digest);
        let text = std::fs::read_to_string(&path).ok()?;
        Lock::from_toml(&text, &path).ok()
    });
    let around = Surroundings {
        git: match template.and_then(Path::parent) {
            Some(directory) => git(directory).await,
            None => None,
        },
        run: run_url(|name| std::env::var(name).ok()),
    };
    let statement = predicate::provenance(&manifest, lock.as_ref(), &record, &around);
    attest(id, predicate::PROVENANCE, statement, Some(signer), store).await
}

/// Signs the length of the audit log and the digest of its last line.
pub(in crate::cli) async fn checkpoint(
    signer: &Signer,
    store: &Store,
) -> Result<Option<SignedCheckpoint>, CommandError> {
    let Some((number, digest)) = store.audit_head()? else {
        return Ok(None);
    };
    let checkpoint = Checkpoint::new(number, digest);
    let bytes = checkpoint.to_bytes().map_err(StoreError::from)?;
    let signature = signer.sign(audit::NAMESPACE, &bytes).await?;
    let point = SignedCheckpoint {
        checkpoint,
        signature,
    };
    store.begin().await?.keep_checkpoint(&point)?;
    Ok(Some(point))
}

/// Describes the Git working copy that contains a directory; `None` without one, or without git.
async fn git(directory: &Path) -> Option<Git> {
    let directory = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    let ask = async |arguments: &[&str]| {
        let output = Command::new("git")
            .arg("-C")
            .arg(directory)
            .args(arguments)
            // Reading must not refresh the index.
            .env("GIT_OPTIONAL_LOCKS", "0")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let commit = ask(&["rev-parse", "HEAD"]).await?;
    let status = ask(&["status", "--porcelain", "--", "."]).await?;
    let remote = ask(&["remote", "get-url", "origin"]).await;
    Some(Git {
        remote: remote.map(|url| without_password(&url)),
        commit,
        dirty: !status.is_empty(),
    })
}

/// Removes user name and password from a URL such as `https://user:token@host/path`.
fn without_password(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = host.rsplit('@').next().unwrap_or(host);
            format!("{scheme}://{host}{path}")
        }
        None => url.to_owned(),
    }
}

/// Returns the URL of the CI run that this process is part of.
fn run_url(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let github = || {
        let [server, repository, run] =
            ["GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID"].map(&variable);
        Some(format!("{}/{}/actions/runs/{}", server?, repository?, run?))
    };
    github().or_else(|| RUN_URL_VARIABLES.iter().find_map(|name| variable(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remote_tells_no_password() {
        for (url, expected) in [
            ("https://example.org/web.git", "https://example.org/web.git"),
            (
                "https://me:secret@example.org/web.git",
                "https://example.org/web.git",
            ),
            ("https://to@ken@example.org", "https://example.org"),
            ("https://example.org/a@b", "https://example.org/a@b"),
            ("git@example.org:web.git", "git@example.org:web.git"),
            ("/srv/web.git", "/srv/web.git"),
        ] {
            assert_eq!(without_password(url), expected);
        }
    }

    #[tokio::test]
    async fn a_working_copy_is_known_by_its_commit() {
        let scratch = tempfile::tempdir().unwrap();
        assert_eq!(git(scratch.path()).await, None);
        let run = |arguments: &str| {
            let mut command = std::process::Command::new("git");
            command
                .args(["-c", "user.name=x", "-c", "user.email=x@example.org"])
                .args(arguments.split(' '))
                .current_dir(scratch.path());
            let output = command.output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        run("init -q");
        std::fs::write(scratch.path().join("web.toml"), "one").unwrap();
        run("add .");
        run("commit -q -m one");
        let commit = run("rev-parse HEAD");
        let clean = git(scratch.path()).await.unwrap();
        assert_eq!(
            (&clean.commit, clean.dirty, &clean.remote),
            (&commit, false, &None)
        );
        run("remote add origin https://me:secret@example.org/web.git");
        std::fs::write(scratch.path().join("web.toml"), "two").unwrap();
        let dirty = git(scratch.path()).await.unwrap();
        assert!(dirty.dirty);
        assert_eq!(dirty.remote.as_deref(), Some("https://example.org/web.git"));
    }

    #[test]
    fn a_run_is_known_by_its_address() {
        let of = |pairs: &[(&str, &str)]| {
            run_url(|name| {
                let found = pairs.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        let github = [
            ("GITHUB_SERVER_URL", "https://example.org"),
            ("GITHUB_REPOSITORY", "a/b"),
            ("GITHUB_RUN_ID", "7"),
        ];
        let url = "https://example.org/a/b/actions/runs/7";
        assert_eq!(of(&github).as_deref(), Some(url));
        assert_eq!(of(&github[1..]), None);
        assert_eq!(of(&[("BUILD_URL", "x")]).as_deref(), Some("x"));
    }
}
