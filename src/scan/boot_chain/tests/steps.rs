//! Changes after the packages of a build were installed.

use super::*;

#[test]
fn a_step_that_changes_what_a_locked_boot_loader_wrote_is_found() {
    let base = base();
    let mut installed = base.clone();
    installed[100] ^= 1;
    noise(&mut installed[part(1)]);
    with_fat(&mut installed[part(2)], |root| {
        write(root, "EFI/BOOT/BOOTX64.EFI", &vec![8; 50_000]);
        root.remove("EFI/BOOT/old.efi").unwrap();
    });
    let cases: [(Edit, &[&str]); 5] = [
        (&|_| {}, &[]),
        (
            &|disk| {
                disk[200] ^= 1;
                disk[part(1)][70_000] ^= 2;
            },
            &[
                "undeclared-boot-code:BIOS boot partition 1",
                "undeclared-boot-code:boot code",
            ],
        ),
        (
            // As in the base again.
            &|disk| disk[..440].copy_from_slice(&base[..440]),
            &[],
        ),
        (
            &|disk| {
                with_fat(&mut disk[part(2)], |root| {
                    write(root, "EFI/BOOT/BOOTX64.EFI", &vec![9; 50_000]);
                    write(root, "EFI/new.efi", b"new");
                });
            },
            &[
                "undeclared-boot-file:/boot/efi/EFI/BOOT/BOOTX64.EFI",
                "undeclared-boot-file:/boot/efi/EFI/new.efi",
            ],
        ),
        (
            // Cluster that no file has.
            &|disk| noise(&mut disk[part(2)][3 << 20..][..2048]),
            &["not-looked-at:EFI partition 2"],
        ),
    ];
    let (before, middle) = (shared(base.clone()), shared(installed.clone()));
    for (number, (edit, expected)) in cases.into_iter().enumerate() {
        let mut disk = installed.clone();
        edit(&mut disk);
        let built = Installation {
            packages: &packages(&["grub-pc"]),
            disk: Some(&middle),
        };
        let found = check(&shared(disk), &before, built).unwrap().findings;
        assert_eq!(ids(found), expected, "case {number}");
    }
}
