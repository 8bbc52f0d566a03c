//! Checks of the disk that a build starts from: files and downloads that are not disks, and `disk_size` of `[builder.qemu]`.

use std::path::Path;

use super::check::Checker;
use super::{Base, Bootstrap, Builder, Plan, Qemu};
use crate::size::show_size;
use crate::template::problem::Problem;
use crate::template::scalar::Scalar;
use crate::template::schema::{self, Str, Template};
use crate::template::spanned::Spanned;

/// Largest volume of EC2, which no other target exceeds.
const MAX_DISK_SIZE: u64 = 64 << 40;
/// Advice for a file without an installed system.
pub(crate) const SYSTEM_DISK_HELP: &str =
    "give the disk of an installed system, as in a distribution's cloud image";
/// Advice for an ISO.
pub(crate) const INSTALLER_HELP: &str = "karat runs no installer: use `[base.bootstrap]`, or give the disk of an installed system, as in a distribution's cloud image";
/// Extensions of compressed files, which karat does not unpack.
const COMPRESSED: [&str; 6] = ["xz", "gz", "zst", "bz2", "zip", "7z"];

/// Inspection of a base disk: returns its size, if that is known, or the reason why the file cannot be a base.
pub type BaseInspection = fn(&Path) -> Result<Option<u64>, Problem>;

impl Checker<'_> {
    /// Checks the size of the disk against that of the base, as far as the template tells it, and against what exists.
    pub(super) fn disk_fits(
        &mut self,
        builder: Option<&Spanned<schema::Builder>>,
        plan: &Builder,
        base: Option<&Base>,
    ) {
        let Some((written, size)) = disk_size(builder, plan) else {
            return;
        };
        if matches!(base, Some(Base::Bootstrap(_))) && size < Bootstrap::DISK_SIZE {
            self.report(too_small(written, Bootstrap::DISK_SIZE));
        } else if size > MAX_DISK_SIZE {
            let most = show_size(MAX_DISK_SIZE);
            let help =
                format!("write \"{most}\" or less; a disk takes only the space that is used");
            self.report(Problem::at(written.span(), "no disk is that large").help(help));
        }
    }

    /// Checks that the name of a download is that of a disk.
    pub(super) fn downloads_disk(&mut self, url: &Str) {
        let path = url.get_ref().split(['?', '#']).next().unwrap_or_default();
        let extension = Path::new(path).extension().unwrap_or_default();
        let extension = extension.to_ascii_lowercase();
        let problem = |what: &str, help: &str| Problem::at(url.span(), what).help(help);
        if extension == "iso" {
            self.report(problem("this is an installer", INSTALLER_HELP));
        } else if COMPRESSED.iter().any(|known| extension == *known) {
            let help = "download it, unpack it, and name the file in `[base.file]`";
            self.report(problem("karat does not unpack a base", help));
        }
    }
}

/// Inspects the file of `[base.file]`, and checks that its disk fits into `disk_size`.
pub(super) fn check_base_file(
    template: &Template,
    plan: &Plan,
    inspect: BaseInspection,
) -> Option<Problem> {
    let Some(Base::File { path, .. }) = &plan.base else {
        return None;
    };
    let file = template.base.as_ref()?.get_ref().file.as_ref()?;
    match inspect(path) {
        Err(problem) => Some(Problem {
            span: Some(file.get_ref().path.as_ref()?.span()),
            ..problem
        }),
        Ok(base) => {
            let base = base?;
            let (written, size) = disk_size(template.builder.as_ref(), &plan.builder)?;
            (size < base).then(|| too_small(written, base))
        }
    }
}

/// Returns `disk_size` as written, and in bytes.
fn disk_size<'t>(
    builder: Option<&'t Spanned<schema::Builder>>,
    plan: &Builder,
) -> Option<(&'t Spanned<Scalar>, u64)> {
    let Builder::Qemu(Qemu { disk_size, .. }) = plan else {
        return None;
    };
    let qemu = builder?.get_ref().qemu.as_ref()?;
    Some((qemu.get_ref().disk_size.as_ref()?, (*disk_size)?))
}

fn too_small(written: &Spanned<Scalar>, base: u64) -> Problem {
    let base_size = show_size(base);
    let what = format!("`disk_size` is less than the {base_size} of the base's disk");
    Problem::at(written.span(), what).help(grow_help(base))
}

/// Advice for a `disk_size` that is smaller than the disk of the base.
pub(crate) fn grow_help(base: u64) -> String {
    let least = show_size(base.next_multiple_of(1 << 20));
    format!("a disk can only grow: write \"{least}\" or more, or omit `disk_size`")
}
