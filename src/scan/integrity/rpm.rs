//! Paths and file checksums from RPM's package headers.

use data_encoding::HEXLOWER_PERMISSIVE;
use md5::{Digest as _, Md5};

use super::database::{Claim, Database, Expected, Package, PathResolver, Record, Relations, exact};
use super::hash::{Algorithm, Checksum};
use super::{Root, SHARED, ScanError};
use crate::distro::rpm::header;
use crate::scan::inventory;
use crate::scan::inventory::rpm::{self, Header};

/// `RPMFILE_CONFIG` and `RPMFILE_STATE_NORMAL` of `rpmfiles.h`.
const CONFIG: u32 = 1;
const NORMAL: u8 = 0;

/// Tags that stay the same while a package is installed; the others hold states and times.
const LASTING_TAGS: [u32; 10] = [
    header::DIRECTORIES,
    header::BASE_NAMES,
    header::DIRECTORY_INDICES,
    header::FILE_DIGESTS,
    header::FILE_MODES,
    header::FILE_FLAGS,
    header::BEFORE_INSTALL,
    header::AFTER_INSTALL,
    header::BEFORE_REMOVAL,
    header::AFTER_REMOVAL,
];

/// Adds RPM's packages, if the tree has any.
pub fn read<'a>(
    root: &Root<'a>,
    database: &mut Database,
    places: &mut PathResolver<'a>,
) -> Result<(), ScanError> {
    let first = database.packages.len();
    let mut relations = Relations::default();
    rpm::each(root, &mut |path, header| {
        let Some(package) = rpm::package(header) else {
            return Ok(()); // a key
        };
        database.add_header(path, header, &package, places);
        let provided = header.texts(header::PROVIDES);
        let needed = [header::REQUIRES, header::RECOMMENDS].into_iter();
        let needed = needed.flat_map(|tag| header.texts(tag));
        database.text += relations.add(provided.map(str::to_owned), needed.map(str::to_owned));
        database.packages.push(Package {
            name: package.name,
            version: package.version,
            architecture: package.architecture,
            needs: Vec::new(),
        });
        database.check_size(path)
    })?;
    database.resolve(first, &relations, places);
    Ok(())
}

impl Database {
    fn add_header(
        &mut self,
        path: &[u8],
        header: &Header<'_>,
        of: &inventory::Package,
        places: &mut PathResolver<'_>,
    ) {
        let algorithm = match header.number(header::DIGEST_ALGORITHM) {
            None | Some(1) => Some(Algorithm::Md5),
            Some(2) => Some(Algorithm::Sha1),
            Some(8) => Some(Algorithm::Sha256),
            // Not used in practice; such files are neither verified nor modified.
            Some(_) => None,
        };
        let package = self.number(&of.name);
        header.package_files(&mut |entry| {
            let path = places.resolve(entry.path.as_bytes());
            // A replaced file belongs to the replacing package.
            if entry.state != NORMAL {
                self.owners.entry(path).or_insert(package);
                return;
            }
            let path = self.set_owner(path, package);
            let digest = HEXLOWER_PERMISSIVE.decode(entry.digest.as_bytes()).ok();
            let sum = algorithm
                .zip(digest)
                .and_then(|(algorithm, digest)| Checksum::new(algorithm, &digest));
            if let Some(sum) = sum.filter(|_| !SHARED.contains(&entry.path.as_str())) {
                self.claims.push(Claim {
                    path,
                    expected: Expected::File(sum),
                    package,
                    conffile: entry.flags & CONFIG != 0,
                    obsolete: false,
                });
            }
        });
        let mut md5 = Md5::new();
        for tag in LASTING_TAGS {
            let bytes = header.bytes(tag).unwrap_or_default();
            md5.update((bytes.len() as u64).to_be_bytes());
            md5.update(bytes);
        }
        let scripts = [header::BEFORE_INSTALL, header::AFTER_INSTALL];
        let scripts: Vec<_> = scripts.iter().filter_map(|tag| header.text(*tag)).collect();
        let scripts = scripts.join("\n");
        self.text += scripts.len();
        self.records.push(Record {
            path: path.into(),
            package: of.name.clone(),
            version: exact(of),
            sum: md5.finalize().into(),
            scripts,
        });
    }
}
