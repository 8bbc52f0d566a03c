#!/bin/sh
# Brings the machine's packages to what the template declares. karat (apt.rs) sets APT_INSTALL, APT_REMOVE (names, checked,
# separated by spaces) and APT_RECOMMENDS (true or false), and reads the exit code:
# 71 the package lists, 72 a lock, 73 installing and removing, 74 what became unneeded, 75 not as declared.
set -eu
# shellcheck disable=SC2153
install=$APT_INSTALL remove=$APT_REMOVE recommends=$APT_RECOMMENDS
unset APT_INSTALL APT_REMOVE APT_RECOMMENDS
export NEEDRESTART_SUSPEND=1 APT_LISTCHANGES_FRONTEND=none UCF_FORCE_CONFFOLD=1
patience=300 # seconds, for what the machine does by itself after its first boot

fail() {
    code=$1
    shift
    printf 'karat: %s\n' "$*"
    exit "$code"
}

apt() {
    # One long line is one option each: no bar, no pseudo-terminal, no translations, no questions. The disk is written
    # without a sync per file, and as a whole at the end.
    apt-get -q -y \
        -o DPkg::Lock::Timeout="$patience" -o Dpkg::Use-Pty=0 \
        -o Acquire::Languages=none -o Acquire::Retries=2 -o APT::Keep-Downloaded-Packages=false \
        -o APT::Install-Recommends="$recommends" -o APT::Install-Suggests=false \
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-unsafe-io \
        "$@"
}

# Services are not started while packages are installed.
policy=/usr/sbin/policy-rc.d
forbid_services() {
    if { [ -e "$policy" ] || [ -L "$policy" ]; } && [ ! -e "$policy.karat" ] && [ ! -L "$policy.karat" ]; then
        mv "$policy" "$policy.karat"
    fi
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}
# shellcheck disable=SC2317 # called by a trap
allow_services() {
    if [ -e "$policy.karat" ] || [ -L "$policy.karat" ]; then
        mv -f "$policy.karat" "$policy"
    else
        rm -f "$policy"
    fi
}

# Whether a process holds apt's lock on its lists, which apt itself never waits for.
lists_locked() {
    inode=$(stat -c %i /var/lib/apt/lists/lock 2>/dev/null) && grep -q ":$inode " /proc/locks
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

update() {
    tries=0
    until apt -o APT::Update::Error-Mode=any update; do
        if lists_locked; then
            # Somebody was faster; that is no failed try.
            wait_while lists_locked || fail 72 "the lock on /var/lib/apt/lists was not released in $patience s"
            continue
        fi
        tries=$((tries + 1))
        [ "$tries" -lt 3 ] || fail 71 "the package lists could not be updated"
        sleep $((tries * 2))
    done
}

# The packages of the list that dpkg knows in any state but "not installed".
present() {
    for name; do
        status=$(dpkg-query -W -f '${Status}\n' "$name" 2>/dev/null | head -n 1)
        case $status in '' | *not-installed) ;; *) echo "$name" ;; esac
    done
}

unneeded() {
    apt-get -s -q autoremove 2>/dev/null | sed -n 's/^Remv \([^ ]*\).*/\1/p' | sort
}

# How a package is not as declared; nothing when it is.
not_as_declared() {
    for declared in $install; do
        name=${declared%%=*}
        version=${declared#"$name"}
        version=${version#=}
        have=$(dpkg-query -W -f '${db:Status-Status} ${Version}\n' "$name" 2>/dev/null | head -n 1)
        case $have in
        'installed '*) [ -z "$version" ] || [ "$have" = "installed $version" ] || echo "$declared is at ${have#* }" ;;
        *) echo "$name is not installed" ;;
        esac
    done
    # shellcheck disable=SC2086 # words
    for name in $(present $remove); do
        echo "$name was not removed"
    done
}

trap allow_services EXIT
trap 'exit 129' HUP
trap 'exit 143' TERM
wait_while cloud_init_runs || fail 72 "cloud-init was not done in $patience s"
wait_while lists_locked || fail 72 "the lock on /var/lib/apt/lists was not released in $patience s"
forbid_services

[ -z "$install" ] || update
# A run that was cut off before; apt would refuse to work.
for file in /var/lib/dpkg/updates/[0-9]*; do
    [ ! -e "$file" ] || dpkg --configure -a --force-confdef --force-confold || :
    break
done

# shellcheck disable=SC2086 # words
gone=$(present $remove)
if [ -n "$gone" ]; then
    unneeded_before=$(unneeded)
fi
if [ -n "$install$gone" ]; then
    # One transaction, so that a package may take another's place. `name-` removes.
    # shellcheck disable=SC2086,SC2046 # words
    apt install --purge --allow-downgrades $install $(for name in $gone; do echo "$name-"; done) ||
        fail 73 "apt-get install failed"
fi
if [ -n "$gone" ]; then
    # Only what the removal itself left without a reason; the rest is the base's.
    now=$(unneeded | while read -r name; do
        case "
$unneeded_before
" in *"
$name
"*) ;; *) echo "$name" ;; esac
    done)
    # shellcheck disable=SC2086 # words
    [ -z "$now" ] || apt purge $now || fail 74 "apt-get purge failed"
fi

wrong=$(not_as_declared)
if [ -n "$wrong" ]; then
    echo "$wrong" | sed 's/^/karat: /'
    exit 75
fi
sync -f /usr
