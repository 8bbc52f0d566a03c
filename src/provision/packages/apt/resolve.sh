# Resolves the template's packages with the machine's own apt and changes nothing: apt writes only to a temporary directory.
# Runs after shared.sh and a function `unpack` that writes files into the current directory: `pins` (lines of NAME VERSION),
# `sources/*.sources` and keys.
# APT_INSTALL, APT_REMOVE: checked names, separated by spaces. APT_RECOMMENDS: true or false. KARAT_PROXY: a URL.
# Data lines: `release DIGEST FILE DATE`, `signed MESSAGE`, `uri 'URL' FILE SIZE DIGEST`, and lines of apt's simulation
# after `plan`; packages that `autoremove` would take after `unneeded` (now) and `also` (after the removals).
# Exit codes: 71 the package lists, 72 waiting, 73 no resolution, 75 not as declared, 76 the machine's disk.
# shellcheck disable=SC2154 # variables of shared.sh
set -eu
# shellcheck disable=SC2153
recommends=$APT_RECOMMENDS proxy=$KARAT_PROXY
unset APT_RECOMMENDS KARAT_PROXY

mkdir -m 755 "$directory" || fail 76 "cannot create a directory in ${directory%/*}"
trap 'rm -rf "$directory"' EXIT
trap 'exit 129' HUP
trap 'exit 143' TERM
umask 022
cd "$directory"
mkdir -p lists/partial cache/archives/partial sources log
unpack
# Locked versions come first, because the first match counts. Priorities above 1000 allow a downgrade of the base's version.
prefer() {
    {
        awk '{ print "Package: " $1 "\nPin: version " $2 "\nPin-Priority: 1001\n" }' pins
        [ ! -e /etc/apt/preferences ] || cat /etc/apt/preferences
    } >preferences
}
# Removes the names in log/free from the pins.
unpin() {
    awk 'BEGIN { while ((getline name <"log/free") > 0) free[name] = 1 } !($1 in free)' log/pins >pins
}
prefer
cat >apt.conf <<CONFIGURATION
Dir::State::Lists "$directory/lists";
Dir::Cache "$directory/cache";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
Dir::Log "$directory/log";
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "$directory/sources";
Dir::Etc::Preferences "$directory/preferences";
Acquire::http::Proxy "$proxy";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
APT::Get::AllowUnauthenticated "false";
APT::Update::Error-Mode "any";
APT::Install-Recommends "$recommends";
APT::Install-Suggests "false";
#clear Acquire::http::Proxy-Auto-Detect;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
CONFIGURATION

apt() {
    apt-get -q -y -c apt.conf --allow-downgrades "$@"
}

wait_while cloud_init_runs || fail 72 "cloud-init was not done in $patience s"
tries=0
# The workers' messages name the signing keys.
until apt -o Debug::pkgAcquire::Worker=true update 2>log/update; do
    grep '^[EWN]: ' log/update || :
    tries=$((tries + 1))
    [ "$tries" -lt 3 ] || fail 71 "the package lists could not be updated"
    sleep $((tries * 2))
done
grep '^[WN]: ' log/update || :
for file in lists/*_InRelease lists/*_Release lists/InRelease lists/Release; do
    [ -f "$file" ] || continue
    digest=$(sha256sum <"$file")
    echo "${data}release ${digest%% *} ${file#lists/} $(sed -n 's/^Date: *//p' "$file" | head -n 1)"
done
sed -n "s/^ <- [a-z]*v:201%20URI%20Done%0a/${data}signed /p" log/update

# shellcheck disable=SC2086 # words
gone=$(present $remove)
if [ -n "$install$gone" ]; then
    # One transaction, so that a package may replace another. `name-` removes.
    # shellcheck disable=SC2086,SC2046 # words
    set -- $install $(for name in $gone; do echo "$name-"; done)
    until apt -s --purge install "$@" >log/plan 2>&1; do
        # A pin conflicts with a newer version: drop the pins that apt names, else those of the packages that depend on them.
        sed -n 's/.*Depends: \([^ :]*\).*/\1/p' log/plan >log/free
        cp pins log/pins
        unpin
        if cmp -s pins log/pins; then
            sed -n 's/^ \([^ :]*\)[^ ]* : .*Depends: .*/\1/p' log/plan >log/free
            unpin
        fi
        if cmp -s pins log/pins; then
            cat log/plan
            fail 73 "apt-get install found no solution"
        fi
        prefer
    done
    sed -n "s/^\(Inst\|Remv\|Purg\) /${data}plan &/p" log/plan
    apt --print-uris --purge -o Acquire::ForceHash=SHA256 install "$@" >log/uris || fail 73 "apt-get install found no solution"
    sed -n "s/^'/${data}uri &/p" log/uris
    wrong=$(for declared in $install; do
        name=${declared%%=*}
        grep -q "^Inst ${name%%:*}[ :]" log/plan && continue
        case $(dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null) in *installed*) continue ;; esac
        echo "karat: $name would not be installed"
    done)
    [ -z "$wrong" ] || {
        echo "$wrong"
        exit 75
    }
fi
if [ -n "$gone" ]; then
    # Also remove packages that only this removal makes unneeded; those unneeded before belong to the base.
    apt -s autoremove 2>/dev/null | sed -n "s/^\(Remv\|Purg\) /${data}unneeded &/p"
    apt -s --purge --auto-remove install "$@" 2>/dev/null | sed -n "s/^\(Remv\|Purg\) /${data}also &/p"
fi
