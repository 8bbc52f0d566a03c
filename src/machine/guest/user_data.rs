//! User data for cloud-init, which gives karat access to the guest.

use serde_json::{Value, json};

/// Values of the `#cloud-config` of a guest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UserData<'a> {
    pub user: &'a str,
    /// Public key to authorize, as a line of `authorized_keys`.
    pub authorized: Option<&'a str>,
    pub host_key_private: &'a str,
    pub host_key_public: &'a str,
    /// Units of cloud-init's stages after the one that does all of this. Each would start Python for nothing, 20 s of an emulated
    /// boot.
    pub later_stages: &'a str,
}

impl UserData<'_> {
    /// Returns the text. It is JSON, which is valid YAML and quotes every value safely.
    ///
    /// Only the modules that the build needs run: what cloud-init would do besides (apt sources, locale, mounts, ...) does not
    /// belong in an image, takes much of an emulated boot, and happens anyway when the finished image first boots for its user.
    pub(crate) fn text(&self) -> String {
        // A unit that has ended cannot be cancelled, and not every guest has systemd; neither matters.
        let cancel = format!(
            "systemctl stop --no-block {} 2>/dev/null || true",
            self.later_stages
        );
        let config = json!({
            "ssh_deletekeys": true,
            "ssh_keys": {"ed25519_private": self.host_key_private, "ed25519_public": self.host_key_public},
            "disable_root": false,
            "preserve_hostname": true,
            "users": [self.user_entry()],
            "growpart": {"mode": "auto", "devices": ["/"]},
            "resize_rootfs": true,
            "bootcmd": [cancel],
            "cloud_init_modules": ["bootcmd", "growpart", "resizefs", "users-groups", "ssh"],
            "cloud_config_modules": [],
            "cloud_final_modules": [],
        });
        format!("#cloud-config\n{config}\n")
    }

    fn user_entry(&self) -> Value {
        let mut entry = json!({
            "name": self.user,
            // A new user has no password. Locking that of an existing user, even root, would stay in the image.
            "lock_passwd": false,
        });
        if let Some(key) = self.authorized {
            entry["ssh_authorized_keys"] = json!([key]);
        }
        if self.user != "root" {
            entry["sudo"] = json!("ALL=(ALL) NOPASSWD:ALL");
            entry["shell"] = json!("/bin/bash");
        }
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(user: &str) -> Value {
        let data = UserData {
            user,
            authorized: Some("ssh-ed25519 AAAA \"build\""),
            host_key_private: "-----BEGIN\nx\n-----END\n",
            host_key_public: "ssh-ed25519 BBBB",
            later_stages: "cloud-final.service",
        };
        let text = data.text();
        serde_json::from_str(text.strip_prefix("#cloud-config\n").unwrap()).unwrap()
    }

    #[test]
    fn root_gets_the_key_alone_and_another_user_sudo_too() {
        for (user, sudo) in [
            ("root", Value::Null),
            ("debian", json!("ALL=(ALL) NOPASSWD:ALL")),
        ] {
            let config = config(user);
            let entry = &config["users"][0];
            assert_eq!(entry["name"], user);
            assert_eq!(entry["sudo"], sudo);
            assert_eq!(entry["lock_passwd"], false);
            assert_eq!(
                entry["ssh_authorized_keys"],
                json!(["ssh-ed25519 AAAA \"build\""])
            );
            assert_eq!(
                config["ssh_keys"]["ed25519_private"],
                "-----BEGIN\nx\n-----END\n"
            );
        }
    }
}
