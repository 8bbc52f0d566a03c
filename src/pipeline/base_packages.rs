//! What a base has installed, remembered for `karat plan --unneeded`: it is known only while a machine runs from it.

use std::path::{Path, PathBuf};

use super::Job;
use crate::digest::Digest;
use crate::os::atomic_file;
use crate::ssh::Session;

/// Where the dpkg status of a base is, once a machine has run from it.
#[must_use]
pub fn status_path(cache: &Path, base: &Digest) -> PathBuf {
    cache.join("status").join(base.hex())
}

impl Job<'_> {
    /// Keeps the status of a machine that has only just begun to run. It is no loss when that fails: whoever asks for
    /// it is told how to get it.
    pub(super) async fn remember(&self, session: &Session, base: &Digest) {
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
                "what the base has installed was not kept: {error}"
            ));
        }
    }
}
