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
# The same on any day: what is made here has this time wherever it follows the rule. It is before any package's own, so that
# it never counts as the newest; not 1970, which asks for new passwords in /etc/shadow.
SOURCE_DATE_EPOCH=1577836800
export SOURCE_DATE_EPOCH
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

# When the base was made: the time of its newest package, so that the same packages give the same base on any day.
made=$(find "$root/usr/share/doc" -type f -name 'changelog*' -printf '%Ts\n' | sort -n | tail -n 1)
made=${made:-$SOURCE_DATE_EPOCH}
# Only the tree counts, and what kind of file system it is: karat writes it anew. So nothing of that is this host's to say.
cat > "$SCRATCH/mke2fs.conf" << END
[defaults]
    base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
    default_mntopts = acl,user_xattr
    enable_periodic_fsck = 0
[fs_types]
    ext4 = {
        features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
    }
END
truncate -s "$DISK_SIZE" "$SCRATCH/disk.raw"
MKE2FS_CONFIG=$SCRATCH/mke2fs.conf SOURCE_DATE_EPOCH=$made E2FSPROGS_FAKE_TIME=$made \
    mke2fs -q -t ext4 -F -L root -U "$ROOT_UUID" -d "$root" -b 4096 -I 256 -i 16384 -m 5 -G 16 -J size=64 \
    -E "offset=$ROOT_OFFSET,hash_seed=$ROOT_UUID,nodiscard,lazy_itable_init=0,lazy_journal_init=0" \
    "$SCRATCH/disk.raw" "$((ROOT_SIZE / 1024))k"
