//! The dpkg status of bases, kept for `karat plan --unneeded`: it can be read only while a machine runs from the base.

use std::path::{Path, PathBuf};

use super::Job;
use crate::digest::Digest;
use crate::os::atomic_file;
use crate::ssh::Session;

/// Returns the path of a base's dpkg status; the file exists once a machine has run from the base.
pub(crate) fn status_path(cache: &Path, base: &Digest) -> PathBuf {
    cache.join("status").join(base.hex())
}

impl Job<'_> {
    /// Saves the dpkg status of a machine that has just booted. A failure is only a detail: `karat plan --unneeded` says how
    /// to get the status.
    pub(super) async fn save_base_packages(&self, session: &Session, base: &Digest) {
        let path = status_path(self.settings.cache.root(), base);
        if path.exists() {
            return;
        }
        let status = session
            .output("cat /var/lib/dpkg/status 2>/dev/null || :")
            .await;
        let kept = status.map_err(std::io::Error::other).and_then(|status| {
            if status.is_empty() {
                return Ok(());
            }
            std::fs::create_dir_all(atomic_file::directory_of(&path))?;
            atomic_file::write(&path, 0o644, status.as_bytes())
        });
        if let Err(error) = kept {
            self.ui.detail(&format!(
                "the list of the base's packages was not saved: {error}"
            ));
        }
    }
}
