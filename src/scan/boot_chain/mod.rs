//! Checks everything on a disk outside of its root file system: boot code, gaps, the EFI partition, other partitions.
//!
//! In an image that karat built, each byte is zero, the same as before the build, or read and explained. Structures of the
//! partition table are parsed, as they depend on the size of the disk. In other images, what was not read is reported.

mod content;
mod fat;
mod layout;
mod table;

use std::sync::Arc;

use self::layout::{Layout, Region, RegionKind};
use super::{Finding, ScanError, Severity};
use crate::disk::read::{BlockRead, Memory};
use crate::record::lock::LockedPackage;

/// Names of packages whose scripts run `grub-install`, or update the EFI partition, begin with these.
const BOOT_LOADERS: [&str; 3] = ["grub-", "grub2-", "shim-"];
/// Directory of the EFI partition that boot loaders are installed in.
const EFI_DIRECTORY: &str = "/EFI/";

/// What the packages of a build wrote to its disk.
#[derive(Clone, Copy)]
pub struct Installation<'a> {
    /// Packages that the build installed.
    pub packages: &'a [LockedPackage],
    /// Disk as the packages left it; `None` if no step ran after them, or it was not kept.
    pub disk: Option<&'a Arc<dyn BlockRead>>,
}

/// Compares an image with the disk of its base. A boot loader among the installed packages explains what its installation
/// writes, unless a step has changed that afterwards.
///
/// # Errors
/// Fails if a disk cannot be read.
pub fn check(
    image: &Arc<dyn BlockRead>,
    base: &Arc<dyn BlockRead>,
    installed: Installation<'_>,
) -> Result<Vec<Finding>, ScanError> {
    let layout = Layout::read(image)?;
    let mut comparison = Comparison {
        image,
        base,
        installed: installed.disk,
        writes_boot_loader: installed.packages.iter().any(|package| {
            let mut starts = BOOT_LOADERS.iter();
            starts.any(|start| package.name.starts_with(start))
        }),
        layout: &layout,
        findings: Vec::new(),
    };
    if let Some(difference) = table::difference(image, base, &layout)? {
        let finding = boot_code("partition table", "the partition table", difference);
        comparison.findings.push(finding);
    }
    for region in &layout.regions {
        comparison.region(region)?;
    }
    Ok(comparison.findings)
}

/// Reports the parts of a disk that no check reads, unless they are zero: other file systems than the root, swap areas, gaps.
/// Boot code has no form that a check could read, and is left out.
///
/// # Errors
/// Fails if the disk cannot be read.
pub fn check_foreign(image: &Arc<dyn BlockRead>) -> Result<Vec<Finding>, ScanError> {
    let nothing = Memory(Vec::new());
    let mut findings = Vec::new();
    for region in Layout::read(image)?.regions {
        let is_read = match region.kind {
            RegionKind::BootCode
            | RegionKind::BootGap
            | RegionKind::BiosBoot(_)
            | RegionKind::RootBoot(_) => true,
            RegionKind::Efi(_) | RegionKind::Fat(_) => fat::list(image, &region).is_ok(),
            RegionKind::Other(_) | RegionKind::Gap | RegionKind::RootEnd(_) => false,
        };
        if !is_read && let Some(at) = content::first_difference(image, &nothing, &region.bytes)? {
            let kind = content::describe(image, &region)?;
            let evidence = format!("{kind}; the first data is at byte {at} of the disk");
            findings.push(not_looked_at(&region, evidence));
        }
    }
    Ok(findings)
}

/// An image and the disks before, with the differences found so far.
struct Comparison<'a> {
    image: &'a Arc<dyn BlockRead>,
    base: &'a Arc<dyn BlockRead>,
    /// Disk as the packages left it.
    installed: Option<&'a Arc<dyn BlockRead>>,
    /// Set if a package that the build installs writes boot code and EFI files.
    writes_boot_loader: bool,
    layout: &'a Layout,
    findings: Vec<Finding>,
}

impl Comparison<'_> {
    fn region(&mut self, region: &Region) -> Result<(), ScanError> {
        if let RegionKind::Efi(_) | RegionKind::Fat(_) = region.kind
            && let Ok(files) = fat::list(self.image, region)
        {
            return self.fat(region, &files);
        }
        let Some(at) = content::first_difference(self.image, self.base, &region.bytes)? else {
            return Ok(());
        };
        if self.is_explained(region)? {
            return Ok(());
        }
        let evidence = format!("it differs from the base's from byte {at} of the disk on");
        self.findings.push(match region.kind {
            RegionKind::BootCode
            | RegionKind::BootGap
            | RegionKind::BiosBoot(_)
            | RegionKind::RootBoot(_) => boot_code(&region.id(), &region.to_string(), evidence),
            _ => {
                let kind = content::describe(self.image, region)?;
                not_looked_at(region, format!("{kind}; {evidence}"))
            }
        });
        Ok(())
    }

    /// Returns whether `grub-install` writes to a region, a package of the build runs it, and no step wrote there.
    fn is_explained(&self, region: &Region) -> Result<bool, ScanError> {
        let is_written = match region.kind {
            RegionKind::BootCode | RegionKind::BiosBoot(_) => self.writes_boot_loader,
            // On a GPT it uses the BIOS boot partition.
            RegionKind::BootGap => self.writes_boot_loader && !self.layout.is_gpt(),
            _ => false,
        };
        Ok(match self.installed.filter(|_| is_written) {
            Some(disk) => content::first_difference(self.image, disk, &region.bytes)?.is_none(),
            None => is_written,
        })
    }

    /// Compares a FAT file system path by path, then its boot sectors and its free space.
    fn fat(&mut self, region: &Region, files: &fat::Listing) -> Result<(), ScanError> {
        let earlier = fat::list(self.base, region).ok();
        let is_installed = self.writes_boot_loader && matches!(region.kind, RegionKind::Efi(_));
        let by_steps = match self.installed.filter(|_| is_installed) {
            Some(disk) => fat::changes(files, fat::list(disk, region).ok().as_ref())?,
            None => Vec::new(),
        };
        let in_directory = |path: &str| {
            let start = path.get(..EFI_DIRECTORY.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(EFI_DIRECTORY))
        };
        for (path, change) in fat::changes(files, earlier.as_ref())? {
            let by_step = by_steps.iter().any(|(changed, _)| *changed == path);
            if by_step || !(is_installed && in_directory(&path)) {
                self.findings.push(boot_file(region, &path, change));
            }
        }
        if fat::boot_sectors_differ(files, earlier.as_ref())? {
            let name = format!("boot sectors of the {}", region.id());
            let evidence = "they differ from the base's".to_owned();
            self.findings.push(boot_code(&name, &name, evidence));
        }
        // A boot loader's installation replaces files, whose old content stays.
        let before = match self.installed {
            Some(disk) if is_installed => disk,
            None if is_installed => return Ok(()),
            _ => self.base,
        };
        for bytes in fat::unused(files, region) {
            if let Some(at) = content::first_difference(self.image, before, &bytes)? {
                let evidence = format!(
                    "free space of its FAT file system has data of the build from byte {at} of the disk on"
                );
                self.findings.push(not_looked_at(region, evidence));
                break;
            }
        }
        Ok(())
    }
}

fn boot_code(id: &str, name: &str, evidence: String) -> Finding {
    let check = "undeclared-boot-code";
    let title = format!("undeclared change of {name}");
    let mut finding = Finding::new(check, format!("{check}:{id}"), Severity::High, title);
    finding.evidence = evidence;
    "find the step that writes to the disk outside of its file systems, and build without it; lock the package of the boot loader (`grub-…`, `shim-…`) if that is to install it"
        .clone_into(&mut finding.fix);
    finding
}

fn boot_file(region: &Region, path: &str, change: fat::Change) -> Finding {
    let check = "undeclared-boot-file";
    let place = match region.kind {
        // Where distributions mount it.
        RegionKind::Efi(_) => format!("/boot/efi{path}"),
        _ => format!("{}:{path}", region.id()),
    };
    let title = format!("undeclared file of the {}", region.id());
    let mut finding = Finding::new(check, format!("{check}:{place}"), Severity::High, title);
    finding.evidence = format!("{path} {change}");
    finding.path = place.starts_with('/').then_some(place);
    "find the step that writes it, and build without it; lock the package of the boot loader (`grub-…`, `shim-…`) if that is to install it"
        .clone_into(&mut finding.fix);
    finding
}

fn not_looked_at(region: &Region, evidence: String) -> Finding {
    let check = "not-looked-at";
    let title = format!("not looked at: {region}");
    let id = format!("{check}:{}", region.id());
    let mut finding = Finding::new(check, id, Severity::High, title);
    finding.evidence = evidence;
    "mount a file system and scan its directory, then accept this finding; or build an image without this part"
        .clone_into(&mut finding.fix);
    finding
}

#[cfg(test)]
mod tests;
