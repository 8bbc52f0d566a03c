//! `NoCloud` seed: a small FAT disk labelled `CIDATA`, from which cloud-init reads the user data.

use std::io::{self, Cursor, Write as _};
use std::path::Path;

use fatfs::{FileSystem, FormatVolumeOptions, FsOptions, format_volume};
use serde_json::json;

use crate::machine::guest::UserData;
use crate::os::atomic_file::write_secret;

/// Size of the disk: room for the files and more; FAT itself needs little.
const DISK_BYTES: usize = 1 << 20;
/// cloud-init looks for a disk with this label.
const LABEL: [u8; 11] = *b"CIDATA     ";

/// Stages of cloud-init after the local one, which does everything, since nothing needs the network.
pub(super) const LATER_STAGES: &str =
    "cloud-init.service cloud-init-network.service cloud-config.service cloud-final.service";

/// Content of the seed.
#[derive(Debug)]
pub(super) struct Seed<'a> {
    /// Instance id, which no earlier boot of the same disk may have had.
    pub instance: &'a str,
    pub user_data: UserData<'a>,
}

impl Seed<'_> {
    /// Writes the disk to a new file that only its owner can read: it contains the guest's private host key.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        write_secret(path, &self.disk()?)
    }

    fn disk(&self) -> io::Result<Vec<u8>> {
        let mut disk = Cursor::new(vec![0; DISK_BYTES]);
        format_volume(&mut disk, FormatVolumeOptions::new().volume_label(LABEL))?;
        let system = FileSystem::new(&mut disk, FsOptions::new())?;
        for (name, text) in [
            ("user-data", self.user_data.text()),
            ("meta-data", self.meta_data()),
        ] {
            let mut file = system.root_dir().create_file(name)?;
            file.write_all(text.as_bytes())?;
            file.flush()?;
        }
        system.unmount()?;
        Ok(disk.into_inner())
    }

    /// Sets no host name: the image keeps the one it has.
    fn meta_data(&self) -> String {
        json!({"instance-id": self.instance, "dsmode": "local"}).to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn blkid_and_mtools_read_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("seed.img");
        let seed = Seed {
            instance: "karat-2",
            user_data: UserData {
                user: "root",
                authorized: None,
                host_key_private: "private",
                host_key_public: "public",
                later_stages: LATER_STAGES,
            },
        };
        seed.write(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(
            seed.write(&path).is_err(),
            "an existing file is not overwritten"
        );

        let run = |command: &mut Command| {
            let output = command.output().unwrap();
            assert!(output.status.success(), "{command:?}: {output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        let blkid = run(Command::new("blkid")
            .args(["-p", "-o", "export"])
            .arg(&path));
        assert!(
            blkid.contains("LABEL=CIDATA") && blkid.contains("TYPE=vfat"),
            "{blkid}"
        );
        let read = |name: &str| {
            run(Command::new("mtype")
                .arg("-i")
                .arg(&path)
                .arg(format!("::{name}")))
        };
        assert_eq!(read("user-data"), seed.user_data.text());
        assert_eq!(read("meta-data"), seed.meta_data());
    }
}
