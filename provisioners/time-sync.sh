#!/bin/sh
# Keep the clock right with the one time service that the template declares.
#
# Rules:  CIS Debian Linux 12 Benchmark, section 2.3 (time synchronisation: exactly one service);
#         chrony.conf(5), timesyncd.conf(5).
# Needs:  package chrony or systemd-timesyncd (not both; Debian makes them conflict).
# Reads:  NTP_SERVERS or KARAT_VAR_NTP_SERVERS  server names, space separated
#                                               (default: those of the distribution)
# The service starts at the next boot.
set -eu

servers=${NTP_SERVERS:-${KARAT_VAR_NTP_SERVERS:-}}

fail() {
    echo "time-sync: $*" >&2
    exit 1
}

# Nothing but names and addresses reaches a configuration file.
case $servers in
*[!A-Za-z0-9.:\ -]*) fail "NTP_SERVERS is '$servers'; write host names or addresses" ;;
esac

chrony() {
    drop_in=/etc/chrony/sources.d/karat.sources
    if [ -n "$servers" ]; then
        mkdir -p "${drop_in%/*}"
        for server in $servers; do
            echo "server $server iburst"
        done >"$drop_in"
        # The distribution's own pool would still be asked; only the declared servers may be.
        sed -i 's/^\(pool\|server\) /# replaced by sources.d\/karat.sources: &/' /etc/chrony/chrony.conf
    else
        rm -f "$drop_in"
        sed -i 's/^# replaced by sources.d\/karat.sources: //' /etc/chrony/chrony.conf
    fi
    # A guest that slept, or whose image is old, may be far off: step whenever needed at the start.
    mkdir -p /etc/chrony/conf.d
    echo 'makestep 1 3' >/etc/chrony/conf.d/karat.conf
    systemctl --no-reload enable chrony.service
    echo "time-sync: chrony with ${servers:-the servers of the distribution}"
}

timesyncd() {
    drop_in=/etc/systemd/timesyncd.conf.d/karat.conf
    if [ -n "$servers" ]; then
        mkdir -p "${drop_in%/*}"
        printf '[Time]\nNTP=%s\nFallbackNTP=\n' "$servers" >"$drop_in"
    else
        rm -f "$drop_in"
    fi
    systemctl --no-reload enable systemd-timesyncd.service
    echo "time-sync: systemd-timesyncd with ${servers:-the servers of the distribution}"
}

if [ -x /usr/sbin/chronyd ]; then
    chrony
elif [ -x /lib/systemd/systemd-timesyncd ]; then
    timesyncd
else
    fail "no time service; declare one: [packages.apt] install = [\"chrony\"] (or \"systemd-timesyncd\")"
fi
