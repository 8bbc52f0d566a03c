#!/bin/sh
# Makes the root file system of a base and the boot code for its disk. Runs in mount and process namespaces of its own, as
# root or as a user mapped to root, so that nothing stays mounted or running however it ends.
#
# $1 suite, $2 packages with commas, $3 file of apt sources, $4 keyring. Reads ROOT_UUID. Leaves in the working
# directory: root.ext4, boot.img, core.img, grub.efi.
set -eu

suite=$1 packages=$2 sources=$3 keyring=$4
out=$PWD
root=$out/root
export TMPDIR="$out/tmp"
mkdir -p "$root" "$TMPDIR"
# A file system in memory would be faster, but not every builder has room for it.
mmdebstrap --mode=root --variant=minbase --format=directory --skip=check/empty --keyring="$keyring" \
    --aptopt='APT::Install-Recommends "false"' --include="$packages" "$suite" "$root" - <"$sources"

in_root() { chroot "$root" "$@"; }

printf 'UUID=%s / ext4 defaults,errors=remount-ro 0 1\n' "$ROOT_UUID" >"$root/etc/fstab"
cat >"$root/etc/systemd/network/80-dhcp.network" <<END
[Match]
Name=en* eth*

[Network]
DHCP=yes
END
in_root systemctl --quiet enable systemd-networkd.service systemd-resolved.service
# A golden image is replaced, not patched in place, and during a build these would hold apt's lock.
in_root systemctl --quiet disable apt-daily.timer apt-daily-upgrade.timer
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
echo localhost >"$root/etc/hostname"

# Only what finds its data at once: asking a cloud that is not there takes minutes. No locale is generated: C.UTF-8 is
# part of libc, and without the package `locales` that module fails.
cat >"$root/etc/cloud/cloud.cfg.d/90_karat.cfg" <<END
datasource_list: [NoCloud, ConfigDrive, Ec2, None]
ssh_genkeytypes: [ed25519, ecdsa, rsa]
locale: false
system_info:
  network:
    renderers: [networkd, netplan, eni]
END

# Kernel packages keep the links /vmlinuz and /initrd.img (Debian), or /boot/vmlinuz and /boot/initrd.img (Ubuntu),
# on the newest kernel, so this file needs no update.
kernel=/vmlinuz initrd=/initrd.img
[ -e "$root/vmlinuz" ] || [ -L "$root/vmlinuz" ] || kernel=/boot/vmlinuz initrd=/boot/initrd.img
mkdir -p "$root/boot/grub"
cat >"$root/boot/grub/grub.cfg" <<END
set timeout=0
search --no-floppy --fs-uuid --set=root $ROOT_UUID
linux $kernel root=UUID=$ROOT_UUID ro console=ttyS0,115200 quiet
initrd $initrd
boot
END

# The boot code finds the root by its UUID, whichever firmware loads it and whatever disk it is on.
cat >"$root/tmp/early.cfg" <<END
search.fs_uuid $ROOT_UUID root
set prefix=(\$root)/boot/grub
configfile \$prefix/grub.cfg
END
modules="part_gpt ext2 search search_fs_uuid configfile normal linux echo test gzio serial terminal loadenv"
if [ -d "$root/usr/lib/grub/i386-pc" ]; then
    # shellcheck disable=SC2086 # a list
    in_root grub-mkimage -O i386-pc -p /boot/grub -c /tmp/early.cfg -o /tmp/core.img biosdisk $modules
    mv "$root/tmp/core.img" "$out/core.img"
    cp "$root/usr/lib/grub/i386-pc/boot.img" "$out/boot.img"
fi
for target in x86_64-efi arm64-efi; do
    [ -d "$root/usr/lib/grub/$target" ] || continue
    # shellcheck disable=SC2086
    in_root grub-mkimage -O "$target" -p /boot/grub -c /tmp/early.cfg -o /tmp/grub.efi fat efi_gop $modules
    mv "$root/tmp/grub.efi" "$out/grub.efi"
done

# Every machine made from this base makes its own.
rm -f "$root"/etc/ssh/ssh_host_* "$root/tmp/early.cfg" "$root/var/lib/dbus/machine-id"
: >"$root/etc/machine-id"

truncate -s 2G "$out/root.ext4"
mke2fs -q -t ext4 -d "$root" -L root -U "$ROOT_UUID" -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 "$out/root.ext4"
