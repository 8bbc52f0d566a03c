//! A base with an initrd of initramfs-tools and a `grub.cfg`, and images whose packages made others.

use std::io::Write as _;

use super::initrd::{Unreadable, read};
use super::*;
use crate::scan::cpio::testing::{Entry, cpio};
use crate::scan::integrity::verify;
use crate::scan::testing::{Planted, soak};

const FILE: usize = 0o100_644;
const PROGRAM: usize = 0o100_755;
const LINK: usize = 0o120_777;
const INITRD: &str = "/boot/initrd.img-2";
const MODULE: &[u8] = b"module";
const ORDER: &str = "/scripts/local/resume \"$@\"\n[ -e /conf/param.conf ] && . /conf/param.conf\n";

fn one(path: &str, mode: usize, content: &[u8]) -> Vec<u8> {
    cpio(&[(path, mode, content, 1, 1)])
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(1);
    let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// The tree of the base, with everything that the initrd is made from.
fn base() -> Planted {
    let klibc = "/usr/lib/klibc/bin/sh";
    Planted::default()
        .file("/usr/bin/kmod", 0o755, "kmod")
        .file("/usr/bin/sh", 0o755, "dash")
        .file("/usr/bin/busybox", 0o755, "busybox")
        .file(klibc, 0o755, "klibc")
        .link("/bin", "usr/bin")
        .link("/lib", "usr/lib")
        .link("/usr/sbin/modprobe", "/bin/kmod")
        .file("/usr/lib/modules/2/a.ko", 0o644, MODULE)
        .file("/usr/lib/modules/2/b.ko.xz", 0o644, xz(MODULE))
        .file("/usr/share/initramfs-tools/init", 0o755, "init")
        .file("/usr/share/initramfs-tools/scripts/local", 0o644, "local")
        .file(
            "/etc/initramfs-tools/initramfs.conf",
            0o644,
            "MODULES=most\n",
        )
        .file("/etc/udev/udev.conf", 0o644, "old\n")
        .file("/boot/initrd.img-1", 0o644, "as it was")
        .file("/boot/grub/grub.cfg", 0o644, GRUB)
        .file(
            "/etc/default/grub",
            0o644,
            "GRUB_CMDLINE_LINUX=\"quiet\"\n# init=/bin/sh\n",
        )
        .file("/boot/vmlinuz-1", 0o644, "kernel")
}

fn members() -> Vec<Entry<'static>> {
    vec![
        ("bin", LINK, b"usr/bin", 1, 1),
        ("init", PROGRAM, b"init", 2, 1),
        ("scripts", 0o040_755, b"", 3, 1),
        ("scripts/local", FILE, b"local", 4, 1),
        ("scripts/init-top/ORDER", FILE, ORDER.as_bytes(), 5, 1),
        ("conf/arch.conf", FILE, b"DPKG_ARCH=amd64\n", 6, 1),
        ("conf/initramfs.conf", FILE, b"MODULES=most\n", 7, 1),
        ("etc/fstab", FILE, b"", 8, 1),
        ("etc/mtab", LINK, b"/proc/mounts", 9, 1),
        ("etc/udev/udev.conf", FILE, b"old\n", 10, 1),
        ("usr/bin/kmod", PROGRAM, b"kmod", 11, 1),
        ("usr/bin/sh", PROGRAM, b"klibc", 12, 1),
        ("usr/bin/awk", PROGRAM, b"", 13, 2),
        ("usr/bin/busybox", PROGRAM, b"busybox", 13, 2),
        ("usr/bin/vi", LINK, b"busybox", 14, 1),
        ("usr/sbin/modprobe", LINK, b"../bin/kmod", 15, 1),
        ("lib/modules/2/a.ko", FILE, MODULE, 16, 1),
        ("usr/lib/modules/2/b.ko", FILE, MODULE, 17, 1),
        ("usr/lib/modules/2/modules.dep", FILE, b"a.ko:\n", 18, 1),
        ("dev/console", 0o020_600, b"", 19, 1),
    ]
}

fn found(image: &Planted) -> Vec<Finding> {
    let (base, root) = (base(), image.root());
    let trees = BootTrees {
        image: &root,
        base: &base.root(),
        before: None,
    };
    check(&trees, &verify(&root).unwrap(), &Declared::default()).unwrap()
}

fn ids(image: &Planted) -> Vec<String> {
    let ids = found(image).into_iter().map(|finding| {
        assert!(!finding.evidence.is_empty() && !finding.fix.is_empty());
        finding.id
    });
    ids.collect()
}

#[test]
fn an_initrd_of_the_images_files_needs_no_declaration_however_it_is_compressed() {
    let all = cpio(&members());
    let microcode = one("kernel/x86/microcode/GenuineIntel.bin", FILE, b"microcode");
    let padded = [&microcode[..], &[0; 516]].concat();
    for (name, content) in [
        ("plain", all.clone()),
        ("gzip", gzip(&all)),
        ("zstd", zstd(&all)),
        ("xz", xz(&all)),
        ("microcode", [&padded[..], &zstd(&all)].concat()),
        ("padding", [&gzip(&all)[..], &[0; 300]].concat()),
    ] {
        let image = base().file(INITRD, 0o600, content);
        assert_eq!(ids(&image), [""; 0], "{name}");
    }
}

#[test]
fn a_member_that_nothing_explains_is_found_wherever_it_is() {
    let all = cpio(&members());
    for (path, mode, content) in [
        ("usr/bin/evil", PROGRAM, &b"evil"[..]),
        ("usr/bin/kmod", PROGRAM, b"evil"),
        ("init", PROGRAM, b"#!/bin/sh"),
        // A program of klibc in another place.
        ("init", PROGRAM, b"klibc"),
        ("scripts/init-top/ORDER", FILE, b"/bin/evil\n"),
        ("scripts/local-top/evil", PROGRAM, b"evil"),
        ("scripts/../usr/bin/ORDER", FILE, b""),
        ("conf/arch.conf", FILE, b"DPKG_ARCH=amd64; reboot\n"),
        ("conf/modules", FILE, b"evil $(reboot)\n"),
        ("etc/fstab", PROGRAM, b"executable"),
        ("etc/modprobe.d/evil.conf", FILE, b"install ext4 /bin/sh"),
        ("lib/modules/2/c.ko", FILE, MODULE),
        ("usr/lib/modules/2/b.ko", FILE, b"other!"),
        ("sbin/init", LINK, b"/bin/sh"),
        ("usr/sbin/modprobe", LINK, b"/evil"),
    ] {
        let evil = one(path, mode, content);
        let expected = [format!("undeclared-boot-file:{INITRD}:{path}")];
        for (name, content) in [
            ("appended", [&all[..], &evil].concat()),
            ("in front", [&evil[..], &zstd(&all)].concat()),
            ("after gzip", [&gzip(&all)[..], &evil].concat()),
            ("after xz", [&xz(&all)[..], &[0; 8], &xz(&evil)].concat()),
            (
                "compressed together",
                zstd(&[&all[..], &[0; 4], &evil].concat()),
            ),
        ] {
            let image = base().file(INITRD, 0o600, content);
            assert_eq!(ids(&image), expected, "{path} {name}");
        }
    }
    let link = cpio(&[
        ("usr/bin/evil", PROGRAM, b"", 1, 2),
        ("tmp/x", PROGRAM, b"evil", 1, 2),
    ]);
    let image = base().file(INITRD, 0o600, link);
    assert_eq!(ids(&image).len(), 2);
}

#[test]
fn an_initrd_that_cannot_be_read_to_its_end_is_a_finding() {
    let all = cpio(&members());
    let cut = |bytes: &[u8]| bytes[..bytes.len() - 40].to_vec();
    let cases = [
        (
            b"\x02\x21\x4c\x18 and more".to_vec(),
            Unreadable::Unsupported("LZ4"),
        ),
        (b"no archive".to_vec(), Unreadable::Unknown),
        ([&all[..], b"x"].concat(), Unreadable::Unknown),
        (zstd(&[&all[..], b"x"].concat()), Unreadable::Unknown),
        (cut(&all), Unreadable::Damaged),
        (cut(&gzip(&all)), Unreadable::Damaged),
        (cut(&zstd(&all)), Unreadable::Damaged),
        (cut(&xz(&all)), Unreadable::Damaged),
        (
            cpio(&[
                ("init", PROGRAM, b"init", 1, 2),
                ("init", PROGRAM, b"evil", 1, 2),
            ]),
            Unreadable::Damaged,
        ),
    ];
    for (number, (content, problem)) in cases.into_iter().enumerate() {
        assert_eq!(read(&mut &content[..]), Err(problem), "case {number}");
        let image = base().file(INITRD, 0o600, content);
        let expected = [format!("not-looked-at:{INITRD}")];
        assert_eq!(ids(&image), expected, "case {number}");
    }
}

#[test]
fn an_initrd_as_in_the_base_is_not_read() {
    assert_eq!(ids(&base()), [""; 0]);
    let changed = base().file("/boot/initrd.img-1", 0o600, "as it isn't");
    assert_eq!(ids(&changed), ["not-looked-at:/boot/initrd.img-1"]);
}

#[test]
fn damaged_initrds_never_panic() {
    let whole = [cpio(&members()), gzip(&cpio(&members()))].concat();
    soak("initrd", &whole, |bytes| read(&mut &bytes[..]).is_ok());
}

const GRUB: &str = "set timeout=0
menuentry 'Linux 1' {
    search --no-floppy --fs-uuid --set=root 1234
    linux /boot/vmlinuz-1 root=UUID=1234 ro console=ttyS0,115200
    initrd /boot/initrd.img-1
}
";

#[test]
fn lines_of_grub_that_load_something_else_are_found() {
    let kernel = base().file("/usr/lib/modules/2/vmlinuz", 0o644, "kernel");
    let cases = [
        ("\tlinux /boot/vmlinuz-1 root=UUID=1234 ro single quiet", ""),
        ("if [ -f ${config_directory}/custom.cfg ]; then", ""),
        ("  source ${config_directory}/custom.cfg", ""),
        ("insmod part_gpt", ""),
        ("set menu_color_normal=cyan/blue # source /evil", ""),
        ("initrd /boot/initrd.img-2", ""),
        (
            "linux /boot/vmlinuz-1 root=UUID=1234 ro init=/bin/sh",
            "init=/bin/sh",
        ),
        ("linux /boot/vmlinuz-1 root=UUID=5678", "root=UUID=5678"),
        ("linux /boot/vmlinuz-evil root=UUID=1234", "vmlinuz-evil"),
        ("linux (hd1)/boot/vmlinuz-1", "(hd1)"),
        ("menuentry x { linux16 /srv/evil; }", "/srv/evil"),
        ("true;  'li'nux /srv/evil", "/srv/evil"),
        ("true;l\"inux\" /boot/vmlinuz-1 rd.break", "rd.break"),
        ("lin\\\nux /srv/evil", "/srv/evil"),
        ("initrd /boot/initrd.img-1 /srv/evil.img", "/srv/evil.img"),
        ("chainloader /EFI/evil.efi", "does not have it"),
        ("source /boot/evil.cfg", "does not have it"),
        ("configfile /srv/evil.cfg", "does not have it"),
        ("insmod /srv/evil.mod", "not a module"),
        ("$command /srv/evil", "does not have it"),
    ];
    for (line, evidence) in cases {
        let image = kernel
            .clone()
            .file("/boot/grub/grub.cfg", 0o600, format!("{GRUB}{line}\n"))
            .file("/boot/vmlinuz-evil", 0o644, "kernel");
        let found = found(&image);
        assert_eq!(
            found.len(),
            usize::from(!evidence.is_empty()),
            "{line}: {found:?}"
        );
        assert!(
            found
                .iter()
                .all(|finding| finding.evidence.contains(evidence)),
            "{found:?}"
        );
    }
    let entry =
        "title Linux\nlinux /vmlinuz-1\ninitrd /initramfs-1.img\noptions root=UUID=1234 rd.break\n";
    let image = base().file("/boot/loader/entries/1.conf", 0o644, entry);
    let found = found(&image);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].evidence.contains("rd.break"), "{found:?}");
}
