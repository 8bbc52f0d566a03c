# Tells the machine to reboot. It answers at once, so that the order arrives even if the connection drops before the end.
if command -v systemctl >/dev/null; then
    systemctl reboot
else
    reboot
fi
