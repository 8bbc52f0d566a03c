#!/bin/sh
# mmdebstrap's last hook: the packages are installed, /proc and /sys are mounted in the tree that is `$1`.
set -eu
umask 022
root=$1

put() { # put PATH: standard input becomes a file of the tree
    mkdir -p "$root/$(dirname "$1")"
    cat > "$root/$1"
}

put etc/fstab << END
UUID=$ROOT_UUID / ext4 defaults,errors=remount-ro,x-systemd.growfs 0 1
UUID=$ESP_UUID /boot/efi vfat umask=0077,noauto 0 0
END
mkdir -p "$root/boot/efi"
put etc/default/locale << END
LANG=C.UTF-8
END
put etc/hosts << END
127.0.0.1 localhost
::1 localhost ip6-localhost ip6-loopback
END

# Any Ethernet port asks for an address. cloud-init's own file, made from the machine's metadata, sorts before it.
put etc/systemd/network/80-dhcp.network << END
[Match]
Type=ether
Name=!veth* !docker*

[Network]
DHCP=yes
END
chroot "$root" systemctl -q enable systemd-networkd.service systemd-resolved.service
for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service; do
    # Images are replaced, not patched in place.
    chroot "$root" systemctl -q disable "$unit" 2> /dev/null || true
done

# The root partition grows by systemd where it can: cloud-init's way costs seconds of every first boot.
growpart=auto
if [ -e "$root/lib/systemd/system/systemd-repart.service" ]; then
    growpart=off
    put etc/repart.d/50-root.conf << END
[Partition]
Type=root
END
fi
put etc/cloud/cloud.cfg.d/90_base.cfg << END
# Without a seed, a config drive or EC2, cloud-init stays off.
datasource_list: [NoCloud, ConfigDrive, Ec2]
apt: {preserve_sources_list: true}
locale: false
# RSA takes seconds to make on a slow processor, and nobody needs it.
ssh_genkeytypes: [ed25519, ecdsa]
growpart: {mode: "$growpart"}
resize_rootfs: $([ "$growpart" = off ] && echo false || echo true)
system_info: {network: {renderers: [networkd]}}
# Each module costs time at boot; the ones for other package managers and tools that are not here are left out.
cloud_init_modules: [seed_random, bootcmd, write-files, growpart, resizefs, disk_setup, mounts, set_hostname,
  update_hostname, update_etc_hosts, users-groups, ssh]
cloud_config_modules: [set-passwords, apt-configure, ntp, timezone, runcmd]
cloud_final_modules: [package-update-upgrade-install, write-files-deferred, scripts-vendor, scripts-per-once,
  scripts-per-boot, scripts-per-instance, scripts-user, phone-home, final-message, power-state-change]
END

# A machine without cloud-init still gets a host key of its own.
put etc/systemd/system/ssh.service.d/host-key.conf << 'END'
[Service]
ExecStartPre=
ExecStartPre=/bin/sh -c 'test -n "$(ls /etc/ssh/ssh_host_*_key 2>/dev/null)" || exec ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key'
ExecStartPre=/usr/sbin/sshd -t
END

put etc/default/grub << 'END'
GRUB_DEFAULT=0
GRUB_TIMEOUT=0
GRUB_TIMEOUT_STYLE=hidden
GRUB_RECORDFAIL_TIMEOUT=0
GRUB_DISTRIBUTOR=$(. /etc/os-release; echo "$NAME")
GRUB_CMDLINE_LINUX="console=CONSOLE quiet"
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_TERMINAL=console
GRUB_DISABLE_OS_PROBER=true
GRUB_DISABLE_RECOVERY=true
END
sed -i "s/CONSOLE/$CONSOLE/" "$root/etc/default/grub"
# grub-mkconfig finds no root device here; the first `update-grub` in the machine replaces this.
kernel=$(cd "$root/boot" && find . -name 'vmlinuz-*' | sort -V | tail -n 1)
release=${kernel#./vmlinuz-}
put boot/grub/grub.cfg << END
set timeout=0
menuentry 'Linux $release' {
    search --no-floppy --fs-uuid --set=root $ROOT_UUID
    linux /boot/vmlinuz-$release root=UUID=$ROOT_UUID ro console=$CONSOLE quiet
    initrd /boot/initrd.img-$release
}
END

# Everything that a grub.cfg made by grub-mkconfig names is built in: the tree needs no modules beside the image.
put tmp/early.cfg << END
search.fs_uuid $ROOT_UUID root
set prefix=(\$root)/boot/grub
configfile \$prefix/grub.cfg
END
modules="part_gpt part_msdos ext2 search search_fs_uuid search_fs_file search_label configfile normal linux echo test true
    gzio all_video font gfxterm serial terminal minicmd loadenv halt reboot sleep regexp"
# shellcheck disable=SC2086 # a list of words
if [ -n "$GRUB_BIOS" ]; then
    chroot "$root" grub-mkimage -O i386-pc -p /boot/grub -c /tmp/early.cfg -o /tmp/core.img biosdisk $modules
    cp "$root/tmp/core.img" "$root/usr/lib/grub/i386-pc/boot.img" "$SCRATCH/"
fi
# shellcheck disable=SC2086
chroot "$root" grub-mkimage -O "$GRUB_EFI_FORMAT" -p /boot/grub -c /tmp/early.cfg -o /tmp/grub.efi fat efi_gop $modules
cp "$root/tmp/grub.efi" "$SCRATCH/"
