#!/bin/sh
# Harden the OpenSSH server: no passwords, no forwarding, strong algorithms only.
#
# Rules:  CIS Debian Linux 12 Benchmark, section 5.1 (SSH server); algorithms as in ssh-audit's
#         hardening guide for Debian 12.
# Needs:  package openssh-server.
# Reads:  KARAT_VAR_SSH_ALLOW_GROUPS or SSH_ALLOW_GROUPS  groups that may log in, space separated
#                                                         (default: any)
#         KARAT_VAR_SSH_PERMIT_ROOT or SSH_PERMIT_ROOT    yes, no or prohibit-password
#                                                         (default: prohibit-password)
# The running server is left alone: karat is logged in through it. The rules hold from the next boot.
set -eu

allow_groups=${SSH_ALLOW_GROUPS:-${KARAT_VAR_SSH_ALLOW_GROUPS:-}}
permit_root=${SSH_PERMIT_ROOT:-${KARAT_VAR_SSH_PERMIT_ROOT:-prohibit-password}}
drop_in=/etc/ssh/sshd_config.d/10-karat-hardening.conf

fail() {
    echo "harden-ssh: $*" >&2
    exit 1
}

command -v sshd >/dev/null 2>&1 || [ -x /usr/sbin/sshd ] ||
    fail "sshd is missing; declare it: [packages.apt] install = [\"openssh-server\"]"
case $permit_root in
yes | no | prohibit-password) ;;
*) fail "SSH_PERMIT_ROOT is '$permit_root'; use yes, no or prohibit-password" ;;
esac
grep -Eqi '^[[:space:]]*Include[[:space:]]+"?/etc/ssh/sshd_config\.d/' /etc/ssh/sshd_config ||
    fail "/etc/ssh/sshd_config does not include sshd_config.d, so a drop-in would do nothing"

mkdir -p "${drop_in%/*}"
new=$(mktemp "$drop_in.XXXXXX") # its name does not end in .conf, so sshd does not read it
trap 'rm -f "$new"' EXIT
{
    cat <<'RULES'
# Written by karat's provisioners/harden-ssh.sh. In sshd_config the first value of a keyword wins.
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitEmptyPasswords no
HostbasedAuthentication no
IgnoreRhosts yes
PermitUserEnvironment no
MaxAuthTries 4
MaxSessions 10
MaxStartups 10:30:60
LoginGraceTime 60
ClientAliveInterval 15
ClientAliveCountMax 3
X11Forwarding no
AllowTcpForwarding no
AllowAgentForwarding no
AllowStreamLocalForwarding no
PermitTunnel no
GatewayPorts no
LogLevel VERBOSE
UsePAM yes
KexAlgorithms sntrup761x25519-sha512@openssh.com,curve25519-sha256,curve25519-sha256@libssh.org,diffie-hellman-group18-sha512,diffie-hellman-group16-sha512,diffie-hellman-group-exchange-sha256
Ciphers chacha20-poly1305@openssh.com,aes256-gcm@openssh.com,aes128-gcm@openssh.com,aes256-ctr,aes192-ctr,aes128-ctr
MACs hmac-sha2-512-etm@openssh.com,hmac-sha2-256-etm@openssh.com,umac-128-etm@openssh.com
HostKeyAlgorithms ssh-ed25519,ssh-ed25519-cert-v01@openssh.com,sk-ssh-ed25519@openssh.com,rsa-sha2-512,rsa-sha2-512-cert-v01@openssh.com,rsa-sha2-256,rsa-sha2-256-cert-v01@openssh.com
RULES
    echo "PermitRootLogin $permit_root"
    [ -z "$allow_groups" ] || echo "AllowGroups $allow_groups"
} >"$new"
chmod 0644 "$new"
mv "$new" "$drop_in"

# `sshd -t` wants a host key and the privilege separation directory. An image has neither until its
# first boot, so a throw-away key stands in.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"; rm -f "$new"' EXIT
ssh-keygen -q -t ed25519 -N '' -f "$scratch/key"
mkdir -p /run/sshd
if ! PATH=$PATH:/usr/sbin sshd -t -h "$scratch/key"; then
    rm -f "$drop_in"
    fail "sshd refuses the new rules; they were taken back"
fi
echo "harden-ssh: $drop_in in place, checked with sshd -t"
