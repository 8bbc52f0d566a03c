//! Formats a plan as text and JSON. Paths are relative to the template, so that both are the same in every checkout.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{
    Action, AllowedUrl, Ami, Base, Builder, Checksum, Ec2, Finish, HostKey, Network, OnRefused,
    PackageSet, PathException, Plan, Repository, Script, SecretSource, Shell, Ssh, Step, Upload,
    UploadSource,
};
use crate::record::manifest::AcceptedPath;
use crate::size::{show_duration, show_size};

/// Fits `variables` and a gap.
const LABEL_WIDTH: usize = 12;

impl Plan {
    /// Formats as text for the terminal, in aligned sections.
    #[must_use]
    pub fn to_text(&self) -> String {
        let plan = self.relative();
        let mut page = Page(String::new());
        page.section("image", [plan.image.name.clone()]);
        page.more(Some(plan.image.description.trim()).filter(|text| !text.is_empty()));
        let template = format!("{} {}", plan.template.path.display(), plan.template.digest);
        page.section("template", [template]);
        page.section(
            "variables",
            plan.variables.iter().map(|(k, v)| format!("{k} = {v:?}")),
        );
        page.section("secrets", plan.secrets.iter().map(|(k, v)| secret(k, v)));
        page.section("base", plan.base.as_ref().map(base));
        page.section("builder", builder(&plan.builder));
        page.section("ssh", ssh(&plan.ssh));
        page.section("network", network(&plan));
        page.section("packages", plan.packages.iter().flat_map(packages));
        page.section("files", plan.files.iter().map(upload));
        page.section("steps", numbered(&plan.steps));
        page.section(
            "left out",
            plan.left_out
                .iter()
                .map(|step| format!("{} ({})", step.name, step.reason)),
        );
        page.section("on error", numbered(&plan.on_error));
        let tests = plan.tests.iter().flat_map(|test| {
            let mut lines: Vec<String> = test.command.lines().map(str::to_owned).collect();
            if test.name != test.command {
                for line in &mut lines {
                    line.insert_str(0, "  ");
                }
                lines.insert(0, test.name.clone());
            }
            if let Some(first) = lines.first_mut() {
                let _ = write!(first, "  (at most {})", show_duration(test.timeout));
            }
            lines
        });
        page.section("tests", tests);
        if plan.base.is_some() {
            page.section("finish", finish(&plan.finish));
            page.section("policy", super::policy::show(&plan.policy));
        }
        page.section("output", output(&plan));
        page.section(
            "publish",
            plan.publish
                .as_ref()
                .map_or_else(Vec::new, super::publish::show),
        );
        page.0
    }

    /// Returns the plan with paths relative to the template's directory, as it is shown.
    #[must_use]
    pub fn relative(&self) -> Plan {
        let mut plan = self.clone();
        let absolute = std::path::absolute(&self.template.path).unwrap_or_default();
        let dir = absolute.parent().unwrap_or(Path::new("/"));
        plan.template.path = self.template.path.file_name().unwrap_or_default().into();
        for path in paths(&mut plan) {
            // Lossy, because JSON cannot hold arbitrary bytes. The result is only displayed.
            let whole = path.to_string_lossy();
            let mut shown = path
                .strip_prefix(dir)
                .unwrap_or(path)
                .to_string_lossy()
                .into_owned();
            if shown.is_empty() {
                shown.push('.');
            }
            // A trailing slash marks a directory.
            if whole.ends_with('/') && !shown.ends_with('/') {
                shown.push('/');
            }
            *path = PathBuf::from(shown);
        }
        plan
    }
}

/// Returns every path on the host.
fn paths(plan: &mut Plan) -> Vec<&mut PathBuf> {
    let mut all = vec![&mut plan.template.path];
    all.extend(plan.secrets.values_mut().filter_map(|source| match source {
        SecretSource::File(path) => Some(path),
        SecretSource::Env(_) => None,
    }));
    if let Some(Base::File { path, .. }) = &mut plan.base {
        all.push(path);
    }
    if let Builder::Host(host) = &mut plan.builder {
        all.extend(host_key_path(&mut host.host_key));
    }
    all.extend(plan.ssh.key_file.as_mut());
    let packages = plan.packages.iter_mut();
    let repositories = packages.flat_map(|set| &mut set.repositories);
    all.extend(repositories.filter_map(|repository| repository.key.as_mut()));
    if let Some(jump) = &mut plan.ssh.jump {
        all.extend(jump.key_file.as_mut());
        all.extend(host_key_path(&mut jump.host_key));
    }
    let steps = plan.steps.iter_mut().chain(&mut plan.on_error);
    for action in steps.map(|step| &mut step.action) {
        match action {
            Action::Shell(Shell {
                script: Script::Path(path),
                ..
            }) => all.push(path),
            Action::File(file) => all.extend(upload_path(file)),
            Action::Download(download) => all.push(&mut download.destination),
            Action::Shell(_) | Action::Reboot | Action::Pause(_) => {}
        }
    }
    all.extend(plan.files.iter_mut().filter_map(upload_path));
    all.extend(&mut plan.policy.vex);
    all.extend(plan.output.path.as_mut());
    all
}

fn host_key_path(key: &mut HostKey) -> Option<&mut PathBuf> {
    match key {
        HostKey::KnownHosts(path) => Some(path),
        HostKey::Key(_) => None,
    }
}

fn upload_path(upload: &mut Upload) -> Option<&mut PathBuf> {
    match &mut upload.source {
        UploadSource::Path(path) => Some(path),
        UploadSource::Url { .. } | UploadSource::Content(_) => None,
    }
}

struct Page(String);

impl Page {
    /// Writes a label and its lines, or nothing without lines.
    fn section(&mut self, label: &str, lines: impl IntoIterator<Item = String>) {
        let mut label = label;
        for line in lines {
            let _ = writeln!(self.0, "{label:LABEL_WIDTH$}{line}");
            label = "";
        }
    }

    fn more<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) {
        for line in lines.into_iter().flat_map(str::lines) {
            let _ = writeln!(self.0, "{:LABEL_WIDTH$}{line}", "");
        }
    }
}

fn secret(name: &str, source: &SecretSource) -> String {
    match source {
        SecretSource::Env(variable) => format!("{name} from the environment variable {variable}"),
        SecretSource::File(path) => format!("{name} from the file {}", path.display()),
    }
}

fn base(base: &Base) -> String {
    match base {
        Base::File { path, sha256 } => {
            let digest = sha256.map(|digest| format!(" {digest}"));
            format!("{}{}", path.display(), digest.unwrap_or_default())
        }
        Base::Url { url, checksum } => match checksum {
            Checksum::Sha256(digest) => format!("{url} {digest}"),
            Checksum::Sha256Url(list) => format!("{url}, verified by {list}"),
        },
        Base::Manifest(name) => format!("image {name} of the store"),
        Base::Ami(Ami::Id(id)) => id.clone(),
        Base::Ami(Ami::Newest { owners, filters }) => {
            let filters = filters.iter();
            let filters = filters.map(|(name, values)| format!("{name} {}", values.join(" or ")));
            format!(
                "the newest AMI of {} with {}, unless the lock pins one",
                owners.join(" or "),
                filters.collect::<Vec<_>>().join(", ")
            )
        }
        Base::Bootstrap(bootstrap) => {
            let mirror = bootstrap.mirror.as_deref();
            format!(
                "{} {} from {}",
                bootstrap.distribution,
                bootstrap.suite,
                mirror.unwrap_or("the host's own package archive")
            )
        }
    }
}

fn builder(builder: &Builder) -> Vec<String> {
    match builder {
        Builder::Qemu(qemu) => {
            let disk = qemu.disk_size.map_or_else(
                || "disk size of the base".to_owned(),
                |size| format!("{} disk", show_size(size)),
            );
            let mut lines = vec![
                format!(
                    "qemu {}: {} cpus, {} memory, {disk}",
                    word(&qemu.arch),
                    qemu.cpus,
                    show_size(qemu.memory)
                ),
                format!(
                    "{} firmware, machine {}, accelerator {}",
                    word(&qemu.firmware),
                    qemu.machine,
                    word(&qemu.accelerator)
                ),
            ];
            if !qemu.extra_args.is_empty() {
                lines.push(format!("extra arguments {}", qemu.extra_args.join(" ")));
            }
            lines
        }
        Builder::Host(host) => vec![
            format!(
                "host {} port {} (no image is made)",
                host.address, host.port
            ),
            host_key(&host.host_key),
        ],
        Builder::Ec2(ec2) => instance(ec2),
    }
}

fn instance(ec2: &Ec2) -> Vec<String> {
    let region = ec2.region.as_deref();
    let size = ec2.volume_size.map_or_else(
        || "as large as the AMI's".to_owned(),
        |size| format!("of {}", show_size(size)),
    );
    let encrypted = if ec2.encrypted { ", encrypted" } else { "" };
    let spot = if ec2.spot { ", spot" } else { "" };
    let mut lines = vec![
        format!(
            "ec2 in {}: {} ({}{spot})",
            region.unwrap_or("the environment's region"),
            ec2.instance_types.join(" or "),
            word(&ec2.arch),
        ),
        format!("{} volume {size}{encrypted}", ec2.volume_type),
    ];
    let place = ec2.subnet.as_ref().or(ec2.vpc.as_ref());
    lines.extend(place.map(|place| format!("in {place}")));
    lines.push(match (&ec2.ingress, ec2.security_groups.as_slice()) {
        (Some(ingress), _) => format!("SSH allowed from {ingress}"),
        (None, []) => "SSH allowed from the caller's own address".to_owned(),
        (None, groups) => format!("security groups {}", groups.join(", ")),
    });
    let profile = ec2.instance_profile.as_ref();
    lines.extend(profile.map(|profile| format!("instance profile {profile}")));
    lines
}

fn host_key(key: &HostKey) -> String {
    match key {
        HostKey::Key(line) => format!("host key {line}"),
        HostKey::KnownHosts(path) => format!("host key from {}", path.display()),
    }
}

fn ssh(ssh: &Ssh) -> Vec<String> {
    let way = match (&ssh.key_file, ssh.agent) {
        (Some(path), _) => format!("key {}", path.display()),
        (None, true) => "keys of the SSH agent".to_owned(),
        (None, false) => "a generated key".to_owned(),
    };
    let mut lines = vec![format!(
        "as {} with {way}, within {}",
        ssh.user,
        show_duration(ssh.timeout)
    )];
    if let Some(interface) = ssh.interface {
        lines.push(format!("over {}", interface.name()));
    }
    if let Some((low, high)) = ssh.ports {
        lines.push(format!("forwarded port from {low} to {high}"));
    }
    if let Some(jump) = &ssh.jump {
        let key = jump.key_file.as_ref().map_or_else(
            || "keys of the SSH agent".to_owned(),
            |path| format!("key {}", path.display()),
        );
        lines.push(format!(
            "through {}@{} port {} with {key}",
            jump.user, jump.address, jump.port
        ));
        lines.push(host_key(&jump.host_key));
    }
    lines
}

/// Returns nothing for a host, whose network karat does not control.
fn network(plan: &Plan) -> Vec<String> {
    let Network {
        open,
        allow,
        on_refused,
    } = &plan.network;
    if plan.base.is_none() {
        return Vec::new();
    }
    if *open {
        return vec!["open: the image is not hermetic".to_owned()];
    }
    let sealed = match allow.as_slice() {
        [] => "sealed",
        _ => "sealed, except for",
    };
    let mut lines = vec![sealed.to_owned()];
    lines.extend(allow.iter().map(|AllowedUrl { url, sha256 }| {
        let digest = sha256.map(|digest| format!(" {digest}"));
        format!("{url}{}", digest.unwrap_or_default())
    }));
    if *on_refused == OnRefused::Warn {
        lines.push("other requests only cause a warning".to_owned());
    }
    lines
}

fn packages(packages: &PackageSet) -> Vec<String> {
    let mut lines = Vec::new();
    if !packages.install.is_empty() {
        let with = if packages.recommends {
            " (with recommended packages)"
        } else {
            ""
        };
        lines.push(format!("install {}{with}", packages.install.join(" ")));
    }
    if !packages.remove.is_empty() {
        lines.push(format!("remove {}", packages.remove.join(" ")));
    }
    lines.extend(packages.repositories.iter().map(repository));
    let accepted = packages.accept.iter();
    lines.extend(accepted.map(|accepted| {
        let AcceptedPath {
            path,
            package,
            reason,
        } = accepted;
        format!("accept {path} of {package}: {reason}")
    }));
    lines
}

fn repository(repository: &Repository) -> String {
    let uri = [
        std::slice::from_ref(&repository.uri),
        &repository.suites,
        &repository.components,
    ];
    let proof = repository.key.as_ref().map_or_else(
        || "trusted without a signature".to_owned(),
        |key| format!("signed by {}", key.display()),
    );
    let left = if repository.keep {
        ""
    } else {
        ", not kept in the image"
    };
    format!(
        "from {} ({}), {proof}{left}",
        repository.name,
        uri.concat().join(" ")
    )
}

fn upload(upload: &Upload) -> String {
    let source = match &upload.source {
        UploadSource::Path(path) => path.display().to_string(),
        UploadSource::Url { url, sha256 } => format!("{url} {sha256}"),
        UploadSource::Content(_) => "text in the template".to_owned(),
    };
    let mode = upload.mode.map(|mode| format!(" {mode:04o}"));
    format!(
        "{source} -> {}{} {}",
        upload.destination,
        mode.unwrap_or_default(),
        upload.owner
    )
}

fn numbered(steps: &[Step]) -> Vec<String> {
    let width = steps.len().to_string().len();
    let lines = steps.iter().enumerate().flat_map(|(index, step)| {
        let mut lines = vec![format!("{:>width$}. {}", index + 1, step.name)];
        lines.extend(
            details(step)
                .into_iter()
                .map(|line| format!("{:width$}  {line}", "")),
        );
        lines
    });
    lines.collect()
}

fn details(step: &Step) -> Vec<String> {
    let mut lines = match &step.action {
        Action::Shell(shell) => shell_lines(shell),
        Action::File(file) => vec![upload(file)],
        Action::Download(download) => vec![format!(
            "{} -> {}",
            download.sources.join(" "),
            download.destination.display()
        )],
        Action::Reboot | Action::Pause(_) => Vec::new(),
    };
    let mut limits = match step.action {
        Action::Pause(duration) => format!("waits {}", show_duration(duration)),
        _ => format!("at most {}", show_duration(step.timeout)),
    };
    if step.retries > 0 {
        let _ = write!(limits, ", {} retries", step.retries);
    }
    if !step.pause_before.is_zero() {
        let _ = write!(
            limits,
            ", after a pause of {}",
            show_duration(step.pause_before)
        );
    }
    lines.push(limits);
    if !step.creates.is_empty() {
        let creates: Vec<_> = step.creates.iter().map(ToString::to_string).collect();
        lines.push(format!("creates {}", creates.join(" ")));
    }
    lines
}

fn shell_lines(shell: &Shell) -> Vec<String> {
    let mut lines = match &shell.script {
        Script::Path(path) => vec![format!("runs {}", path.display())],
        Script::Inline(inline) => {
            let text = inline.iter().map(ToString::to_string).collect::<Vec<_>>();
            text.join("\n")
                .lines()
                .map(|line| format!("$ {line}"))
                .collect()
        }
    };
    for (name, value) in &shell.environment {
        lines.push(format!("with {name}={:?}", value.to_string()));
    }
    if let Some(directory) = &shell.working_directory {
        lines.push(format!("in {directory}"));
    }
    if shell.user != "root" {
        lines.push(format!("as {}", shell.user));
    }
    if shell.exit_codes != [0] {
        lines.push(format!("may exit with {:?}", shell.exit_codes));
    }
    if shell.expect_disconnect {
        lines.push("may drop the connection".to_owned());
    }
    lines
}

fn finish(finish: &Finish) -> Vec<String> {
    let first = if finish.rebuild {
        "rewritten, with the same bytes every time"
    } else {
        "as the guest leaves it; not reproducible"
    };
    let list = |word: &'static str, exceptions: &[PathException]| {
        let line = move |exception: &PathException| {
            format!("{word} {} ({})", exception.path, exception.reason)
        };
        exceptions.iter().map(line).collect::<Vec<_>>()
    };
    let mut lines = vec![first.to_owned()];
    lines.extend(list("drop", &finish.drop));
    lines.extend(list("keep", &finish.keep));
    lines
}

fn output(plan: &Plan) -> Option<String> {
    // A host makes no image.
    plan.base.as_ref()?;
    let format = plan.output.format.name();
    let path = plan.output.path.as_ref();
    Some(path.map_or_else(
        || format!("{format} in the store"),
        |path| format!("{format} in the store, and as {}", path.display()),
    ))
}

/// The word that the template has for one of a few.
fn word(choice: &impl serde::Serialize) -> String {
    match serde_json::to_value(choice) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}
