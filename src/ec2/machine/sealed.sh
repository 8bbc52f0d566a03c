# Makes whatever would leave a sealed instance fail at once; its security group lets nothing out, and without this it waits for
# answers that never come. What a security group does not see (name service, metadata, time) is closed too.
# Only whoever is at the other end of this connection is reached. Rules rather than routes, since a DHCP client may set its route
# later. They are in the kernel alone: nothing is on the disk, and a reboot forgets them. `protocol kernel`: systemd-networkd
# removes rules of others.
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
# Those of a connection before this one.
rules del '' | ip -4 -force -batch - >/dev/null 2>&1
rules add ' protocol kernel' | ip -4 -batch - >/dev/null 2>&1 || rules add '' | ip -4 -force -batch -
