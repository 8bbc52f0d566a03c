//! Checks `disk_size` of `[builder.qemu]` against the base.

use super::check::Checker;
use super::{Base, Bootstrap, Builder, Qemu};
use crate::size::show_size;
use crate::template::problem::Problem;
use crate::template::schema;
use crate::template::spanned::Spanned;

/// Largest volume of EC2, which no other target exceeds.
const MAX_DISK_SIZE: u64 = 64 << 40;

impl Checker<'_> {
    /// Checks the size of the disk against that of the base, as far as it is known, and against what exists.
    pub(super) fn disk_fits(
        &mut self,
        builder: Option<&Spanned<schema::Builder>>,
        plan: &Builder,
        base: Option<&Base>,
    ) {
        let written = builder.and_then(|builder| builder.get_ref().qemu.as_ref());
        let written = written.and_then(|qemu| qemu.get_ref().disk_size.as_ref());
        let (
            Some(written),
            Builder::Qemu(Qemu {
                disk_size: Some(size),
                ..
            }),
        ) = (written, plan)
        else {
            return;
        };
        let least = show_size(Bootstrap::DISK_SIZE);
        if matches!(base, Some(Base::Bootstrap(_))) && *size < Bootstrap::DISK_SIZE {
            let what = format!("the base's disk has {least}, and a disk can only grow");
            let help = format!("write \"{least}\" or more, or omit `disk_size`");
            self.report(Problem::at(written.span(), what).help(help));
        } else if *size > MAX_DISK_SIZE {
            let most = show_size(MAX_DISK_SIZE);
            let help =
                format!("write \"{most}\" or less; a disk takes only the space that is used");
            self.report(Problem::at(written.span(), "no disk is that large").help(help));
        }
    }
}
