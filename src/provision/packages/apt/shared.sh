# First part of resolve.sh and install.sh. $KARAT_DIRECTORY is private to a run and removed afterwards.
set -eu
# shellcheck disable=SC2153,SC2034 # set by karat; used later
directory=$KARAT_DIRECTORY install=$APT_INSTALL remove=$APT_REMOVE
unset KARAT_DIRECTORY APT_INSTALL APT_REMOVE
export NEEDRESTART_SUSPEND=1 APT_LISTCHANGES_FRONTEND=none UCF_FORCE_CONFFOLD=1
patience=300 # seconds to wait for the machine's own work after its first boot
# Prefix of lines for karat, which users do not see.
# shellcheck disable=SC2034 # used later
data=$(printf '\036')

fail() {
    code=$1
    shift
    printf 'karat: %s\n' "$*"
    exit "$code"
}

cloud_init_runs() {
    # A running or waiting stage has a job. karat's own seed cancels the later stages, and then no result is ever written.
    [ -e /run/cloud-init/enabled ] && [ ! -e /run/cloud-init/result.json ] &&
        systemctl list-jobs --no-legend 2>/dev/null | grep -q ' cloud-'
}

# Waits while the given test succeeds. All waits share one time limit.
waited=0
wait_while() {
    while "$@"; do
        [ "$waited" -lt "$patience" ] || return 1
        [ "$waited" -ne 0 ] || echo "waiting for the machine's own work (cloud-init, apt-daily)"
        sleep 1
        waited=$((waited + 1))
    done
}

# Prints those of the given packages that dpkg has in any state but "not installed".
present() {
    for name; do
        status=$(dpkg-query -W -f '${Status}\n' "$name" 2>/dev/null | head -n 1)
        case $status in '' | *not-installed) ;; *) echo "$name" ;; esac
    done
}
