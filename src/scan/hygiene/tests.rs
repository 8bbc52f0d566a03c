//! Every check on a tree with a planted problem, and on clean trees.

use std::collections::BTreeSet;

use super::table::CHECKS;
use super::*;
use crate::disk::clean::rules::RULES;
use crate::disk::read::FileType;
use crate::disk::tree::{Content, File};
use crate::scan::testing::{Planted, of};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\n\
                      nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
const SHADOW: &str = "root:*:19000:0:99999:7:::\n_apt:*:19000:::::::\nnobody:!:19000:::::::\n";
const SSHD: &str = "# Port 22\nInclude /etc/ssh/sshd_config.d/*.conf\nPasswordAuthentication no\n\
                    KbdInteractiveAuthentication no\nUsePAM yes\n";
/// A time after all dates in the files above.
const NOW: i64 = 1_700_000_000;

/// A machine without problems.
fn clean() -> Planted {
    Planted::default()
        .with("/usr", now(of(FileType::Directory, 0o755, Content::None)))
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

/// The cases that consist of one file: check, path, mode in octal, content with the escapes `\n` and `\t`.
///
/// Each check has one case at least, here or in [`OTHER_CASES`]; several if there are several ways to fail it.
const FILE_CASES: &str = r#"
machine-id               /etc/machine-id                               444 0123456789abcdef\n
dbus-machine-id          /var/lib/dbus/machine-id                      444 0123456789abcdef\n
ssh-host-key             /etc/ssh/ssh_host_rsa_key                     600 x
random-seed              /var/lib/systemd/random-seed                  600 x
credential-secret        /var/lib/systemd/credential.secret            400 x
cloud-init-state         /var/lib/cloud/instances/a/sem/x              644 x
network-lease            /var/lib/dhcp/dhclient.leases                 644 x
old-log                  /var/log/journal/abc/system.journal           640 x
log                      /var/log/auth.log                             640 x
apt-cache                /var/cache/apt/archives/a.deb                 644 x
dnf-cache                /var/cache/dnf/a.solv                         644 x
cache                    /root/.cache/pip/x                            644 x
state-backup             /etc/shadow-                                  640 root:*:1::::::\n
temporary-file           /tmp/x                                        644 x
temporary-file           /var/tmp/.x/y                                 644 x
run-file                 /run/x                                        644 x
process-id               /var/lib/x/x.pid                              644 7
systemd-state            /var/lib/systemd/timers/stamp-x.timer         644
update-stamp             /etc/.updated                                 644 TIMESTAMP_NSEC=7\n
history                  /root/.bash_history                           600 ls\n
snake-oil-key            /etc/ssl/private/ssl-cert-snakeoil.key        640 x
shadow-day               /etc/shadow                                   640 root:*:29000::::::\n
authorized-keys          /srv/x/.ssh/authorized_keys                   600 # x\nssh-ed25519 AAAA x\n
private-key              /opt/k                                        600 -----BEGIN OPENSSH PRIVATE KEY-----\nabc\n
private-key              /opt/k                                        600 -----BEGIN ENCRYPTED PRIVATE KEY-----\nabc\n
private-key              /opt/k.ppk                                    600 PuTTY-User-Key-File-3: ssh-rsa\n
known-hosts              /root/.ssh/known_hosts                        600 x\n
rhosts-file              /root/.rhosts                                 600 + +\n
sshd-root-login          /etc/ssh/sshd_config                          644 {SSHD}PermitRootLogin yes\n
sshd-root-login          /etc/ssh/sshd_config.d/a.conf                 644 permitrootlogin="yes"\n
sshd-root-login          /etc/ssh/sshd_config                          644 {SSHD}PermitRootLogin no\nMatch Address 10.0.0.0/8\n PermitRootLogin yes\n
sshd-passwords           /etc/ssh/sshd_config                          644 UsePAM yes\n
sshd-passwords           /etc/ssh/sshd_config.d/a.conf                 644 PasswordAuthentication yes\n
sshd-passwords           /etc/ssh/sshd_config.d/a.conf                 644 ChallengeResponseAuthentication yes\n
sshd-empty-passwords     /etc/ssh/sshd_config                          644 {SSHD}PermitEmptyPasswords yes\n
sshd-rhosts              /etc/ssh/sshd_config                          644 {SSHD}HostbasedAuthentication yes\n
sshd-rhosts              /etc/ssh/sshd_config                          644 {SSHD}IgnoreRhosts no\n
sshd-user-environment    /etc/ssh/sshd_config                          644 {SSHD}PermitUserEnvironment yes\n
sshd-strict-modes        /etc/ssh/sshd_config                          644 {SSHD}StrictModes no\n
sshd-weak-crypto         /etc/ssh/sshd_config                          644 {SSHD}Ciphers aes256-ctr,3des-cbc\n
sshd-weak-crypto         /etc/ssh/sshd_config                          644 {SSHD}KexAlgorithms +diffie-hellman-group1-sha1\n
empty-password           /etc/shadow                                   640 root::19000::::::\n
usable-password          /etc/shadow                                   640 root:$y$j9T$abcdefgh$abcdefgh:19000::::::\n
weak-password-hash       /etc/shadow                                   640 root:$1$abcdefgh$abcdefgh:19000::::::\n
weak-password-hash       /etc/shadow                                   640 root:abJnggxhB/yWI:19000::::::\n
locked-password-hash     /etc/shadow                                   640 root:!$6$abcdefgh$abcdefgh:19000::::::\n
password-in-passwd       /etc/passwd                                   644 {PASSWD}web:$6$abcdefgh$abcdefgh:42:42::/:/bin/sh\n
second-root              /etc/passwd                                   644 {PASSWD}toor:x:0:0::/root:/bin/sh\n
shared-uid               /etc/passwd                                   644 {PASSWD}web:x:42:42::/:/bin/sh\n
nis-entry                /etc/passwd                                   644 {PASSWD}+::::::\n
shadow-readable          /etc/shadow                                   644 {SHADOW}
account-backup           /etc/shadow.bak                               600 {SHADOW}
account-backup           /etc/passwd.dpkg-old                          644 {PASSWD}
sudo-nopasswd            /etc/sudoers.d/web                            440 %web ALL=(ALL) \\\n NOPASSWD: ALL\n
sudo-nopasswd            /etc/sudoers.d/web                            440 Defaults !authenticate\n
sudoers-writable         /etc/sudoers.d/web                            664 # nothing\n
untrusted-source         /etc/apt/sources.list                         644 deb [ arch=amd64 trusted=yes ] http://example.org/ x main\n
untrusted-source         /etc/apt/sources.list.d/x.sources             644 Types: deb\nURIs: http://example.org/\nTrusted: yes\n
untrusted-source         /etc/yum.repos.d/x.repo                       644 [x]\nbaseurl=http://example.org/\ngpgcheck=0\n
unauthenticated-packages /etc/apt/apt.conf.d/99x                       644 APT::Get::AllowUnauthenticated "true";\n
unauthenticated-packages /etc/apt/apt.conf.d/99x                       644 Acquire::https::Verify-Peer "false";\n
source-credentials       /etc/apt/sources.list.d/x.list                644 deb https://me:pass@example.org/ x main\n
source-credentials       /etc/apt/auth.conf.d/x.conf                   600 machine example.org login me password pass\n
build-proxy              /etc/apt/apt.conf.d/99proxy                   644 Acquire::http::Proxy "http://10.0.2.2:3142";\n
build-proxy              /etc/environment                              644 http_proxy=http://10.0.2.2:3128\n
build-proxy              /etc/profile.d/proxy.sh                       644 export https_proxy=http://me:pass@10.0.2.2:3128\n
build-proxy              /etc/apt/apt.conf                             644 Acquire {\n  http { Proxy "http://10.0.2.2:3142"; };\n};\n
unauthenticated-packages /etc/apt/apt.conf.d/99x                       644 APT { Get { AllowUnauthenticated true; }; };\n
build-proxy              /etc/systemd/system/docker.service.d/http-proxy.conf  644 [Service]\nEnvironment="A=b" "HTTPS_PROXY=http://10.0.2.2:3128"\n
build-proxy              /root/.gitconfig                              644 [http]\n\tproxy = http://p.corp.test:3128\n
build-proxy              /etc/docker/daemon.json                       644 {"proxies": {\n"http-proxy": "http://p.corp.test:3128",\n"no-proxy": "x"}}\n
package-index            /etc/pip.conf                                 644 [global]\nindex-url = https://pypi.corp.test/simple\n
package-index            /root/.npmrc                                  644 @corp:registry=http://npm.corp.test/\n
group-password           /etc/gshadow                                  640 root:*::\nweb:$6$abcdefgh$abcdefgh::\n
account-backup           /etc/shadow-2024                              600 {SHADOW}
sudo-nopasswd            /etc/sudoers.d/web                            440 #1000 ALL=(ALL) NOPASSWD: ALL\n
sudo-nopasswd            /etc/doas.conf                                400 permit nopass keepenv :wheel\n
authorized-keys          /etc/ssh/authorized_keys.d/web                644 ssh-ed25519 AAAA x\n
sshd-root-login          /etc/default/ssh                              644 SSHD_OPTS="-o PermitRootLogin=yes"\n
boot-secret              /boot/loader/entries/a.conf                   644 options root=UUID=1 api_key=abc123\n
boot-secret              /etc/default/grub                             644 GRUB_CMDLINE_LINUX="quiet wifi.psk=abc123"\n
device-name              /etc/initramfs-tools/conf.d/resume            644 RESUME=/dev/sda2\n
device-name              /etc/crypttab                                 644 data /dev/sdb1 none luks\n
legacy-service           /etc/systemd/system/t.service                 644 [Service]\nExecStart=/bin/busybox telnetd -F\n
shell-history            /root/.local/share/fish/fish_history          600 - cmd: ls\n
installer-answers        /var/cache/debconf/passwords.dat              600 Name: x/password\nValue: hunter2\n
crash-dump               /var/crash/202411250000/vmcore                600 x
mail                     /var/spool/postfix/deferred/A/AB              600 x
network-lease            /var/lib/dhcpcd/duid                          644 00:01
network-lease            /var/lib/NetworkManager/internal-x-eth0.lease  644 x
network-lease            /var/lib/dhclient/dhclient-eth0.lease         644 x
added-authority          /etc/ssl/certs/corp.pem                       644 -----BEGIN CERTIFICATE-----\n
added-authority          /usr/local/share/ca-certificates/x.crt        644 x
boot-secret              /boot/grub/grub.cfg                           644 linux /vmlinuz db_password=hunter2\n
boot-secret              /boot/grub/grub.cfg                           644 linux /vmlinuz ds=nocloud-net;s=https://me:pass@example.org/\n
boot-root-shell          /boot/grub/grub.cfg                           644 linux /vmlinuz init=/bin/sh\n
boot-protection-off      /boot/grub/grub.cfg                           644 linux /vmlinuz mitigations=off\n
device-name              /boot/grub/grub.cfg                           644 linux /vmlinuz root=/dev/sda1\n
device-name              /etc/fstab                                    644 /dev/nvme0n1p1 / ext4 defaults 0 1\n
several-kernels          /boot/vmlinuz-6.2                             644 kernel
mount-password           /etc/fstab                                    644 //example.org/x /x cifs user=me,password=pass 0 0\n
legacy-service           /usr/sbin/in.telnetd                          755 x
autologin                /etc/systemd/system/getty@tty1.service.d/x.conf  644 [Service]\nExecStart=-/sbin/agetty --autologin root %I\n
world-writable-file      /opt/x                                        666 x
setuid-writable          /usr/bin/sudo                                4775 x
setuid-unpackaged        /opt/sh                                      4755 x
setuid-unpackaged        /opt/sh                                      2755 x
cloud-user-data          /boot/seed/user-data                          644 #cloud-config\n
installer-answers        /root/preseed.cfg                             644 d-i x\n
shell-history            /srv/web/.bash_history                        600 ls\n
user-crontab             /var/spool/cron/crontabs/root                 600 * * * * * x\n
mail                     /var/mail/root                                600 From x\n
crash-dump               /var/crash/x.crash                            600 x
bound-to-network-card    /etc/netplan/a.yaml                           600 network:\n  match:\n    macaddress: 52:54:00:00:00:01\n
ld-preload               /etc/ld.so.preload                            644 /opt/x.so\n
build-resolver           /etc/resolv.conf                              644 nameserver 10.0.2.3\n
"#;

/// A check, and the change to a clean tree that it must report.
type Case = (&'static str, fn(Planted) -> Planted);

const OTHER_CASES: &[Case] = &[
    ("socket", |tree| {
        tree.with(
            "/var/lib/x/sock",
            of(FileType::Socket, 0o755, Content::None),
        )
    }),
    ("snake-oil-link", |tree| {
        tree.link("/etc/ssl/certs/abc.0", "ssl-cert-snakeoil.pem")
    }),
    ("no-host-key-generator", |_| keyless()),
    ("build-user", |tree| {
        let user = format!("{PASSWD}debian:x:1000:42::/home/debian:/bin/bash\n");
        tree.file("/etc/passwd", 0o644, user).file(
            "/etc/sudoers.d/cloud",
            0o440,
            "debian ALL=(ALL) NOPASSWD:ALL\n",
        )
    }),
    ("sudo-nopasswd", |tree| {
        tree.file("/etc/sudoers", 0o440, "#include /etc/extra\n")
            .file("/etc/extra", 0o440, "web ALL=(ALL) NOPASSWD: ALL\n")
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
    ("debug-shell", |tree| {
        tree.link(
            "/etc/systemd/system/sysinit.target.wants/debug-shell.service",
            "/lib/systemd/system/debug-shell.service",
        )
    }),
    ("world-writable-directory", |tree| {
        tree.directory("/opt/x", 0o777)
    }),
    ("path-writable", |tree| {
        tree.with(
            "/usr/local/bin/x",
            File {
                uid: 42,
                ..of(FileType::File, 0o755, Content::Bytes(b"x".to_vec()))
            },
        )
    }),
    ("path-writable", |tree| {
        tree.with(
            "/usr/local/bin",
            File {
                uid: 42,
                ..of(FileType::Directory, 0o755, Content::None)
            },
        )
    }),
    ("orphan-owner", |tree| {
        tree.with(
            "/opt/x",
            File {
                uid: 1234,
                ..of(FileType::File, 0o644, Content::None)
            },
        )
    }),
    ("orphan-owner", |tree| {
        tree.with(
            "/opt/x",
            File {
                gid: 1234,
                ..of(FileType::Directory, 0o755, Content::None)
            },
        )
    }),
    ("device-node", |tree| {
        tree.with(
            "/opt/sda",
            File {
                rdev: Some((8, 0)),
                ..of(FileType::BlockDevice, 0o600, Content::None)
            },
        )
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
];

/// Files that look suspicious to a check but are harmless, as in [`FILE_CASES`].
const HARMLESS_FILES: &str = r#"
sshd-root-login   /etc/ssh/sshd_config.d/a.txt      644 PermitRootLogin yes\n
sshd-root-login   /etc/ssh/sshd_config              644 {SSHD}PermitRootLogin prohibit-password\n
sshd-weak-crypto  /etc/ssh/sshd_config              644 {SSHD}Ciphers -3des-cbc\n
authorized-keys   /root/.ssh/authorized_keys        600 # none\n
untrusted-source  /etc/yum.repos.d/x.repo           644 [x]\nenabled=0\ngpgcheck=0\n
build-proxy       /etc/apt/apt.conf.d/x             644 Acquire::http::Proxy "DIRECT";\n
installer-answers /var/cache/debconf/passwords.dat  600 Name: x/password\nValue: \n
group-password    /etc/gshadow                      640 root:*::\nweb:!::\n
setuid-unpackaged /opt/x                           2644 locked
boot-secret       /boot/grub/grub.cfg               644 linux /vmlinuz password=$X\n
log               /var/log/wtmp                     664
private-key       /opt/k.pub                        600 -----BEGIN PUBLIC KEY-----\n
"#;

const OTHER_HARMLESS: &[Case] = &[
    ("sshd-root-login", |tree| {
        sshd(tree, "PermitRootLogin yes\n").file(
            "/etc/ssh/sshd_config.d/a.conf",
            0o644,
            "PermitRootLogin no\n",
        )
    }),
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
    ("build-proxy", |tree| {
        tree.file("/etc/wgetrc", 0o644, "#http_proxy = http://p:1/\n")
            .file(
                "/etc/profile.d/x.sh",
                0o644,
                "export http_proxy=$PROXY:1\nno_proxy=a:1\n",
            )
    }),
    ("device-node", |tree| {
        tree.with(
            "/opt/x",
            File {
                rdev: Some((0, 0)),
                ..of(FileType::CharDevice, 0o600, Content::None)
            },
        )
    }),
];

/// Returns the check and the tree of each case.
fn cases(
    files: &'static str,
    others: &'static [Case],
) -> impl Iterator<Item = (&'static str, Planted)> {
    let lines = files.lines().filter(|line| !line.is_empty());
    let files = lines.map(|line| {
        let mut rest = line;
        let mut column = || {
            let (column, after) = rest.split_once(' ').unwrap_or((rest, ""));
            rest = after.trim_start();
            column
        };
        let (check, path, mode) = (column(), column(), column());
        let mut content = rest
            .replace(r"\n", "\n")
            .replace(r"\t", "\t")
            .replace(r"\\", r"\");
        for (name, text) in [("{SSHD}", SSHD), ("{PASSWD}", PASSWD), ("{SHADOW}", SHADOW)] {
            content = content.replace(name, text);
        }
        let mode = u16::from_str_radix(mode, 8).unwrap();
        (check, clean().file(path, mode, content))
    });
    let others = others.iter().map(|(check, plant)| (*check, plant(clean())));
    files.chain(others)
}

fn sshd(tree: Planted, text: &str) -> Planted {
    tree.file("/etc/ssh/sshd_config", 0o644, format!("{SSHD}{text}"))
}

/// sshd, and nothing that generates its keys.
fn keyless() -> Planted {
    Planted::default()
        .file("/usr/sbin/sshd", 0o755, "x")
        .file("/etc/ssh/sshd_config", 0o644, SSHD)
}

#[test]
fn every_check_finds_what_is_planted_for_it() {
    for (number, (check, tree)) in cases(FILE_CASES, OTHER_CASES).enumerate() {
        let found = ids(&tree);
        assert!(
            found.contains(check),
            "case {number}: {check} is not in {found:?}"
        );
    }
}

#[test]
fn no_check_is_without_a_case_and_no_rule_without_a_check() {
    assert!(CHECKS.len() >= 45, "{}", CHECKS.len());
    let tested: BTreeSet<_> = cases(FILE_CASES, OTHER_CASES)
        .map(|(check, _)| check)
        .collect();
    let all: BTreeSet<_> = CHECKS.iter().map(|check| check.id.as_str()).collect();
    assert_eq!(all.len(), CHECKS.len(), "an id is there twice");
    assert_eq!(tested, all);
    let rules: Vec<_> = CHECKS
        .iter()
        .filter_map(|check| check.rule.as_deref())
        .collect();
    let expected: Vec<_> = RULES.iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(rules, expected);
}

#[test]
fn no_finding_shows_a_secret_and_each_says_how_to_mend_it() {
    for (check_id, tree) in cases(FILE_CASES, OTHER_CASES) {
        for finding in check(&tree.root()).unwrap() {
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
                !finding.fix.is_empty() && !finding.evidence.is_empty(),
                "{check_id}"
            );
            assert!(finding.id.starts_with(&finding.check), "{check_id}");
        }
    }
}

#[test]
fn what_is_harmless_is_not_found() {
    for (check, tree) in cases(HARMLESS_FILES, OTHER_HARMLESS) {
        let found = ids(&tree);
        assert!(!found.contains(check), "{check} is in {found:?}");
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
    /// With any text in the files that checks read, they report something, nothing or an error.
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
        // A configuration of sshd that includes itself is an error.
        let checked = check(&root);
        proptest::prop_assert!(matches!(checked, Ok(_) | Err(ScanError::Damaged { .. })), "{checked:?}");
        if let Ok(packaged) = crate::scan::integrity::verify(&root) {
            let declared = crate::scan::undeclared::Declared::default();
            let now = crate::scan::undeclared::ObservedState::collect(&root, &packaged).unwrap();
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
