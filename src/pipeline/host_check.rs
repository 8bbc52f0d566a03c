//! Checks of this host before a guest is launched: programs, memory, firmware, processors and disk space.

use std::path::Path;

use super::{BuildError, Job};
use crate::base::BaseDisk;
use crate::machine::qemu;
use crate::os::{hash_stream, resources};
use crate::plan;

/// Changes of a guest that boots and installs a few packages.
const GUEST_BYTES: u64 = 256 << 20;

impl Job<'_> {
    /// Checks that this host can run the guest, before the base is downloaded or hashed.
    pub(super) async fn check_host(&self, guest: &plan::Qemu) -> Result<(), BuildError> {
        let settings = guest.clone();
        hash_stream::blocking(move |_| qemu::check_host(&settings)).await?;
        let host = std::thread::available_parallelism().map_or(1, usize::from);
        let host = u32::try_from(host).unwrap_or(u32::MAX);
        if guest.cpus > host.saturating_mul(2) {
            self.ui.warn(&format!(
                "the guest has {} processors, and this host {host}: the build is faster with `cpus = {host}`",
                guest.cpus
            ));
        }
        Ok(())
    }

    /// Checks that the cache has room for the changes of the guest and the finished image, and the store for the image.
    pub(super) fn check_space(&self, base: &BaseDisk) -> Result<(), BuildError> {
        let (cache, store) = (self.settings.cache.root(), self.settings.store.root());
        require_space(cache, base.size + GUEST_BYTES, "KARAT_CACHE")?;
        require_space(store, GUEST_BYTES, "`--store`")
    }
}

/// Refuses a directory with less than `needed` bytes of free space. `option` chooses another.
fn require_space(directory: &Path, needed: u64, option: &'static str) -> Result<(), BuildError> {
    match resources::free_space(directory) {
        Ok(free) if free < needed => Err(BuildError::NoSpace {
            directory: directory.to_owned(),
            free,
            needed,
            option,
        }),
        // Where the kernel does not tell, writing decides.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_directory_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        require_space(scratch.path(), 1, "KARAT_CACHE").unwrap();
        let error = require_space(scratch.path(), u64::MAX, "KARAT_CACHE").unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with(&scratch.path().display().to_string()),
            "{text}"
        );
        let help = miette::Diagnostic::help(&error).unwrap().to_string();
        assert!(
            help.contains("karat prune") && help.contains("KARAT_CACHE"),
            "{help}"
        );
    }
}
