# Makes outbound connections of a sealed instance fail at once. Its security group blocks them, but programs would wait for answers
# that never come. Services that security groups do not control (name service, metadata, time) are blocked too.
# Only the other end of this SSH connection is reachable. Rules rather than routes, since a DHCP client may set its route later.
# They exist only in the kernel: nothing is written to the disk, and a reboot removes them. `protocol kernel`: systemd-networkd
# removes rules of other protocols.
set -u
peer=${SSH_CONNECTION%% *}
case $peer in
    *:* | 127.* | '') exit 0 ;;
esac
rules() {
    for rule in "10 to $peer/32 lookup main" "12 lookup main suppress_prefixlength 0" "13 unreachable"; do
        printf 'rule %s pref %s%s\n' "$1" "$rule" "$2"
    done
}
# Rules of an earlier connection.
rules del '' | ip -4 -force -batch - >/dev/null 2>&1
rules add ' protocol kernel' | ip -4 -batch - >/dev/null 2>&1 || rules add '' | ip -4 -force -batch -
