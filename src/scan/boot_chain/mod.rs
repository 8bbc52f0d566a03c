//! Checks everything on a disk outside of its root file system: boot code, gaps, the EFI partition, other partitions.
//!
//! In an image that karat built, each byte is zero, the same as before the build, or read and explained. Structures of the
//! partition table are parsed, as they depend on the size of the disk. In other images, what was not read is reported.

mod content;
mod fat;
mod layout;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::layout::{Layout, Region, RegionKind};
use super::{Finding, ScanError, Severity};
use crate::disk::read::{BlockRead, Memory};
use crate::record::explanation::Cause;
use crate::record::lock::LockedPackage;

/// Names of packages whose scripts run `grub-install`, or update the EFI partition, begin with these.
const BOOT_LOADERS: [&str; 3] = ["grub-", "grub2-", "shim-"];
/// Directory of the EFI partition that boot loaders are installed in.
const EFI_DIRECTORY: &str = "/EFI/";

/// Packages of a build, and the disk that they left.
#[derive(Clone, Copy)]
pub struct Installation<'a> {
    /// Packages that the build installed.
    pub packages: &'a [LockedPackage],
    /// Disk as the packages left it; `None` if no step ran after them, or it was not kept.
    pub disk: Option<&'a Arc<dyn BlockRead>>,
}

/// Result of comparing the disks.
#[derive(Debug, Default)]
pub struct BootChain {
    pub findings: Vec<Finding>,
    /// Causes of what lies outside of the root file system: parts of the disk by name, files of the EFI partition by path.
    pub causes: Vec<(String, Cause)>,
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
) -> Result<BootChain, ScanError> {
    let layout = Layout::read(image)?;
    let mut comparison = Comparison {
        image,
        base,
        installed: installed.disk,
        boot_loader: installed.packages.iter().find(|package| {
            let mut starts = BOOT_LOADERS.iter();
            starts.any(|start| package.name.starts_with(start))
        }),
        layout: &layout,
        found: BootChain::default(),
    };
    if let Some(difference) = table::difference(image, base, &layout)? {
        let finding = boot_code("partition table", "the partition table", difference);
        comparison.found.findings.push(finding);
    }
    for region in &layout.regions {
        comparison.region(region)?;
    }
    Ok(comparison.found)
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
    /// Package that the build installs, and that writes boot code and EFI files.
    boot_loader: Option<&'a LockedPackage>,
    layout: &'a Layout,
    found: BootChain,
}

impl Comparison<'_> {
    fn region(&mut self, region: &Region) -> Result<(), ScanError> {
        if let RegionKind::Efi(_) | RegionKind::Fat(_) = region.kind
            && let Ok(files) = fat::list(self.image, region)
        {
            return self.fat(region, &files);
        }
        let difference = content::first_difference(self.image, self.base, &region.bytes)?;
        let cause = match difference {
            None => Some(Cause::Base),
            Some(_) => self.installation(region)?,
        };
        let is_explained = cause.is_some();
        let cause = cause.unwrap_or(Cause::Undeclared);
        self.found.causes.push((region.id(), cause));
        let Some(at) = difference.filter(|_| !is_explained) else {
            return Ok(());
        };
        let evidence = format!("it differs from the base's from byte {at} of the disk on");
        self.found.findings.push(match region.kind {
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

    /// Returns the package of the build that runs `grub-install`, if this writes to a region and no step wrote there.
    fn installation(&self, region: &Region) -> Result<Option<Cause>, ScanError> {
        let is_written = match region.kind {
            RegionKind::BootCode | RegionKind::BiosBoot(_) => true,
            // On a GPT it uses the BIOS boot partition.
            RegionKind::BootGap => !self.layout.is_gpt(),
            _ => false,
        };
        let Some(package) = self.boot_loader.filter(|_| is_written) else {
            return Ok(None);
        };
        let is_as_installed = match self.installed {
            Some(disk) => content::first_difference(self.image, disk, &region.bytes)?.is_none(),
            None => true,
        };
        Ok(is_as_installed.then(|| by_scripts_of(package)))
    }

    /// Compares a FAT file system path by path, then its boot sectors and its free space.
    fn fat(&mut self, region: &Region, files: &fat::Listing) -> Result<(), ScanError> {
        let earlier = fat::list(self.base, region).ok();
        let is_efi = matches!(region.kind, RegionKind::Efi(_));
        let boot_loader = self.boot_loader.filter(|_| is_efi);
        let is_installed = boot_loader.is_some();
        let by_steps = match self.installed.filter(|_| is_installed) {
            Some(disk) => fat::changes(files, fat::list(disk, region).ok().as_ref())?,
            None => Vec::new(),
        };
        let in_directory = |path: &str| {
            let start = path.get(..EFI_DIRECTORY.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(EFI_DIRECTORY))
        };
        let as_in_base = |path: &str| (place(region, path), Cause::Base);
        let mut causes: BTreeMap<_, _> = files.paths().map(as_in_base).collect();
        for (path, change) in fat::changes(files, earlier.as_ref())? {
            let by_step = by_steps.iter().any(|(changed, _)| *changed == path);
            let package = boot_loader.filter(|_| !by_step && in_directory(&path));
            if package.is_none() {
                self.found.findings.push(boot_file(region, &path, change));
            }
            if let Some(cause) = causes.get_mut(&place(region, &path)) {
                *cause = package.map_or(Cause::Undeclared, by_scripts_of);
            }
        }
        self.found.causes.extend(causes);
        if fat::boot_sectors_differ(files, earlier.as_ref())? {
            let name = format!("boot sectors of the {}", region.id());
            let evidence = "they differ from the base's".to_owned();
            self.found.findings.push(boot_code(&name, &name, evidence));
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
                self.found.findings.push(not_looked_at(region, evidence));
                break;
            }
        }
        Ok(())
    }
}

fn by_scripts_of(package: &LockedPackage) -> Cause {
    Cause::Scripts {
        package: Some(package.name.clone()),
    }
}

/// Returns the path of a file of a FAT file system where distributions mount it, or a name with its partition.
fn place(region: &Region, path: &str) -> String {
    match region.kind {
        RegionKind::Efi(_) => format!("/boot/efi{path}"),
        _ => format!("{}:{path}", region.id()),
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
    let place = place(region, path);
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
