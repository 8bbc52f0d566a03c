//! Manifest → everything that its image was made from, laid out for another build. Needs the store, not the template's
//! directory: template, files, lock, packages and base are blobs.

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

use crate::plan::Plan;
use crate::record::directory_listing::{Listed, listed};
use crate::record::lock::Lock;
use crate::record::manifest::{BaseKind, Inputs, Manifest, Source, SourceKind};
use crate::store::Store;
use crate::template::{self, LoadError};

/// What a manifest says that an image was made from, on this host.
#[derive(Debug)]
pub struct Materials {
    /// The plan of its template with its values.
    pub plan: Plan,
    /// The base.
    pub base: BaseDisk,
    /// The listing of the image's tree, where there is one.
    pub listing: Option<Listing>,
}

/// Why an image cannot be built again.
#[derive(Debug, Error, Diagnostic)]
pub enum RebuildError {
    /// Blobs that neither the store nor the cache has.
    #[error("the store lacks what {image} was made from:\n{}", list(missing))]
    #[diagnostic(help("copy the blobs from another store that has them; nothing was started"))]
    Missing {
        /// Name of the image.
        image: String,
        /// What each is, with its digest.
        missing: Vec<(String, Digest)>,
    },
    /// The manifest was made before karat stored what a rebuild needs.
    #[error("the manifest does not say {0}")]
    #[diagnostic(help("build the template once more; the new image can be rebuilt"))]
    Unrecorded(&'static str),
    /// A blob is not what it must be.
    #[error("the blob {digest} is not {what}")]
    #[diagnostic(help("the store is damaged; copy the blob from another one"))]
    Form {
        /// The blob.
        digest: Digest,
        /// What it should be.
        what: &'static str,
    },
    /// The template gives no plan any more.
    #[error("the recorded template is refused by this karat:\n{0}")]
    #[diagnostic(help(
        "a file of this host that is not recorded (a private key, a secret) may be missing; else use the karat that built it"
    ))]
    Template(String),
    /// The base cannot be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Disk(#[from] DiskError),
    /// A file cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    #[diagnostic(help("check permissions and free space"))]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
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

/// Lays out in `scratch` what a manifest's image was made from.
///
/// # Errors
/// Names everything that is missing, before anything is done; see [`RebuildError`].
pub async fn materials(
    manifest: &Manifest,
    store: &Store,
    cache: &Cache,
    scratch: &Path,
) -> Result<Materials, RebuildError> {
    let inputs = &manifest.inputs;
    let blobs = Blobs { store, cache };
    let lock = inputs.lock.ok_or(RebuildError::Unrecorded(
        "from which lock the image was made",
    ))?;
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
            disk: disk::Base {
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

/// The plan that the recorded template gives with the recorded values.
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
    let given = template::Inputs {
        vars: inputs.variables.clone().into_iter().collect(),
        // Nothing is written where the template says.
        force: true,
        moved,
        home: template::Inputs::from_environment().home,
        ..template::Inputs::default()
    };
    template::load(template, &given)
        .map_err(|error: LoadError| RebuildError::Template(error.render(false)))
}

/// `base.file.path` as the template has it.
fn base_path(text: &str) -> Option<String> {
    let table: toml::Table = text.parse().ok()?;
    let path = table.get("base")?.get("file")?.get("path")?;
    path.as_str().map(str::to_owned)
}

/// What the store has, and what the cache has too.
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

    /// Everything that must be there and is not; packages are found by the build itself, which knows of mirrors.
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
        let missing = wanted
            .into_iter()
            .filter(|(_, digest)| self.find(digest).is_none() && self.store.image(digest).is_err());
        let missing: Vec<_> = missing.collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Self::missing(inputs, missing))
    }

    /// The file that a build starts from. One that is an image of the store is put together in `scratch`.
    fn base(&self, inputs: &Inputs, scratch: &Path) -> Result<PathBuf, RebuildError> {
        let digest = inputs.base.digest;
        if let Some(file) = self.find(&digest) {
            return Ok(file);
        }
        let image = self.store.image(&digest);
        let image =
            image.map_err(|_| Self::missing(inputs, vec![("the base".to_owned(), digest)]))?;
        let path = scratch.join("base");
        let failed = |source| RebuildError::Io {
            action: "write",
            path: path.clone(),
            source,
        };
        let mut file = fs::File::create_new(&path).map_err(failed)?;
        let written = image.write_to(&mut file, &path, &Stop::default());
        written.map_err(|error| failed(io::Error::other(error)))?;
        Ok(path)
    }

    fn missing(inputs: &Inputs, missing: Vec<(String, Digest)>) -> RebuildError {
        let image = inputs.image.name.clone();
        RebuildError::Missing { image, missing }
    }

    /// Gives the cache what the store has, so that a build does not ask a URL for it. The cache compares it before its use.
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

    /// A small blob, compared with its name.
    fn read(&self, digest: Digest) -> Result<Vec<u8>, RebuildError> {
        let path = self
            .find(&digest)
            .unwrap_or_else(|| self.store.blob(&digest));
        let bytes = fs::read(&path).map_err(io_error("read", &path))?;
        if Digest::of(&bytes) != digest {
            let what = "what its name says";
            return Err(RebuildError::Form { digest, what });
        }
        Ok(bytes)
    }

    /// Puts a file or directory of the template where a build finds it, under its own name; returns that place.
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
                    let what = "the listing of a directory";
                    let digest = source.digest;
                    let Listed {
                        path,
                        digest,
                        executable,
                    } = line.ok_or(RebuildError::Form { digest, what })?;
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
        write(
            target,
            &self.read(digest)?,
            if executable { 0o755 } else { 0o644 },
        )
    }

    fn listing(&self, manifest: &Manifest) -> Result<Option<Listing>, RebuildError> {
        let Some(tree) = manifest.outputs.tree else {
            return Ok(None);
        };
        // Without it, only the first differences cannot be told.
        if self.find(&tree.listing).is_none() {
            return Ok(None);
        }
        let packed = self.read(tree.listing)?;
        let what = "the listing of the image's files";
        let form = RebuildError::Form {
            digest: tree.listing,
            what,
        };
        let listing = Listing::from_packed(packed).ok();
        let listing = listing.filter(|listing| listing.digest() == tree.digest);
        listing.map(Some).ok_or(form)
    }
}

/// A copy that has its name only once it is whole.
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
    async fn a_base_that_is_an_image_of_the_store_is_put_together() {
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
        // Nothing of it is stored once more.
        fs::write(&file, &image).unwrap();
        writing.add_copy(&file, inputs.base.digest).await.unwrap();
        assert!(!store.blob(&inputs.base.digest).exists());
        let base = blobs.base(&inputs, scratch.path()).unwrap();
        assert!(fs::read(base).unwrap() == image);
    }
}
