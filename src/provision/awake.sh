# Prints the boot id, then the system state.
cat /proc/sys/kernel/random/boot_id
if command -v systemctl >/dev/null; then
    systemctl is-system-running 2>/dev/null
fi
:
