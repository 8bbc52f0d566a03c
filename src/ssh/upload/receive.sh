#!/bin/sh
# The remote side of an upload. Argument: length of the item list. stdin: that list (shell text) and a tar archive whose last
# member checks the others. Everything is unpacked beside its destination and renamed into place only if all checks pass.
umask 022
listed=$1
work='' group=''

clean() {
    status=$?
    trap - EXIT HUP INT TERM PIPE
    [ "$status" = 0 ] || [ -z "$group" ] || printf 'item: %s\n' "$group" >&2
    if [ -n "$work" ]; then
        for link in "$work"/g*; do
            [ -h "$link" ] && rm -rf -- "$(readlink -- "$link")"
        done
        rm -rf -- "$work"
    fi
    exit "$status"
}
trap clean EXIT
trap 'exit 1' HUP INT TERM PIPE

die() {
    printf '%s\n' "$*" >&2
    exit 1
}

# place KIND NAME DESTINATION: sets $dir and $base; an empty $base means that the content of a directory goes into $dir.
place() {
    destination=$3 into=''
    while :; do
        case $destination in
        /) break ;;
        */) destination=${destination%/} into=1 ;;
        *) break ;;
        esac
    done
    dir=${destination%/*} base=${destination##*/}
    [ -n "$dir" ] || dir=/
    if [ -d "$destination" ]; then
        dir=$destination
        base=$2
        [ "$1" != content ] || die "$3: is a directory"
        [ "$1" = file ] || base=''
    elif [ "$1" = file ] && [ -n "$into" ]; then
        dir=$destination
        base=$2
    elif [ "$1" = directory ] && [ -e "$destination" ]; then
        die "$3: exists and is not a directory"
    fi
}

# stage GROUP OWNER KIND NAME DESTINATION: a fresh directory on the same file system for each group.
stage() {
    [ "$1" != "$group" ] || return 0
    group=$1
    place "$3" "$4" "$5"
    mkdir -p -- "$dir" || exit 1
    staged=$(mktemp -d -- "${dir%/}/.karat.XXXXXX") || exit 1
    ln -s -- "$staged" "$work/g$1" || exit 1
    # An unknown owner fails before anything is sent.
    [ "$2" = root:root ] || { chown -- "$2" "$staged" && chown -- 0:0 "$staged"; } || exit 1
}

# commit, with the arguments of stage: moves all items of a group at once, because they go into one directory.
commit() {
    [ "$1" != "$group" ] || return 0
    group=$1
    staged=$(readlink -- "$work/g$1") || exit 1
    [ "$2" = root:root ] || chown -R -- "$2" "$staged" || exit 1
    place "$3" "$4" "$5"
    if [ -z "$base" ]; then
        merge "$staged/$4" "$dir" || exit 1
    elif [ "$base" = "$4" ] && [ "$3" = file ]; then
        merge "$staged" "$dir" || exit 1
    else
        mv -f -T -- "$staged/$4" "${dir%/}/$base" || exit 1
    fi
}

# merge FROM TO: moves what is in one directory into another; a subshell, for its own variables. Nothing staged is a link.
merge() (
    from=$1 to=$2
    set --
    for entry in "$from"/* "$from"/.[!.]* "$from"/..?*; do
        [ -e "$entry" ] || continue
        if [ -d "$entry" ] && [ -d "$to/${entry##*/}" ]; then
            merge "$entry" "$to/${entry##*/}" || exit 1
            continue
        fi
        set -- "$@" "$entry"
        if [ $# -ge 100 ]; then
            mv -f -t "$to" -- "$@" || exit 1
            set --
        fi
    done
    [ $# -eq 0 ] || mv -f -t "$to" -- "$@"
)

# tar does not always report that a short write means a full disk.
full_disks() {
    for link in "$work"/g*; do
        free=$(df -k --output=avail -- "$link/" | tail -n 1)
        [ "$free" -gt 0 ] || printf 'no space left on the disk of %s\n' "$(readlink -- "$link")" >&2
    done
}

hash() {
    # OpenSSL, if installed, uses the processor's SHA instructions.
    if command -v openssl >/dev/null; then openssl dgst -sha256 -r; else sha256sum; fi
}

# same EXPECTED FOUND FILE
same() {
    [ "$1" = "${2%% *}" ] || die "check: $3: arrived damaged: SHA-256 is ${2%% *} instead of $1"
}

# one DIGEST FILE: checks it.
# shellcheck disable=SC2317 # called by the archive's last member
one() {
    same "$1" "$(hash <"$2")" "$2"
}

# two LENGTH DIGEST DIGEST FILE: checks the first LENGTH bytes and, in parallel, the rest.
# shellcheck disable=SC2317 # as above
two() {
    # ext4 flushes a file before renaming it over another; start that now, in parallel with the hashes.
    # Nothing waits for it: it may outlive this script, and holds only the file open.
    sync -d "$4" >/dev/null 2>&1 &
    dd bs=64k count="$1" iflag=fullblock,count_bytes status=none <"$4" | hash >first &
    hasher=$!
    # This dd only seeks: the hash reads the file itself, without a pipe.
    rest=$({ dd bs=64k count=0 skip="$1" iflag=skip_bytes status=none && hash; } <"$4")
    wait "$hasher"
    read -r found <first
    same "$2" "$found" "$4"
    same "$3" "$rest" "$4"
}

# many: checks all other files.
# shellcheck disable=SC2317 # as above
many() {
    bad=$(LC_ALL=C sha256sum -c --quiet --strict sums 2>/dev/null) || {
        bad=${bad%%: FAILED*}
        die "check: ${bad:-sums}: arrived damaged"
    }
}

work=$(mktemp -d) || exit 1
items=$(dd bs=64k count="$listed" iflag=fullblock,count_bytes status=none)
# shellcheck disable=SC2317 # called by the list
item() { stage "$@"; }
eval "$items"

group=''
# Unpacked straight from the connection and checked on disk: another process in the data path would double the time.
# Records of 64 KiB take half the time of tar's 10 KiB.
tar -x -b 128 -p -m --numeric-owner -f - -C "$work" || { full_disks; exit 1; }
cd -- "$work" || exit 1
[ -e checks ] || die 'the transfer broke off'
# shellcheck disable=SC1091 # it has just arrived
. ./checks

item() { commit "$@"; }
eval "$items"
