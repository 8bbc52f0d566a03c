//! What is known of two images: the store, and the images themselves for whose a file is and what a changelog says.

use std::collections::BTreeSet;
use std::io::Read as _;

use flate2::read::MultiGzDecoder;

use super::Failed;
use crate::cli::shared::failure::chain;
use crate::cli::shared::open_image::opened;
use crate::diff::{self, Diff, Known, NotCompared, PackageChange, PackageKind, Scan};
use crate::disk::tree::Listing;
use crate::record::manifest::Manifest;
use crate::scan::report::policy::Kind;
use crate::scan::run::{Contents, source_of};
use crate::scan::{Finding, Opened, Packaged, integrity};
use crate::store::{ScanRecord, Store, StoreError, Stored};

/// The largest changelogs have some hundred KiB, unpacked some MiB.
const LARGEST: u64 = 16 << 20;
const LARGEST_TEXT: u64 = 64 << 20;

/// What the store has of an image.
struct Recorded {
    stored: Stored,
    listing: Option<Listing>,
    scan: Option<(ScanRecord, Vec<(Kind, Finding)>)>,
    contents: Option<Contents>,
}

/// The image itself.
struct System {
    opened: Opened,
    packaged: Packaged,
}

/// Compares two images by what they are called.
pub(super) async fn diff(store: &Store, first: &str, second: &str) -> Result<Diff, Failed> {
    let read = |name: &str| Recorded::read(store, name);
    let failed = |error: StoreError| Failed::with(error.exit_code(), error);
    let (first, second) = (read(first).map_err(failed)?, read(second).map_err(failed)?);
    let mut unread = Vec::new();
    let mut systems = [None, None];
    // Nothing else is asked of an image.
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
        // A newer changelog has what an older one has not.
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
        // What another version of karat has found is no reason to tell nothing.
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
            scan,
            contents,
            stored,
        })
    }

    fn known(&self) -> Known<'_> {
        Known {
            id: self.stored.id,
            manifest: &self.stored.manifest,
            listing: self.listing.as_ref(),
            scan: self.scan.as_ref().map(|(record, found)| Scan {
                scanned: record.scanned,
                report: &record.report,
                found,
            }),
            owner: None,
        }
    }

    /// What decides whether there are files and changelogs to look at.
    fn outline(&self) -> impl PartialEq {
        let outputs = &self.stored.manifest.outputs;
        (
            self.listing.as_ref().map(Listing::digest),
            &outputs.packages,
        )
    }

    /// The version that a changelog has, which is the source's.
    fn source_version(&self, package: &PackageChange, version: &str) -> String {
        let packages = self.contents.iter().flat_map(|it| &it.inventory.packages);
        let mut packages = packages.filter(|it| it.name == package.name && it.version == version);
        let source = packages.next().map(|it| it.source_version.clone());
        source.unwrap_or_else(|| version.to_owned())
    }
}

impl System {
    /// Opens an image and reads its database of packages; the error is why not.
    async fn open(store: &Store, manifest: &Manifest) -> Result<Self, String> {
        let image = &manifest.outputs.image;
        let found = match store.image(&image.digest) {
            Err(StoreError::NoImage(_)) => return Err("the image is not in the store".to_owned()),
            found => found.map_err(|error| chain(&error, ": "))?,
        };
        let opened = opened(found, &image.format).await;
        let opened = opened.map_err(|failed| failed.to_string())?;
        let packaged = integrity::verify_some(&opened.root(), 1, |_| false);
        let packaged = packaged.map_err(|error| chain(&error, ": "))?;
        Ok(Self { opened, packaged })
    }

    /// The package that has a path; what Python compiled is the source's.
    fn owner(&self, path: &[u8]) -> Option<String> {
        let owner = |path: &[u8]| self.packaged.owner(path).map(str::to_owned);
        owner(path).or_else(|| owner(&source_of(path)?))
    }

    /// CVEs that a package's changelog in this image names since a version.
    fn cves(&self, package: &PackageChange, since: &str) -> Option<BTreeSet<String>> {
        let root = self.opened.root();
        // A package that was made for Debian alone has no other changelog than Debian's.
        ["changelog.Debian.gz", "changelog.gz"]
            .iter()
            .find_map(|name| {
                let path = format!("/usr/share/doc/{}/{name}", package.name);
                let packed = root.read(path.as_bytes(), LARGEST).ok()??;
                let mut text = Vec::new();
                let unpacked = MultiGzDecoder::new(packed.as_slice()).take(LARGEST_TEXT);
                { unpacked }.read_to_end(&mut text).ok()?;
                diff::cves(&String::from_utf8_lossy(&text), since)
            })
    }
}
