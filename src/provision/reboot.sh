# Reboots the machine. The command returns at once, before the connection drops.
if command -v systemctl >/dev/null; then
    systemctl reboot
else
    reboot
fi
