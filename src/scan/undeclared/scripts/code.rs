//! Programs and libraries that no package has.

use std::collections::{HashMap, HashSet};

use super::super::paths::FILES;
use super::super::steps::StepCauses;
use super::super::{
    Compare, MAX_FILE_BYTES, ScanError, Severity, Undeclared, observed, watched_paths,
};
use super::CLASSES;
use crate::disk::read::FileType;
use crate::disk::tree::File;
use crate::scan::integrity::md5_sums;

const ELF: &[u8] = b"\x7fELF";

/// Extensions of the scripts that dpkg keeps of each package.
const DPKG_SCRIPTS: &str = "/var/lib/dpkg/info/*.{preinst,postinst,prerm,postrm,config}";

impl Compare<'_> {
    /// Reports files outside of the watched places that can be run, and that are neither of the base nor declared. `steps` has what
    /// is reported already.
    pub(in super::super) fn code(&mut self, steps: Option<&StepCauses>) -> Result<(), ScanError> {
        let root = self.root;
        let reported = self.reported();
        let mut found: Vec<(&[u8], usize)> = Vec::new();
        for (path, index) in root.tree().paths() {
            let is_of_step = steps.is_some_and(|causes| causes.contains_key(path));
            let is_reported = is_of_step || reported.contains(&*String::from_utf8_lossy(path));
            let file = &root.tree().files()[index];
            if !is_reported && self.is_unexplained_code(path, file)? {
                found.push((path, index));
            }
        }
        let indices: HashSet<usize> = found.iter().map(|(_, index)| *index).collect();
        let of_base = self.as_in_base(|index| indices.contains(&index))?;
        found.retain(|(_, index)| !of_base.contains(index));
        let copies = self.copies(found.iter().map(|(_, index)| *index).collect())?;
        found.retain(|(_, index)| !copies.contains(index));
        for (path, index) in found {
            let file = &root.tree().files()[index];
            let text = String::from_utf8_lossy(path);
            let nearest = self.nearest(&text);
            let item = Undeclared {
                check: "undeclared-file",
                severity: Severity::High,
                subject: &text,
                title: "undeclared program or library".to_owned(),
                evidence: format!("{} bytes, mode {:04o}", file.content.size(), file.mode),
                fix: FILES,
            };
            self.report(item, nearest);
        }
        Ok(())
    }

    /// Returns whether a file can be run, and only its content could explain it.
    fn is_unexplained_code(&self, path: &[u8], file: &File) -> Result<bool, ScanError> {
        let is_candidate = file.kind == FileType::File
            && self.packaged.owner(path).is_none()
            && watched_paths::place_of(path).is_none()
            && self.declared.path(&String::from_utf8_lossy(path)).is_none()
            && !self.is_compiled(path);
        let is_code = |file: &File| -> Result<bool, ScanError> {
            let mut start = [0; ELF.len()];
            Ok(file.mode & 0o111 != 0
                || (self.root.read_at(file, 0, &mut start)? == ELF.len() && start == ELF))
        };
        Ok(is_candidate
            && is_code(file)?
            && !self.is_script_of_class(path)
            && !self.is_script_of_package(path, file)?)
    }

    /// Returns whether a known package, which is new or changed, makes this program.
    fn is_script_of_class(&self, path: &[u8]) -> bool {
        let mut classes = CLASSES.iter();
        classes.any(|class| {
            class.code
                && class.matches(path)
                && class.packages.iter().any(|package| self.is_new(package))
        })
    }

    /// Returns whether a file is a script that dpkg keeps, and the package has it. Scripts of packages that are not known from
    /// outside the image have findings of their own.
    fn is_script_of_package(&self, path: &[u8], file: &File) -> Result<bool, ScanError> {
        if !fast_glob::glob_match(DPKG_SCRIPTS, path) {
            return Ok(false);
        }
        let Some(scripts) = self.packaged.scripts_of(&observed::package_of(path)) else {
            return Ok(true);
        };
        let text = self.root.content(path, file, MAX_FILE_BYTES)?;
        Ok(!text.is_empty() && scripts.contains(&*String::from_utf8_lossy(&text)))
    }

    /// Returns the files with the content of a file of a package, such as libraries that a service copies into its root directory.
    fn copies(&self, found: Vec<usize>) -> Result<HashSet<usize>, ScanError> {
        let files = self.root.tree().files();
        let size = |index: &usize| files[*index].content.size();
        let sizes: HashSet<u64> = found.iter().map(size).collect();
        let originals = self.packaged.identical.iter().copied();
        let mut originals: Vec<usize> = originals
            .filter(|index| files[*index].kind == FileType::File && sizes.contains(&size(index)))
            .collect();
        if found.is_empty() || originals.is_empty() {
            return Ok(HashSet::new());
        }
        originals.sort_unstable();
        let originals: HashSet<_> = md5_sums(self.root, originals)?.into_values().collect();
        let found: HashMap<usize, _> = md5_sums(self.root, found)?;
        let copies = found.into_iter();
        let copies = copies.filter(|(_, sum)| originals.contains(sum));
        Ok(copies.map(|(index, _)| index).collect())
    }
}
