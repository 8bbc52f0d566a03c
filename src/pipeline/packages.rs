//! The packages of a build: resolved by the machine's package manager, fetched, installed.

use super::{BuildError, Job, phases::Phases};
use crate::fetch::{FileRequest, FileSources};
use crate::machine::Machine;
use crate::provision::{self, DeclaredPackages, PinnedVersion};
use crate::record::lock::{Lock, Resolution};

impl Job<'_> {
    /// Resolves the packages with the machine's package manager. `pins` are versions to keep if possible.
    pub(super) async fn resolve_packages<M: Machine>(
        &self,
        machine: &mut M,
        declared: &DeclaredPackages,
        pins: &[PinnedVersion],
        phases: &mut Phases<'_>,
    ) -> Result<Resolution, BuildError> {
        let path = &self.plan.template.path;
        let template = path.file_name().unwrap_or_default().to_string_lossy();
        let fetched = |digest: &_| self.settings.cache.path(digest);
        let cx = self.step_context(&fetched);
        let work = async { Ok(provision::resolve(machine, declared, pins, &template, &cx).await?) };
        phases.run("resolve packages", work).await
    }

    /// Fetches every package of a lock into the cache.
    pub(super) async fn fetch_packages(
        &self,
        lock: &Lock,
        phases: &mut Phases<'_>,
    ) -> Result<(), BuildError> {
        if lock.packages.is_empty() {
            return Ok(());
        }
        let wanted: Vec<_> = lock
            .packages
            .iter()
            .map(|package| FileRequest {
                name: format!(
                    "{} {} {}",
                    package.name, package.version, package.architecture
                ),
                digest: package.sha256,
                size: package.size,
                url: package.url(),
                path: package.path.clone(),
            })
            .collect();
        let store = |digest: &_| self.settings.store.blob(digest);
        let places = FileSources {
            store: Some(&store),
            mirrors: self.settings.mirrors,
        };
        let cache = self.settings.cache;
        let fetch = async { Ok(cache.fetch_all(&wanted, places, self.ui).await?) };
        phases.run("fetch packages", fetch).await
    }

    /// Installs the packages of the lock.
    pub(super) async fn install_packages<M: Machine>(
        &self,
        machine: &mut M,
        declared: Option<&DeclaredPackages>,
        lock: &Lock,
        phases: &mut Phases<'_>,
    ) -> Result<(), BuildError> {
        let Some(declared) = declared else {
            return Ok(());
        };
        let fetched = |digest: &_| self.settings.cache.path(digest);
        let cx = self.step_context(&fetched);
        let work = async { Ok(provision::install(machine, declared, lock, &cx).await?) };
        phases.run("install packages", work).await
    }
}
