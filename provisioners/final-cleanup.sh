#!/bin/sh
# Remove what a build leaves behind and no image should carry. The last step of a template.
#
# Rules:  systemd, "Safely building images" (machine-id, random seed); Debian wiki, "Cloud/Images".
# Needs:  nothing.
# Reads:  KEEP_DOCS  1 keeps /usr/share/doc and manual pages (default: 1); 0 removes them, copyright
#                    files excepted
# karat itself takes away its way in (keys, host keys, seed state) after the last step.
set -eu

keep_docs=${KEEP_DOCS:-1}

if command -v apt-get >/dev/null; then
    apt-get clean
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin
fi
rm -rf /var/cache/debconf/*-old /var/lib/dpkg/*-old /var/cache/man/* /var/cache/ldconfig/aux-cache

# Logs: empty what a service has open, remove what was rotated.
if command -v journalctl >/dev/null; then
    journalctl --quiet --rotate || true # no journald in a container
    journalctl --quiet --vacuum-time=1s || true
fi
find /var/log -type f \( -name '*.gz' -o -name '*.old' -o -name '*.[0-9]' \) -delete
# Without `--no-create`, fs.protected_regular refuses logs in sticky directories, such as PostgreSQL's.
find /var/log -path /var/log/journal -prune -o -type f -exec truncate --no-create --size=0 {} +

# Histories, and whatever else a shell leaves in a home.
for home in /root /home/*; do
    rm -f "$home/.bash_history" "$home/.ash_history" "$home/.lesshst" "$home/.viminfo" \
        "$home/.wget-hsts" "$home/.python_history"
    rm -rf "$home/.cache"
done

# An old file in a temporary directory is litter; a young one may belong to the running step.
find /tmp /var/tmp -mindepth 1 -maxdepth 1 -mmin +1 ! -name 'systemd-private-*' ! -name '.*-unix' \
    ! -name 'karat*' ! -name '.karat*' -exec rm -rf {} +

# Each machine made from the image finds its own identity and entropy.
rm -f /var/lib/systemd/random-seed /var/lib/dbus/machine-id
ln -s /etc/machine-id /var/lib/dbus/machine-id 2>/dev/null || true # no dbus, no directory
rm -f /var/lib/dhcp/*.leases /var/lib/NetworkManager/*.lease

if [ "$keep_docs" = 0 ]; then
    find /usr/share/doc -mindepth 1 -type f ! -name 'copyright*' -delete
    find /usr/share/doc -mindepth 1 -type d -empty -delete
    rm -rf /usr/share/man/* /usr/share/info/*
fi
sync
echo "final-cleanup: done, $(df --output=used -h / | tail -n 1 | tr -d ' ') in use on /"
