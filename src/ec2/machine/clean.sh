# Removes data that normalization on the host removes from other images. Runs in the instance, before the rest of the clean-up.

# The host key and the login key are in cloud-init's user data: overwrite them, so that freed blocks do not contain them.
for file in /etc/ssh/ssh_host_*_key /var/lib/cloud/instances/*/user-data.txt* /var/lib/cloud/instances/*/cloud-config.txt \
    /var/lib/cloud/instances/*/obj.pkl /var/lib/cloud/instances/*/vendor-data*.txt*; do
    if [ -f "$file" ] && [ ! -L "$file" ]; then
        shred -n 1 -z "$file" 2>/dev/null || true
    fi
done
rm -f /loader/random-seed /boot/loader/random-seed /boot/efi/loader/random-seed /efi/loader/random-seed \
    /var/lib/random-seed /etc/lvm/devices/system.devices
rm -f /var/lib/dhcp3/*.leases /var/lib/dhclient/*.lease /var/lib/dhcpcd/*.lease* /var/lib/dhcpcd5/*.lease* \
    /var/lib/dhcpcd/duid /var/lib/dhcpcd/secret /var/lib/dhcpcd5/duid /var/lib/dhcpcd5/secret \
    /var/lib/NetworkManager/secret_key /var/lib/NetworkManager/timestamps /var/lib/NetworkManager/seen-bssids
rm -f /var/lib/logrotate/status /var/lib/logrotate.status
rm -f /etc/ssh/ssh_host_key /etc/ssh/ssh_host_key.pub
# Registration of the agent of Systems Manager, which belongs to this instance.
rm -rf /var/lib/amazon/ssm/Vault /var/lib/amazon/ssm/runtimeconfig /var/lib/amazon/ssm/ipc /var/lib/amazon/ssm/i-*
rm -f /var/lib/amazon/ssm/registration /run/amazon/*.json
rm -rf /var/log/amazon/ssm/*
# Backups of state files, caches that are never the same twice, and traces of the build's machine.
rm -f /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /etc/subuid- /etc/subgid- /etc/.pwd.lock
rm -rf /var/backups/* /var/lib/ucf/*.[0-9] /var/cache/ldconfig/aux-cache /var/cache/fontconfig/* /var/cache/man/* \
    /var/lib/mlocate/*.db /var/lib/plocate/*.db /root/.cache /home/*/.cache
rm -rf /var/cache/libdnf5/* /var/lib/dnf/history.* /var/lib/dnf/countme.* /var/lib/rpm/__db.* /var/lib/apt/periodic/* \
    /var/lib/apt/mirrors/* /var/lib/apt/daily_lock /var/lib/apt/listchanges.db
rm -rf /var/lib/private/systemd/timesync/* /var/lib/systemd/coredump/* /var/lib/systemd/pstore/* /var/crash/*
# Machines that share a private key can read each other's traffic.
rm -f /etc/ssl/certs/ssl-cert-snakeoil.pem /etc/ssl/private/ssl-cert-snakeoil.key
for link in /etc/ssl/certs/*; do
    if [ -L "$link" ] && [ "$(basename "$(readlink "$link")")" = ssl-cert-snakeoil.pem ]; then
        rm -f "$link"
    fi
done
