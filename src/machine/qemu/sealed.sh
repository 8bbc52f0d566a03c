# Makes whatever would leave a sealed guest fail at once; without this it waits for answers that never come.
# QEMU's user network: 10.0.2.2 is the host's side of the SSH connection, the rest of 10.0.2.0/24 are its name server and others.
# Rules rather than routes, since a DHCP client may set its route later. They are in the kernel alone: nothing is on the disk,
# and a reboot forgets them. `protocol kernel`: systemd-networkd removes rules of others.
set -u
rules() {
    for rule in "10 to 10.0.2.2/32 lookup main" "11 to 10.0.2.0/24 unreachable" \
        "12 lookup main suppress_prefixlength 0" "13 unreachable"; do
        printf 'rule %s pref %s%s\n' "$1" "$rule" "$2"
    done
}
# Those of a connection before this one.
rules del '' | ip -4 -force -batch - >/dev/null 2>&1
rules add ' protocol kernel' | ip -4 -batch - >/dev/null 2>&1 || rules add '' | ip -4 -force -batch -
