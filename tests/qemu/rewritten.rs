//! The base written anew: it boots by BIOS and by UEFI, and its root grows while it is mounted.

use std::fs::File;

use karat::disk::BaseImage;
use karat::disk::normalize::source::{Container, SourceDisk};
use karat::disk::read::qcow2::{Layer, open_chain};
use karat::disk::tree::Monitor;
use karat::machine::Machine as _;
use karat::os::hash_stream::Stop;
use karat::plan::{Firmware, Qemu};

use super::system::{DISK_SIZE, base, boot, says};
use super::{Site, qemu, ssh};

/// Smaller than what it boots with, so that the root has to grow.
const IMAGE_SIZE: u64 = 4 << 30;

#[tokio::test]
async fn a_disk_that_is_written_anew_boots_and_grows() {
    let site = Site::new();
    let image = BaseImage {
        path: site.path("image.qcow2"),
        format: "qcow2".into(),
    };
    let to = image.path.clone();
    let base = base().await;
    tokio::task::spawn_blocking(move || {
        let source = SourceDisk::open(open_chain(&[Layer::Qcow2(base.path)]).unwrap()).unwrap();
        let tree = source.tree().unwrap();
        let stop = Stop::default();
        let watch = Monitor {
            stop: &stop,
            progress: &|_| {},
        };
        let file = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&to)
            .unwrap();
        let target = (Container::Qcow2, &file, to.as_path());
        let rewritten = source.write(&tree, IMAGE_SIZE, target, 2, watch).unwrap();
        rewritten.check(target, 2, watch).unwrap();
    })
    .await
    .unwrap();

    for firmware in [Firmware::Bios, Firmware::Uefi] {
        let plan = Qemu {
            disk_size: Some(DISK_SIZE),
            firmware,
            ..qemu()
        };
        let run = format!("{firmware:?}");
        let machine = boot(&site, &run, &plan, &ssh(), &image).await;
        let root_kib: u64 = says(&machine, "df -k --output=size / | tail -1")
            .await
            .parse()
            .unwrap();
        assert!(
            root_kib > (DISK_SIZE >> 10) * 8 / 10,
            "{run}: the root file system grew with the disk: {root_kib} KiB"
        );
        assert_eq!(
            says(
                &machine,
                "dmesg | grep -i 'EXT4-fs \\(error\\|warning\\)' || true"
            )
            .await,
            "",
            "{run}"
        );
        assert_eq!(
            says(
                &machine,
                "systemctl is-system-running --wait || systemctl --failed --no-legend"
            )
            .await,
            "running",
            "{run}"
        );
        // Reads everything once.
        assert_eq!(
            says(
                &machine,
                "find / -xdev -type f -exec cat {} + 2>&1 >/dev/null | head -3"
            )
            .await,
            "",
            "{run}"
        );
        machine.destroy().await;
    }
}
