#!/bin/sh
# Removes the credentials of the build and what a machine writes about itself, just before it is shut down.
# $1: the build's public key, as in authorized_keys.
#
# The shutdown must not write such data again: at the end, the directories that it writes to are covered with memory.
set -eu

key=${1:?the public key of the build}

# Login of the build: only its own line is removed, keys of the base stay.
for home in /root /home/*; do
    file=$home/.ssh/authorized_keys
    [ -f "$file" ] || continue
    if grep -qF -- "$key" "$file"; then
        # grep exits with 1 if no line is left, which is fine; writing into the same file keeps owner and mode.
        rest=$(grep -vF -- "$key" "$file" || true)
        if [ -n "$rest" ]; then
            printf '%s\n' "$rest" >"$file"
        else
            rm -f "$file"
            rmdir "$home/.ssh" 2>/dev/null || true
        fi
    fi
done
rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub /etc/ssh/ssh_host_*_key-cert.pub
rm -f /etc/sudoers.d/90-cloud-init-users

# State of cloud-init, as if it had never run. The network configuration that it wrote names this machine's network card.
if [ -d /var/lib/cloud ]; then
    find /var/lib/cloud -mindepth 1 -maxdepth 1 ! -name scripts -exec rm -rf {} +
    rm -f /etc/netplan/50-cloud-init.yaml /etc/network/interfaces.d/50-cloud-init \
        /etc/systemd/network/10-cloud-init-*.network /etc/systemd/network/50-cloud-init.* \
        /etc/NetworkManager/system-connections/cloud-init-*.nmconnection \
        /etc/sysconfig/network-scripts/ifcfg-eth0 \
        /etc/udev/rules.d/70-persistent-net.rules /etc/ssh/sshd_config.d/50-cloud-init.conf
fi

# Identity of the machine. The next boot fills an empty machine-id, but not everywhere a missing one.
if [ -f /etc/machine-id ]; then
    : >/etc/machine-id
fi
[ -L /var/lib/dbus/machine-id ] || rm -f /var/lib/dbus/machine-id
rm -f /var/lib/systemd/random-seed /var/lib/systemd/credential.secret /var/lib/urandom/random-seed
rm -f /var/lib/dhcp/*.leases /var/lib/dhclient/*.leases /var/lib/NetworkManager/*.lease
rm -rf /var/lib/systemd/timers/* /var/lib/systemd/timesync/* /var/lib/systemd/network/* /run/systemd/netif/leases/*

# Name server of QEMU's user network, if a DHCP client has written it into a regular file.
if [ -f /etc/resolv.conf ] && [ ! -L /etc/resolv.conf ] && grep -q '^nameserver 10\.0\.2\.3' /etc/resolv.conf; then
    : >/etc/resolv.conf
fi

# Files that users and programs left.
rm -f /root/.*_history /home/*/.*_history /root/.lesshst /root/.viminfo /root/.wget-hsts /home/*/.wget-hsts
find /tmp /var/tmp -mindepth 1 -xdev -delete 2>/dev/null || true
if [ -d /var/lib/apt/lists ]; then
    find /var/lib/apt/lists -mindepth 1 ! -name lock ! -name partial ! -name auxfiles -delete
    find /var/cache/apt -type f ! -name lock -delete
    rm -rf /var/cache/debconf/*-old /var/lib/dpkg/*-old
fi
rm -rf /var/cache/dnf/* /var/cache/yum/*

# Logs: the files stay, with owner and mode, because programs expect them; rotated files and the journal are deleted.
for service in rsyslog syslog-ng syslog auditd; do
    if systemctl is-active --quiet "$service" 2>/dev/null; then
        systemctl stop "$service" 2>/dev/null || true
    fi
done
journalctl --relinquish-var 2>/dev/null || true
rm -rf /var/log/journal/* /var/log/apt/* /var/log/installer /var/log/unattended-upgrades/*
find /var/log -xdev -type f \( -name '*.gz' -o -name '*.xz' -o -name '*.[0-9]' -o -name '*.old' -o -name 'cloud-init*.log' \) -delete
# Opened without O_CREAT: with fs.protected_regular not even root may use it on another user's file in a sticky directory, such as
# PostgreSQL's.
find /var/log -xdev -type f -size +0 -exec truncate -c -s 0 {} +

# From here on, the shutdown writes (logs, the login record, the random seed, timer stamps) into memory.
for directory in /var/log /var/lib/systemd /var/tmp; do
    if [ -d "$directory" ]; then
        mount -t tmpfs -o mode="$(stat -c %a "$directory")",size=16m karat-cleanup "$directory"
    fi
done

# Discard freed blocks, so that the image does not contain them. Not every disk supports that.
sync
fstrim -a 2>/dev/null || true
sync
