# Makes outbound connections of a sealed guest fail at once; otherwise programs wait for answers that never come.
# QEMU's user network: 10.0.2.2 is the host's side of the SSH connection, the rest of 10.0.2.0/24 are its name server and others.
# Rules rather than routes, since a DHCP client may set its route later. They exist only in the kernel: nothing is written to the
# disk, and a reboot removes them. `protocol kernel`: systemd-networkd removes rules of other protocols.
set -u
rules() {
    for rule in "10 to 10.0.2.2/32 lookup main" "11 to 10.0.2.0/24 unreachable" \
        "12 lookup main suppress_prefixlength 0" "13 unreachable"; do
        printf 'rule %s pref %s%s\n' "$1" "$rule" "$2"
    done
}
# Rules of an earlier connection.
rules del '' | ip -4 -force -batch - >/dev/null 2>&1
rules add ' protocol kernel' | ip -4 -batch - >/dev/null 2>&1 || rules add '' | ip -4 -force -batch -
