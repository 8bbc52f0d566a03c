#!/bin/sh
# A default-deny nftables firewall that opens only the declared ports.
#
# Rules:  CIS Debian Linux 12 Benchmark, section 4.3 (nftables); Debian wiki, "nftables".
# Needs:  package nftables.
# Reads:  ALLOWED_TCP_PORTS or KARAT_VAR_OPEN_PORTS  TCP ports to open, separated by spaces or commas;
#                                                    a range is written 8000-8010 (default: none)
#         ALLOWED_UDP_PORTS                          the same for UDP (default: none)
# SSH is a port like any other: write 22 to be able to log in over the network.
# The service is enabled, not started: a ruleset loaded during the build could cut karat's own
# connection. It takes effect at the next boot.
set -eu

tcp_ports=${ALLOWED_TCP_PORTS:-${KARAT_VAR_OPEN_PORTS:-}}
udp_ports=${ALLOWED_UDP_PORTS:-}
rules=/etc/nftables.conf

fail() {
    echo "firewall-nftables: $*" >&2
    exit 1
}

# One port or range a word -> "22, 80, 8000-8010", each checked.
port_list() {
    list=
    for port in $(echo "$1" | tr ',' ' '); do
        low=${port%%-*}
        high=${port#*-}
        for number in "$low" "$high"; do
            case $number in
            '' | *[!0-9]* | ??????*) fail "'$port' is not a port; write 22 or 8000-8010" ;;
            esac
            if [ "$number" -lt 1 ] || [ "$number" -gt 65535 ]; then
                fail "port '$port' is not in 1-65535"
            fi
        done
        [ "$low" -le "$high" ] || fail "'$port' starts after its end"
        list="$list${list:+, }$port"
    done
    echo "$list"
}

PATH=$PATH:/usr/sbin:/sbin
command -v nft >/dev/null || fail "nft is missing; declare it: [packages.apt] install = [\"nftables\"]"
tcp=$(port_list "$tcp_ports")
udp=$(port_list "$udp_ports")

new=$(mktemp "$rules.XXXXXX")
trap 'rm -f "$new"' EXIT
{
    cat <<'HEAD'
#!/usr/sbin/nft -f
# Written by karat's provisioners/firewall-nftables.sh: everything that is not declared is dropped.
flush ruleset

table inet filter {
    chain input {
        type filter hook input priority filter; policy drop;
        ct state vmap { established : accept, related : accept, invalid : drop }
        iif "lo" accept
        iif != "lo" ip saddr 127.0.0.0/8 drop
        iif != "lo" ip6 saddr ::1 drop
        icmp type { destination-unreachable, time-exceeded, parameter-problem, echo-request } accept
        icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, echo-request, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept
        udp sport 67 udp dport 68 accept comment "DHCP"
        ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept comment "DHCPv6"
HEAD
    [ -z "$tcp" ] || echo "        tcp dport { $tcp } accept"
    [ -z "$udp" ] || echo "        udp dport { $udp } accept"
    cat <<'TAIL'
    }
    chain forward {
        type filter hook forward priority filter; policy drop;
    }
    chain output {
        type filter hook output priority filter; policy accept;
    }
}
TAIL
} >"$new"
chmod 0755 "$new" # as Debian ships it: the file is a program for nft
nft --check --file "$new" || fail "nft refuses the ruleset; nothing was changed"
mv "$new" "$rules"
systemctl --no-reload enable nftables.service
echo "firewall-nftables: open TCP [${tcp}] UDP [${udp}], from the next boot"
