//! Checks before mmdebstrap runs: disk space, and that the archives have the suite and the architecture.

use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;

use super::BootstrapError;
use super::recipe::{Recipe, debian_arch};
use super::sources::Source;
use crate::fetch::{Probe, probe};
use crate::os::resources;
use crate::plan::Arch;
use crate::size::GIB;

/// Free space that making a base takes: its tree, the disk with the same files, and the packages.
pub(crate) const SPACE: u64 = 2 * GIB;
/// Longer than a working archive takes for a short answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Refuses a scratch directory without space for a base.
pub(super) fn require_space(scratch: &Path) -> Result<(), BootstrapError> {
    match resources::free_space(scratch) {
        Ok(free) if free < SPACE => Err(BootstrapError::NoSpace {
            path: scratch.to_owned(),
            free,
        }),
        // Where the kernel does not tell, writing decides.
        _ => Ok(()),
    }
}

/// Refuses archives that answer and lack the suite or the architecture. Where an archive does not answer, mmdebstrap decides:
/// apt may have other proxies.
pub(super) async fn check_archives(recipe: &Recipe) -> Result<(), BootstrapError> {
    let missing = recipe.sources.iter().map(async |source| {
        let files = ["InRelease", "Release"];
        lacks(&files.map(|file| source.release_file(file))).await
    });
    let missing = join_all(missing).await;
    if let Some((source, _)) = recipe
        .sources
        .iter()
        .zip(missing)
        .find(|(_, missing)| *missing)
    {
        return Err(BootstrapError::NoSuite {
            uri: source.uri.clone(),
            suite: source.suite.clone(),
            hint: recipe.plan.suite_hint(),
        });
    }
    if recipe.plan.arch == Arch::of_host() {
        return Ok(());
    }
    for source in &recipe.sources {
        let arch = debian_arch(recipe.plan.arch);
        if lacks(&indices(source, arch)).await {
            return Err(BootstrapError::NoArchitecture {
                uri: source.uri.clone(),
                suite: source.suite.clone(),
                arch,
            });
        }
    }
    Ok(())
}

/// Returns the URLs that the index of a source's first component may have.
fn indices(source: &Source, arch: &str) -> [String; 3] {
    let component = source.components.first().map_or("main", String::as_str);
    ["xz", "gz", "bz2"]
        .map(|end| source.release_file(&format!("{component}/binary-{arch}/Packages.{end}")))
}

/// Returns whether the server says that it has none of these files.
async fn lacks(urls: &[String]) -> bool {
    for url in urls {
        if !matches!(probe(url, PROBE_TIMEOUT).await, Ok(Probe::Missing)) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::bootstrap::sources::HostSources;
    use crate::plan::Bootstrap;

    #[tokio::test]
    async fn an_archive_without_the_suite_or_the_architecture_is_refused() {
        let archive = tempfile::tempdir().unwrap();
        let suite = archive.path().join("dists/bookworm");
        std::fs::create_dir_all(suite.join("main/binary-amd64")).unwrap();
        for file in ["InRelease", "main/binary-amd64/Packages.gz"] {
            std::fs::write(suite.join(file), "").unwrap();
        }
        let mirror = |suite: &str| format!("deb file://{} {suite} main", archive.path().display());
        for (suite, mirror, arch, expected) in [
            ("bookworm", mirror("bookworm"), Arch::X86_64, None),
            (
                "bokworm",
                mirror("bokworm"),
                Arch::X86_64,
                Some("has no suite `bokworm`"),
            ),
            (
                "bookworm",
                mirror("bookworm"),
                Arch::Aarch64,
                Some("has no arm64 packages"),
            ),
            // Nothing listens there: mmdebstrap may have a proxy for it.
            (
                "bookworm",
                "http://127.0.0.1:9/debian".to_owned(),
                Arch::Aarch64,
                None,
            ),
        ] {
            let plan = Bootstrap {
                suite: suite.to_owned(),
                mirror: Some(mirror),
                ..Bootstrap::default_for(arch)
            };
            let recipe = Recipe::new(&plan, &HostSources::default(), |_| true).unwrap();
            let checked = check_archives(&recipe)
                .await
                .map_err(|error| error.to_string());
            // An index is asked for only if the host has another architecture.
            let expected =
                expected.filter(|text| !text.contains("arm64") || Arch::of_host() == Arch::X86_64);
            match (checked, expected) {
                (Ok(()), None) => {}
                (Err(error), Some(text)) => assert!(error.contains(text), "{error}"),
                (checked, expected) => panic!("{plan:?}: {checked:?} {expected:?}"),
            }
        }
    }

    #[test]
    fn space_is_required_where_the_base_is_made() {
        let error = require_space(Path::new("/proc")).unwrap_err().to_string();
        assert_eq!(
            error,
            "/proc has 0 B of free space, and making a base takes at least 2.00 GiB"
        );
    }
}
