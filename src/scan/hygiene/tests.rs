//! Every check on a tree where its subject is planted, and on clean ones.

use std::collections::BTreeSet;

use super::*;
use crate::disk::clean::rules::RULES;
use crate::disk::read::Kind;
use crate::disk::tree::{Content, File};
use crate::scan::testing::{Planted, of};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\n\
                      nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
const SHADOW: &str = "root:*:19000:0:99999:7:::\n_apt:*:19000:::::\nnobody:!:19000:::::\n";
const SSHD: &str = "# Port 22\nInclude /etc/ssh/sshd_config.d/*.conf\nPasswordAuthentication no\n\
                    KbdInteractiveAuthentication no\nUsePAM yes\n";
/// With a time that is later than every day in the files above.
const NOW: i64 = 1_700_000_000;

/// A machine with nothing wrong.
fn clean() -> Planted {
    Planted::default()
        .with("/usr", now(of(Kind::Directory, 0o755, Content::None)))
        .file("/etc/passwd", 0o644, PASSWD)
        .file("/etc/shadow", 0o640, SHADOW)
        .file(
            "/etc/group",
            0o644,
            "root:x:0:\nshadow:x:42:\nnogroup:x:65534:\n",
        )
        .file("/etc/machine-id", 0o444, "")
        .file("/etc/ssh/sshd_config", 0o644, SSHD)
        .file("/usr/sbin/sshd", 0o755, "\x7fELF")
        .file("/usr/bin/cloud-init", 0o755, "#!/usr/bin/python3\n")
        .file(
            "/etc/sudoers",
            0o440,
            "Defaults env_reset\nroot ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n",
        )
        .file(
            "/etc/sudoers.d/README",
            0o440,
            "# web ALL=(ALL) NOPASSWD: ALL\n",
        )
        .file(
            "/etc/sudoers.d/ignored.bak",
            0o440,
            "web ALL=(ALL) NOPASSWD: ALL\n",
        )
        .file(
            "/etc/apt/sources.list",
            0o644,
            "deb [signed-by=/k] http://example.org/debian bookworm main\n",
        )
        .file("/etc/fstab", 0o644, "UUID=1-2 / ext4 defaults 0 1\n")
        .file("/boot/vmlinuz-6.1", 0o644, "kernel")
        .file(
            "/boot/grub/grub.cfg",
            0o644,
            "linux /boot/vmlinuz-6.1 root=UUID=1-2 ro quiet\n",
        )
        .file("/usr/bin/sudo", 0o4755, "\x7fELF")
        .file(
            "/usr/share/doc/x/examples/key.pem",
            0o644,
            "-----BEGIN RSA PRIVATE KEY-----\nabc\n",
        )
        .file(
            "/etc/ssl/certs/ca-certificates.crt",
            0o644,
            "-----BEGIN CERTIFICATE-----\nabc\n",
        )
        .file(
            "/var/lib/dpkg/status",
            0o644,
            "Package: sudo\nStatus: install ok installed\nVersion: 1\n",
        )
        .file(
            "/var/lib/dpkg/info/sudo.list",
            0o644,
            "/usr/bin/sudo\n/usr/share/doc/x/examples/key.pem\n/usr/sbin/sshd\n",
        )
        .directory("/tmp", 0o1777)
        .directory("/opt", 0o755)
        .file("/etc/environment", 0o644, "PATH=/usr/bin\n")
        .link(
            "/etc/resolv.conf",
            "../run/systemd/resolve/stub-resolv.conf",
        )
}

fn now(mut file: File) -> File {
    file.mtime.seconds = NOW;
    file
}

fn ids(tree: &Planted) -> BTreeSet<String> {
    let findings = check(&tree.root()).unwrap();
    findings.into_iter().map(|finding| finding.check).collect()
}

#[test]
fn nothing_is_found_in_a_clean_tree() {
    let found = check(&clean().root()).unwrap();
    assert_eq!(found, []);
    assert_eq!(
        check(&Planted::default().root()).unwrap(),
        [],
        "in an empty one"
    );
}

/// A check and how it is broken.
type Case = (&'static str, fn(Planted) -> Planted);

/// One for each check at least; several where it has several ways.
const CASES: &[Case] = &[
    ("machine-id", |tree| {
        tree.file("/etc/machine-id", 0o444, "0123456789abcdef\n")
    }),
    ("dbus-machine-id", |tree| {
        tree.file("/var/lib/dbus/machine-id", 0o444, "0123456789abcdef\n")
    }),
    ("ssh-host-key", |tree| {
        tree.file("/etc/ssh/ssh_host_rsa_key", 0o600, "x")
    }),
    ("random-seed", |tree| {
        tree.file("/var/lib/systemd/random-seed", 0o600, "x")
    }),
    ("credential-secret", |tree| {
        tree.file("/var/lib/systemd/credential.secret", 0o400, "x")
    }),
    ("cloud-init-state", |tree| {
        tree.file("/var/lib/cloud/instances/a/sem/x", 0o644, "x")
    }),
    ("network-lease", |tree| {
        tree.file("/var/lib/dhcp/dhclient.leases", 0o644, "x")
    }),
    ("old-log", |tree| {
        tree.file("/var/log/journal/abc/system.journal", 0o640, "x")
    }),
    ("log", |tree| tree.file("/var/log/auth.log", 0o640, "x")),
    ("apt-cache", |tree| {
        tree.file("/var/cache/apt/archives/a.deb", 0o644, "x")
    }),
    ("dnf-cache", |tree| {
        tree.file("/var/cache/dnf/a.solv", 0o644, "x")
    }),
    ("cache", |tree| tree.file("/root/.cache/pip/x", 0o644, "x")),
    ("state-backup", |tree| {
        tree.file("/etc/shadow-", 0o640, "root:*:1::::\n")
    }),
    ("temporary-file", |tree| tree.file("/tmp/x", 0o644, "x")),
    ("temporary-file", |tree| {
        tree.file("/var/tmp/.x/y", 0o644, "x")
    }),
    ("run-file", |tree| tree.file("/run/x", 0o644, "x")),
    ("process-id", |tree| {
        tree.file("/var/lib/x/x.pid", 0o644, "7")
    }),
    ("socket", |tree| {
        tree.with("/var/lib/x/sock", of(Kind::Socket, 0o755, Content::None))
    }),
    ("systemd-state", |tree| {
        tree.file("/var/lib/systemd/timers/stamp-x.timer", 0o644, "")
    }),
    ("update-stamp", |tree| {
        tree.file("/etc/.updated", 0o644, "TIMESTAMP_NSEC=7\n")
    }),
    ("history", |tree| {
        tree.file("/root/.bash_history", 0o600, "ls\n")
    }),
    ("snake-oil-key", |tree| {
        tree.file("/etc/ssl/private/ssl-cert-snakeoil.key", 0o640, "x")
    }),
    ("snake-oil-link", |tree| {
        tree.link("/etc/ssl/certs/abc.0", "ssl-cert-snakeoil.pem")
    }),
    ("shadow-day", |tree| {
        tree.file("/etc/shadow", 0o640, "root:*:29000::::\n")
    }),
    ("authorized-keys", |tree| {
        tree.file(
            "/srv/x/.ssh/authorized_keys",
            0o600,
            "# x\nssh-ed25519 AAAA x\n",
        )
    }),
    ("private-key", |tree| {
        tree.file(
            "/opt/k",
            0o600,
            "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n",
        )
    }),
    ("private-key", |tree| {
        tree.file(
            "/opt/k",
            0o600,
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nabc\n",
        )
    }),
    ("private-key", |tree| {
        tree.file("/opt/k.ppk", 0o600, "PuTTY-User-Key-File-3: ssh-rsa\n")
    }),
    ("known-hosts", |tree| {
        tree.file("/root/.ssh/known_hosts", 0o600, "x\n")
    }),
    ("rhosts-file", |tree| {
        tree.file("/root/.rhosts", 0o600, "+ +\n")
    }),
    ("sshd-root-login", |tree| {
        sshd(tree, "PermitRootLogin yes\n")
    }),
    ("sshd-root-login", |tree| {
        tree.file(
            "/etc/ssh/sshd_config.d/a.conf",
            0o644,
            "permitrootlogin=\"yes\"\n",
        )
    }),
    ("sshd-root-login", |tree| {
        sshd(
            tree,
            "PermitRootLogin no\nMatch Address 10.0.0.0/8\n PermitRootLogin yes\n",
        )
    }),
    ("sshd-passwords", |tree| {
        tree.file("/etc/ssh/sshd_config", 0o644, "UsePAM yes\n")
    }),
    ("sshd-passwords", |tree| {
        tree.file(
            "/etc/ssh/sshd_config.d/a.conf",
            0o644,
            "PasswordAuthentication yes\n",
        )
    }),
    ("sshd-passwords", |tree| {
        tree.file(
            "/etc/ssh/sshd_config.d/a.conf",
            0o644,
            "ChallengeResponseAuthentication yes\n",
        )
    }),
    ("sshd-empty-passwords", |tree| {
        sshd(tree, "PermitEmptyPasswords yes\n")
    }),
    ("sshd-rhosts", |tree| {
        sshd(tree, "HostbasedAuthentication yes\n")
    }),
    ("sshd-rhosts", |tree| sshd(tree, "IgnoreRhosts no\n")),
    ("sshd-user-environment", |tree| {
        sshd(tree, "PermitUserEnvironment yes\n")
    }),
    ("sshd-strict-modes", |tree| sshd(tree, "StrictModes no\n")),
    ("sshd-weak-crypto", |tree| {
        sshd(tree, "Ciphers aes256-ctr,3des-cbc\n")
    }),
    ("sshd-weak-crypto", |tree| {
        sshd(tree, "KexAlgorithms +diffie-hellman-group1-sha1\n")
    }),
    ("no-host-key-generator", |_| keyless()),
    ("empty-password", |tree| {
        tree.file("/etc/shadow", 0o640, "root::19000::::\n")
    }),
    ("usable-password", |tree| {
        tree.file(
            "/etc/shadow",
            0o640,
            "root:$y$j9T$abcdefgh$abcdefgh:19000::::\n",
        )
    }),
    ("weak-password-hash", |tree| {
        tree.file(
            "/etc/shadow",
            0o640,
            "root:$1$abcdefgh$abcdefgh:19000::::\n",
        )
    }),
    ("weak-password-hash", |tree| {
        tree.file("/etc/shadow", 0o640, "root:abJnggxhB/yWI:19000::::\n")
    }),
    ("locked-password-hash", |tree| {
        tree.file(
            "/etc/shadow",
            0o640,
            "root:!$6$abcdefgh$abcdefgh:19000::::\n",
        )
    }),
    ("password-in-passwd", |tree| {
        passwd(tree, "web:$6$abcdefgh$abcdefgh:42:42::/:/bin/sh\n")
    }),
    ("second-root", |tree| {
        passwd(tree, "toor:x:0:0::/root:/bin/sh\n")
    }),
    ("shared-uid", |tree| {
        passwd(tree, "web:x:42:42::/:/bin/sh\n")
    }),
    ("nis-entry", |tree| passwd(tree, "+::::\n")),
    ("shadow-readable", |tree| {
        tree.file("/etc/shadow", 0o644, SHADOW)
    }),
    ("account-backup", |tree| {
        tree.file("/etc/shadow.bak", 0o600, SHADOW)
    }),
    ("account-backup", |tree| {
        tree.file("/etc/passwd.dpkg-old", 0o644, PASSWD)
    }),
    ("sudo-nopasswd", |tree| {
        tree.file(
            "/etc/sudoers.d/web",
            0o440,
            "%web ALL=(ALL) \\\n NOPASSWD: ALL\n",
        )
    }),
    ("sudo-nopasswd", |tree| {
        tree.file("/etc/sudoers.d/web", 0o440, "Defaults !authenticate\n")
    }),
    ("sudoers-writable", |tree| {
        tree.file("/etc/sudoers.d/web", 0o664, "# nothing\n")
    }),
    ("build-user", |tree| {
        passwd(tree, "debian:x:1000:42::/home/debian:/bin/bash\n").file(
            "/etc/sudoers.d/cloud",
            0o440,
            "debian ALL=(ALL) NOPASSWD:ALL\n",
        )
    }),
    ("untrusted-source", |tree| {
        tree.file(
            "/etc/apt/sources.list",
            0o644,
            "deb [ arch=amd64 trusted=yes ] http://example.org/ x main\n",
        )
    }),
    ("untrusted-source", |tree| {
        tree.file(
            "/etc/apt/sources.list.d/x.sources",
            0o644,
            "Types: deb\nURIs: http://example.org/\nTrusted: yes\n",
        )
    }),
    ("untrusted-source", |tree| {
        tree.file(
            "/etc/yum.repos.d/x.repo",
            0o644,
            "[x]\nbaseurl=http://example.org/\ngpgcheck=0\n",
        )
    }),
    ("unauthenticated-packages", |tree| {
        tree.file(
            "/etc/apt/apt.conf.d/99x",
            0o644,
            "APT::Get::AllowUnauthenticated \"true\";\n",
        )
    }),
    ("unauthenticated-packages", |tree| {
        tree.file(
            "/etc/apt/apt.conf.d/99x",
            0o644,
            "Acquire::https::Verify-Peer \"false\";\n",
        )
    }),
    ("source-credentials", |tree| {
        tree.file(
            "/etc/apt/sources.list.d/x.list",
            0o644,
            "deb https://me:pass@example.org/ x main\n",
        )
    }),
    ("source-credentials", |tree| {
        tree.file(
            "/etc/apt/auth.conf.d/x.conf",
            0o600,
            "machine example.org login me password pass\n",
        )
    }),
    ("build-proxy", |tree| {
        tree.file(
            "/etc/apt/apt.conf.d/99proxy",
            0o644,
            "Acquire::http::Proxy \"http://10.0.2.2:3142\";\n",
        )
    }),
    ("build-proxy", |tree| {
        tree.file(
            "/etc/environment",
            0o644,
            "http_proxy=http://10.0.2.2:3128\n",
        )
    }),
    ("build-proxy", |tree| {
        tree.file(
            "/etc/profile.d/proxy.sh",
            0o644,
            "export https_proxy=http://me:pass@10.0.2.2:3128\n",
        )
    }),
    ("build-proxy", |tree| {
        tree.file(
            "/etc/apt/apt.conf",
            0o644,
            "Acquire {\n  http { Proxy \"http://10.0.2.2:3142\"; };\n};\n",
        )
    }),
    ("unauthenticated-packages", |tree| {
        tree.file(
            "/etc/apt/apt.conf.d/99x",
            0o644,
            "APT { Get { AllowUnauthenticated true; }; };\n",
        )
    }),
    ("build-proxy", |tree| {
        tree.file(
            "/etc/systemd/system/docker.service.d/http-proxy.conf",
            0o644,
            "[Service]\nEnvironment=\"A=b\" \"HTTPS_PROXY=http://10.0.2.2:3128\"\n",
        )
    }),
    ("build-proxy", |tree| {
        tree.file(
            "/root/.gitconfig",
            0o644,
            "[http]\n\tproxy = http://p.corp.test:3128\n",
        )
    }),
    ("build-proxy", |tree| {
        tree.file(
            "/etc/docker/daemon.json",
            0o644,
            "{\"proxies\": {\n\"http-proxy\": \"http://p.corp.test:3128\",\n\"no-proxy\": \"x\"}}\n",
        )
    }),
    ("package-index", |tree| {
        tree.file(
            "/etc/pip.conf",
            0o644,
            "[global]\nindex-url = https://pypi.corp.test/simple\n",
        )
    }),
    ("package-index", |tree| {
        tree.file(
            "/root/.npmrc",
            0o644,
            "@corp:registry=http://npm.corp.test/\n",
        )
    }),
    ("group-password", |tree| {
        tree.file(
            "/etc/gshadow",
            0o640,
            "root:*::\nweb:$6$abcdefgh$abcdefgh::\n",
        )
    }),
    ("account-backup", |tree| {
        tree.file("/etc/shadow-2024", 0o600, SHADOW)
    }),
    ("sudo-nopasswd", |tree| {
        tree.file("/etc/sudoers", 0o440, "#include /etc/extra\n")
            .file("/etc/extra", 0o440, "web ALL=(ALL) NOPASSWD: ALL\n")
    }),
    ("sudo-nopasswd", |tree| {
        tree.file(
            "/etc/sudoers.d/web",
            0o440,
            "#1000 ALL=(ALL) NOPASSWD: ALL\n",
        )
    }),
    ("sudo-nopasswd", |tree| {
        tree.file("/etc/doas.conf", 0o400, "permit nopass keepenv :wheel\n")
    }),
    ("authorized-keys", |tree| {
        tree.file(
            "/etc/ssh/authorized_keys.d/web",
            0o644,
            "ssh-ed25519 AAAA x\n",
        )
    }),
    ("authorized-keys", |tree| {
        sshd(
            tree,
            "AuthorizedKeysFile .ssh/authorized_keys /etc/keys/%u.pub\n",
        )
        .file("/etc/keys/web.pub", 0o644, "ssh-ed25519 AAAA x\n")
    }),
    ("sshd-root-login", |tree| {
        tree.file(
            "/etc/default/ssh",
            0o644,
            "SSHD_OPTS=\"-o PermitRootLogin=yes\"\n",
        )
    }),
    ("sshd-root-login", |tree| {
        tree.file(
            "/etc/ssh/sshd_config.d/a.conf",
            0o644,
            "PermitRootLogin yes\n",
        )
        .file(
            "/etc/ssh/sshd_config.d/b.conf",
            0o644,
            "PermitRootLogin no\n",
        )
    }),
    ("boot-secret", |tree| {
        tree.file(
            "/boot/loader/entries/a.conf",
            0o644,
            "options root=UUID=1 api_key=abc123\n",
        )
    }),
    ("boot-secret", |tree| {
        tree.file(
            "/etc/default/grub",
            0o644,
            "GRUB_CMDLINE_LINUX=\"quiet wifi.psk=abc123\"\n",
        )
    }),
    ("device-name", |tree| {
        tree.file(
            "/etc/initramfs-tools/conf.d/resume",
            0o644,
            "RESUME=/dev/sda2\n",
        )
    }),
    ("device-name", |tree| {
        tree.file("/etc/crypttab", 0o644, "data /dev/sdb1 none luks\n")
    }),
    ("legacy-service", |tree| {
        tree.file(
            "/etc/systemd/system/t.service",
            0o644,
            "[Service]\nExecStart=/bin/busybox telnetd -F\n",
        )
    }),
    ("shell-history", |tree| {
        tree.file("/root/.local/share/fish/fish_history", 0o600, "- cmd: ls\n")
    }),
    ("installer-answers", |tree| {
        tree.file(
            "/var/cache/debconf/passwords.dat",
            0o600,
            "Name: x/password\nValue: hunter2\n",
        )
    }),
    ("crash-dump", |tree| {
        tree.file("/var/crash/202411250000/vmcore", 0o600, "x")
    }),
    ("mail", |tree| {
        tree.file("/var/spool/postfix/deferred/A/AB", 0o600, "x")
    }),
    ("network-lease", |tree| {
        tree.file("/var/lib/dhcpcd/duid", 0o644, "00:01")
    }),
    ("network-lease", |tree| {
        tree.file("/var/lib/NetworkManager/internal-x-eth0.lease", 0o644, "x")
    }),
    ("network-lease", |tree| {
        tree.file("/var/lib/dhclient/dhclient-eth0.lease", 0o644, "x")
    }),
    ("added-authority", |tree| {
        tree.file(
            "/etc/ssl/certs/corp.pem",
            0o644,
            "-----BEGIN CERTIFICATE-----\n",
        )
    }),
    ("added-authority", |tree| {
        tree.file("/usr/local/share/ca-certificates/x.crt", 0o644, "x")
    }),
    ("boot-secret", |tree| {
        grub(tree, "linux /vmlinuz db_password=hunter2\n")
    }),
    ("boot-secret", |tree| {
        grub(
            tree,
            "linux /vmlinuz ds=nocloud-net;s=https://me:pass@example.org/\n",
        )
    }),
    ("boot-root-shell", |tree| {
        grub(tree, "linux /vmlinuz init=/bin/sh\n")
    }),
    ("boot-protection-off", |tree| {
        grub(tree, "linux /vmlinuz mitigations=off\n")
    }),
    ("device-name", |tree| {
        grub(tree, "linux /vmlinuz root=/dev/sda1\n")
    }),
    ("device-name", |tree| {
        tree.file("/etc/fstab", 0o644, "/dev/nvme0n1p1 / ext4 defaults 0 1\n")
    }),
    ("several-kernels", |tree| {
        tree.file("/boot/vmlinuz-6.2", 0o644, "kernel")
    }),
    ("mount-password", |tree| {
        tree.file(
            "/etc/fstab",
            0o644,
            "//example.org/x /x cifs user=me,password=pass 0 0\n",
        )
    }),
    ("legacy-service", |tree| {
        tree.file("/usr/sbin/in.telnetd", 0o755, "x")
    }),
    ("debug-shell", |tree| {
        tree.link(
            "/etc/systemd/system/sysinit.target.wants/debug-shell.service",
            "/lib/systemd/system/debug-shell.service",
        )
    }),
    ("autologin", |tree| {
        tree.file(
            "/etc/systemd/system/getty@tty1.service.d/x.conf",
            0o644,
            "[Service]\nExecStart=-/sbin/agetty --autologin root %I\n",
        )
    }),
    ("world-writable-file", |tree| {
        tree.file("/opt/x", 0o666, "x")
    }),
    ("world-writable-directory", |tree| {
        tree.directory("/opt/x", 0o777)
    }),
    ("path-writable", |tree| {
        tree.with(
            "/usr/local/bin/x",
            File {
                uid: 42,
                ..of(Kind::File, 0o755, Content::Bytes(b"x".to_vec()))
            },
        )
    }),
    ("path-writable", |tree| {
        tree.with(
            "/usr/local/bin",
            File {
                uid: 42,
                ..of(Kind::Directory, 0o755, Content::None)
            },
        )
    }),
    ("orphan-owner", |tree| {
        tree.with(
            "/opt/x",
            File {
                uid: 1234,
                ..of(Kind::File, 0o644, Content::None)
            },
        )
    }),
    ("orphan-owner", |tree| {
        tree.with(
            "/opt/x",
            File {
                gid: 1234,
                ..of(Kind::Directory, 0o755, Content::None)
            },
        )
    }),
    ("device-node", |tree| {
        tree.with(
            "/opt/sda",
            File {
                rdev: Some((8, 0)),
                ..of(Kind::BlockDevice, 0o600, Content::None)
            },
        )
    }),
    ("setuid-writable", |tree| {
        tree.file("/usr/bin/sudo", 0o4775, "x")
    }),
    ("setuid-unpackaged", |tree| {
        tree.file("/opt/sh", 0o4755, "x")
    }),
    ("setuid-unpackaged", |tree| {
        tree.file("/opt/sh", 0o2755, "x")
    }),
    ("cloud-user-data", |tree| {
        tree.file("/boot/seed/user-data", 0o644, "#cloud-config\n")
    }),
    ("installer-answers", |tree| {
        tree.file("/root/preseed.cfg", 0o644, "d-i x\n")
    }),
    ("shell-history", |tree| {
        tree.file("/srv/web/.bash_history", 0o600, "ls\n")
    }),
    ("user-crontab", |tree| {
        tree.file("/var/spool/cron/crontabs/root", 0o600, "* * * * * x\n")
    }),
    ("mail", |tree| {
        tree.file("/var/mail/root", 0o600, "From x\n")
    }),
    ("crash-dump", |tree| {
        tree.file("/var/crash/x.crash", 0o600, "x")
    }),
    ("crash-dump", |tree| {
        tree.file(
            "/srv/core.17",
            0o600,
            b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x04\0".to_vec(),
        )
    }),
    ("version-control", |tree| {
        tree.directory("/opt/app/.git", 0o755)
    }),
    ("bound-to-network-card", |tree| {
        tree.file(
            "/etc/netplan/a.yaml",
            0o600,
            "network:\n  match:\n    macaddress: 52:54:00:00:00:01\n",
        )
    }),
    ("ld-preload", |tree| {
        tree.file("/etc/ld.so.preload", 0o644, "/opt/x.so\n")
    }),
    ("build-resolver", |tree| {
        tree.file("/etc/resolv.conf", 0o644, "nameserver 10.0.2.3\n")
    }),
];

fn sshd(tree: Planted, text: &str) -> Planted {
    tree.file("/etc/ssh/sshd_config", 0o644, format!("{SSHD}{text}"))
}

fn passwd(tree: Planted, line: &str) -> Planted {
    tree.file("/etc/passwd", 0o644, format!("{PASSWD}{line}"))
}

fn grub(tree: Planted, text: &str) -> Planted {
    tree.file("/boot/grub/grub.cfg", 0o644, text)
}

/// sshd, and nothing that makes its keys.
fn keyless() -> Planted {
    Planted::default()
        .file("/usr/sbin/sshd", 0o755, "x")
        .file("/etc/ssh/sshd_config", 0o644, SSHD)
}

#[test]
fn every_check_finds_what_is_planted_for_it() {
    for (number, (check, plant)) in CASES.iter().enumerate() {
        let found = ids(&plant(clean()));
        assert!(
            found.contains(*check),
            "case {number}: {check} is not in {found:?}"
        );
    }
}

#[test]
fn no_check_is_without_a_case_and_no_rule_without_a_check() {
    assert!(CHECKS.len() >= 45, "{}", CHECKS.len());
    let tested: BTreeSet<_> = CASES.iter().map(|(check, _)| *check).collect();
    let all: BTreeSet<_> = CHECKS.iter().map(|check| check.id).collect();
    assert_eq!(all.len(), CHECKS.len(), "an id is there twice");
    assert_eq!(tested, all);
    let rules: Vec<_> = CHECKS.iter().filter_map(|check| check.rule).collect();
    let expected: Vec<_> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(rules, expected);
}

#[test]
fn no_finding_shows_a_secret_and_each_says_how_to_mend_it() {
    for (check_id, plant) in CASES {
        for finding in check(&plant(clean()).root()).unwrap() {
            let text = format!("{finding:?}");
            for secret in [
                "hunter2",
                "pass@",
                "password pass",
                "abcdefgh",
                "abJnggxhB",
                "AAAA",
            ] {
                assert!(!text.contains(secret), "{check_id}: {text}");
            }
            assert!(
                !finding.mend.is_empty() && !finding.evidence.is_empty(),
                "{check_id}"
            );
            assert!(finding.id.starts_with(&finding.check), "{check_id}");
        }
    }
}

#[test]
fn what_is_harmless_is_not_found() {
    let cases: &[Case] = &[
        ("sshd-root-login", |tree| {
            sshd(tree, "PermitRootLogin yes\n").file(
                "/etc/ssh/sshd_config.d/a.conf",
                0o644,
                "PermitRootLogin no\n",
            )
        }),
        ("sshd-root-login", |tree| {
            tree.file(
                "/etc/ssh/sshd_config.d/a.txt",
                0o644,
                "PermitRootLogin yes\n",
            )
        }),
        ("sshd-root-login", |tree| {
            sshd(tree, "PermitRootLogin prohibit-password\n")
        }),
        ("sshd-weak-crypto", |tree| sshd(tree, "Ciphers -3des-cbc\n")),
        ("no-host-key-generator", |_| {
            keyless().file(
                "/etc/systemd/system/ssh.service.d/k.conf",
                0o644,
                "[Service]\nExecStartPre=ssh-keygen -A\n",
            )
        }),
        ("no-host-key-generator", |_| {
            keyless().file("/usr/lib/systemd/system/sshd-keygen@.service", 0o644, "")
        }),
        ("authorized-keys", |tree| {
            tree.file("/root/.ssh/authorized_keys", 0o600, "# none\n")
        }),
        ("untrusted-source", |tree| {
            tree.file(
                "/etc/yum.repos.d/x.repo",
                0o644,
                "[x]\nenabled=0\ngpgcheck=0\n",
            )
        }),
        ("build-proxy", |tree| {
            tree.file(
                "/etc/apt/apt.conf.d/x",
                0o644,
                "Acquire::http::Proxy \"DIRECT\";\n",
            )
        }),
        ("build-proxy", |tree| {
            tree.file("/etc/wgetrc", 0o644, "#http_proxy = http://p:1/\n")
                .file(
                    "/etc/profile.d/x.sh",
                    0o644,
                    "export http_proxy=$PROXY:1\nno_proxy=a:1\n",
                )
        }),
        ("installer-answers", |tree| {
            tree.file(
                "/var/cache/debconf/passwords.dat",
                0o600,
                "Name: x/password\nValue: \n",
            )
        }),
        ("group-password", |tree| {
            tree.file("/etc/gshadow", 0o640, "root:*::\nweb:!::\n")
        }),
        ("setuid-unpackaged", |tree| {
            tree.file("/opt/x", 0o2644, "locked")
        }),
        ("device-node", |tree| {
            tree.with(
                "/opt/x",
                File {
                    rdev: Some((0, 0)),
                    ..of(Kind::CharDevice, 0o600, Content::None)
                },
            )
        }),
        ("boot-secret", |tree| {
            grub(tree, "linux /vmlinuz password=$X\n")
        }),
        ("log", |tree| tree.file("/var/log/wtmp", 0o664, "")),
        ("private-key", |tree| {
            tree.file("/opt/k.pub", 0o600, "-----BEGIN PUBLIC KEY-----\n")
        }),
    ];
    for (check, plant) in cases {
        let found = ids(&plant(clean()));
        assert!(!found.contains(*check), "{check} is in {found:?}");
    }
}

#[test]
fn many_left_overs_of_a_kind_are_counted() {
    let mut tree = clean();
    for number in 0..30 {
        tree = tree.file(&format!("/var/log/{number:02}.log"), 0o640, "x");
    }
    let found = check(&tree.root()).unwrap();
    let logs: Vec<_> = found
        .iter()
        .filter(|finding| finding.check == "log")
        .collect();
    assert_eq!(logs.len(), 10);
    assert!(
        logs[9].evidence.ends_with("; and 20 more"),
        "{}",
        logs[9].evidence
    );
}

proptest::proptest! {
    /// Whatever stands in the files that checks read: they find something, or nothing, or say that they cannot read it.
    #[test]
    fn no_text_makes_a_check_panic(
        text in "([ -~\\n\\t]|[=:/@!$\\[\\]{}\"'\\\\]|\u{e9}|Match |Include |deb |NOPASSWD|://|password=){0,60}",
    ) {
        let mut tree = clean();
        for path in [
            "/etc/passwd", "/etc/shadow", "/etc/group", "/etc/sudoers", "/etc/ssh/sshd_config",
            "/etc/ssh/sshd_config.d/a.conf", "/etc/apt/sources.list", "/etc/apt/sources.list.d/a.sources",
            "/etc/apt/apt.conf.d/a", "/etc/pip.conf", "/etc/doas.conf", "/etc/gshadow", "/etc/crypttab", "/etc/yum.repos.d/a.repo", "/etc/fstab", "/boot/grub/grub.cfg",
            "/etc/environment", "/etc/.updated", "/var/lib/dpkg/info/a.list", "/root/.ssh/authorized_keys",
            "/etc/netplan/a.yaml", "/var/lib/dpkg/status", "/var/lib/dpkg/info/a.md5sums",
            "/var/lib/dpkg/info/a.postinst", "/var/lib/dpkg/diversions", "/var/lib/dpkg/alternatives/a",
            "/usr/lib/sysusers.d/a.conf", "/usr/local/bin/a",
        ] {
            tree = tree.file(path, 0o644, text.as_str());
        }
        let root = tree.root();
        // A configuration of sshd that includes itself is one that cannot be read.
        let checked = check(&root);
        proptest::prop_assert!(matches!(checked, Ok(_) | Err(ScanError::Damaged { .. })), "{checked:?}");
        if let Ok(packaged) = crate::scan::integrity::verify(&root, 1) {
            let declared = crate::scan::undeclared::Declared::default();
            let now = crate::scan::undeclared::Facts::of(&root, &packaged).unwrap();
            let _ = crate::scan::undeclared::check(&root, &packaged, &now, &declared).unwrap();
        }
    }
}

#[test]
fn a_configuration_of_sshd_that_includes_itself_ends_in_an_error() {
    let tree = clean()
        .file(
            "/etc/ssh/sshd_config.d/a.conf",
            0o644,
            "Include sshd_config.d/*.conf\n",
        )
        .file(
            "/etc/ssh/sshd_config.d/b.conf",
            0o644,
            "Include sshd_config.d/*.conf\n",
        );
    let error = check(&tree.root()).unwrap_err();
    assert!(matches!(error, ScanError::Damaged { .. }), "{error}");
}
