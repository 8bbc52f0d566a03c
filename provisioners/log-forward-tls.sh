#!/bin/sh
# Send every log line to a log host over TLS, and keep it on disk while that host is away.
#
# Rules:  CIS Debian Linux 12 Benchmark, section 6.1 (system logging); rsyslog documentation,
#         "Encrypting syslog traffic with TLS".
# Needs:  packages rsyslog, rsyslog-gnutls and ca-certificates.
# Reads:  LOG_HOST or KARAT_VAR_LOG_HOST  the log host; its certificate must carry this name (required)
#         LOG_PORT or KARAT_VAR_LOG_PORT  TCP port (default: 6514)
#         LOG_CA_FILE                     certificate authorities to trust
#                                         (default: /etc/ssl/certs/ca-certificates.crt)
# Takes effect at the next boot; nothing is sent while the image is built.
set -eu

host=${LOG_HOST:-${KARAT_VAR_LOG_HOST:-}}
port=${LOG_PORT:-${KARAT_VAR_LOG_PORT:-6514}}
ca_file=${LOG_CA_FILE:-/etc/ssl/certs/ca-certificates.crt}
rules=/etc/rsyslog.d/60-karat-forward.conf

fail() {
    echo "log-forward-tls: $*" >&2
    exit 1
}

PATH=$PATH:/usr/sbin:/sbin
command -v rsyslogd >/dev/null || fail "rsyslogd is missing; declare it: [packages.apt] install = [\"rsyslog\"]"
find /usr/lib -name lmnsd_gtls.so 2>/dev/null | grep -q . ||
    fail "rsyslog cannot speak TLS; declare it: [packages.apt] install = [\"rsyslog-gnutls\"]"
[ -n "$host" ] || fail "LOG_HOST is not set; give it in the step's environment or as a variable log_host"
case $host in
*[!A-Za-z0-9.-]*) fail "LOG_HOST is '$host'; write a host name" ;;
esac
case $port in
'' | *[!0-9]*) fail "LOG_PORT is '$port'; write a port number" ;;
esac
case $ca_file in
/*) ;;
*) fail "LOG_CA_FILE is '$ca_file'; write an absolute path" ;;
esac
case $ca_file in
*[\"\\]*) fail "LOG_CA_FILE must not hold quotes or backslashes" ;;
esac
[ -s "$ca_file" ] ||
    fail "$ca_file is missing; declare ca-certificates, or put your own there with [[files]]"

new=$(mktemp "$rules.XXXXXX") # does not end in .conf: never read by itself
trap 'rm -f "$new"' EXIT
cat >"$new" <<RULES
# Written by karat's provisioners/log-forward-tls.sh.
global(DefaultNetstreamDriverCAFile="$ca_file")
action(
    type="omfwd" target="$host" port="$port" protocol="tcp" template="RSYSLOG_SyslogProtocol23Format"
    TCP_Framing="octet-counted"
    StreamDriver="gtls" StreamDriverMode="1"
    StreamDriverAuthMode="x509/name" StreamDriverPermittedPeers="$host"
    queue.type="LinkedList" queue.filename="karat-forward" queue.maxDiskSpace="256m"
    queue.saveOnShutdown="on" action.resumeRetryCount="-1"
)
RULES
chmod 0644 "$new"
mv "$new" "$rules"
if ! rsyslogd -N1; then
    rm -f "$rules"
    fail "rsyslogd refuses the new rules; they were taken back"
fi
systemctl --no-reload enable rsyslog.service
echo "log-forward-tls: $host:$port, from the next boot"
