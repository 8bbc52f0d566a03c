//! Inputs of a manifest, from a plan. Reads files for their digests.
//!
//! The digest of a directory is that of its [listing](crate::record::directory_listing). Links are followed, as in an upload.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use crate::base::BaseDisk;
use crate::digest::Digest;
use crate::os::hash_stream::{self, Stop};
use crate::plan::{self, Plan};
use crate::record::lock::Manager;
use crate::record::manifest::{
    Action, Base, BaseKind, DeclaredPackages, File, FinishInputs, Inputs, Name, Network, Packages,
    Repository, SecretKind, Source, SourceKind, Step,
};

/// A file of a plan that cannot be read.
#[derive(Debug, Error, Diagnostic)]
#[error("cannot read {}", path.display())]
#[diagnostic(help("the template names it or a directory that it is in"))]
pub struct InputError {
    /// Path of the file or directory.
    pub path: PathBuf,
    /// Failure of the operating system.
    pub source: io::Error,
}

/// Collects the inputs of an image. Blocks while it reads every file of the plan.
///
/// # Errors
/// A file cannot be read; the error names it.
pub fn collect(plan: &Plan, base: Base, stop: &Stop) -> Result<Inputs, InputError> {
    let files = plan.files.iter().map(|upload| file(upload, stop));
    let steps = plan.steps.iter().map(|planned| step(planned, stop));
    Ok(Inputs {
        image: Name {
            name: plan.image.name.clone(),
            description: plan.image.description.clone(),
        },
        template: crate::record::manifest::Template {
            digest: plan.template.digest,
            text: plan.template.text.clone(),
        },
        variables: plan.variables.clone(),
        secrets: plan
            .secrets
            .iter()
            .map(|(name, source)| (name.clone(), secret_kind(source)))
            .collect(),
        base,
        packages: packages(plan.packages.as_ref(), stop)?,
        // The caller adds it when the packages are resolved.
        lock: None,
        files: files.collect::<Result<_, _>>()?,
        steps: steps.collect::<Result<_, _>>()?,
        sources: sources(plan, stop)?,
        finish: finish(&plan.finish),
        network: network(&plan.network),
        hermetic: !plan.network.open,
    })
}

fn sources(plan: &Plan, stop: &Stop) -> Result<BTreeMap<String, Source>, InputError> {
    let sources = plan.sources.iter().map(|(path, written)| {
        let metadata = fs::metadata(path).map_err(failed(path))?;
        let (kind, digest) = if metadata.is_dir() {
            (SourceKind::Directory, Digest::of(&listing(path, stop)?))
        } else if kept_mode(&metadata) == 0o755 {
            (SourceKind::Executable, hash(path, stop)?)
        } else {
            (SourceKind::File, hash(path, stop)?)
        };
        Ok((written.clone(), Source { digest, kind }))
    });
    sources.collect()
}

fn finish(finish: &plan::Finish) -> Option<FinishInputs> {
    let plan::Finish {
        rebuild,
        drop,
        keep,
    } = finish;
    let paths = |exceptions: &[plan::PathException]| {
        exceptions
            .iter()
            .map(|exception| exception.path.clone())
            .collect()
    };
    let is_default = *rebuild && drop.is_empty() && keep.is_empty();
    (!is_default).then(|| FinishInputs {
        rebuild: *rebuild,
        drop: paths(drop),
        keep: paths(keep),
    })
}

fn secret_kind(source: &plan::SecretSource) -> SecretKind {
    match source {
        plan::SecretSource::Env(_) => SecretKind::Env,
        plan::SecretSource::File(_) => SecretKind::File,
    }
}

/// Returns the record of a base.
#[must_use]
pub fn base_of(base: &plan::Base, disk: &BaseDisk) -> Base {
    let mut record = Base {
        digest: disk.digest,
        size: disk.size,
        format: disk.disk.format.clone(),
        ..Base::empty(BaseKind::File)
    };
    match base {
        plan::Base::File { .. } => {}
        plan::Base::Ami(_) => record.kind = BaseKind::Ami,
        plan::Base::Manifest(_) => record.kind = BaseKind::Manifest,
        plan::Base::Url { url, .. } => {
            record.kind = BaseKind::Url;
            record.url = Some(url.clone());
        }
        plan::Base::Bootstrap(bootstrap) => {
            record.kind = BaseKind::Bootstrap;
            record.distribution = Some(bootstrap.distribution.clone());
            record.suite = Some(bootstrap.suite.clone());
        }
    }
    record
}

/// Returns the allowed downloads. The caller adds the requests when the guest has ended.
fn network(network: &plan::Network) -> Network {
    let allow = network
        .allow
        .iter()
        .map(|allow| crate::record::manifest::Allow {
            url: allow.url.clone(),
            sha256: allow.sha256,
        });
    Network {
        open: network.open,
        allow: allow.collect(),
        requests: Vec::new(),
    }
}

fn packages(declared: Option<&plan::PackageSet>, stop: &Stop) -> Result<Packages, InputError> {
    let mut packages = Packages::default();
    if let Some(declared) = declared {
        let set = DeclaredPackages {
            install: declared.install.clone(),
            remove: declared.remove.clone(),
            recommends: declared.recommends,
            repositories: repositories(&declared.repositories, stop)?,
            accept: declared.accept.clone(),
        };
        match declared.manager {
            Manager::Apt => packages.apt = Some(set),
            Manager::Dnf => packages.dnf = Some(set),
        }
    }
    Ok(packages)
}

fn repositories(all: &[plan::Repository], stop: &Stop) -> Result<Vec<Repository>, InputError> {
    let repository = |repository: &plan::Repository| {
        let key = repository.key.as_ref().map(|key| hash(key, stop));
        Ok(Repository {
            name: repository.name.clone(),
            uri: repository.uri.clone(),
            suites: repository.suites.clone(),
            components: repository.components.clone(),
            key: key.transpose()?,
            trusted: repository.trusted,
            keep: repository.keep,
        })
    };
    all.iter().map(repository).collect()
}

fn step(planned: &plan::Step, stop: &Stop) -> Result<Step, InputError> {
    let action = match &planned.action {
        plan::Action::Shell(shell) => Action::Shell {
            script: script(&shell.script, stop)?,
            environment: shell
                .environment
                .iter()
                .map(|(name, value)| (name.clone(), value.to_string()))
                .collect::<BTreeMap<_, _>>(),
            working_directory: shell.working_directory.clone(),
            user: shell.user.clone(),
            exit_codes: shell.exit_codes.clone(),
        },
        plan::Action::File(upload) => Action::File(file(upload, stop)?),
        plan::Action::Download(download) => Action::Download {
            sources: download.sources.clone(),
        },
        plan::Action::Reboot => Action::Reboot {},
        plan::Action::Pause(time) => Action::Pause {
            milliseconds: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
        },
    };
    Ok(Step {
        name: planned.name.clone(),
        action,
        creates: planned.creates.clone(),
    })
}

fn script(script: &plan::Script, stop: &Stop) -> Result<Digest, InputError> {
    match script {
        plan::Script::Path(path) => hash(path, stop),
        plan::Script::Inline(lines) => {
            let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
            Ok(Digest::of((lines.join("\n") + "\n").as_bytes()))
        }
    }
}

fn file(upload: &plan::Upload, stop: &Stop) -> Result<File, InputError> {
    let (digest, default_mode, name) = match &upload.source {
        plan::UploadSource::Content(text) => {
            let digest = Digest::of(text.to_string().as_bytes());
            (digest, Some(0o644), None)
        }
        plan::UploadSource::Url { url, sha256 } => (
            *sha256,
            Some(0o644),
            url.rsplit('/').next().map(str::to_owned),
        ),
        plan::UploadSource::Path(path) => {
            let metadata = fs::metadata(path).map_err(failed(path))?;
            if metadata.is_dir() {
                (Digest::of(&listing(path, stop)?), None, None)
            } else {
                let name = path.file_name().map(|name| name.display().to_string());
                (hash(path, stop)?, Some(kept_mode(&metadata)), name)
            }
        }
    };
    let mut destination = upload.destination.clone();
    if destination.ends_with('/') {
        destination.push_str(&name.unwrap_or_default());
    }
    Ok(File {
        destination,
        digest,
        mode: upload
            .mode
            .or(default_mode)
            .map(|mode| format!("{mode:04o}")),
        owner: upload.owner.clone(),
    })
}

/// Returns the default mode of an upload, which keeps only the executable bit of the source.
fn kept_mode(metadata: &Metadata) -> u32 {
    match metadata.permissions().mode() & 0o111 {
        0 => 0o644,
        _ => 0o755,
    }
}

/// Returns the listing of a directory. Fails if a link leads to a directory that contains it.
pub(crate) fn listing(root: &Path, stop: &Stop) -> Result<Vec<u8>, InputError> {
    let mut listing = Vec::new();
    list(root, root, &mut Vec::new(), &mut listing, stop)?;
    Ok(listing)
}

fn list(
    root: &Path,
    directory: &Path,
    inside: &mut Vec<(u64, u64)>,
    listing: &mut Vec<u8>,
    stop: &Stop,
) -> Result<(), InputError> {
    let metadata = fs::metadata(directory).map_err(failed(directory))?;
    let identity = (metadata.dev(), metadata.ino());
    if inside.contains(&identity) {
        let source = io::Error::from(rustix::io::Errno::LOOP);
        return Err(failed(directory)(source));
    }
    inside.push(identity);
    let entries = fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut paths: Vec<_> = entries
        .map_err(failed(directory))?
        .iter()
        .map(fs::DirEntry::path)
        .collect();
    paths.sort();
    for path in paths {
        let metadata = fs::metadata(&path).map_err(failed(&path))?;
        let kind = if metadata.is_dir() {
            "directory ".to_owned()
        } else {
            let digest = hash(&path, stop)?;
            format!("file {:04o} {} ", kept_mode(&metadata), digest.hex())
        };
        listing.extend(kind.bytes());
        // Every path is below the root.
        listing.extend(
            path.strip_prefix(root)
                .unwrap_or(&path)
                .as_os_str()
                .as_bytes(),
        );
        listing.push(0);
        if metadata.is_dir() {
            list(root, &path, inside, listing, stop)?;
        }
    }
    inside.pop();
    Ok(())
}

fn hash(path: &Path, stop: &Stop) -> Result<Digest, InputError> {
    fs::File::open(path)
        .and_then(|file| hash_stream::digest(file, stop, |_| {}))
        .map(|(digest, _)| digest)
        .map_err(failed(path))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> InputError {
    let path = path.to_owned();
    |source| InputError { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Upload, UploadSource};
    use crate::record::directory_listing::listed;
    use crate::secret::{Text, TextPart};

    fn upload(source: UploadSource, destination: &str) -> Upload {
        Upload {
            source,
            destination: destination.to_owned(),
            mode: None,
            owner: "root:root".to_owned(),
            place: plan::Place::default(),
        }
    }

    fn recorded(source: UploadSource, destination: &str) -> Result<File, InputError> {
        file(&upload(source, destination), &Stop::default())
    }

    #[test]
    fn a_secret_in_a_file_is_recorded_by_name() {
        let secret = Text::new(vec![
            TextPart::Literal("token=".to_owned()),
            TextPart::Secret("token".to_owned()),
        ]);
        let file = recorded(UploadSource::Content(secret), "/etc/token").unwrap();
        assert_eq!(file.digest, Digest::of(b"token=<secret token>"));
        assert_eq!(file.mode.as_deref(), Some("0644"));
    }

    #[test]
    fn a_directory_is_recorded_by_content_and_names() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        let digest = || recorded(UploadSource::Path(scratch.path().to_owned()), "/srv");
        fs::create_dir(at("sub")).unwrap();
        fs::write(at("sub/a"), "a").unwrap();
        let first = digest().unwrap();
        assert_eq!((&first.mode, &first), (&None, &digest().unwrap()));

        fs::rename(at("sub/a"), at("sub/b")).unwrap();
        let renamed = digest().unwrap();
        fs::set_permissions(at("sub/b"), fs::Permissions::from_mode(0o700)).unwrap();
        let executable = digest().unwrap();
        fs::create_dir(at("empty")).unwrap();
        let more = digest().unwrap();
        let all = [&first, &renamed, &executable, &more].map(|file| file.digest);
        assert!((0..4).all(|index| !all[..index].contains(&all[index])));

        std::os::unix::fs::symlink("..", at("sub/up")).unwrap();
        assert_eq!(digest().unwrap_err().path, at("sub/up"));
        fs::remove_file(at("sub/up")).unwrap();
        std::os::unix::fs::symlink("nowhere", at("broken")).unwrap();
        assert_eq!(digest().unwrap_err().path, at("broken"));
    }

    #[test]
    fn a_listing_reads_back() {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("sub")).unwrap();
        fs::write(scratch.path().join("sub/a\nb"), "text").unwrap();
        let text = listing(scratch.path(), &Stop::default()).unwrap();
        let read: Vec<_> = listed(&text).map(Option::unwrap).collect();
        let expected = [
            (Path::new("sub"), None),
            (Path::new("sub/a\nb"), Some(Digest::of(b"text"))),
        ];
        assert_eq!(
            read.iter()
                .map(|entry| (entry.path, entry.digest))
                .collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn a_destination_that_is_a_directory_is_completed() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("tool");
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
        let file = recorded(UploadSource::Path(path), "/usr/local/bin/").unwrap();
        assert_eq!(file.destination, "/usr/local/bin/tool");
        assert_eq!(file.mode.as_deref(), Some("0755"));
    }
}
