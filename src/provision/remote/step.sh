# Runs one script in the machine, for karat (src/provision/remote/mod.rs), behind session.sh.
# Arguments: TOKEN START_BYTES ALL_BYTES USER DIRECTORY ON_DROP(end|keep) INTERPRETER [ARGUMENT]
# stdin: what starts the script (its environment, then start.sh), then the script.
# What goes wrong before the script runs is said in lines that begin with the token.
# shellcheck disable=SC2317 # functions that traps call
set -u
token=$1 start_bytes=$2 all_bytes=$3 user=$4 directory=$5 on_drop=$6 interpreter=$7 argument=${8-}

refuse() {
    printf '%s %s\n' "$token" "$*"
    exit 125
}

# /run is in memory: neither the script nor its secrets ever touch the disk.
place=/run
[ -d /run ] && [ -w /run ] || place=/tmp
dir=$place/karat-$token
umask 077
{ mkdir -m 711 "$dir" && mkdir "$dir/step" && mkfifo "$dir/output"; } || refuse place "$place"
echo "$$" >"$dir/pid"

# The process that serves this connection: when it is gone, so is karat.
connection=$$
while [ "$connection" -gt 1 ] && read -r stat <"/proc/$connection/stat"; do
    case $stat in *'(sshd'* | *'(dropbear'*) break ;; esac
    IFS=' ' read -r _ connection _ <<FIELDS
${stat##*) }
FIELDS
done
[ "$connection" -gt 1 ] || connection=$PPID

leader='' watcher='' code=''
cleanup() {
    [ -z "$watcher" ] || kill "$watcher" 2>/dev/null
    if [ "$on_drop" = keep ] && [ -n "$code" ] && [ ! -d "/proc/$connection" ]; then
        # karat lost the connection and will come back to ask (ended.sh).
        rm -rf "$dir/step" "$dir/output"
        echo "$code" >"$dir/code"
    else
        rm -rf "$dir"
    fi
}
stop() {
    trap '' HUP INT TERM PIPE
    [ -z "$leader" ] || end_session "$leader"
    code=$1
    exit "$code"
}
trap cleanup EXIT
trap 'stop 129' HUP
trap 'stop 130' INT
trap 'stop 143' TERM

head -c "$all_bytes" >"$dir/step/all"
[ "$(wc -c <"$dir/step/all")" -eq "$all_bytes" ] || refuse truncated
head -c "$start_bytes" "$dir/step/all" >"$dir/step/start"
tail -c "+$((start_bytes + 1))" "$dir/step/all" >"$dir/step/script"
rm -f "$dir/step/all"
chmod 700 "$dir/step/script"

entry=$(getent passwd "$user") || refuse user "$user"
IFS=: read -r USER _ uid gid _ HOME SHELL <<ENTRY
$entry
ENTRY
LOGNAME=$USER
export USER LOGNAME HOME SHELL
# What tells one connection from another has no place in a build that can be repeated.
unset SSH_CLIENT SSH_CONNECTION SSH_TTY SSH_ORIGINAL_COMMAND SUDO_COMMAND SUDO_USER SUDO_UID SUDO_GID MAIL \
    XDG_SESSION_ID XDG_SESSION_TYPE XDG_SESSION_CLASS XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS
if [ -z "$directory" ]; then
    directory=$HOME
    [ -d "$directory" ] || directory=/
fi

set -- /bin/sh "$dir/step/start" "$token" "$directory" "$dir/step/script" "$interpreter" "$argument"
if [ "$uid" -ne 0 ]; then
    chown -R "$uid:$gid" "$dir/step"
    set -- setpriv "--reuid=$uid" "--regid=$gid" --init-groups -- "$@"
fi

# tee, not cat: it reads on when nobody listens any more, so that a script survives an expected drop.
(trap '' PIPE && exec tee /dev/null <"$dir/output" 2>/dev/null) &
reader=$!
umask 022
setsid "$@" </dev/null >"$dir/output" 2>&1 &
leader=$!
echo "$leader" >"$dir/leader"

# Ends the script when the connection is gone; lets go of output that a process left behind still holds.
watch() {
    while sleep 1; do
        if [ -e "$dir/done" ]; then
            kill "$reader"
            return
        fi
        if [ "$on_drop" = end ] && [ ! -d "/proc/$connection" ]; then
            kill -s HUP "$$"
            return
        fi
    done
}
watch </dev/null >/dev/null 2>&1 &
watcher=$!

wait "$leader"
code=$?
: >"$dir/done"
wait "$reader" 2>/dev/null
exit "$code"
