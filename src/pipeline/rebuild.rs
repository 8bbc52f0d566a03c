//! Manifest → inputs of its image, laid out for a second build. Template, files, lock, packages and base are blobs of the
//! store, so the template's directory is not needed.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use crate::base::BaseDisk;
use crate::digest::Digest;
use crate::disk::tree::Listing;
use crate::disk::{self, DiskError};
use crate::fetch::Cache;
use crate::os::atomic_file::Unfinished;
use crate::os::hash_stream::Stop;
use crate::plan::{self, LoadError, Plan};
use crate::record::directory_listing::{Listed, listed};
use crate::record::lock::Lock;
use crate::record::manifest::{BaseKind, Inputs, Manifest, Source, SourceKind};
use crate::store::Store;

/// Inputs of a recorded image, laid out on this host.
#[derive(Debug)]
pub(crate) struct Materials {
    /// Plan of the recorded template with the recorded variables.
    pub plan: Plan,
    pub base: BaseDisk,
    /// Listing of the image's files, if it was recorded.
    pub listing: Option<Listing>,
}

/// Failure to lay out the inputs of an image.
#[derive(Debug, Error, Diagnostic)]
pub(crate) enum RebuildError {
    #[error("the store and the cache lack inputs of {image}:\n{}", list(missing))]
    #[diagnostic(help("copy the blobs from another store that has them; nothing was started"))]
    Missing {
        /// Name of the image.
        image: String,
        /// Description and digest of each.
        missing: Vec<(String, Digest)>,
    },
    /// The manifest is older than the support of rebuilds.
    #[error("the manifest does not record {0}")]
    #[diagnostic(help("build the template again; the new image can be rebuilt"))]
    Unrecorded(&'static str),
    #[error("the blob {digest} is not {what}")]
    #[diagnostic(help("the store is damaged; copy the blob from another store"))]
    Form {
        digest: Digest,
        /// Content that the manifest expects in it.
        what: &'static str,
    },
    /// This version of karat makes no plan of the template.
    #[error("this version of karat refuses the recorded template:\n{0}")]
    #[diagnostic(help(
        "a file that is not recorded (a private key, a secret) may be missing on this host; otherwise use the version of karat that built the image"
    ))]
    Template(String),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Disk(#[from] DiskError),
    #[error("cannot {action} {}", path.display())]
    #[diagnostic(help("check permissions and free space"))]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

fn list(missing: &[(String, Digest)]) -> String {
    let line = |(what, digest): &(String, Digest)| format!("  {digest}  {what}");
    missing.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RebuildError {
    let path = path.to_owned();
    move |source| RebuildError::Io {
        action,
        path,
        source,
    }
}

/// Lays out the inputs of a manifest's image in `scratch`. If any are missing, names them all before it writes a file.
pub(crate) async fn materials(
    manifest: &Manifest,
    store: &Store,
    cache: &Cache,
    scratch: &Path,
) -> Result<Materials, RebuildError> {
    let inputs = &manifest.inputs;
    let blobs = Blobs { store, cache };
    let lock = inputs
        .lock
        .ok_or(RebuildError::Unrecorded("the lock of the image"))?;
    blobs.check(manifest, lock.digest)?;

    let template = scratch.join(format!("{}.toml", inputs.image.name));
    write(&template, inputs.template.text.as_bytes(), 0o600)?;
    write(&Lock::path_of(&template), &blobs.read(lock.digest)?, 0o600)?;
    let mut moved = BTreeMap::new();
    for (number, (written, source)) in inputs.sources.iter().enumerate() {
        let place = scratch.join("sources").join(number.to_string());
        moved.insert(written.clone(), blobs.lay_out(written, *source, &place)?);
    }
    let base = blobs.base(inputs, scratch)?;
    let plan = plan(inputs, &template, moved, &base)?;
    for (_, digest) in plan.downloads() {
        blobs.to_cache(digest)?;
    }
    let info = disk::inspect(&base).await?;
    Ok(Materials {
        plan,
        base: BaseDisk {
            disk: disk::BaseImage {
                path: base,
                format: inputs.base.format.clone(),
            },
            digest: inputs.base.digest,
            size: inputs.base.size,
            virtual_size: info.virtual_size,
        },
        listing: blobs.listing(manifest)?,
    })
}

/// Makes the plan of the recorded template with the recorded variables.
fn plan(
    inputs: &Inputs,
    template: &Path,
    mut moved: BTreeMap<String, PathBuf>,
    base: &Path,
) -> Result<Plan, RebuildError> {
    if inputs.base.kind == BaseKind::File
        && let Some(written) = base_path(&inputs.template.text)
    {
        moved.insert(written, base.to_owned());
    }
    let given = plan::Inputs {
        vars: inputs.variables.clone().into_iter().collect(),
        // The outputs that the template names are not written.
        force: true,
        moved,
        home: plan::Inputs::from_environment().home,
        ..plan::Inputs::default()
    };
    plan::load(template, &given)
        .map_err(|error: LoadError| RebuildError::Template(error.render(false)))
}

/// Returns `base.file.path` as written in the template.
fn base_path(text: &str) -> Option<String> {
    let table: toml::Table = text.parse().ok()?;
    let path = table.get("base")?.get("file")?.get("path")?;
    path.as_str().map(str::to_owned)
}

/// Blobs of the store and the cache.
#[derive(Clone, Copy)]
struct Blobs<'a> {
    store: &'a Store,
    cache: &'a Cache,
}

impl Blobs<'_> {
    fn find(&self, digest: &Digest) -> Option<PathBuf> {
        [self.store.blob(digest), self.cache.path(digest)]
            .into_iter()
            .find(|path| path.is_file())
    }

    /// Fails if inputs are missing. Packages are not checked: the build can fetch them from mirrors.
    fn check(&self, manifest: &Manifest, lock: Digest) -> Result<(), RebuildError> {
        let inputs = &manifest.inputs;
        let mut wanted = vec![
            ("the lock".to_owned(), lock),
            ("the base".to_owned(), inputs.base.digest),
        ];
        for (written, source) in &inputs.sources {
            wanted.push((written.clone(), source.digest));
            if source.kind == SourceKind::Directory
                && let Ok(listing) = self.read(source.digest)
            {
                let files = listed(&listing).flatten();
                wanted.extend(files.filter_map(|file| {
                    let name = Path::new(written).join(file.path);
                    Some((name.display().to_string(), file.digest?))
                }));
            }
        }
        wanted
            .retain(|(_, digest)| self.find(digest).is_none() && self.store.image(digest).is_err());
        if wanted.is_empty() {
            return Ok(());
        }
        Err(Self::missing(inputs, wanted))
    }

    /// Returns the path of the base. An image of the store is assembled in `scratch`.
    fn base(&self, inputs: &Inputs, scratch: &Path) -> Result<PathBuf, RebuildError> {
        let digest = inputs.base.digest;
        if let Some(file) = self.find(&digest) {
            return Ok(file);
        }
        let image = self
            .store
            .image(&digest)
            .map_err(|_| Self::missing(inputs, vec![("the base".to_owned(), digest)]))?;
        let path = scratch.join("base");
        fs::File::create_new(&path)
            .and_then(|mut file| {
                let written = image.write_to(&mut file, &path, &Stop::default());
                written.map_err(io::Error::other)
            })
            .map_err(io_error("write", &path))?;
        Ok(path)
    }

    fn missing(inputs: &Inputs, missing: Vec<(String, Digest)>) -> RebuildError {
        let image = inputs.image.name.clone();
        RebuildError::Missing { image, missing }
    }

    /// Links a blob of the store into the cache, so that the build does not download it. The cache verifies it before use.
    fn to_cache(self, digest: Digest) -> Result<(), RebuildError> {
        let (blob, cached) = (self.store.blob(&digest), self.cache.path(&digest));
        if cached.is_file() || !blob.is_file() {
            return Ok(());
        }
        let directory = cached.parent().unwrap_or(&cached);
        fs::create_dir_all(directory)
            .and_then(|()| fs::hard_link(&blob, &cached).or_else(|_| copy(&blob, &cached)))
            .map_err(io_error("write", &cached))
    }

    /// Reads a small blob and verifies its digest.
    fn read(&self, digest: Digest) -> Result<Vec<u8>, RebuildError> {
        let path = self
            .find(&digest)
            .unwrap_or_else(|| self.store.blob(&digest));
        let bytes = fs::read(&path).map_err(io_error("read", &path))?;
        if Digest::of(&bytes) != digest {
            let what = "the content of its name";
            return Err(RebuildError::Form { digest, what });
        }
        Ok(bytes)
    }

    /// Writes a file or directory of the template below `place`, under its own name; returns its path.
    fn lay_out(
        &self,
        written: &str,
        source: Source,
        place: &Path,
    ) -> Result<PathBuf, RebuildError> {
        let name = Path::new(written).file_name().unwrap_or("source".as_ref());
        let target = place.join(name);
        fs::create_dir_all(place).map_err(io_error("make", place))?;
        match source.kind {
            SourceKind::File => self.put(source.digest, &target, false)?,
            SourceKind::Executable => self.put(source.digest, &target, true)?,
            SourceKind::Directory => {
                fs::create_dir_all(&target).map_err(io_error("make", &target))?;
                let listing = self.read(source.digest)?;
                for line in listed(&listing) {
                    let Listed {
                        path,
                        digest,
                        executable,
                    } = line.ok_or(RebuildError::Form {
                        digest: source.digest,
                        what: "the listing of a directory",
                    })?;
                    let path = target.join(path);
                    match digest {
                        Some(digest) => self.put(digest, &path, executable)?,
                        None => fs::create_dir_all(&path).map_err(io_error("make", &path))?,
                    }
                }
            }
        }
        Ok(target)
    }

    fn put(&self, digest: Digest, target: &Path, executable: bool) -> Result<(), RebuildError> {
        let mode = if executable { 0o755 } else { 0o644 };
        write(target, &self.read(digest)?, mode)
    }

    fn listing(&self, manifest: &Manifest) -> Result<Option<Listing>, RebuildError> {
        let Some(tree) = manifest.outputs.tree else {
            return Ok(None);
        };
        // Optional: without a listing, a comparison cannot name the first differences.
        if self.find(&tree.listing).is_none() {
            return Ok(None);
        }
        let packed = self.read(tree.listing)?;
        Listing::from_packed(packed)
            .ok()
            .filter(|listing| listing.digest() == tree.digest)
            .map(Some)
            .ok_or(RebuildError::Form {
                digest: tree.listing,
                what: "the listing of the image's files",
            })
    }
}

/// Copies a file atomically.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut unfinished = Unfinished::create(to, 0o644)?;
    io::copy(&mut fs::File::open(from)?, unfinished.file())?;
    unfinished.finish()
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), RebuildError> {
    fs::write(path, bytes)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .map_err(io_error("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::manifest::tests::example;
    use crate::ui::Ui;

    #[tokio::test]
    async fn a_base_that_is_an_image_of_the_store_is_assembled() {
        let scratch = tempfile::tempdir().unwrap();
        let store = Store::new(scratch.path().join("store"));
        let cache = Cache::new(scratch.path().join("cache"));
        let image: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut inputs = example("web", "text", b"").inputs;
        inputs.base.digest = Digest::of(&image);
        let (store, cache) = (&store, &cache);
        let blobs = Blobs { store, cache };
        let missing = blobs.base(&inputs, scratch.path()).unwrap_err();
        assert!(missing.to_string().contains("the base"), "{missing}");

        let file = scratch.path().join("image");
        fs::write(&file, &image).unwrap();
        let writing = store.begin().await.unwrap();
        writing.add_image(&file, &Ui::default()).await.unwrap();
        // The store has its bytes already.
        fs::write(&file, &image).unwrap();
        writing.add_copy(&file, inputs.base.digest).await.unwrap();
        assert!(!store.blob(&inputs.base.digest).exists());
        let base = blobs.base(&inputs, scratch.path()).unwrap();
        assert!(fs::read(base).unwrap() == image);
    }
}
