//! Causes of the paths of an image.

use std::collections::HashSet;

use super::declared::DeclaredPath;
use super::scripts::ScriptPackages;
use super::steps::StepCauses;
use super::{Compare, Root, ScanError};
use crate::disk::read::FileType;
use crate::disk::tree::{Content, File};
use crate::record::explanation::{Cause, pack};
use crate::scan::integrity::md5_sums;

impl Compare<'_> {
    /// Explains every path of the image. `steps` has the causes of those that steps changed; without it, declarations explain
    /// what neither the base nor a package has.
    pub(super) fn explain(&self, steps: Option<&StepCauses>) -> Result<Vec<u8>, ScanError> {
        let as_in_base = self.as_in_base(|_| true)?;
        let packages = ScriptPackages::new(self);
        let modified = self.packaged.modified.iter();
        let modified: HashSet<&[u8]> = modified.map(|modified| &*modified.path).collect();
        let causes = self.root.tree().paths().map(|(path, index)| {
            let cause = if let Some(cause) = steps.and_then(|steps| steps.get(path)) {
                cause.clone()
            } else if let Some(package) = self
                .packaged
                .owner(path)
                .filter(|_| !modified.contains(path))
            {
                let package = package.to_owned();
                Cause::Package { package }
            } else if as_in_base.contains(&index) {
                Cause::Base
            } else {
                let text = String::from_utf8_lossy(path);
                let declared = self.declared.path(&text).filter(|_| steps.is_none());
                match declared {
                    Some(DeclaredPath { by, .. }) => Cause::Declared { by: by.clone() },
                    None => Cause::Scripts {
                        package: packages.package_of(path).map(str::to_owned),
                    },
                }
            };
            (path, cause)
        });
        pack(causes).map_err(ScanError::Explain)
    }

    /// Returns those of the wanted files that are as in the base.
    pub(super) fn as_in_base(
        &self,
        is_wanted: impl Fn(usize) -> bool,
    ) -> Result<HashSet<usize>, ScanError> {
        let (base, files) = (self.base, self.root.tree().files());
        let mut same = HashSet::new();
        let mut hashed: Vec<(usize, usize)> = Vec::new();
        for (path, index) in self.root.tree().paths() {
            let in_base = base.tree().find(path).filter(|_| is_wanted(index));
            let Some(in_base) = in_base else {
                continue;
            };
            if !is_alike(&files[index], &base.tree().files()[in_base]) {
                continue;
            }
            if files[index].kind != FileType::File || self.packaged.identical.contains(&index) {
                same.insert(index);
            } else {
                hashed.push((index, in_base));
            }
        }
        let sums = |root: &Root<'_>, indices: Vec<usize>| {
            let mut indices = indices;
            indices.sort_unstable();
            indices.dedup();
            md5_sums(root, indices)
        };
        let now = sums(self.root, hashed.iter().map(|(index, _)| *index).collect())?;
        let before = sums(base, hashed.iter().map(|(_, index)| *index).collect())?;
        let equal = hashed.iter().filter(|(index, in_base)| {
            now.contains_key(index) && now.get(index) == before.get(in_base)
        });
        same.extend(equal.map(|(index, _)| *index));
        Ok(same)
    }
}

/// Returns whether two files have the same properties, apart from times and the content of regular files.
pub(super) fn is_alike(one: &File, other: &File) -> bool {
    let target = |file: &File| match &file.content {
        Content::Link(target) => Some(target.clone()),
        _ => None,
    };
    (one.kind, one.mode, one.uid, one.gid, one.rdev)
        == (other.kind, other.mode, other.uid, other.gid, other.rdev)
        && one.content.size() == other.content.size()
        && target(one) == target(other)
        && one.xattrs == other.xattrs
}
