//! What people write who come from Packer or are new to TOML, and what karat answers.

use std::process::Output;

use crate::site::Site;
use crate::support::disk;
use crate::support::site::texts;

/// Validates a template with these lines below `[image]`; returns stderr.
fn validate(lines: &str) -> String {
    let site = Site::new();
    site.write("web.toml", &format!("[image]\nname = \"web\"\n{lines}"));
    stderr(site.run(["validate", "web.toml"]))
}

fn stderr(output: Output) -> String {
    let [_, stderr] = texts(output);
    stderr
}

#[test]
fn words_of_packer_get_their_counterpart() {
    for (lines, expected) in [
        (
            "[[provisioner]]\ntype = \"shell\"\n",
            "write `[[provision]]`, once for each step",
        ),
        (
            "[[provision]]\ntype = \"shell\"\n",
            "the kind of a step is its key",
        ),
        (
            "[[provision]]\ninline = [\"true\"]\n",
            "write `shell = { inline = [\"...\"] }`",
        ),
        (
            "[builder.qemu]\nssh_username = \"root\"\n",
            "write `user` in `[ssh]`",
        ),
        (
            "[builder.qemu]\niso_url = \"x\"\n",
            "write `url` and `sha256` in `[base.url]`",
        ),
        (
            "[builder.qemu]\niso_checksum = \"x\"\n",
            "write `sha256` in `[base.url]`",
        ),
        (
            "[builder.qemu]\nheadless = true\n",
            "guests have no display",
        ),
        (
            "[builder.qemu]\nshutdown_command = \"x\"\n",
            "karat shuts the guest down",
        ),
        (
            "[builder.qemu]\nboot_command = [\"x\"]\n",
            "karat runs no installer",
        ),
        (
            "[builder.ec2]\nsource_ami = \"ami-1\"\n",
            "write `id` in `[base.ami]`",
        ),
        (
            "[publish.ec2]\nami_name = \"x\"\n",
            "write `name` in `[publish.ec2]`",
        ),
        ("[apt]\ninstall = [\"curl\"]\n", "write `[packages.apt]`"),
        (
            "[packages]\ninstall = [\"curl\"]\n",
            "write `install` below `[packages.apt]`",
        ),
        ("[post-processor.manifest]\n", "`[output]` sets the format"),
        (
            "[[provision]]\nsource = \"app.conf\"\n",
            "write `file = { source = ",
        ),
        (
            "[variables.foo]\ntype = \"string\"\ndefault = \"x\"\n",
            "remove it: every value is text",
        ),
        (
            "[[provision]]\nshell = { inline = [\"true\"], environment_vars = [\"A=b\"] }\n",
            "environment = { NAME = ",
        ),
        (
            "[builder.amazon-ebs]\nregion = \"x\"\n",
            "write `[builder.ec2]`",
        ),
        ("[builder.qemu]\nwinrm_port = 1\n", "karat always uses SSH"),
        (
            "[[provision]]\nansible = {}\n",
            "declare the tool in `[packages.apt]`",
        ),
    ] {
        let text = validate(lines);
        assert!(text.contains("unknown key"), "{lines}{text}");
        assert!(text.contains(expected), "{lines}{text}");
    }
}

#[test]
fn other_languages_are_recognized() {
    for (name, text, language) in [
        (
            "web.pkr.hcl",
            "source \"qemu\" \"web\" {\n  iso_url = \"x\"\n}\n",
            "HCL",
        ),
        (
            "build.pkr.hcl",
            "# comment\nbuild {\n  sources = [\"x\"]\n}\n",
            "HCL",
        ),
        ("web.json", "{\"builders\": []}", "JSON"),
        ("web.yml", "image:\n  name: web\n", "YAML"),
        ("web.yaml", "---\n- image\n", "YAML"),
        (
            "one.pkr.hcl",
            "variable \"region\" { default = \"x\" }\nvariable \"y\" {}\n",
            "HCL",
        ),
        ("short.pkr.hcl", "region = \"x\"\n", "HCL"),
        ("list.json", "[\n  {}\n]\n", "JSON"),
        ("list.yml", "- image\n", "YAML"),
    ] {
        let site = Site::new();
        site.write(name, text);
        let text = stderr(site.run(["validate", name]));
        let expected = format!("error: this is {language}, and karat reads TOML");
        assert!(text.starts_with(&expected), "{name}: {text}");
        assert!(text.ends_with("1 error\n"), "{name}: {text}");
    }
    let broken = validate("[builder.qemu]\ncpus = \n");
    assert!(!broken.contains("this is"), "{broken}");
}

#[test]
fn variables_of_packer_are_given_beside_a_template() {
    let site = Site::new();
    site.write("web.pkrvars.hcl", "name = \"web\"\n");
    site.write(
        "web.toml",
        "[variables.name]\n[image]\nname = \"{{ name }}\"\n",
    );
    let text = stderr(site.run(["validate", "web.pkrvars.hcl"]));
    assert!(
        text.contains("a file of variables, not a template")
            && text.contains("`karat build TEMPLATE --var-file web.pkrvars.hcl`"),
        "{text}"
    );
    let run = site.run(["validate", "web.toml", "--var-file", "web.pkrvars.hcl"]);
    assert!(run.status.success(), "{run:?}");
}

#[test]
fn expressions_of_packer_get_a_variable_of_karat() {
    for (lines, place, expected) in [
        (
            "description = \"${var.region}\"\n",
            "error: `${var.region}` is an expression of HCL",
            "write `{{ region }}`, which `[variables.region]` declares",
        ),
        (
            "[variables.a]\ndefault = \"${local.b}\"\n",
            "error: `${local.b}`",
            "write `{{ b }}`",
        ),
        (
            "[[provision]]\nshell = { inline = [\"echo ${var.region} ${HOME}\"] }\n",
            "warning: `${var.region}` in step `echo ${var.region} ${HOME}`",
            "write `{{ region }}`",
        ),
        (
            "[[test]]\ncommand = \"test ${upper(var.x)}\"\n",
            "warning: `${upper(var.x)}` in test",
            "`{{ x }}`",
        ),
        (
            "description = \"{{user `region`}}\"\n",
            "error: invalid variable name `user `region``",
            "write `{{ region }}`",
        ),
        (
            "description = \"{{ var.region }}\"\n",
            "error: invalid variable name `var.region`",
            "write `{{ region }}`",
        ),
        (
            "description = \"{{ .Vars }}\"\n",
            "error: invalid variable name `.Vars`",
            "sets variables of a step",
        ),
        (
            "description = \"{{ timestamp }}\"\n",
            "error: `timestamp` is not defined",
            "each image has an id",
        ),
        (
            "description = \"{{env `REGION`}}\"\n",
            "error: invalid variable name",
            "KARAT_VAR_region",
        ),
        (
            "description = \"{{ .Names }}\"\n",
            "error: invalid variable name",
            "for a literal `{{` write `{{{{`",
        ),
    ] {
        let text = validate(lines);
        assert!(
            text.contains(place) && text.contains(expected),
            "{lines}{text}"
        );
    }
    let quiet = "[[files]]\ncontent = \"${var.x}\"\ndestination = \"/x\"\n";
    assert_eq!(validate(quiet), "");
}

#[test]
fn tables_that_are_something_else_are_named() {
    for (lines, expected) in [
        (
            "[ssh]\nuser = \"root\"\n[[network]]\nopen = true\n",
            "write `[network]` with one pair of brackets",
        ),
        (
            "[provision]\nreboot = {}\n",
            "write `[[provision]]`, and `reboot = {}` below it",
        ),
    ] {
        let text = validate(lines);
        assert!(text.contains(expected), "{lines}{text}");
    }
    for (text, expected) in [
        (
            "packages = [\"curl\"]\n[image]\nname = \"a\"\n",
            "write `[packages.apt]`, and `install = [\"curl\"]` below it",
        ),
        (
            "image = \"web\"\n",
            "write `[image]`, and `name = \"web\"` below it",
        ),
    ] {
        let site = Site::new();
        site.write("web.toml", text);
        let shown = stderr(site.run(["validate", "web.toml"]));
        assert!(shown.contains(expected), "{text}{shown}");
    }
}

#[test]
fn files_that_are_no_template_are_explained() {
    let site = Site::new();
    site.write("web.toml", "[image]\nname = \"web\"\n");
    site.write("web.lock.toml", "version = 1\n");
    let run = site.run(["validate", "web.lock.toml"]);
    assert_eq!(run.status.code(), Some(2));
    let text = stderr(run);
    assert!(
        text.contains("this is a lock file, not a template"),
        "{text}"
    );
    assert!(text.contains("give the template: web.toml"), "{text}");
    // A shell expands `*.toml` to both.
    let run = site.run(["validate", "web.lock.toml", "web.toml"]);
    assert!(run.status.success(), "{run:?}");
    let [stdout, stderr_text] = texts(run);
    assert_eq!((stdout.lines().count(), stderr_text.as_str()), (1, ""));

    std::fs::create_dir(site.path("directory")).unwrap();
    std::fs::write(site.path("latin1.toml"), b"# \xe4\n").unwrap();
    let large = std::fs::File::create(site.path("large.toml")).unwrap();
    large.set_len(5 << 30).unwrap();
    for (name, expected) in [
        ("directory", "give the path of a file in this directory"),
        ("latin1.toml", "save it as UTF-8 text"),
        ("large.toml", "karat reads templates of up to 1 MiB"),
        ("missing.toml", "`karat init` writes one to start from"),
    ] {
        for arguments in [
            &["validate", name][..],
            &["validate", "--var-file", name, "web.toml"],
        ] {
            let run = site.run_with(arguments);
            assert_eq!(run.status.code(), Some(2), "{run:?}");
            let text = stderr(run);
            let is_var_file = arguments.len() > 2;
            if name != "missing.toml" || !is_var_file {
                assert!(text.contains(expected), "{name}: {text}");
            }
        }
    }
}

#[test]
fn a_path_of_no_template_gets_the_templates_that_it_may_mean() {
    let site = Site::new();
    for name in ["web.toml", "one/mail.toml", "two/a.toml", "two/b.toml"] {
        site.write(name, "[image]\nname = \"web\"\n");
    }
    site.write("one/mail.lock.toml", "version = 1\n");
    for (path, expected) in [
        ("web", &["web.toml"][..]),
        ("wbe.toml", &["web.toml"]),
        (".", &["web.toml"]),
        ("./", &["web.toml"]),
        ("one", &["one/mail.toml"]),
        ("one/", &["one/mail.toml"]),
        ("one/mial.toml", &["one/mail.toml"]),
        ("two", &["two/a.toml", "two/b.toml"]),
    ] {
        for words in [
            &["validate"][..],
            &["build"],
            &["plan"],
            &["lock", "--update"],
            &["outdated"],
        ] {
            // A name is one of an image, too.
            if words == ["outdated"] && !path.contains("toml") {
                continue;
            }
            let run = site.run_with(&[words, &[path]].concat());
            assert_eq!(run.status.code(), Some(2), "{run:?}");
            let text = stderr(run);
            let names = text
                .split_once("did you mean ")
                .and_then(|(_, rest)| rest.split_once('?'));
            let names: Vec<&str> =
                names.map_or(Vec::new(), |(names, _)| names.split(" or ").collect());
            assert_eq!(names, expected, "{words:?} {path}: {text}");
            for name in names {
                assert!(site.run(["validate", name]).status.success(), "{name}");
            }
        }
    }
    let text = stderr(site.run(["outdated", "web"]));
    assert!(text.contains("did you mean web.toml?"), "{text}");
    let text = stderr(site.run(["lock", "--update", "nginx", "web.toml"]));
    assert!(
        text.contains("`-P nginx` instead of `--update nginx`"),
        "{text}"
    );
}

#[test]
fn a_lock_file_stands_for_its_template_and_a_missing_template_is_not_to_be_locked() {
    let site = Site::new();
    site.write("web.toml", "[image]\nname = \"web\"\n");
    for (path, expected) in [
        ("web.toml", "create it with `karat lock web.toml`"),
        ("web.lock.toml", "create it with `karat lock web.toml`"),
        ("none.toml", "cannot read none.toml"),
        ("none.lock.toml", "cannot read none.toml"),
    ] {
        let run = site.run(["outdated", path]);
        assert_eq!(run.status.code(), Some(2), "{run:?}");
        let text = stderr(run);
        assert!(text.contains(expected), "{path}: {text}");
    }
}

#[test]
fn commands_that_a_sealed_guest_makes_fail_are_warned_of() {
    let lines = "[[provision]]\nname = \"web server\"\nshell = { inline = [\n  \"apt-get update && apt-get install -y nginx\",\n  \"curl -fsSL https://example.org/setup.sh | sh\",\n] }\n";
    let text = validate(lines);
    for expected in [
        "warning: `apt-get install` in step `web server`, but the guest has no network\n  --> web.toml:6:3\n",
        "    [packages.apt]\n    install = [\"nginx\"]",
        "  --> web.toml:7:3\n",
        "    [network]\n    allow = [{ url = \"https://example.org/setup.sh\" }]",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    for open in [
        "[network]\nopen = true\n",
        "[network]\nallow = [{ url = \"https://example.org/\" }]\n",
        "[builder.host]\naddress = \"192.0.2.1\"\nhost_key = \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdGp2Cr6nXWQTz6mzCHr0VmyYzJ1O2NUzW9k5rgF0Lq\"\n",
    ] {
        let text = validate(&format!("{open}{lines}"));
        assert!(!text.contains("warning"), "{open}{text}");
    }
}

#[test]
fn warnings_have_their_place_and_advice_in_json() {
    let site = Site::new();
    site.write("setup.sh", "#!/bin/sh\ntrue\nnpm ci\n");
    site.write(
        "t/web.toml",
        "[image]\nname = \"web\"\n[builder.qemu]\nmemory = \"16MiB\"\n[[provision]]\nshell = { script = \"../setup.sh\" }\n",
    );
    let run = site.run([
        "validate",
        "t/web.toml",
        "--format",
        "json",
        "--log-format",
        "json",
    ]);
    let [stdout, stderr] = texts(run);
    let document: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let warnings = document[0]["warnings"].as_array().unwrap();
    assert_eq!(warnings[0]["file"], "t/../setup.sh");
    assert_eq!(
        (&warnings[0]["line"], &warnings[0]["column"]),
        (&3.into(), &1.into())
    );
    assert!(warnings[0]["help"].as_str().unwrap().contains("[network]"));
    let events: Vec<serde_json::Value> = stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (event, warning) in events.iter().zip(warnings) {
        assert_eq!(event["event"], "warning");
        for field in ["text", "help", "file", "line", "column"] {
            assert_eq!(event.get(field), warning.get(field), "{field}: {event}");
        }
        assert!(
            !event["text"].as_str().unwrap().contains("help: "),
            "{event}"
        );
    }
    assert_eq!((warnings.len(), events.len()), (2, 3), "{stderr}");
}

#[test]
fn a_url_in_place_of_a_path_is_explained() {
    for (lines, expected) in [
        (
            "[[files]]\nsource = \"https://example.org/a\"\ndestination = \"/a\"\n",
            "write `url = \"https://...\"` and `sha256",
        ),
        (
            "[[provision]]\nfile = { source = \"https://example.org/a\", destination = \"/a\" }\n",
            "write `url = \"https://...\"` and `sha256",
        ),
        (
            "[[provision]]\nshell = { script = \"https://example.org/a\" }\n",
            "fetch it with [[files]]",
        ),
        (
            "[[provision]]\ndownload = { source = \"https://example.org/a\", destination = \"out/\" }\n",
            "`download` copies out of the guest",
        ),
        (
            "[base.file]\npath = \"https://example.org/a.qcow2\"\n",
            "[base.url]",
        ),
        ("[output]\npath = \"s3://example/a.qcow2\"\n", "[publish]"),
    ] {
        let text = validate(lines);
        assert!(
            text.contains("is a URL") && text.contains(expected),
            "{lines}{text}"
        );
        assert!(text.ends_with("1 error\n"), "{text}");
    }
}

#[test]
fn verbs_and_options_of_other_tools_are_understood_or_explained() {
    let site = Site::new();
    for (verb, expected) in [
        ("rm", "`karat remove ID` removes an image"),
        ("images", "`karat list` lists"),
        ("inspect", "`karat show ID`"),
        ("update", "`karat lock --update TEMPLATE`"),
        ("destroy", "`karat prune --runs`"),
        ("pull", "`karat import ID --from DIR`"),
        ("valdate", "did you mean `karat validate`?"),
        ("revok", "`karat --help` lists all commands"),
    ] {
        let run = site.run([verb]);
        assert_eq!(run.status.code(), Some(2), "{verb}");
        let text = stderr(run);
        let start = format!("error: unknown command `karat {verb}`\n  help: ");
        assert!(
            text.starts_with(&start) && text.contains(expected),
            "{text}"
        );
    }
    site.write(
        "web.toml",
        "[image]\nname = \"{{ name }}\"\n[variables.name]\n",
    );
    let run = site.run(["validate", "-var", "name=web", "-vv", "web.toml"]);
    assert!(run.status.success(), "{run:?}");
    for (arguments, expected) in [
        (
            &["build", "-parallel-builds=2", "web.toml"][..],
            "error: unknown option `--parallel-builds`\n  help: `--jobs N`",
        ),
        (
            &["build", "--on-error", "abort", "web.toml"],
            "`--on-error keep` keeps the guest",
        ),
        (&["plan", "--debug", "web.toml"], "--on-error keep TEMPLATE"),
        (&["keys", "remove"], "`karat keys revoke KEY.pub`"),
        (
            &["build", "-j", "two", "web.toml"],
            "invalid value `two` for `--jobs <N>`: expected a whole number\n",
        ),
    ] {
        let run = site.run_with(arguments);
        assert_eq!(run.status.code(), Some(2), "{run:?}");
        let text = stderr(run);
        assert!(text.contains(expected), "{arguments:?}: {text}");
    }
    let text = stderr(site.run(["prune", "--grace", "1 week"]));
    assert!(text.contains("write \"7d\""), "{text}");
}

#[test]
fn empty_variables_of_the_environment_are_named() {
    for (variable, arguments) in [
        ("KARAT_STORE", &["list"][..]),
        ("KARAT_DB", &["db", "status"]),
        ("KARAT_TRUST", &["keys", "list"]),
        ("KARAT_KEY", &["doctor"]),
    ] {
        let mut site = Site::new();
        site.set(variable, "");
        let run = site.run_with(arguments);
        assert_eq!(run.status.code(), Some(2), "{run:?}");
        let text = stderr(run);
        let expected = format!(
            "error: the environment variable {variable} is empty\n  help: unset it, or give it a value for `--"
        );
        assert!(text.starts_with(&expected), "{text}");
    }
}

#[test]
fn a_private_key_in_place_of_the_public_one_is_named() {
    let site = Site::new();
    assert!(
        site.run(["keys", "generate", "--key", "k"])
            .status
            .success()
    );
    for arguments in [&["keys", "trust", "ada", "k"][..], &["keys", "revoke", "k"]] {
        let run = site.run_with(arguments);
        assert_eq!(run.status.code(), Some(2), "{run:?}");
        let text = stderr(run);
        assert!(
            text.contains("k is a private key")
                && text.contains("give its public key, such as k.pub"),
            "{text}"
        );
    }
}

#[test]
fn what_a_template_leaves_out_or_misses_is_shown() {
    let site = Site::new();
    site.write(
        "web.toml",
        "[image]\nname = \"web\"\n[[provision]]\nname = \"agent\"\nreboot = {}\nonly = [\"ec2\"]\n[[on_error]]\nname = \"tidy\"\nreboot = {}\nexcept = [\"qemu\", \"host\"]\n",
    );
    let plan = site.karat(["plan", "web.toml"]);
    assert!(
        plan.contains(
            "left out    agent (only ec2)\n            tidy (on error, except qemu, host)\n"
        ),
        "{plan}"
    );
    let valid = site.karat(["validate", "web.toml"]);
    assert!(
        valid.contains("0 steps, 0 tests, 2 steps left out"),
        "{valid}"
    );
    assert_eq!(site.karat(["validate", "web.toml", "--quiet"]), "exit 0\n");
    site.write(
        "key.toml",
        "[image]\nname = \"web\"\n[ssh]\nkey_file = \"~/.ssh/none\"\n",
    );
    let missing = site.karat(["validate", "key.toml"]);
    assert!(
        missing.contains("/home/.ssh`, in the home directory"),
        "{missing}"
    );
    site.write(
        "cpus.toml",
        "[image]\nname = \"web\"\n[builder.qemu]\ncpus = 1000\n",
    );
    assert!(
        site.karat(["validate", "cpus.toml"])
            .contains("1 to 255 processors")
    );
    site.write(
        "upper.toml",
        "[image]\nname = \"{{ image_name }}\"\n[variables.image_name]\n",
    );
    let plan = site
        .command(&["plan", "upper.toml"])
        .env("KARAT_VAR_IMAGE_NAME", "shop")
        .output();
    assert!(plan.unwrap().status.success());
}

#[test]
fn empty_answers_say_so_and_typos_of_channels_get_no_advice_to_create_them() {
    let site = Site::new();
    for (arguments, expected) in [
        (
            ["list", "--store", "s"],
            "no images in the store at s; `karat build TEMPLATE` adds one",
        ),
        (
            ["history", "--store", "s"],
            "no channels in the store at s; `karat promote ID CHANNEL` creates one",
        ),
    ] {
        let shown = site.karat(arguments);
        assert!(
            shown.starts_with("exit 0") && shown.contains(expected),
            "{shown}"
        );
    }
}

#[test]
fn errors_are_events_of_a_json_log() {
    let site = Site::new();
    site.write("web.toml", "[image]\n");
    for arguments in [
        &["validate", "web.toml", "--log-format", "json"][..],
        &["show", "none", "--log-format", "json"],
        &["build", "missing.toml", "--log-format", "json"],
        &["build", "--log-format", "json"],
        &["rm", "--log-format=json"],
    ] {
        let text = stderr(site.run_with(arguments));
        let events: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let kinds: Vec<_> = events.iter().map(|event| event["event"].clone()).collect();
        assert_eq!(kinds, ["error", "exit"], "{arguments:?}: {text}");
        let message = events[0]["text"].as_str().unwrap();
        assert!(
            !message.contains("help: ") && !message.contains("Usage:"),
            "{text}"
        );
    }
}

#[test]
fn a_store_that_cannot_be_written_is_found_before_the_build() {
    let site = Site::new();
    site.write(
        "web.toml",
        "[image]\nname = \"web\"\n[base.file]\npath = \"disk.raw\"\n",
    );
    site.write("disk.raw", &disk::xfs(7));
    let refused = site.karat(["build", "web.toml", "--store", "/proc/none"]);
    assert!(
        refused.starts_with("exit 1") && refused.contains("cannot write to /proc/none"),
        "{refused}"
    );
    assert!(!refused.contains("==>"), "{refused}");
}

#[test]
fn scripts_with_windows_line_endings_are_found_before_a_launch() {
    let site = Site::new();
    site.write("setup.sh", "#!/bin/sh\r\ntrue\r\n");
    site.write(
        "web.toml",
        "[image]\nname = \"web\"\n[[provision]]\nshell = { script = \"setup.sh\" }\n",
    );
    let refused = site.karat(["validate", "web.toml"]);
    assert!(
        refused.contains("\"setup.sh\" has Windows line endings"),
        "{refused}"
    );
}

#[test]
fn a_base_is_made_from_a_url_or_whole_lines_of_sources() {
    let site = Site::new();
    for (mirror, is_valid) in [
        ("https://example.org/debian", true),
        (
            "deb https://example.org/debian bookworm main\\ndeb https://example.org/security bookworm-security main",
            true,
        ),
        (
            "deb https://example.org/debian bookworm main\\nhttps://example.org/security",
            false,
        ),
        ("deb bookworm", false),
        ("example.org", false),
    ] {
        site.write(
            "web.toml",
            &format!("[image]\nname = \"web\"\n[base.bootstrap]\ndistribution = \"debian\"\nsuite = \"bookworm\"\nmirror = \"{mirror}\"\n"),
        );
        let shown = site.karat(["validate", "web.toml"]);
        assert_eq!(shown.starts_with("exit 0"), is_valid, "{mirror}: {shown}");
    }
}
