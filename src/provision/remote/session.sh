# All processes of a step share one session (setsid), so that none escapes by leaving its process group.

# Sends signal $2 to every process of session $1. Fails if none is left.
signal_session() {
    signalled=1
    for file in /proc/[0-9]*/stat; do
        { read -r stat <"$file"; } 2>/dev/null || continue
        pid=${file#/proc/}
        pid=${pid%/stat}
        # After the name in brackets: state, parent, group, session.
        IFS=' ' read -r state _ _ session _ <<FIELDS
${stat##*) }
FIELDS
        if [ "$session" = "$1" ] && [ "$state" != Z ]; then
            kill -s "$2" "$pid" 2>/dev/null && signalled=0
        fi
    done
    return "$signalled"
}

# Ends session $1: TERM, five seconds, KILL.
end_session() {
    signal_session "$1" TERM || return 0
    rounds=0
    while [ "$rounds" -lt 25 ] && signal_session "$1" 0; do
        sleep 0.2
        rounds=$((rounds + 1))
    done
    signal_session "$1" KILL || :
}
