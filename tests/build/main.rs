//! `karat build` for real: the real binary, a base made from the real archive, real guests.
//!
//! The base is made once and kept in karat's own cache, which other tests share.

mod dnf;
mod layered;
mod locked;
mod planted;
mod ran;
mod scanned;
mod sealed;
mod signals;
mod site;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared by all test crates")]
mod support;

use site::Site;

const WEB: &str = r#"
[image]
name = "web"

[variables.greeting]
default = "hello"

[secrets.token]
env = "TOKEN"

[base.bootstrap]
distribution = "debian"
suite = "bookworm"

[builder.qemu]
cpus = 1
disk_size = "4GiB"

[packages.apt]
install = ["nginx-light"]

[[files]]
content = "it is {{ greeting }}\n"
destination = "/var/www/html/index.html"

[[provision]]
name = "look around"
shell = { inline = ["nginx -t", "test -z \"$(systemctl is-active nginx | grep -x active)\"", "echo token={{ token }}"] }

[[provision]]
name = "restart"
reboot = {}

[[provision]]
name = "after the restart"
shell = { inline = ["test \"$KARAT_VAR_GREETING\" = hello", "[ \"$(df --output=size -B1M / | tail -1)\" -gt 3000 ]"] }

[[test]]
name = "nginx serves our page"
command = "systemctl is-active nginx && grep 'it is hello' /var/www/html/index.html"

[[test]]
name = "the way in is gone but for this boot's own"
command = "test \"$(wc -l < /root/.ssh/authorized_keys)\" = 1 && test -s /etc/machine-id"
"#;

#[test]
fn a_template_becomes_an_image_that_is_listed_shown_and_exported() {
    let site = Site::new();
    site.write("web.toml", WEB);
    site.stdout(["keys", "generate", "--comment", "ci"]);
    let built = site
        .karat(["build", "web.toml"])
        .env("TOKEN", "s3cr3t-value")
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{log}");
    assert!(!log.contains("s3cr3t-value"), "a secret was shown: {log}");
    let id = String::from_utf8(built.stdout).unwrap();
    let id = id.trim();
    assert_eq!(
        id.trim_start_matches("sha256:").len(),
        64,
        "stdout is the id alone: {id}"
    );

    let manifest = site.stdout(["show", "--json", &id[..19]]);
    assert!(!manifest.contains("s3cr3t-value"));
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let packages = manifest["outputs"]["packages"].as_array().unwrap();
    let origin = |name: &str| {
        let found = packages.iter().find(|package| package["name"] == name);
        found.unwrap_or_else(|| panic!("{name} is not in the manifest"))["origin"].clone()
    };
    assert_eq!(origin("nginx-light"), "declared");
    assert_eq!(origin("nginx-common"), "dependency");
    assert_eq!(origin("openssh-server"), "base");
    assert!(site.stdout(["list"]).contains("web"));

    for (path, cause) in [
        ("/usr/sbin/nginx", "/usr/sbin/nginx: the package nginx"),
        ("/bin/ls", "/usr/bin/ls: the package coreutils"),
        ("/var/www/html/index.html", "`[[files]]`"),
        (
            "/etc/nginx/sites-enabled/default",
            "scripts of nginx-common",
        ),
        ("boot code", "boot code: the base"),
    ] {
        let why = site.stdout(["show", &id[..19], "--why", path]);
        assert!(why.contains(cause), "{why}");
    }

    // Signed by the build, and everything that a rebuild needs is there.
    let verified = site.stdout(["verify", &id[..19], "--by", "ci", "--json"]);
    let verified: serde_json::Value = serde_json::from_str(&verified).unwrap();
    assert_eq!(verified["missing"], serde_json::json!([]), "{verified}");
    assert_eq!(verified["signatures"][0]["counts"], true, "{verified}");
    // All but a few paths are explained again, without the guest.
    let explained = |what: &str| verified["explained"][what].as_u64().unwrap();
    let (confirmed, attested) = (explained("confirmed"), explained("attested"));
    assert!(confirmed > 20 * attested, "{verified}");

    site.stdout(["export", &id[..19], "-o", "web.qcow2"]);
    let info = std::process::Command::new("qemu-img")
        .args(["info", "--output=json"])
        .arg(site.path("web.qcow2"))
        .output()
        .unwrap();
    let info: serde_json::Value = serde_json::from_slice(&info.stdout).unwrap();
    assert_eq!(info["virtual-size"], 4_u64 << 30);
    assert!(
        info.get("backing-filename").is_none(),
        "the image stands alone"
    );

    ran::with_a_command_and_a_port(&site, &id[..19]);
    layered::on(&site, id);
    scanned::again_and_without_the_image(&site, &id[..19]);

    // Again, from the store alone: the same bytes, on a host that says that it is another day and another place.
    for gone in ["web.toml", "web.lock.toml"] {
        std::fs::remove_file(site.path(gone)).unwrap();
    }
    let again = site
        .karat(["rebuild", &id[..19]])
        .env("TOKEN", "s3cr3t-value")
        .env("TZ", "Asia/Tokyo")
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&again.stderr);
    let said = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success(), "{said}{log}");
    assert!(said.starts_with("L4 same bytes"), "{said}{log}");
    layered::not_on_a_revoked_one(&site, id);
    site.assert_nothing_left();
}

#[test]
fn a_guest_that_cannot_be_launched_is_an_error_with_a_way_out() {
    let site = Site::new();
    let refused = "[builder.qemu]\nextra_args = [\"-no-such-option\"]\n";
    site.write("web.toml", &WEB.replace("[builder.qemu]\n", refused));
    let built = site
        .karat(["build", "web.toml"])
        .env("TOKEN", "unused")
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&built.stderr);
    assert_eq!(built.status.code(), Some(1), "{log}");
    assert!(
        log.contains("-no-such-option") && log.contains("check `machine` and `extra_args`"),
        "{log}"
    );
    site.assert_nothing_left();
}
