# Brings the disk of an instance that cannot be stopped to rest, as the last thing of the clean-up: the kernel writes everything and
# makes all file systems read-only, as it does before a crash dump.
sync
echo s >/proc/sysrq-trigger
echo u >/proc/sysrq-trigger
tries=0
until grep -q '^[^ ]* / [^ ]* ro[, ]' /proc/mounts; do
    tries=$((tries + 1))
    [ "$tries" -lt 50 ] || exit 1
    sleep 0.2
done
