#!/bin/sh
# Makes the root file system and the boot loader's parts. Runs as root, or as the root of a user namespace, always in
# mount and PID namespaces of its own: when it is killed, every process and mount goes with it.
# Arguments: the lines of sources.list. Environment: see `Recipe::environment`.
set -eu
umask 022
root=$SCRATCH/root
mkdir -p "$root"
# The tree in memory, where there is plenty: faster, and in a user namespace nothing of another uid stays on the disk.
if awk '$1 == "MemAvailable:" { exit !($2 > 3145728) }' /proc/meminfo; then
    mount -t tmpfs -o size=2560m,mode=755 karat "$root" || echo "no memory file system here; using the disk"
fi
# Exported so that the hook below sees them.
export ROOT_UUID ESP_UUID GRUB_EFI_FORMAT GRUB_BIOS SCRATCH
# apt writes its own settings into the image; `/etc/apt/apt.conf.d/99mmdebstrap` is taken away again below.
set -- "$SUITE" "$root" "$@"
TMPDIR=$SCRATCH mmdebstrap --mode=root --variant=minbase --format=directory --architectures="$DEB_ARCH" \
    --skip=check/empty --keyring="$KEYRING" --include="$PACKAGES" \
    --aptopt='APT::Install-Recommends "false"' --aptopt="$SCRATCH/apt.conf" \
    --customize-hook="sh '$SCRATCH/configure.sh' \"\$1\"" "$@"

rm -f "$root/etc/apt/apt.conf.d/99mmdebstrap"
install -m 644 "$SCRATCH/sources.list" "$root/etc/apt/sources.list"
if [ ! -e "$root$GUEST_KEYRING" ]; then
    install -D -m 644 "$KEYRING" "$root$GUEST_KEYRING"
fi
# What mmdebstrap copied from this host, and what must be new in every machine.
install -m 644 /dev/null "$root/etc/hostname"
echo localhost > "$root/etc/hostname"
rm -f "$root/etc/resolv.conf"
ln -s ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
install -m 444 /dev/null "$root/etc/machine-id"
rm -rf "$root/var/lib/dbus/machine-id" "$root"/etc/ssh/ssh_host_* "$root/var/lib/systemd/random-seed" \
    "$root/var/lib/cloud" "$root/root/.ssh" "$root"/dev/* "$root"/run/* "$root"/tmp/* "$root"/var/tmp/* \
    "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old
find "$root/var/log" -type f -delete

truncate -s "$DISK_SIZE" "$SCRATCH/disk.raw"
mke2fs -q -t ext4 -F -L root -U "$ROOT_UUID" -d "$root" \
    -E "offset=$ROOT_OFFSET,hash_seed=$ROOT_UUID,nodiscard,lazy_itable_init=0,lazy_journal_init=0" \
    "$SCRATCH/disk.raw" "$((ROOT_SIZE / 1024))k"
