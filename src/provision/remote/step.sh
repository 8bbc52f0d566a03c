# Runs one script in the machine, for karat (src/provision/remote/mod.rs). Runs after session.sh.
# Arguments: TOKEN SCRIPT_BYTES START_BYTES USER DIRECTORY ON_DROP(end|keep) INTERPRETER [ARGUMENT]
# stdin: the script, then its start file (environment and start.sh). In this order, nothing runs after a partial transfer.
# Every program started here costs each step milliseconds, in an emulated machine tens of them.
# Errors before the script starts are printed in lines that begin with the token.
# shellcheck disable=SC2317 # functions called by traps
set -u
token=$1 script_bytes=$2 start_bytes=$3 user=$4 directory=$5 on_drop=$6 interpreter=$7 argument=${8-}

refuse() {
    printf '%s %s\n' "$token" "$*"
    exit 125
}

# /run is in memory: neither the script nor its secrets ever touch the disk.
place=/run
[ -d /run ] && [ -w /run ] || place=/tmp
dir=$place/karat-$token
umask 077
step=$dir
if [ "$user" = root ]; then
    mkdir "$dir" || refuse place "$place"
else
    step=$dir/step
    { mkdir -m 711 "$dir" && mkdir "$step"; } || refuse place "$place"
fi
mkfifo "$dir/output" || refuse place "$place"
echo "$$" >"$dir/pid"

# The process that serves this connection. When it ends, karat is gone.
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
        # karat lost the connection and will reconnect to ask for the exit code (ended.sh).
        rm -rf "$step/script" "$step/start" "$dir/output"
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

head -c "$script_bytes" >"$step/script"
head -c "$start_bytes" >"$step/start"

USER='' uid=''
while [ "$USER" != "$user" ] && IFS=: read -r USER _ uid gid _ HOME SHELL; do :; done </etc/passwd
if [ "$USER" != "$user" ]; then
    # Not a local user, or an unknown one.
    entry=$(getent passwd "$user") || refuse user "$user"
    IFS=: read -r USER _ uid gid _ HOME SHELL <<ENTRY
$entry
ENTRY
fi
LOGNAME=$USER
export USER LOGNAME HOME SHELL
# Variables that differ between connections would make builds irreproducible.
unset SSH_CLIENT SSH_CONNECTION SSH_TTY SSH_ORIGINAL_COMMAND SUDO_COMMAND SUDO_USER SUDO_UID SUDO_GID MAIL \
    XDG_SESSION_ID XDG_SESSION_TYPE XDG_SESSION_CLASS XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS
if [ -z "$directory" ]; then
    directory=$HOME
    [ -d "$directory" ] || directory=/
fi

set -- /bin/sh "$step/start" "$token" "$directory" "$step/script" "$interpreter" "$argument"
[ -n "$interpreter" ] || chmod 700 "$step/script"
if [ "$user" != root ]; then
    chown -R "$uid:$gid" "$step"
    set -- setpriv "--reuid=$uid" "--regid=$gid" --init-groups -- "$@"
fi

# tee, not cat: it continues after its output is closed, so that a script survives an expected drop.
(trap '' PIPE && exec tee /dev/null <"$dir/output" 2>/dev/null) &
reader=$!
umask 022
setsid "$@" </dev/null >"$dir/output" 2>&1 &
leader=$!
echo "$leader" >"$dir/leader"

# Terminates the script when the connection is gone. Stops reading output that a leftover process still holds open.
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
# A marked script (failed_line.rs) stores the number of its line. On stderr, since its output may end without a newline.
if [ "$code" -ne 0 ] && [ -f "$step/script.line" ] && read -r number <"$step/script.line"; then
    printf '%s line %s\n' "$token" "$number" >&2
fi
exit "$code"
