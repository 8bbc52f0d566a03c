use crate::site::Site;
use crate::support::disk;

const FULL: &str = r#"
[image]
name = "web"
description = """
nginx on Debian 12
for the edge"""

[variables.worker_processes]
default = "auto"

[secrets.registry_token]
file = "token"

[base.file]
path = "base.qcow2"

[builder.qemu]
arch = "x86_64"
cpus = 4
memory = "1536MiB"
disk_size = "8GiB"
firmware = "uefi"
accelerator = "tcg"
extra_args = ["-device", "virtio-rng-pci"]

[ssh]
user = "debian"
timeout = "90s"
min_port = 2200
max_port = 2300

[ssh.jump]
address = "192.0.2.1"
known_hosts = "known_hosts"

[packages.apt]
install = ["nginx-light", "curl=7.88.1-10"]
remove = ["nano"]

[[files]]
source = "files"
destination = "/etc/nginx/"
owner = "www-data:www-data"

[[files]]
url = "https://example.org/ca.pem"
sha256 = "abababababababababababababababababababababababababababababababab"
destination = "/etc/ca.pem"
mode = "600"

[[provision]]
name = "harden"
timeout = "1h30m"
retries = 2
pause_before = "5s"
shell = { script = "../shared/harden.sh", environment = { LEVEL = "{{ worker_processes }}" }, working_directory = "/tmp", user = "www-data", exit_codes = [0, 3], expect_disconnect = true }

[[provision]]
shell = { inline = ["systemctl enable nginx", "echo {{{{ done }}"] }

[[provision]]
except = ["qemu"]
shell = { inline = ["only on a host"] }

[[provision]]
reboot = {}

[[provision]]
pause = { duration = "10s" }

[[provision]]
download = { sources = ["/var/log/dpkg.log", "/etc/os-release"], destination = "out/" }

[[on_error]]
download = { source = "/var/log", destination = "logs" }

[[test]]
command = "systemctl is-active nginx"

[[test]]
name = "answers"
command = "curl -fsS http://localhost/"
timeout = "30s"

[output]
format = "raw"
path = "web.raw"
"#;

fn site() -> Site {
    let site = Site::new();
    site.write("t/base.qcow2", &disk::xfs(7));
    for name in ["t/known_hosts", "t/files/nginx.conf", "shared/harden.sh"] {
        site.write(name, "");
    }
    site.write("t/web.toml", FULL);
    site
}

#[test]
fn a_plan_is_shown_to_people() {
    insta::assert_snapshot!(site().karat(["plan", "t/web.toml"]));
}

#[test]
fn a_plan_is_shown_to_programs_the_same_in_every_checkout() {
    let (here, there) = (site(), site());
    let json = here.karat(["plan", "--json", "t/web.toml"]);
    assert_eq!(json, there.karat(["plan", "--json", "t/web.toml"]));
    let absolute = here.path("t/web.toml");
    assert_eq!(
        json,
        here.karat(["plan", "--json", absolute.to_str().unwrap()])
    );
    insta::assert_snapshot!(json);
}

#[test]
fn a_template_of_two_lines_gets_every_default() {
    let site = Site::new();
    site.write(
        "t.toml",
        "[image]\nname = \"web\"\n[builder.qemu]\narch = \"aarch64\"\n",
    );
    insta::assert_snapshot!(site.karat(["plan", "t.toml"]));
}

#[test]
fn a_host_is_planned_without_a_disk() {
    let site = Site::new();
    site.write(
        "t.toml",
        "[image]\nname = \"web\"\n[builder.host]\naddress = \"192.0.2.7\"\n[[provision]]\nonly = [\"qemu\"]\nreboot = {}\n",
    );
    insta::assert_snapshot!(site.karat(["plan", "t.toml"]));
}

#[test]
fn several_plans_or_none() {
    let site = Site::new();
    site.write(
        "a.toml",
        "[image]\nname = \"a\"\n[builder.qemu]\narch = \"x86_64\"\n",
    );
    site.write(
        "b.toml",
        "[image]\nname = \"b\"\n[builder.qemu]\narch = \"x86_64\"\n",
    );
    site.write("bad.toml", "");
    insta::assert_snapshot!("two_plans", site.karat(["plan", "a.toml", "b.toml"]));
    insta::assert_snapshot!("no_plan", site.karat(["plan", "a.toml", "bad.toml"]));
}

#[test]
fn what_scripts_make_is_accepted_with_a_package_and_a_reason() {
    let site = Site::new();
    let template = |accept: &str| {
        format!(
            "[image]\nname = \"web\"\n[builder.qemu]\narch = \"x86_64\"\n[packages.apt]\ninstall = [\"curl\"]\naccept = [\n{accept}\n]\n"
        )
    };
    let good = "{ path = \"/usr/lib/x/*\", package = \"curl\", reason = \"its postinst\" },";
    site.write("good.toml", &template(good));
    let bad = [
        "{ path = \"/usr/**\", package = \"curl\", reason = \"x\" },",
        "{ path = \"/usr/lib/x\", package = \"-c\", reason = \" \" },",
        "{ package = \"curl\", path = \"usr\" },",
    ];
    site.write("bad.toml", &template(&bad.join("\n")));
    insta::assert_snapshot!("accept", site.karat(["plan", "good.toml"]));
    insta::assert_snapshot!("accept_wrong", site.karat(["plan", "bad.toml"]));
}

#[test]
fn a_step_says_what_it_creates_but_never_everything() {
    let site = Site::new();
    let template = |creates: &str| {
        format!(
            "[image]\nname = \"web\"\n[builder.qemu]\narch = \"x86_64\"\n[[provision]]\ncreates = {creates}\nreboot = {{}}\n"
        )
    };
    site.write(
        "good.toml",
        &template(
            "[\"/opt/app/**\", \"/usr/local/bin/app\", \"user:app\", \"group:adm/app\", { path = \"/opt/app/bin/*\", setuid = true, capabilities = true }]",
        ),
    );
    site.write(
        "bad.toml",
        &template(
            "[\"/**\", \"opt/app\", \"user:a b\", \"user:adm/app\", { setuid = true }, { path = \"/etc/**\" }, { path = \"/opt/[a\" }, { path = \"/opt/a\", suid = true }]",
        ),
    );
    insta::assert_snapshot!("creates", site.karat(["plan", "good.toml"]));
    insta::assert_snapshot!("creates_everything", site.karat(["plan", "bad.toml"]));
}
