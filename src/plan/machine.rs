//! Checks `[base]`, `[builder]` and `[ssh]`.

use std::time::Duration;

use super::check::{Checker, is_plain_name};
use super::suites::code_name;
use super::{
    Accelerator, Arch, Base, Bootstrap, Builder, Checksum, Firmware, Host, HostKey, Jump, Qemu, Ssh,
};
use crate::record::channel::ChannelName;
use crate::record::manifest::IdPrefix;
use crate::size::{GIB, SizeUse};
use crate::template::files::NeedKind;
use crate::template::problem::{Problem, Span};
use crate::template::scalar::Number;
use crate::template::schema::{self, Str, Template};
use crate::template::spanned::Spanned;

const BASE_SCHEMES: &[&str] = &["https", "http", "file"];
const ARCHES: &[(&str, Arch)] = &[("x86_64", Arch::X86_64), ("aarch64", Arch::Aarch64)];
/// Debian 12; the tests boot its cloud-init, kernel and GRUB.
const DEFAULT_SUITE: &str = "bookworm";

/// Largest number of processors of QEMU's `q35` with SeaBIOS, and of x86 without x2APIC.
const MAX_CPUS: u32 = 255;

impl Qemu {
    /// Returns a guest with the defaults of an architecture.
    #[must_use]
    pub fn of(arch: Arch) -> Self {
        let firmware = match arch {
            Arch::X86_64 => Firmware::Bios,
            Arch::Aarch64 => Firmware::Uefi,
        };
        Self {
            arch,
            cpus: 2,
            memory: GIB,
            disk_size: None,
            firmware,
            machine: default_machine(arch).to_owned(),
            accelerator: Accelerator::Auto,
            extra_args: Vec::new(),
        }
    }
}

impl Checker<'_> {
    /// Checks `[builder]`. The default is QEMU with its defaults.
    pub(super) fn builder(&mut self, builder: Option<&Spanned<schema::Builder>>) -> Builder {
        let Some(builder) = builder else {
            return Builder::Qemu(self.qemu(&schema::Qemu::default()));
        };
        let schema::Builder { qemu, host, ec2 } = builder.get_ref();
        let kinds = [
            ("qemu", qemu.as_ref().map(Spanned::span)),
            ("host", host.as_ref().map(Spanned::span)),
            ("ec2", ec2.as_ref().map(Spanned::span)),
        ];
        self.one_kind(&builder.span(), "the builder", &kinds);
        match (qemu, host, ec2) {
            (None, Some(host), _) => Builder::Host(self.host(&host.span(), host.get_ref())),
            (None, None, Some(ec2)) => {
                let ec2 = ec2.get_ref();
                // Not the host's, because the instance runs elsewhere.
                let arch = self.choice("arch", ec2.arch.as_ref(), ARCHES, Arch::X86_64);
                Builder::Ec2(Box::new(self.ec2(ec2, arch)))
            }
            (qemu, _, _) => Builder::Qemu(match qemu {
                Some(qemu) => self.qemu(qemu.get_ref()),
                None => self.qemu(&schema::Qemu::default()),
            }),
        }
    }

    fn qemu(&mut self, qemu: &schema::Qemu) -> Qemu {
        let arch = self.choice("arch", qemu.arch.as_ref(), ARCHES, Arch::of_host());
        let defaults = Qemu::of(arch);
        let firmwares = [("bios", Firmware::Bios), ("uefi", Firmware::Uefi)];
        let accelerators = [
            ("auto", Accelerator::Auto),
            ("kvm", Accelerator::Kvm),
            ("tcg", Accelerator::Tcg),
        ];
        let chosen = self.choice(
            "firmware",
            qemu.firmware.as_ref(),
            &firmwares,
            defaults.firmware,
        );
        if let (Arch::Aarch64, Firmware::Bios, Some(written)) = (arch, chosen, &qemu.firmware) {
            self.report(
                Problem::at(written.span(), "aarch64 has no BIOS")
                    .help("omit `firmware`, or write \"uefi\""),
            );
        }
        if let Some(cpus) = &qemu.cpus
            && !(1..=MAX_CPUS).contains(&cpus.get_ref().0)
        {
            let what = format!("a machine has 1 to {MAX_CPUS} processors");
            self.report(Problem::at(cpus.span(), what));
        }
        Qemu {
            arch,
            cpus: qemu
                .cpus
                .as_ref()
                .map_or(defaults.cpus, |cpus| cpus.get_ref().0),
            memory: self
                .size(qemu.memory.as_ref(), SizeUse::Machine)
                .unwrap_or(defaults.memory),
            disk_size: self.size(qemu.disk_size.as_ref(), SizeUse::Machine),
            firmware: chosen,
            machine: match &qemu.machine {
                Some(name) => self.filled("machine", name, "omit it for the default"),
                None => defaults.machine,
            },
            accelerator: self.choice(
                "accelerator",
                qemu.accelerator.as_ref(),
                &accelerators,
                defaults.accelerator,
            ),
            extra_args: qemu.extra_args.clone(),
        }
    }

    /// Checks the archive of a bootstrapped base: a URL, or whole `deb` lines of a `sources.list`.
    fn mirror(&mut self, mirror: &Str) -> String {
        let text = mirror.get_ref();
        let mut lines = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .peekable();
        let is_source = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.len() >= 4 && words[0] == "deb"
        };
        let begins = |line: &&str| line.split_whitespace().next() == Some("deb");
        if !lines.peek().is_some_and(begins) {
            return self.url(mirror, BASE_SCHEMES);
        }
        if !lines.all(is_source) {
            let problem = Problem::at(mirror.span(), "not every line is a source of packages");
            self.report(problem.help("each line is `deb URL SUITE COMPONENT...`"));
        }
        text.clone()
    }

    fn host(&mut self, table: &Span, host: &schema::Host) -> Host {
        Host {
            address: self.required(
                table,
                "address",
                host.address.as_ref(),
                "add `address = \"192.0.2.7\"`",
            ),
            port: self.port(host.port.as_ref()).unwrap_or(22),
            host_key: self.host_key(host.host_key.as_ref(), host.known_hosts.as_ref()),
        }
    }

    fn host_key(&mut self, key: Option<&Str>, known_hosts: Option<&Str>) -> HostKey {
        if let (Some(key), Some(known_hosts)) = (key, known_hosts) {
            let what = "`host_key` and `known_hosts` exclude each other";
            self.report(Problem::at(known_hosts.span(), what).and(key.span(), "the key is here"));
        }
        if let Some(key) = key {
            if let Err(error) = russh::keys::PublicKey::from_openssh(key.get_ref()) {
                let what = format!("invalid OpenSSH public key: {error}");
                let help = "write one line of `ssh-keyscan` without the host name: \"ssh-ed25519 AAAA...\"";
                self.report(Problem::at(key.span(), what).help(help));
            }
            return HostKey::Key(key.get_ref().clone());
        }
        HostKey::KnownHosts(match known_hosts {
            Some(path) => self.needed(path, NeedKind::File),
            None => self.home.unwrap_or(self.dir).join(".ssh/known_hosts"),
        })
    }

    /// Checks `[base]`. QEMU defaults to Debian, an instance needs an AMI, a host has none.
    pub(super) fn base(
        &mut self,
        base: Option<&Spanned<schema::Base>>,
        builder: &Builder,
    ) -> Option<Base> {
        let arch = match builder {
            Builder::Qemu(qemu) => &qemu.arch,
            Builder::Ec2(_) => return self.base_of_instance(base),
            Builder::Host(_) => {
                if let Some(base) = base {
                    self.no_disk(base_span(base), "a base");
                }
                return None;
            }
        };
        let Some(base) = base else {
            return Some(Base::Bootstrap(Bootstrap::default_for(*arch)));
        };
        self.one_kind(&base.span(), "the base", &base_kinds(base.get_ref()));
        let schema::Base {
            file,
            url,
            bootstrap,
            manifest,
            ami,
        } = base.get_ref();
        if let Some(ami) = ami {
            let problem = Problem::at(ami.span(), "an AMI works only with [builder.ec2]");
            self.report(problem.help("use [builder.ec2], or start from a file or URL"));
        }
        if let Some(file) = file {
            return Some(self.base_file(&file.span(), file.get_ref()));
        }
        if let Some(url) = url {
            return self.base_url(&url.span(), url.get_ref());
        }
        if let Some(manifest) = manifest {
            return self.base_manifest(&manifest.span(), manifest.get_ref());
        }
        let bootstrap = bootstrap.as_ref()?;
        Some(Base::Bootstrap(self.bootstrap(
            &bootstrap.span(),
            bootstrap.get_ref(),
            *arch,
        )))
    }

    fn base_of_instance(&mut self, base: Option<&Spanned<schema::Base>>) -> Option<Base> {
        let help = "add [base.ami] with `id`, or with `owners` and `name`";
        let what = "an EC2 instance starts from an AMI";
        let Some(base) = base else {
            self.report(Problem::nowhere(what).help(help));
            return None;
        };
        if let Some(ami) = &base.get_ref().ami {
            return self.base_ami(&ami.span(), ami.get_ref());
        }
        self.report(Problem::at(base_span(base), what).help(help));
        None
    }

    fn base_file(&mut self, table: &Span, file: &schema::BaseFile) -> Base {
        let path = if let Some(path) = &file.path {
            self.needed(path, NeedKind::File)
        } else {
            self.missing(table, "path", "add `path = \"base.qcow2\"`");
            self.dir.to_owned()
        };
        let sha256 = file.sha256.as_ref().and_then(|digest| self.digest(digest));
        Base::File { path, sha256 }
    }

    fn base_url(&mut self, table: &Span, base: &schema::BaseUrl) -> Option<Base> {
        let help = "add `sha256 = \"...\"`, or `sha256_url` with the URL of a SHA256SUMS file";
        let url = if let Some(url) = &base.url {
            self.downloads_disk(url);
            self.url(url, BASE_SCHEMES)
        } else {
            self.missing(
                table,
                "url",
                "add `url = \"https://example.org/disk.qcow2\"`",
            );
            String::new()
        };
        let checksum = match (&base.sha256, &base.sha256_url) {
            (Some(digest), Some(list)) => {
                let what = "`sha256` and `sha256_url` exclude each other";
                let problem = Problem::at(list.span(), what).and(digest.span(), "`sha256` is here");
                self.report(problem.help("keep `sha256`: the list at `sha256_url` may change"));
                Checksum::Sha256(self.digest(digest)?)
            }
            (Some(digest), None) => Checksum::Sha256(self.digest(digest)?),
            (None, Some(list)) => Checksum::Sha256Url(self.url(list, BASE_SCHEMES)),
            (None, None) => {
                if !self.removed.has(table, "sha256_url") && !self.removed.has(table, "sha256") {
                    let what = "a base from a URL needs a checksum";
                    self.report(Problem::at(table.clone(), what).help(help));
                }
                return None;
            }
        };
        Some(Base::Url { url, checksum })
    }

    fn base_manifest(&mut self, table: &Span, base: &schema::BaseManifest) -> Option<Base> {
        let (text, invalid) = match (&base.channel, &base.id) {
            (Some(channel), Some(id)) => {
                let what = "`channel` and `id` exclude each other";
                let problem = Problem::at(id.span(), what).and(channel.span(), "`channel` is here");
                self.report(problem.help("remove one of them"));
                return None;
            }
            (Some(channel), None) => {
                let invalid = channel.get_ref().parse::<ChannelName>().err();
                (
                    channel,
                    invalid.map(|_| "a channel is IMAGE/CHANNEL, such as \"web/stable\""),
                )
            }
            (None, Some(id)) => {
                let text = id.get_ref();
                let name = text.strip_suffix("@latest").unwrap_or(text);
                let is_valid = is_plain_name(name) || text.parse::<IdPrefix>().is_ok();
                let help = "give 4 or more digits of an id, NAME, or NAME@latest";
                (id, (!is_valid).then_some(help))
            }
            (None, None) => {
                self.missing(table, "channel", "add `channel = \"base/stable\"`, or `id`");
                return None;
            }
        };
        if let Some(help) = invalid {
            let what = format!("invalid image reference {:?}", text.get_ref());
            self.report(Problem::at(text.span(), what).help(help));
            return None;
        }
        Some(Base::Manifest(text.get_ref().clone()))
    }

    fn bootstrap(&mut self, table: &Span, bootstrap: &schema::Bootstrap, arch: Arch) -> Bootstrap {
        let distributions = [("debian", "debian"), ("ubuntu", "ubuntu")];
        let distribution = self.choice(
            "distribution",
            bootstrap.distribution.as_ref(),
            &distributions,
            "debian",
        );
        let suite = if let Some(suite) = &bootstrap.suite {
            let text = suite.get_ref();
            if !is_plain_name(text) || text.starts_with(|first: char| first.is_ascii_digit()) {
                self.report(
                    Problem::at(suite.span(), format!("invalid suite {text:?}"))
                        .help(code_name(distribution, text)),
                );
            }
            text.clone()
        } else {
            if distribution != "debian" {
                self.missing(
                    table,
                    "suite",
                    "add the code name of a release, as in `suite = \"noble\"`",
                );
            }
            DEFAULT_SUITE.to_owned()
        };
        let mirror = bootstrap.mirror.as_ref();
        Bootstrap {
            distribution: distribution.to_owned(),
            suite,
            mirror: mirror.map(|mirror| self.mirror(mirror)),
            arch,
        }
    }

    pub(super) fn ssh(&mut self, ssh: Option<&Spanned<schema::Ssh>>, builder: &Builder) -> Ssh {
        let defaults = schema::Ssh::default();
        let table = ssh.map_or(0..0, Spanned::span);
        let ssh = ssh.map_or(&defaults, Spanned::get_ref);
        if let (Some(key), Some(agent)) =
            (&ssh.key_file, ssh.agent.as_ref().filter(|a| a.get_ref().0))
        {
            let what = "`key_file` and `agent` exclude each other";
            self.report(Problem::at(agent.span(), what).and(key.span(), "the key file is here"));
        }
        let key_file = ssh.key_file.as_ref();
        let key_file = key_file.map(|path| self.needed(path, NeedKind::PrivateKey));
        let ports = self.ports(&table, ssh);
        if let (Some(port), Builder::Host(_) | Builder::Ec2(_)) = (&ssh.min_port, builder) {
            let what = "`min_port` and `max_port` apply only to `qemu`";
            let help = match builder {
                Builder::Host(_) => "write `port` in [builder.host]",
                _ => "remove them: instances listen on port 22",
            };
            self.report(Problem::at(port.span(), what).help(help));
        }
        let interface = match builder {
            Builder::Ec2(ec2) => self.interface(ssh, Some(ec2)),
            _ => self.interface(ssh, None),
        };
        let asks_agent = matches!(builder, Builder::Host(_)) && key_file.is_none();
        Ssh {
            user: self.login(ssh.user.as_ref()),
            timeout: self.timeout(ssh.timeout.as_ref(), Duration::from_mins(5)),
            agent: ssh
                .agent
                .as_ref()
                .map_or(asks_agent, |agent| agent.get_ref().0),
            key_file,
            ports,
            jump: ssh
                .jump
                .as_ref()
                .map(|jump| self.jump(&jump.span(), jump.get_ref())),
            interface,
        }
    }

    fn ports(&mut self, table: &Span, ssh: &schema::Ssh) -> Option<(u16, u16)> {
        let span = |port: &Option<Spanned<Number>>| port.as_ref().map(Spanned::span);
        let (low, high) = match (span(&ssh.min_port), span(&ssh.max_port)) {
            (None, None) => return None,
            (Some(low), Some(high)) => (low, high),
            (low, _) => {
                let key = if low.is_some() {
                    "max_port"
                } else {
                    "min_port"
                };
                self.missing(table, key, "a port range needs both ends");
                return None;
            }
        };
        // Check both before returning.
        let (from, to) = (
            self.port(ssh.min_port.as_ref()),
            self.port(ssh.max_port.as_ref()),
        );
        let (from, to) = (from?, to?);
        if from > to {
            let what = format!("`min_port` {from} is greater than `max_port` {to}");
            self.report(Problem::at(low, what).and(high, "`max_port` is here"));
        }
        Some((from, to))
    }

    fn jump(&mut self, table: &Span, jump: &schema::Jump) -> Jump {
        Jump {
            address: self.required(
                table,
                "address",
                jump.address.as_ref(),
                "add `address = \"192.0.2.1\"`",
            ),
            port: self.port(jump.port.as_ref()).unwrap_or(22),
            user: self.login(jump.user.as_ref()),
            key_file: jump
                .key_file
                .as_ref()
                .map(|path| self.needed(path, NeedKind::PrivateKey)),
            host_key: self.host_key(jump.host_key.as_ref(), jump.known_hosts.as_ref()),
        }
    }

    /// Refuses tables that need a disk, for a builder without one.
    pub(super) fn disk_tables(&mut self, template: &Template, builder: &Builder) {
        match builder {
            Builder::Qemu(_) => return,
            Builder::Ec2(ec2) => return self.ec2_tables(template, ec2),
            Builder::Host(_) => {}
        }
        if let Some(test) = template.test.first() {
            self.no_disk(test.span(), "a test");
        }
        if let Some(output) = &template.output {
            self.no_disk(output.span(), "an output");
        }
        if let Some(publish) = &template.publish {
            self.no_disk(publish.span(), "a publication");
        }
    }

    fn no_disk(&mut self, span: Span, what: &str) {
        let what = format!("{what} needs an image, but the builder `host` creates none");
        self.report(Problem::at(span, what).help("remove it, or build with [builder.qemu]"));
    }
}

fn base_kinds(base: &schema::Base) -> [(&'static str, Option<Span>); 5] {
    [
        ("file", base.file.as_ref().map(Spanned::span)),
        ("url", base.url.as_ref().map(Spanned::span)),
        ("bootstrap", base.bootstrap.as_ref().map(Spanned::span)),
        ("manifest", base.manifest.as_ref().map(Spanned::span)),
        ("ami", base.ami.as_ref().map(Spanned::span)),
    ]
}

/// Returns the span of the kind inside `[base]`: the table around it is often not written at all.
fn base_span(base: &Spanned<schema::Base>) -> Span {
    let mut kinds = base_kinds(base.get_ref()).into_iter();
    kinds
        .find_map(|(_, span)| span)
        .unwrap_or_else(|| base.span())
}

/// Returns QEMU's machine type of a guest whose template names none.
pub(crate) fn default_machine(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "q35",
        Arch::Aarch64 => "virt",
    }
}

impl Bootstrap {
    /// Size of its disk in bytes. Small enough for any `disk_size`; the first boot grows the root partition.
    pub(crate) const DISK_SIZE: u64 = 3 * GIB;

    /// Returns the base of a template without `[base]`.
    #[must_use]
    pub(crate) fn default_for(arch: Arch) -> Self {
        Self {
            distribution: "debian".to_owned(),
            suite: DEFAULT_SUITE.to_owned(),
            mirror: None,
            arch,
        }
    }
}
