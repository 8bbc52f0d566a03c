# Terminates the step with token $1 after a timeout. Runs after session.sh.
for dir in "/run/karat-$1" "/tmp/karat-$1"; do
    { read -r leader <"$dir/leader"; } 2>/dev/null && end_session "$leader"
    if { read -r pid <"$dir/pid"; } 2>/dev/null; then
        # step.sh normally cleans up when its script ends; signal it only if it does not.
        rounds=0
        while [ "$rounds" -lt 30 ] && [ -d "/proc/$pid" ]; do
            [ "$rounds" -ne 10 ] || kill -s TERM "$pid"
            sleep 0.1
            rounds=$((rounds + 1))
        done
    fi
    rm -rf "$dir"
done
