//! Words and forms of Packer's templates, each with karat's counterpart.

use super::problem::Problem;

/// Keys and blocks of Packer 1.6 to 1.11 (QEMU and Amazon plugins, provisioners), and what karat has instead.
const COUNTERPARTS: &[(&[&str], &str)] = &[
    (
        &["provisioner", "provisioners"],
        "write `[[provision]]`, once for each step",
    ),
    (
        &["type"],
        "the kind of a step is its key: `shell = { inline = [\"...\"] }`, `file = { ... }`",
    ),
    (&["inline"], "write `shell = { inline = [...] }`"),
    (&["script"], "write `shell = { script = \"...\" }`"),
    (
        &["scripts"],
        "write one `[[provision]]` with `shell = { script = \"...\" }` for each script",
    ),
    (
        &["environment_vars", "env"],
        "write `environment = { NAME = \"value\" }` in `shell`",
    ),
    (
        &["execute_command", "remote_folder"],
        "remove it: steps run as root by `/bin/sh -eu`; `user` in `shell` names another user",
    ),
    (&["valid_exit_codes"], "write `exit_codes` in `shell`"),
    (&["max_retries"], "write `retries` in the step"),
    (
        &["apt", "dnf"],
        "write `[packages.apt]` or `[packages.dnf]`",
    ),
    (
        &["install", "packages_list"],
        "write `install` below `[packages.apt]`",
    ),
    (&["communicator"], "remove it: karat always uses SSH"),
    (&["ssh_username"], "write `user` in `[ssh]`"),
    (
        &["ssh_timeout", "ssh_wait_timeout"],
        "write `timeout` in `[ssh]`",
    ),
    (&["ssh_private_key_file"], "write `key_file` in `[ssh]`"),
    (&["ssh_agent_auth"], "write `agent` in `[ssh]`"),
    (
        &[
            "ssh_password",
            "ssh_keypair_name",
            "temporary_key_pair_type",
        ],
        "remove it: karat logs in with a key that it makes for this build; `key_file` in `[ssh]` names another",
    ),
    (
        &["ssh_host", "ssh_port"],
        "write `address` and `port` in `[builder.host]`; a guest's address is known",
    ),
    (
        &["ssh_host_port_min", "host_port_min"],
        "write `min_port` in `[ssh]`",
    ),
    (
        &["ssh_host_port_max", "host_port_max"],
        "write `max_port` in `[ssh]`",
    ),
    (&["ssh_interface"], "write `interface` in `[ssh]`"),
    (
        &[
            "ssh_bastion_host",
            "ssh_bastion_port",
            "ssh_bastion_username",
            "ssh_bastion_private_key_file",
        ],
        "write `address`, `port`, `user` and `key_file` in `[ssh.jump]`",
    ),
    (
        &["iso_url", "iso_urls"],
        "write `url` and `sha256` in `[base.url]` for a disk image; karat runs no installer, `[base.bootstrap]` makes a base from a package archive",
    ),
    (
        &["iso_checksum", "iso_checksum_type"],
        "write `sha256` in `[base.url]`",
    ),
    (
        &["disk_image"],
        "remove it: `[base.file]` and `[base.url]` name a disk",
    ),
    (
        &[
            "boot_command",
            "boot_wait",
            "boot_key_interval",
            "http_directory",
            "http_content",
            "cd_files",
            "cd_content",
            "floppy_files",
        ],
        "remove it: karat runs no installer; start from `[base.bootstrap]`, `[base.url]` or `[base.file]`",
    ),
    (
        &["shutdown_command", "shutdown_timeout"],
        "remove it: karat shuts the guest down",
    ),
    (
        &[
            "headless",
            "vnc_bind_address",
            "vnc_port_min",
            "vnc_port_max",
            "use_default_display",
            "display",
        ],
        "remove it: guests have no display",
    ),
    (
        &["output_directory"],
        "write `path` in `[output]`, or remove it: images are kept in the store",
    ),
    (&["vm_name"], "write `name` in `[image]`"),
    (
        &["efi_boot", "efi_firmware_code", "efi_firmware_vars"],
        "write `firmware = \"uefi\"` in `[builder.qemu]`",
    ),
    (&["machine_type"], "write `machine` in `[builder.qemu]`"),
    (&["qemuargs"], "write `extra_args` in `[builder.qemu]`"),
    (
        &[
            "qemu_binary",
            "disk_interface",
            "net_device",
            "disk_compression",
            "disk_discard",
            "disk_cache",
        ],
        "remove it: karat chooses it",
    ),
    (
        &["cores", "sockets", "threads", "cpu"],
        "write `cpus` in `[builder.qemu]`",
    ),
    (
        &["builder", "builders", "build", "source", "sources"],
        "write `[builder.qemu]`, `[builder.ec2]` or `[builder.host]`",
    ),
    (&["source_ami"], "write `id` in `[base.ami]`"),
    (
        &["source_ami_filter"],
        "write `owners` and `name` in `[base.ami]`",
    ),
    (&["ami_name"], "write `name` in `[publish.ec2]`"),
    (
        &["ami_description"],
        "write `description` in `[publish.ec2]`",
    ),
    (&["ami_regions"], "write `regions` in `[publish.ec2]`"),
    (
        &["ami_users", "snapshot_users"],
        "write `accounts` in `[publish.ec2]`",
    ),
    (
        &["encrypt_boot", "kms_key_id"],
        "write `encrypted` and `kms_key` in `[publish.ec2]`",
    ),
    (
        &["deprecate_at"],
        "write `deprecate_after` in `[publish.ec2]`",
    ),
    (&["subnet_id"], "write `subnet` in `[builder.ec2]`"),
    (&["vpc_id"], "write `vpc` in `[builder.ec2]`"),
    (
        &["security_group_id", "security_group_ids"],
        "write `security_groups` in `[builder.ec2]`",
    ),
    (
        &["iam_instance_profile"],
        "write `instance_profile` in `[builder.ec2]`",
    ),
    (
        &["instance_type", "spot_instance_types"],
        "write `instance_types` in `[builder.ec2]`",
    ),
    (
        &["run_tags", "spot_tags", "run_volume_tags"],
        "write `tags` in `[builder.ec2]`",
    ),
    (
        &["spot_price", "spot_allocation_strategy"],
        "write `spot = true` in `[builder.ec2]`",
    ),
    (
        &["temporary_security_group_source_cidrs"],
        "write `ingress` in `[builder.ec2]`",
    ),
    (
        &["user_data", "user_data_file"],
        "remove it: karat's own user data has the host key that it checks; `[[provision]]` does the rest",
    ),
    (
        &[
            "post_processor",
            "post_processors",
            "post-processor",
            "post-processors",
        ],
        "remove it: `[output]` sets the format, `karat export` and `karat publish` do the rest",
    ),
    (
        &["variable", "locals", "local"],
        "write `[variables.NAME]` with `default`",
    ),
    (
        &["packer", "required_plugins", "data"],
        "remove it: karat has no plugins",
    ),
    (
        &["error_cleanup_provisioner", "error-cleanup-provisioner"],
        "write `[[on_error]]`",
    ),
];

/// Returns advice for a key that is Packer's, or that people from Packer expect.
pub(super) fn counterpart(key: &str) -> Option<&'static str> {
    let found = COUNTERPARTS.iter().find(|(words, _)| words.contains(&key));
    found.map(|(_, advice)| *advice)
}

/// Recognizes text in another language than TOML.
pub(super) fn other_language(text: &str) -> Option<Problem> {
    let lines = text.lines().map(str::trim);
    let mut lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let first = lines.next()?;
    let is_block = |line: &str| {
        let word = line.split([' ', '{']).next().unwrap_or_default();
        line.ends_with('{')
            && !line.contains('=')
            && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let is_entry = |line: &str| {
        let (key, value) = line.split_once(':').unwrap_or_default();
        !key.is_empty()
            && key
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
            && (value.is_empty() || value.starts_with(' '))
    };
    let language = if first.starts_with('{') {
        "JSON"
    } else if first == "---" || is_entry(first) {
        "YAML"
    } else if is_block(first) || lines.any(is_block) {
        "HCL"
    } else {
        return None;
    };
    let problem = Problem::nowhere(format!("this is {language}, and karat reads TOML"));
    Some(problem.help(
        "`karat init` writes a template to start from; docs/how-to/packer-migration.md lists Packer's options with their counterparts",
    ))
}
