#!/bin/sh
# Kernel settings of a hardened server.
#
# Rules:  CIS Debian Linux 12 Benchmark, sections 1.5 (process hardening) and 3.3 (network
#         parameters); Kernel Self Protection Project, recommended sysctls.
# Needs:  package procps (in every base).
# Reads:  KARAT_VAR_IP_FORWARD or IP_FORWARD  1 for a router or a container host (default: 0)
# Applied at once where the running kernel knows the key, and at every boot.
set -eu

ip_forward=${IP_FORWARD:-${KARAT_VAR_IP_FORWARD:-0}}
# 99-sysctl.conf is a link to /etc/sysctl.conf: a name after it has the last word.
rules=/etc/sysctl.d/99-zz-karat-hardening.conf

fail() {
    echo "sysctl-hardening: $*" >&2
    exit 1
}

PATH=$PATH:/usr/sbin:/sbin
command -v sysctl >/dev/null || fail "sysctl is missing; declare it: [packages.apt] install = [\"procps\"]"
case $ip_forward in
0 | 1) ;;
*) fail "IP_FORWARD is '$ip_forward'; use 0 or 1" ;;
esac

new=$(mktemp "$rules.XXXXXX") # does not end in .conf: never read by itself
trap 'rm -f "$new"' EXIT
# A leading "-" means: no error where the kernel has no such key.
cat >"$new" <<RULES
# Written by karat's provisioners/sysctl-hardening.sh.
-kernel.randomize_va_space = 2
-kernel.kptr_restrict = 2
-kernel.dmesg_restrict = 1
-kernel.yama.ptrace_scope = 1
-kernel.unprivileged_bpf_disabled = 1
-kernel.perf_event_paranoid = 3
-kernel.sysrq = 0
-kernel.kexec_load_disabled = 1
-dev.tty.ldisc_autoload = 0
-net.core.bpf_jit_harden = 2
-fs.suid_dumpable = 0
-fs.protected_hardlinks = 1
-fs.protected_symlinks = 1
-fs.protected_fifos = 2
-fs.protected_regular = 2
-vm.mmap_min_addr = 65536
-net.ipv4.ip_forward = $ip_forward
-net.ipv6.conf.all.forwarding = $ip_forward
-net.ipv4.conf.all.send_redirects = 0
-net.ipv4.conf.default.send_redirects = 0
-net.ipv4.conf.all.accept_redirects = 0
-net.ipv4.conf.default.accept_redirects = 0
-net.ipv4.conf.all.secure_redirects = 0
-net.ipv4.conf.default.secure_redirects = 0
-net.ipv6.conf.all.accept_redirects = 0
-net.ipv6.conf.default.accept_redirects = 0
-net.ipv4.conf.all.accept_source_route = 0
-net.ipv4.conf.default.accept_source_route = 0
-net.ipv6.conf.all.accept_source_route = 0
-net.ipv6.conf.default.accept_source_route = 0
-net.ipv4.conf.all.log_martians = 1
-net.ipv4.conf.default.log_martians = 1
-net.ipv4.conf.all.rp_filter = 1
-net.ipv4.conf.default.rp_filter = 1
-net.ipv4.icmp_echo_ignore_broadcasts = 1
-net.ipv4.icmp_ignore_bogus_error_responses = 1
-net.ipv4.tcp_syncookies = 1
RULES
chmod 0644 "$new"
mv "$new" "$rules"

# A key that this kernel lacks, or that may only be set once, must not fail the build.
sysctl --quiet --ignore --load "$rules" || echo "sysctl-hardening: some keys wait for the next boot" >&2

# CIS 1.5: no core dumps of privileged programs, neither through limits nor through systemd.
mkdir -p /etc/security/limits.d /etc/systemd/coredump.conf.d
printf '* hard core 0\n' >/etc/security/limits.d/90-karat-no-core.conf
printf '[Coredump]\nStorage=none\nProcessSizeMax=0\n' >/etc/systemd/coredump.conf.d/90-karat.conf
echo "sysctl-hardening: $rules in place"
