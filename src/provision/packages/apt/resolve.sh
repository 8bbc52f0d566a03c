# Asks the machine's own apt what the template's packages mean, and changes nothing: everything that apt keeps of it
# is in a directory that is removed again. Behind shared.sh, and a function `unpack` that writes files into the current
# directory: `pins` (NAME VERSION a line), `sources/*.sources` and keys.
# APT_INSTALL, APT_REMOVE: names, checked, separated by spaces. APT_RECOMMENDS: true or false. KARAT_PROXY: a URL.
# Data lines: `release DIGEST FILE DATE`, `signed MESSAGE`, `uri 'URL' FILE SIZE DIGEST`, and lines of apt's simulation
# behind `plan`, with what would become unneeded behind `unneeded` (already now) and `also` (then).
# Exit codes: 71 the package lists, 72 waiting, 73 no resolution, 75 not as declared, 76 the machine's disk.
# shellcheck disable=SC2154 # what shared.sh sets
set -eu
# shellcheck disable=SC2153
recommends=$APT_RECOMMENDS proxy=$KARAT_PROXY
unset APT_RECOMMENDS KARAT_PROXY

mkdir -m 755 "$directory" || fail 76 "no directory could be made in ${directory%/*}"
trap 'rm -rf "$directory"' EXIT
trap 'exit 129' HUP
trap 'exit 143' TERM
umask 022
cd "$directory"
mkdir -p lists/partial cache/archives/partial sources log
unpack
# Locked versions first, because the first match counts; above 1000, so that they win over a newer version in the base.
prefer() {
    {
        awk '{ print "Package: " $1 "\nPin: version " $2 "\nPin-Priority: 1001\n" }' pins
        [ ! -e /etc/apt/preferences ] || cat /etc/apt/preferences
    } >preferences
}
# Takes the names in log/free out of the locked versions.
let_go() {
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
# The workers' messages tell which keys the signatures are of.
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
    # One transaction, so that a package may take another's place. `name-` removes.
    # shellcheck disable=SC2086,SC2046 # words
    set -- $install $(for name in $gone; do echo "$name-"; done)
    until apt -s --purge install "$@" >log/plan 2>&1; do
        # A locked version stands in the way of one that must be newer: let go of those that apt names, or of who needs them.
        sed -n 's/.*Depends: \([^ :]*\).*/\1/p' log/plan >log/free
        cp pins log/pins
        let_go
        if cmp -s pins log/pins; then
            sed -n 's/^ \([^ :]*\)[^ ]* : .*Depends: .*/\1/p' log/plan >log/free
            let_go
        fi
        if cmp -s pins log/pins; then
            cat log/plan
            fail 73 "apt-get install has no answer"
        fi
        prefer
    done
    sed -n "s/^\(Inst\|Remv\|Purg\) /${data}plan &/p" log/plan
    apt --print-uris --purge -o Acquire::ForceHash=SHA256 install "$@" >log/uris || fail 73 "apt-get install has no answer"
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
    # Only what the removal itself leaves without a reason is removed too; the rest is the base's.
    apt -s autoremove 2>/dev/null | sed -n "s/^\(Remv\|Purg\) /${data}unneeded &/p"
    apt -s --purge --auto-remove install "$@" 2>/dev/null | sed -n "s/^\(Remv\|Purg\) /${data}also &/p"
fi
