# Installs and removes packages as locked, without network: the package files are in $KARAT_DIRECTORY.
# Runs after shared.sh. APT_REMOVE, APT_AUTO (packages to mark as automatic): checked names, separated by spaces.
# Data lines: `before` and `after`, each with STATUS NAME VERSION ARCHITECTURE of every package.
# Exit codes: 72 waiting, 73 installing and removing, 74 marking.
# shellcheck disable=SC2154 # variables of shared.sh
set -eu

# Runs a program of apt without sources and caches, so that it can use only the given files.
offline() {
    program=$1
    shift
    "$program" -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$directory/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= "$@"
}

apt() {
    # No progress bar, no pseudo-terminal, no questions. dpkg skips the sync per file; one sync at the end writes everything.
    offline apt-get -q -y -o DPkg::Lock::Timeout="$patience" -o Dpkg::Use-Pty=0 \
        -o APT::Keep-Downloaded-Packages=false -o APT::Install-Recommends=false -o APT::Install-Suggests=false \
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-unsafe-io \
        "$@"
}

# Keeps packages from starting services.
policy=/usr/sbin/policy-rc.d
forbid_services() {
    if { [ -e "$policy" ] || [ -L "$policy" ]; } && [ ! -e "$policy.karat" ] && [ ! -L "$policy.karat" ]; then
        mv "$policy" "$policy.karat"
    fi
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}
# shellcheck disable=SC2317 # called by a trap
clean_up() {
    rm -rf "$directory"
    if [ -e "$policy.karat" ] || [ -L "$policy.karat" ]; then
        mv -f "$policy.karat" "$policy"
    else
        rm -f "$policy"
    fi
}

packages() {
    dpkg-query -W -f "$data$1 \${db:Status-Status} \${Package} \${Version} \${Architecture}\\n"
}

trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 143' TERM
wait_while cloud_init_runs || fail 72 "cloud-init was not done in $patience s"
mkdir -p "$directory/lists/partial"
forbid_services

# Completes an interrupted dpkg run, after which apt would refuse to work.
for file in /var/lib/dpkg/updates/[0-9]*; do
    [ ! -e "$file" ] || dpkg --configure -a --force-confdef --force-confold || :
    break
done

packages before
# A dependency that is marked as manual in the base stays manual.
# shellcheck disable=SC2153
auto=$APT_AUTO
unset APT_AUTO
# shellcheck disable=SC2086 # words
asked=$(present $auto)
# shellcheck disable=SC2086 # words
[ -z "$asked" ] || asked=$(offline apt-mark showmanual $asked)
set --
for file in "$directory"/*.deb; do
    [ ! -e "$file" ] || set -- "$@" "$file"
done
for name in $remove; do
    set -- "$@" "$name-"
done
if [ "$#" -gt 0 ]; then
    apt install --purge --allow-downgrades "$@" || fail 73 "apt-get install failed"
fi
auto=$(for name in $auto; do
    case "
$asked
" in *"
$name
"* | *"
${name%%:*}
"*) ;; *) echo "$name" ;; esac
done)
# shellcheck disable=SC2086 # words
[ -z "$auto" ] || offline apt-mark auto $auto >/dev/null || fail 74 "apt-mark failed"
packages after
sync -f /usr
