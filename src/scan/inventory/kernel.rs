//! The kernel that boots, according to the boot loader's configuration.

use crate::distro::debian::version::Version;
use crate::scan::{Root, ScanError};

/// Far larger than any boot menu.
const MAX_MENU_BYTES: u64 = 4 << 20;
const MENUS: [&str; 3] = [
    "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/boot/extlinux/extlinux.conf",
];
const PREFIX: &str = "vmlinuz-";

/// Returns the release of the kernel that boots: the first of the boot menu, else the target of `/vmlinuz`, else the
/// newest.
pub fn boots(root: &Root<'_>) -> Result<Option<String>, ScanError> {
    for menu in MENUS {
        if let Some(bytes) = root.read(menu.as_bytes(), MAX_MENU_BYTES)?
            && let Some(first) = first_of_menu(&String::from_utf8_lossy(&bytes))
        {
            return Ok(Some(first));
        }
    }
    let linked = ["/vmlinuz", "/boot/vmlinuz"]
        .into_iter()
        .find_map(|path| release_of(&String::from_utf8_lossy(&root.resolve(path.as_bytes())?)));
    Ok(linked.or_else(|| newest(root)))
}

fn first_of_menu(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let command = words.next()?.to_ascii_lowercase();
        let is_kernel = matches!(
            command.as_str(),
            "linux" | "linux16" | "linuxefi" | "kernel"
        );
        release_of(words.next().filter(|_| is_kernel)?)
    })
}

fn release_of(path: &str) -> Option<String> {
    let name = path.rsplit('/').next()?;
    Some(name.strip_prefix(PREFIX)?.to_owned())
}

fn newest(root: &Root<'_>) -> Option<String> {
    let directory = root.resolve(b"/boot")?;
    let kernels = root
        .children(&directory)
        .filter_map(|(path, _)| release_of(&String::from_utf8_lossy(path)));
    let kernels = kernels.filter(|release| Version::parse(release).is_ok());
    kernels.max_by(|one, other| Version::parse(one).ok().cmp(&Version::parse(other).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::testing::Planted;

    #[test]
    fn the_boot_menu_counts_before_links_and_names() {
        let two = || {
            Planted::default()
                .file("/boot/vmlinuz-6.1.0-9-amd64", 0o644, "")
                .file("/boot/vmlinuz-6.1.0-28-amd64", 0o644, "")
        };
        let linked = || two().link("/vmlinuz", "boot/vmlinuz-6.1.0-9-amd64");
        let menu = "menuentry 'Debian' {\n\tlinux\t/boot/vmlinuz-6.1.0-28-amd64 root=UUID=1 ro\n}\nlinux /boot/vmlinuz-6.1.0-9-amd64\n";
        for (tree, expected) in [
            (Planted::default(), None),
            (two(), Some("6.1.0-28-amd64")),
            (linked(), Some("6.1.0-9-amd64")),
            (
                linked().file("/boot/grub/grub.cfg", 0o600, menu),
                Some("6.1.0-28-amd64"),
            ),
        ] {
            assert_eq!(boots(&tree.root()).unwrap().as_deref(), expected);
        }
    }
}
