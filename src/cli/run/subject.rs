//! The image that a run boots: one of the store, or a file.

use std::path::{Path, PathBuf};

use super::guest::{accepts_login, default_guest, format_of, guest_of};
use super::{RunArgs, RunError};
use crate::cli::CommandError;
use crate::disk::{self, BaseImage};
use crate::os::run_dir::RunDir;
use crate::plan::{Qemu, Ssh};
use crate::record::manifest::Manifest;
use crate::store::Store;
use crate::ui::Ui;

/// Help when the image is revoked.
const REVOKED_HELP: &str = "`--allow-revoked` runs it anyway";

/// An image with the guest that boots it.
pub(super) struct Subject {
    /// Name of the image or of the file.
    pub name: String,
    /// Argument of `karat run` that names it.
    pub reference: String,
    pub guest: Qemu,
    pub ssh: Ssh,
    disk: Disk,
}

enum Disk {
    Stored(Store, Box<Manifest>),
    File(PathBuf),
}

impl Subject {
    /// Finds the file or the image that was named.
    pub(super) fn find(args: &RunArgs) -> Result<Self, CommandError> {
        let path = Path::new(&args.image);
        let mut subject = if path.is_file() {
            Self::of_file(path)
        } else {
            Self::of_store(args)?
        };
        let guest = &mut subject.guest;
        guest.cpus = args.cpus.unwrap_or(guest.cpus);
        guest.memory = args.memory.unwrap_or(guest.memory);
        Ok(subject)
    }

    fn of_file(path: &Path) -> Self {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let (guest, ssh) = default_guest();
        Self {
            name: stem.into_owned(),
            reference: path.display().to_string(),
            guest,
            ssh,
            disk: Disk::File(path.to_owned()),
        }
    }

    fn of_store(args: &RunArgs) -> Result<Self, CommandError> {
        let store = args.store.open()?;
        let stored = store.manifest(store.resolve(&args.image)?)?;
        if !args.allow_revoked {
            store.allow(stored.id, REVOKED_HELP)?;
        }
        let (guest, ssh) = guest_of(&stored.manifest);
        if !args.console && !accepts_login(&stored.manifest) {
            return Err(RunError::NoLogin {
                name: stored.manifest.inputs.image.name,
                reference: stored.id.short(),
            }
            .into());
        }
        Ok(Self {
            name: stored.manifest.inputs.image.name.clone(),
            reference: stored.id.short(),
            guest,
            ssh,
            disk: Disk::Stored(store, Box::new(stored.manifest)),
        })
    }

    /// Returns the disk to boot from. An image of the store is verified and copied to the run directory.
    pub(super) async fn disk(&self, run: &RunDir, ui: &Ui) -> Result<BaseImage, CommandError> {
        let disk = match &self.disk {
            Disk::Stored(store, manifest) => {
                let phase = ui.phase("copy the image");
                let path = run.path().join("image");
                store.export(manifest, &path, false, ui).await?;
                let _took = phase.done();
                BaseImage {
                    path,
                    format: format_of(manifest).to_owned(),
                }
            }
            Disk::File(path) => BaseImage {
                path: path.clone(),
                format: disk::inspect(path).await?.format,
            },
        };
        disk::require_bootable(&disk)?;
        Ok(disk)
    }
}
