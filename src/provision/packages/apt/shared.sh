# What both scripts of apt (resolve.sh, install.sh) begin with. $KARAT_DIRECTORY is theirs alone and is gone afterwards.
set -eu
# shellcheck disable=SC2153,SC2034 # set by karat; used behind this
directory=$KARAT_DIRECTORY install=$APT_INSTALL remove=$APT_REMOVE
unset KARAT_DIRECTORY APT_INSTALL APT_REMOVE
export NEEDRESTART_SUSPEND=1 APT_LISTCHANGES_FRONTEND=none UCF_FORCE_CONFFOLD=1
patience=300 # seconds, for what the machine does by itself after its first boot
# Lines that begin with it are karat's to read, not the user's.
# shellcheck disable=SC2034 # used behind this
data=$(printf '\036')

fail() {
    code=$1
    shift
    printf 'karat: %s\n' "$*"
    exit "$code"
}

cloud_init_runs() {
    # A stage that runs or waits has a job; karat's own seed cancels the later ones, and then no result is ever written.
    [ -e /run/cloud-init/enabled ] && [ ! -e /run/cloud-init/result.json ] &&
        systemctl list-jobs --no-legend 2>/dev/null | grep -q ' cloud-'
}

# Waits while the given test holds; the seconds are counted over all waits.
waited=0
wait_while() {
    while "$@"; do
        [ "$waited" -lt "$patience" ] || return 1
        [ "$waited" -ne 0 ] || echo "waiting for what the machine does by itself (cloud-init, apt-daily)"
        sleep 1
        waited=$((waited + 1))
    done
}

# The packages of the list that dpkg knows in any state but "not installed".
present() {
    for name; do
        status=$(dpkg-query -W -f '${Status}\n' "$name" 2>/dev/null | head -n 1)
        case $status in '' | *not-installed) ;; *) echo "$name" ;; esac
    done
}
