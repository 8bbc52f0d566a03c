//! Gathers the inputs of a comparison: records from the store, and file owners and changelogs from the images themselves.

use std::collections::BTreeSet;
use std::io::Read as _;

use flate2::read::MultiGzDecoder;

use crate::cli::CommandError;
use crate::cli::shared::open_image::open_image;
use crate::diff::{self, Diff, DiffInput, NotCompared, PackageChange, PackageKind, Scan};
use crate::disk::tree::Listing;
use crate::distro::python::source_of_compiled;
use crate::record::explanation::MadeByScripts;
use crate::record::manifest::Manifest;
use crate::scan::report::policy::Kind;
use crate::scan::run::Contents;
use crate::scan::{Finding, Opened, Packaged, integrity};
use crate::store::{ScanRecord, Store, StoreError, StoredManifest};
use crate::ui::text::with_causes;

/// Limits of a changelog; the largest have some hundred KiB, and some MiB unpacked.
const MAX_CHANGELOG_BYTES: u64 = 16 << 20;
const MAX_UNPACKED_BYTES: u64 = 64 << 20;

/// Records of an image in the store.
struct Recorded {
    stored: StoredManifest,
    listing: Option<Listing>,
    scan: Option<(ScanRecord, Vec<(Kind, Finding)>)>,
    contents: Option<Contents>,
    made_by_scripts: MadeByScripts,
}

/// The files of an image.
struct System {
    opened: Opened,
    packaged: Packaged,
}

/// Compares two images by id or channel.
pub(super) async fn diff(store: &Store, first: &str, second: &str) -> Result<Diff, CommandError> {
    let (first, second) = (
        Recorded::read(store, first)?,
        Recorded::read(store, second)?,
    );
    let mut unread = Vec::new();
    let mut systems = [None, None];
    // The images themselves are only needed for owners of changed files and changelogs of changed packages.
    if first.outline() != second.outline() {
        for (side, recorded) in [&first, &second].into_iter().enumerate() {
            match System::open(store, &recorded.stored.manifest).await {
                Ok(system) => systems[side] = Some(system),
                Err(because) => unread.push(NotCompared {
                    what: format!("owners of files in the {}", ["first", "second"][side]),
                    because,
                }),
            }
        }
    }
    let [one, other] = &systems;
    let owner_in = |system: &Option<System>, path: &[u8]| system.as_ref()?.owner(path);
    let (of_first, of_second) = (
        |path: &[u8]| owner_in(one, path),
        |path: &[u8]| owner_in(other, path),
    );
    let changelog = |package: &PackageChange| {
        // The newer changelog contains the entries that the older one lacks.
        let (newer, older) = match package.change {
            PackageKind::Upgraded => (other.as_ref()?, (&first, package.from.as_ref()?)),
            PackageKind::Downgraded => (one.as_ref()?, (&second, package.to.as_ref()?)),
            _ => return None,
        };
        newer.cves(package, &older.0.source_version(package, older.1))
    };
    let mut known = [first.known(), second.known()];
    known[0].owner = one.as_ref().map(|_| &of_first as _);
    known[1].owner = other.as_ref().map(|_| &of_second as _);
    let mut diff = diff::diff(&known[0], &known[1], changelog);
    diff.not_compared.extend(unread);
    Ok(diff)
}

impl Recorded {
    fn read(store: &Store, name: &str) -> Result<Self, StoreError> {
        let stored = store.manifest(store.resolve(name)?)?;
        // A scan record of another karat version must not prevent the rest of the comparison.
        let readable = |result| match result {
            Err(StoreError::Unreadable { .. }) => Ok(None),
            result => result,
        };
        let scan = readable(store.scans_of(stored.id).map(|mut scans| scans.pop()))?;
        let scan = scan.and_then(|record| {
            let found = record.report.found().ok()?;
            Some((record, found))
        });
        let contents = match &scan {
            Some(_) => store.contents_of(stored.id)?,
            None => None,
        };
        Ok(Self {
            listing: store.listing_of(&stored.manifest)?,
            made_by_scripts: store.made_by_scripts(&stored.manifest)?,
            scan,
            contents,
            stored,
        })
    }

    fn known(&self) -> DiffInput<'_> {
        DiffInput {
            id: self.stored.id,
            manifest: &self.stored.manifest,
            listing: self.listing.as_ref(),
            scan: self.scan.as_ref().map(|(record, found)| Scan {
                scanned: record.scanned,
                report: &record.report,
                found,
            }),
            owner: None,
            made_by_scripts: &self.made_by_scripts,
        }
    }

    /// Returns the part of the records that must differ for files or changelogs to matter.
    fn outline(&self) -> impl PartialEq {
        let outputs = &self.stored.manifest.outputs;
        (
            self.listing.as_ref().map(Listing::digest),
            &outputs.packages,
        )
    }

    /// Returns the source version of a package, which its changelog uses.
    fn source_version(&self, package: &PackageChange, version: &str) -> String {
        let packages = self.contents.iter();
        packages
            .flat_map(|contents| &contents.inventory.packages)
            .find(|found| found.name == package.name && found.version == version)
            .map_or(version, |found| found.source_version.as_str())
            .to_owned()
    }
}

impl System {
    /// Opens an image and reads its package database. Returns the reason if that fails.
    async fn open(store: &Store, manifest: &Manifest) -> Result<Self, String> {
        let image = &manifest.outputs.image;
        let found = match store.image(&image.digest) {
            Err(StoreError::NoImage(_)) => return Err("the image is not in the store".to_owned()),
            found => found.map_err(|error| with_causes(&error))?,
        };
        let opened = open_image(found, &image.format).await;
        // Causes and help stand on lines of their own.
        let opened = opened.map_err(|error| error.to_string().replace("\n  ", "; "))?;
        let packaged = integrity::verify_some(&opened.root(), |_| false);
        let packaged = packaged.map_err(|error| with_causes(&error))?;
        Ok(Self { opened, packaged })
    }

    /// Returns the package that owns a path. Compiled Python belongs to the owner of its source.
    fn owner(&self, path: &[u8]) -> Option<String> {
        let owner = |path: &[u8]| self.packaged.owner(path).map(str::to_owned);
        owner(path).or_else(|| owner(&source_of_compiled(path)?))
    }

    /// Returns the CVEs that a package's changelog in this image names since a version.
    fn cves(&self, package: &PackageChange, since: &str) -> Option<BTreeSet<String>> {
        let root = self.opened.root();
        // A native Debian package has `changelog.gz` only.
        ["changelog.Debian.gz", "changelog.gz"]
            .iter()
            .find_map(|name| {
                let path = format!("/usr/share/doc/{}/{name}", package.name);
                let packed = root.read(path.as_bytes(), MAX_CHANGELOG_BYTES).ok()??;
                let mut text = Vec::new();
                let unpacked = MultiGzDecoder::new(packed.as_slice()).take(MAX_UNPACKED_BYTES);
                { unpacked }.read_to_end(&mut text).ok()?;
                diff::cves(&String::from_utf8_lossy(&text), since)
            })
    }
}
