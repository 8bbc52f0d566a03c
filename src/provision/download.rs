//! The `download` step copies files and directories out of the machine.

use std::path::{Path, PathBuf};

use super::{Context, ProvisionError};
use crate::machine::Machine;
use crate::plan::Download;

/// Copies each source to the destination; into it, if that is a directory or there are several sources.
pub(super) async fn run<M: Machine>(
    machine: &mut M,
    download: &Download,
    cx: &Context<'_>,
) -> Result<(), ProvisionError> {
    let destination = &download.destination;
    let slash = destination.as_os_str().as_encoded_bytes().ends_with(b"/");
    let into = download.sources.len() > 1 || slash || destination.is_dir();
    let parent = if into {
        Some(destination.as_path())
    } else {
        destination.parent()
    };
    if let Some(path) = parent {
        let failed = |source| ProvisionError::Destination {
            path: path.to_owned(),
            source,
        };
        tokio::fs::create_dir_all(path).await.map_err(failed)?;
    }
    for source in &download.sources {
        let target = if into {
            named(destination, source)
        } else {
            destination.clone()
        };
        let bar = cx.ui.bar(source, None);
        machine.session().download(source, &target, &bar).await?;
    }
    Ok(())
}

fn named(directory: &Path, source: &str) -> PathBuf {
    match Path::new(source).file_name() {
        Some(name) => directory.join(name),
        None => directory.to_owned(),
    }
}
