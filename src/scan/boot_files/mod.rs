//! Checks the files in `/boot` that a machine boots with: members of an initrd, and the entries of boot loaders.
//!
//! Packages make them while they are installed, so they are in no package. One that is as in the base needs no check.

use std::collections::HashSet;

use self::explain::{FileReader, unexplained};
use self::grub::Known;
use self::initrd::{Member, MemberContent};
use super::integrity::{Algorithm, checksums};
use super::undeclared::Declared;
use super::{Finding, Packaged, Root, ScanError, Severity};
use crate::disk::read::FileType;
use crate::disk::tree::Listing;

mod explain;
mod generated;
mod grub;
mod initrd;

/// Files that a boot loader hands to the kernel.
const INITRDS: &str = "/boot/{initrd,initramfs}*";
/// Members of one initrd that are reported.
const MAX_REPORTED: usize = 20;
/// Initrds that are read: more than a system has kernels. A hostile image could have any number.
const MAX_INITRDS: usize = 16;

/// An image and the trees that it was made from.
pub struct BootTrees<'a> {
    pub image: &'a Root<'a>,
    pub base: &'a Root<'a>,
    /// Listing of the tree that the packages left.
    pub before: Option<&'a Listing>,
}

/// Checks the initrds and the entries of boot loaders that differ from those of the base and are not declared.
///
/// # Errors
/// Fails if a file cannot be read.
pub fn check(
    trees: &BootTrees<'_>,
    packaged: &Packaged,
    declared: &Declared,
) -> Result<Vec<Finding>, ScanError> {
    let root = trees.image;
    let (mut findings, mut seen) = (Vec::new(), HashSet::new());
    let (mut initrds, mut known) = (0, None);
    for (path, _) in root.tree().below(b"/boot") {
        let text = String::from_utf8_lossy(path);
        let is_initrd = fast_glob::glob_match(INITRDS, path);
        if !(is_initrd || grub::is_configuration(path)) || declared.path(&text).is_some() {
            continue;
        }
        let Some(index) = changed(trees, packaged, path)?.filter(|index| seen.insert(*index))
        else {
            continue;
        };
        if !is_initrd {
            let known = match &mut known {
                Some(known) => known,
                none => none.insert(Known::read(trees, packaged, declared)?),
            };
            findings.extend(grub::check(root, known, path, index)?);
            continue;
        }
        initrds += 1;
        if initrds > MAX_INITRDS {
            findings.push(not_looked_at(
                &text,
                "there are more initrds than kernels of a system",
            ));
            break;
        }
        findings.extend(initrd(trees, &text, index)?);
    }
    Ok(findings)
}

/// Returns the index of the file that a path leads to, unless it is as in the base or in a package.
fn changed(
    trees: &BootTrees<'_>,
    packaged: &Packaged,
    path: &[u8],
) -> Result<Option<usize>, ScanError> {
    let find = |root: &Root<'_>| {
        let index = root.tree().find(&root.resolve(path)?)?;
        (root.tree().files()[index].kind == FileType::File).then_some(index)
    };
    let Some(index) = find(trees.image).filter(|index| !packaged.identical.contains(index)) else {
        return Ok(None);
    };
    let size = |root: &Root<'_>, index: usize| root.tree().files()[index].content.size();
    let Some(earlier) = find(trees.base) else {
        return Ok(Some(index));
    };
    let sum = |root: &Root<'_>, index| {
        let sums = checksums(root, &HashSet::from([(index, Algorithm::Sha256)]))?;
        Ok::<_, ScanError>(sums.into_values().next())
    };
    let is_same = size(trees.image, index) == size(trees.base, earlier)
        && sum(trees.image, index)? == sum(trees.base, earlier)?;
    Ok((!is_same).then_some(index))
}

/// Reads an initrd and reports the members that nothing explains.
fn initrd(trees: &BootTrees<'_>, path: &str, index: usize) -> Result<Vec<Finding>, ScanError> {
    let mut reader = FileReader::new(trees.image, &trees.image.tree().files()[index]);
    let members = initrd::read(&mut reader);
    reader.finish()?;
    let members = match members {
        Ok(members) => unexplained(members, trees)?,
        Err(problem) => return Ok(vec![not_looked_at(path, &problem.to_string())]),
    };
    let mut findings: Vec<_> = members
        .iter()
        .take(MAX_REPORTED)
        .map(|member| undeclared_member(path, member))
        .collect();
    if let (Some(last), Some(more)) = (findings.last_mut(), members.len().checked_sub(MAX_REPORTED))
        && more > 0
    {
        last.evidence = format!("{}; {more} more members are not shown", last.evidence);
    }
    Ok(findings)
}

fn undeclared_member(path: &str, member: &Member) -> Finding {
    let name = String::from_utf8_lossy(&member.path);
    let content = match &member.content {
        MemberContent::File { size, .. } => {
            format!("{size} bytes, mode {:04o}", member.mode & 0o7777)
        }
        MemberContent::Link(target) => format!("leads to {}", String::from_utf8_lossy(target)),
    };
    let check = "undeclared-boot-file";
    let id = format!("{check}:{path}:{name}");
    let title = "undeclared member of the initrd";
    let mut finding = Finding::new(check, id, Severity::High, title);
    finding.evidence = format!(
        "{name}: {content}; it is neither a file of the image nor made by initramfs-tools or dracut"
    );
    finding.path = Some(path.to_owned());
    "find the hook or step that adds it, and build without it; or declare the initrd with `creates` in the step that makes it"
        .clone_into(&mut finding.fix);
    finding
}

fn not_looked_at(path: &str, problem: &str) -> Finding {
    let check = "not-looked-at";
    let title = "not looked at: the initrd differs from the base's and cannot be read";
    let mut finding = Finding::new(check, format!("{check}:{path}"), Severity::High, title);
    problem.clone_into(&mut finding.evidence);
    finding.path = Some(path.to_owned());
    "build it with `COMPRESS=zstd` in `/etc/initramfs-tools/initramfs.conf`, find what changed it, or declare it with `creates` in the step that makes it"
        .clone_into(&mut finding.fix);
    finding
}

#[cfg(test)]
mod tests;
