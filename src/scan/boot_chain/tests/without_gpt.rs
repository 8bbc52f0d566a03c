//! A disk with a partition table of the older kind.

use super::*;

#[test]
fn the_gap_of_a_disk_without_gpt_belongs_to_the_boot_loader() {
    let mut base = vec![0; SECTORS * SECTOR_BYTES];
    let entry = boot::entry(0);
    base[entry + boot::TYPE] = 0x83;
    let (_, first, last) = PARTITIONS[3];
    for (at, number) in [(boot::FIRST, first), (boot::SECTORS, last - first + 1)] {
        let number = u32::try_from(number).unwrap();
        base[entry + at..][..4].copy_from_slice(&number.to_le_bytes());
    }
    base[boot::SIGNATURE..][..2].copy_from_slice(&boot::SIGNATURE_VALUE.to_le_bytes());
    put_ext4(&mut base, part(4), &["etc", "usr"]);
    let mut disk = base.clone();
    noise(&mut disk[SECTOR_BYTES..60_000]);
    let [image, before] = [disk, base].map(shared);
    for (package, expected) in [
        ("nginx", &["undeclared-boot-code:gap at sector 1"][..]),
        ("grub-pc", &[]),
    ] {
        let found = check(&image, &before, built(&packages(&[package]))).unwrap();
        assert_eq!(ids(found.findings), expected, "{package}");
        let package = (package == "grub-pc").then(|| package.to_owned());
        let of_gap = package.map_or(Cause::Undeclared, |package| Cause::Scripts {
            package: Some(package),
        });
        for (name, cause) in [("boot code", Cause::Base), ("gap at sector 1", of_gap)] {
            assert!(found.causes.contains(&(name.to_owned(), cause)), "{name}");
        }
    }
}
