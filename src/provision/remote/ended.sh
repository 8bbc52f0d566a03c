# Waits for the end of the step with token $1, whose connection dropped, and prints its exit code.
# Prints nothing if a reboot ended it.
for dir in "/run/karat-$1" "/tmp/karat-$1"; do
    while [ ! -e "$dir/code" ] && { read -r pid <"$dir/pid"; } 2>/dev/null && [ -d "/proc/$pid" ]; do
        sleep 0.2
    done
    cat "$dir/code" 2>/dev/null
    rm -rf "$dir"
done
:
