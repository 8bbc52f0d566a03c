#!/bin/sh
# Turn automatic updates off: an image is replaced by a newer image, never patched in place.
#
# Rules:  Debian wiki, "UnattendedUpgrades" and "PeriodicUpdates"; apt.conf(5).
# Needs:  nothing.
# Reads:  nothing.
set -eu

# 99: read after what unattended-upgrades and other packages put there.
rules=/etc/apt/apt.conf.d/99karat-no-auto-updates
cat >"$rules" <<'RULES'
// Written by karat's provisioners/no-auto-updates.sh: build and roll out a new image instead.
APT::Periodic::Enable "0";
APT::Periodic::Update-Package-Lists "0";
APT::Periodic::Download-Upgradeable-Packages "0";
APT::Periodic::Unattended-Upgrade "0";
RULES
chmod 0644 "$rules"

# A masked unit stays off even when a package that ships it comes later. One call each: every call makes
# systemd read all its units again, which is slow in an emulated guest.
units="apt-daily.timer apt-daily-upgrade.timer apt-daily.service apt-daily-upgrade.service
unattended-upgrades.service"
# shellcheck disable=SC2086  # a list of words
systemctl stop $units 2>/dev/null || true # not every unit is there
# shellcheck disable=SC2086
systemctl --no-reload --quiet mask $units
echo "no-auto-updates: apt timers masked, periodic work off"
