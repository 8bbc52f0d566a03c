use crate::site::{IMAGE, Site};

#[test]
fn a_misspelt_key_is_pointed_at() {
    let site = Site::new();
    site.write("web.toml", "[builder.qemu]\ndisk-sise = \"8GiB\"\n");
    insta::assert_snapshot!(site.karat(["validate", "web.toml"]));
}

#[test]
fn syntax_errors_are_pointed_at() {
    let site = Site::new();
    site.write("web.toml", "[image]\nname = web\nname = \"x\"\n[builder\n");
    insta::assert_snapshot!(site.karat(["validate", "web.toml"]));
}

#[test]
fn unknown_keys_get_a_suggestion_or_the_known_ones() {
    let site = Site::new();
    insta::assert_snapshot!(site.validate_each(&[
        "descripton = \"x\"\n",
        "flavour = \"x\"\n",
        "[netwrok]\nopen = true\n",
        "[[provision]]\nshell = { inlin = [\"true\"] }\n",
        "[[provision]]\nshel = { inline = [\"true\"] }\n",
        "[variables.x]\ndefalt = \"1\"\n",
        "[secrets.x]\nenvironment = \"1\"\n",
    ]));
}

#[test]
fn all_errors_are_reported_together() {
    let site = Site::new();
    site.write(
        "web.toml",
        r#"
[imag]
name = "web"

[builder.qemu]
arch = "arm64"
cpus = "many"
memory = 4
firmware = "uefo"
extra_args = [1]

[ssh]
min_port = 9000
max_port = 8000

[[files]]
source = "nowhere"
destination = "etc/motd"
mode = "999"

[[provision]]
shell = 5

[[provision]]
name = "{{ nmae }}"
reboot = {}
"#,
    );
    insta::assert_snapshot!(site.karat(["validate", "web.toml"]));
}

#[test]
fn there_is_one_builder_one_base_and_one_kind_in_a_step() {
    let site = Site::new();
    insta::assert_snapshot!(site.validate_each(&[
        "[builder.qemu]\n[builder.host]\naddress = \"192.0.2.7\"\n",
        "[builder]\n",
        "[builder.gce]\n",
        "[base]\n",
        "[base.bootstrap]\n[base.file]\npath = \"t.toml\"\n",
        "[[provision]]\nname = \"nothing\"\n",
        "[[provision]]\nreboot = {}\nshell = { inline = [\"true\"] }\n",
        "[[on_error]]\nreboot = {}\npause = { duration = \"1s\" }\n",
        "[[provision]]\nshell = { inline = [\"true\"], script = \"t.toml\" }\n",
        "[[files]]\ncontent = \"x\"\nsource = \"t.toml\"\ndestination = \"/x\"\n",
        "[[files]]\ndestination = \"/x\"\n",
    ]));
}

#[test]
fn a_host_makes_no_image() {
    let site = Site::new();
    insta::assert_snapshot!(site.validate_each(&[
        "[builder.host]\naddress = \"192.0.2.7\"\n",
        "[builder.host]\naddress = \"192.0.2.7\"\n[base.bootstrap]\n[[test]]\ncommand = \"true\"\n[output]\nformat = \"raw\"\n",
        "[builder.host]\nport = 70000\nhost_key = \"garbage\"\nknown_hosts = \"nowhere\"\n",
        "[builder.host]\naddress = \"192.0.2.7\"\n[ssh]\nmin_port = 1\nmax_port = 2\n",
    ]));
}

#[test]
fn empty_and_missing_things_are_found_before_a_launch() {
    let site = Site::new();
    site.write("dir/file", "");
    insta::assert_snapshot!(site.validate_each(&[
        "[[provision]]\nshell = { inline = [] }\n",
        "[[provision]]\nshell = { inline = [\"\", \" \"] }\n",
        "[[provision]]\nshell = {}\n",
        "[[provision]]\nshell = { script = \"scripts/none.sh\" }\n",
        "[[provision]]\nshell = { script = \"dir\" }\n",
        "[[provision]]\nfile = { source = \"none\", destination = \"/x\" }\n",
        "[[provision]]\nfile = { source = \"dir\", destination = \"/x\" }\n",
        "[[provision]]\ndownload = { source = \"x\", sources = [], destination = \"\" }\n",
        "[[provision]]\ndownload = { }\n",
        "[[files]]\nurl = \"https://example.org/x\"\ndestination = \"/x\"\n",
        "[[files]]\ncontent = \"x\"\ndestination = \"/etc/\"\n",
        "[[files]]\ncontent = \"x\"\n",
        "[base.file]\npath = \"/nowhere/base.qcow2\"\n",
        "[base.file]\n",
        "[[test]]\ncommand = \"\"\n",
        "[[test]]\nname = \"x\"\n",
        "[packages.apt]\ninstall = [\"nginx light\", \"--force\", \"curl=\", \"nginx=1.22~rc1-3\", \"g++\"]\nremove = [\"g++\"]\n",
    ]));
}

#[test]
fn names_and_words_are_checked() {
    let site = Site::new();
    insta::assert_snapshot!(site.validate_each(&[
        "[[provision]]\nreboot = {}\nonly = [\"quemu\"]\nexcept = [\"gce\"]\n",
        "[[provision]]\nshell = { inline = [\"true\"], environment = { \"\" = \"x\", \"a=b\" = \"c\", 1a = \"x\", \"bad-name\" = \"x\" } }\n",
        "[[provision]]\nshell = { inline = [\"true\"], environment = { A_1 = \"b=c\", N = 8080, FLAG = true, NUL = \"\\u0000\" } }\n",
        "[[provision]]\nshell = { inline = [\"true\"], exit_codes = [], user = \"-x\", working_directory = \"tmp\" }\n",
        "[[provision]]\nshell = { inline = [\"true\"], exit_codes = [0, 256] }\n",
        "[output]\nformat = \"qcow\"\n",
        "[base.bootstrap]\ndistribution = \"Debian\"\nsuite = \"12 \"\n",
        "[base.bootstrap]\ndistribution = \"ubuntu\"\n",
        "[ssh]\nmin_port = 0\nmax_port = 70000\n",
        "[ssh]\nmin_port = 2222\n",
        "[ssh]\nmin_port = 9000\nmax_port = 8000\n",
        "[builder.qemu]\narch = \"aarch64\"\nfirmware = \"bios\"\ncpus = 0\n",
    ]));
    site.write("t.toml", "[image]\nname = \"My Image\"\n");
    insta::assert_snapshot!("image_name", site.karat(["validate", "t.toml"]));
}

#[test]
fn an_output_that_exists_is_refused_unless_forced() {
    let site = Site::new();
    site.write("web.qcow2", "precious");
    site.write(
        "t.toml",
        &format!("{IMAGE}[output]\npath = \"web.qcow2\"\n"),
    );
    insta::assert_snapshot!(site.karat(["validate", "t.toml"]));
    assert!(site.run(["plan", "--force", "t.toml"]).status.success());
}

#[test]
fn a_private_key_is_there_and_is_one() {
    let site = Site::new();
    site.write("garbage", "not a key\n");
    let make = |name: &str, passphrase: &str| {
        let made = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", passphrase, "-f"])
            .arg(site.path(name))
            .status();
        assert!(made.unwrap().success());
    };
    make("good", "");
    make("locked", "passphrase");
    let jump = "[ssh.jump]\naddress = \"192.0.2.1\"\n";
    insta::assert_snapshot!(site.validate_each(&[
        "[ssh]\nkey_file = \"none\"\n",
        "[ssh]\nkey_file = \"garbage\"\n",
        "[ssh]\nkey_file = \"good.pub\"\n",
        "[ssh]\nkey_file = \"locked\"\n",
        "[ssh]\nkey_file = \"good\"\n",
        "[ssh]\nkey_file = \"good\"\nagent = true\n",
        &format!("{jump}key_file = \"garbage\"\n"),
    ]));
}

#[test]
fn several_templates_are_checked_each() {
    let site = Site::new();
    site.write("good.toml", IMAGE);
    site.write("bad.toml", "");
    insta::assert_snapshot!(site.karat([
        "validate",
        "good.toml",
        "bad.toml",
        "none.toml",
        "good.toml"
    ]));
    insta::assert_snapshot!("no_template", site.karat(["validate"]));
}
