#!/bin/sh
# Take a baseline of the system's files with AIDE and check against it every day.
#
# Rules:  CIS Debian Linux 12 Benchmark, section 6.3 (file integrity); Debian wiki, "AIDE".
# Needs:  package aide. Not aide-common: its hundreds of rule files are not used here, and setting them
#         up takes minutes in an emulated guest.
# Reads:  nothing.
# Run it after everything that changes files, and before final-cleanup.sh. What changes on every boot
# (logs, caches, machine identity, host keys) is not part of the baseline.
set -eu

conf=/etc/aide/karat.conf
database=/var/lib/aide/karat.db

fail() {
    echo "file-integrity-aide: $*" >&2
    exit 1
}

command -v aide >/dev/null ||
    fail "aide is missing; declare it: [packages.apt] install = [\"aide\"]"

# A configuration of its own: Debian's aide.conf scans everything there is, which takes minutes even
# on a fast machine and reports each boot as a change.
mkdir -p "${conf%/*}" "${database%/*}"
cat >"$conf" <<RULES
# Written by karat's provisioners/file-integrity-aide.sh.
database_in=file:$database
database_out=file:$database.new
gzip_dbout=yes
# No date in the database: the image is the same when it is built again.
database_add_metadata=no
Static = ftype+p+n+u+g+s+sha256
!/etc/machine-id
!/etc/hostname
!/etc/hosts
!/etc/resolv.conf
!/etc/ssh/ssh_host_
!/etc/ssh/sshd_config.d/50-cloud-init
!/etc/netplan
!/etc/systemd/network
!/etc/adjtime
!/etc/network/interfaces.d/50-cloud-init
!/etc/cloud
!/etc/sudoers.d/90-cloud-init-users
!/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$
!/etc/mtab
!/etc/\.updated
!/etc/aide
!/etc/\.pwd\.lock
!/boot/grub/grubenv
!/usr/.*/__pycache__
/boot Static
/etc Static
/usr/bin Static
/usr/sbin Static
/usr/lib Static
/usr/local Static
RULES
chmod 0600 "$conf"
aide --config="$conf" --config-check >/dev/null 2>&1 || aide --config="$conf" --config-check

# Before the baseline, so that these files are in it.
cat >/etc/systemd/system/karat-aide.service <<UNIT
[Unit]
Description=Compare files with the baseline of the image

[Service]
Type=oneshot
ExecStart=/usr/bin/aide --config=$conf --check
Nice=19
IOSchedulingClass=idle
UNIT
cat >/etc/systemd/system/karat-aide.timer <<'UNIT'
[Unit]
Description=Compare files with the baseline of the image every day

[Timer]
OnCalendar=daily
RandomizedDelaySec=4h
Persistent=true

[Install]
WantedBy=timers.target
UNIT
# Where aide-common is installed all the same: its timer would look for a database that is not there.
systemctl --no-reload --quiet mask dailyaidecheck.timer dailyaidecheck.service
systemctl --no-reload enable karat-aide.timer

umask 077
rm -f "$database.new"
# `--init` ends with 0, or with a bit mask of what it found new; only 14 and up are errors (aide(1)).
code=0
aide --config="$conf" --init >/dev/null || code=$?
[ "$code" -lt 14 ] || fail "aide --init ended with $code"
[ -s "$database.new" ] || fail "aide wrote no database"
mv "$database.new" "$database"
echo "file-integrity-aide: baseline in $database, $(zcat "$database" | grep -c '^/') entries"
