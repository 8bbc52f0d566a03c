//! The `NoCloud` seed: a small FAT disk labelled `CIDATA` that tells cloud-init how to let us in.

use std::fs::OpenOptions;
use std::io::{self, Cursor, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use fatfs::{FileSystem, FormatVolumeOptions, FsOptions, format_volume};
use serde_json::{Value, json};

/// Room for the files and more; FAT needs little itself.
const SIZE: usize = 1 << 20;
/// cloud-init looks for a disk with this label.
const LABEL: [u8; 11] = *b"CIDATA     ";

/// The stages after the local one would each start Python for nothing, 20 s of an emulated boot. One that is gone cannot be
/// cancelled, and not every guest has systemd; neither matters.
const CANCEL_LATER_STAGES: &str = "systemctl stop --no-block cloud-init.service cloud-init-network.service \
     cloud-config.service cloud-final.service 2>/dev/null || true";

/// What the guest is told.
#[derive(Debug)]
pub(super) struct Seed<'a> {
    /// Anything that no boot of the same disk was told before.
    pub instance: &'a str,
    /// Login name.
    pub user: &'a str,
    /// Public keys that may log in, as lines of `authorized_keys`.
    pub authorized: &'a [String],
    /// The guest's own key.
    pub host_key_private: &'a str,
    pub host_key_public: &'a str,
}

impl Seed<'_> {
    /// Writes the disk to a new file that only its owner can read: it holds the guest's private key.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let disk = self.disk()?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(&disk)
    }

    fn disk(&self) -> io::Result<Vec<u8>> {
        let mut disk = Cursor::new(vec![0; SIZE]);
        format_volume(&mut disk, FormatVolumeOptions::new().volume_label(LABEL))?;
        let system = FileSystem::new(&mut disk, FsOptions::new())?;
        for (name, text) in [
            ("user-data", self.user_data()),
            ("meta-data", self.meta_data()),
        ] {
            let mut file = system.root_dir().create_file(name)?;
            file.write_all(text.as_bytes())?;
            file.flush()?;
        }
        system.unmount()?;
        Ok(disk.into_inner())
    }

    /// No host name: the image keeps the one it has. All is done in the local stage, before the network: nothing needs it.
    fn meta_data(&self) -> String {
        json!({"instance-id": self.instance, "dsmode": "local"}).to_string()
    }

    /// Every JSON text is YAML, and nothing in it can break out of its place.
    ///
    /// Only the modules that the build needs run: what cloud-init would do besides (apt sources, locale, mounts, ...) has no place
    /// in an image, takes much of an emulated boot, and comes anyway when the finished image first boots for its user.
    fn user_data(&self) -> String {
        let mut config = json!({
            "ssh_deletekeys": true,
            "ssh_keys": {"ed25519_private": self.host_key_private, "ed25519_public": self.host_key_public},
            "disable_root": false,
            "preserve_hostname": true,
            "growpart": {"mode": "auto", "devices": ["/"]},
            "resize_rootfs": true,
            "bootcmd": [CANCEL_LATER_STAGES],
            "cloud_init_modules": ["bootcmd", "growpart", "resizefs", "users-groups", "ssh"],
            "cloud_config_modules": [],
            "cloud_final_modules": [],
        });
        if self.user == "root" {
            // Not as an entry of `users`, which would lock root's password, a change that stays in the image.
            config["users"] = json!([]);
            config["ssh_authorized_keys"] = json!(self.authorized);
        } else {
            config["users"] = json!([self.other_user()]);
        }
        format!("#cloud-config\n{config}\n")
    }

    fn other_user(&self) -> Value {
        json!({
            "name": self.user,
            "ssh_authorized_keys": self.authorized,
            "sudo": "ALL=(ALL) NOPASSWD:ALL",
            "shell": "/bin/bash",
            // A new user has no password anyway, and an existing one keeps what it has.
            "lock_passwd": false,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use super::*;

    fn user_data(user: &str) -> Value {
        let seed = Seed {
            instance: "karat-1",
            user,
            authorized: &["ssh-ed25519 AAAA \"build\"".into()],
            host_key_private: "-----BEGIN\nx\n-----END\n",
            host_key_public: "ssh-ed25519 BBBB",
        };
        let text = seed.user_data();
        serde_json::from_str(text.strip_prefix("#cloud-config\n").unwrap()).unwrap()
    }

    #[test]
    fn root_gets_the_key_without_an_entry_and_another_user_with_sudo() {
        let root = user_data("root");
        assert_eq!(root["users"], json!([]));
        assert_eq!(
            root["ssh_authorized_keys"],
            json!(["ssh-ed25519 AAAA \"build\""])
        );
        let other = user_data("debian");
        assert_eq!(other["ssh_authorized_keys"], Value::Null);
        assert_eq!(other["users"][0]["name"], "debian");
        assert_eq!(other["users"][0]["sudo"], "ALL=(ALL) NOPASSWD:ALL");
        assert_eq!(
            other["ssh_keys"]["ed25519_private"],
            "-----BEGIN\nx\n-----END\n"
        );
    }

    #[test]
    fn blkid_and_mtools_read_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("seed.img");
        let seed = Seed {
            instance: "karat-2",
            user: "root",
            authorized: &[],
            host_key_private: "private",
            host_key_public: "public",
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
        assert_eq!(read("user-data"), seed.user_data());
        assert_eq!(read("meta-data"), seed.meta_data());
    }
}
