# Brings the disk of an instance that cannot be stopped to rest, at the end of the clean-up: the kernel flushes all data and remounts
# all file systems read-only, as it does before a crash dump.
sync
echo s >/proc/sysrq-trigger
echo u >/proc/sysrq-trigger
tries=0
until grep -q '^[^ ]* / [^ ]* ro[, ]' /proc/mounts; do
    tries=$((tries + 1))
    [ "$tries" -lt 50 ] || exit 1
    sleep 0.2
done
