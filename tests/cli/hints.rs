//! Every hint for a wrong value is fed back: the template that follows it is valid.

use crate::site::{IMAGE, Site};
use crate::support::disk;

/// A digest in place of one that a hint cannot know.
const DIGEST: &str =
    "sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"";

/// Returns the hint of the only error of a template.
fn hint(site: &Site, template: &str) -> String {
    site.write("web.toml", template);
    let run = site.run(["validate", "web.toml", "--log-format", "json"]);
    let stderr = String::from_utf8(run.stderr).unwrap();
    let events: Vec<serde_json::Value> = stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|event: &serde_json::Value| event["event"] == "error")
        .collect();
    assert_eq!(events.len(), 1, "{template}\n{stderr}");
    let help = events[0]["help"].as_str();
    help.unwrap_or_else(|| panic!("no hint: {template}\n{stderr}"))
        .to_owned()
}

/// Returns the TOML that a hint contains: a block, code between backticks, or a value.
fn advised(hint: &str) -> String {
    let value = |text: &str| {
        let text = text.strip_prefix("write ")?;
        Some(text.split(" or ").next()?.to_owned())
    };
    let toml = if let Some(block) = hint.strip_prefix("write\n") {
        block.replace("\n    ", "\n").trim_start().to_owned()
    } else if hint.contains('`') {
        let code: Vec<&str> = hint.split('`').skip(1).step_by(2).collect();
        code.join("\n")
    } else if let Some((_, example)) = hint.split_once("as in ") {
        example.to_owned()
    } else {
        value(hint).unwrap_or_default()
    };
    toml.replace("sha256 = \"...\"", DIGEST)
}

/// Returns a template with what a hint about the `wrong` part of it says. A key that belongs elsewhere moves there.
fn corrected(template: &str, wrong: &str, hint: &str) -> String {
    let Some((_, places)) = hint.split_once("belongs in ") else {
        return template.replace(wrong, &advised(hint));
    };
    let others = template.replace(wrong, "");
    let code: Vec<&str> = places.split('`').skip(1).step_by(2).collect();
    match code[..] {
        [inner, list] if !inner.starts_with('[') => format!("{others}{list}\n{inner}.{wrong}\n"),
        [table, ..] if table.starts_with('[') => format!("{others}\n{table}\n{wrong}\n"),
        [inner, ..] => template.replace(wrong, &format!("{inner}.{wrong}")),
        [] => panic!("{hint}"),
    }
}

/// Checks that the hint about the `wrong` part of a template makes it valid, and contains `expected`.
fn check(site: &Site, template: &str, wrong: &str, expected: &str) {
    assert!(template.contains(wrong), "{template}");
    let hint = hint(site, template);
    assert!(hint.contains(expected), "{template}\nhint: {hint}");
    let corrected = corrected(template, wrong, &hint);
    site.write("web.toml", &corrected);
    let said = site.karat(["validate", "web.toml"]);
    assert!(said.starts_with("exit 0"), "{corrected}\n{said}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn the_hint_for_a_value_of_the_wrong_type_is_valid() {
    let site = Site::new();
    site.write("setup.sh", "true\n");
    site.write("base.qcow2", &disk::xfs(7));
    let apt = "[packages.apt]\n";
    let step = "[[provision]]\n";
    let file = "[[files]]\ndestination = \"/x\"\n";
    let qemu = "[builder.qemu]\n";
    for (lines, key, wrong, expected) in [
        (apt, "install", "\"curl jq\"", "[\"curl\", \"jq\"]"),
        (apt, "install", "\"curl, jq\"", "[\"curl\", \"jq\"]"),
        (
            apt,
            "install",
            "{ curl = \"1\", jq = \"*\" }",
            "[\"curl=1\", \"jq\"]",
        ),
        (apt, "recommends", "\"yes\"", "write true"),
        (apt, "recommends", "0", "write false"),
        (apt, "recommends", "\"True\"", "write true"),
        (
            "[packages]\n",
            "apt",
            "[\"nginx\"]",
            "{ install = [\"nginx\"] }",
        ),
        (
            "[base.file]\npath = \"base.qcow2\"\n[packages]\n",
            "dnf",
            "\"nginx\"",
            "{ install = [\"nginx\"] }",
        ),
        (file, "content", "[\"a\", \"b\"]", "\"a\\nb\\n\""),
        (file, "content", "5", "\"5\""),
        ("[output]\n", "format", "[\"raw\", \"qcow2\"]", "\"raw\""),
        ("[output]\n", "format", "[\"raw\"]", "write \"raw\""),
        ("[[test]]\n", "command", "[\"true\", \"-x\"]", "\"true -x\""),
        ("[[test]]\n", "command", "[\"a b\", \"c\"]", "\"a b && c\""),
        (
            "[policy]\n",
            "ignore",
            "\"CVE-2024-1\"",
            "[{ id = \"CVE-2024-1\", reason =",
        ),
        (
            "[policy]\n",
            "ignore",
            "[\"CVE-2024-1\", \"CVE-2024-2\"]",
            "CVE-2024-2",
        ),
        (
            "[policy]\n",
            "ignore",
            "{ id = \"CVE-1\", reason = \"x\" }",
            "[{ id",
        ),
        ("[policy]\n", "max_db_age", "1.5", "\"36h\""),
        ("[policy]\n", "max_db_age", "7", "\"7d\""),
        ("[policy]\n", "max_db_age", "\"6M\"", "\"180d\""),
        (
            "[[policy.ignore]]\nid = \"CVE-1\"\nreason = \"x\"\n",
            "until",
            "2099-01-31",
            "\"2099-01-31\"",
        ),
        ("[finish]\n", "drop", "[\"/opt/a\"]", "{ path = \"/opt/a\""),
        (
            "[network]\n",
            "allow",
            "[\"https://example.org/\"]",
            "[{ url = ",
        ),
        (
            "[network]\n",
            "allow",
            "\"https://example.org/x\"",
            "[{ url = ",
        ),
        (step, "shell", "\"true\"", "{ inline = [\"true\"] }"),
        (
            step,
            "shell",
            "[\"true\", \"false\"]",
            "{ inline = [\"true\", \"false\"] }",
        ),
        (
            step,
            "shell",
            "[\n  \"true\", # first\n]",
            "{ inline = [\"true\"] }",
        ),
        (step, "shell", "\"setup.sh\"", "{ script = \"setup.sh\" }"),
        (step, "shell.inline", "\"a b\"", "[\"a b\"]"),
        (step, "pause", "10", "{ duration = \"10s\" }"),
        (step, "pause", "\"5 minutes\"", "{ duration = \"5m\" }"),
        (step, "reboot", "true", "{}"),
        (step, "file", "\"setup.sh\"", "{ source = \"setup.sh\""),
        (step, "download", "\"/etc/a\"", "{ sources = [\"/etc/a\"]"),
        (
            "[base]\n",
            "bootstrap",
            "\"bookworm\"",
            "{ suite = \"bookworm\" }",
        ),
        (
            "[base]\n",
            "bootstrap",
            "\"ubuntu\"",
            "distribution = \"ubuntu\"",
        ),
        (
            "[base]\n",
            "file",
            "\"base.qcow2\"",
            "{ path = \"base.qcow2\" }",
        ),
        ("[base]\n", "url", "\"https://example.org/a\"", "{ url = "),
        ("[base]\n", "manifest", "\"base/stable\"", "{ channel = "),
        ("[base]\n", "manifest", "\"abcd\"", "{ id = "),
        (qemu, "memory", "1.5", "\"1536MiB\""),
        (qemu, "memory", "0", "\"4GiB\""),
        (qemu, "memory", "\"0\"", "\"4GiB\""),
        (qemu, "memory", "\"0MiB\"", "\"4GiB\""),
        (qemu, "disk_size", "40960", "\"40960MiB\""),
        (qemu, "disk_size", "\"99999999TiB\"", "\"4GiB\""),
        (qemu, "cpus", "2.5", "write 2"),
        (qemu, "cpus", "\"2 cores\"", "write 2"),
        (qemu, "extra_args", "\"-vga std\"", "[\"-vga\", \"std\"]"),
        ("[ssh]\n", "timeout", "0", "\"90s\""),
        ("[ssh]\n", "timeout", "\"5M\"", "\"90s\""),
        ("[publish.ec2]\n", "deprecate_after", "30", "\"30d\""),
        ("[publish.ec2]\n", "deprecate_after", "\"6M\"", "\"180d\""),
        ("[publish.ec2]\n", "volume_size", "512", "\"512GiB\""),
        (
            "[publish.ec2]\n",
            "regions",
            "\"eu-central-1,us-east-1\"",
            "\"us-east-1\"",
        ),
        (
            "[publish.ec2]\n",
            "accounts",
            "123456789012",
            "[\"123456789012\"]",
        ),
        (
            "[publish.ec2]\n",
            "tags",
            "[\"team=web\"]",
            "{ team = \"web\" }",
        ),
        ("[variables]\n", "foo", "\"bar\"", "{ default = \"bar\" }"),
        ("[variables]\n", "foo", "1.5", "{ default = \"1.5\" }"),
        ("[variables.foo]\n", "default", "1.5", "\"1.5\""),
        (file, "content", "2027-01-31", "\"2027-01-31\""),
    ] {
        let entry = format!("{key} = {wrong}\n");
        let template = format!("{IMAGE}{lines}{entry}");
        check(&site, &template, wrong, expected);
    }
    let shell = |entry: &str| format!("{IMAGE}{step}shell.inline = [\"true\"]\n{entry}\n");
    for (entry, wrong, expected) in [
        (
            "shell.environment = [\"A=b\"]",
            "[\"A=b\"]",
            "{ A = \"b\" }",
        ),
        (
            "shell.environment = \"A=b C=d\"",
            "\"A=b C=d\"",
            "{ A = \"b\", C = \"d\" }",
        ),
        ("shell.environment = { A = 1.5 }", "1.5", "\"1.5\""),
        ("shell.exit_codes = 0", "0", "[0]"),
        ("shell.exit_codes = \"0, 3\"", "\"0, 3\"", "[0, 3]"),
        ("retries = \"3x\"", "\"3x\"", "write 3"),
        ("only = [[\"qemu\"]]", "[\"qemu\"]", "write \"qemu\""),
        ("only = \"qemu\"", "\"qemu\"", "[\"qemu\"]"),
        (
            "creates = \"/opt/app/**\"",
            "\"/opt/app/**\"",
            "[\"/opt/app/**\"]",
        ),
        (
            "creates = { path = \"/opt/app\", setuid = true }",
            "{ path = \"/opt/app\", setuid = true }",
            "[{ path = \"/opt/app\", setuid = true }]",
        ),
        (
            "creates = [{ path = \"/opt/app\", setuid = \"yes\" }]",
            "\"yes\"",
            "write true",
        ),
        (
            "creates = [{ path = \"user:app\" }]",
            "{ path = \"user:app\" }",
            "\"user:app\"",
        ),
        (
            "creates = [\"//opt/app/**\"]",
            "\"//opt/app/**\"",
            "write \"/opt/app/**\"",
        ),
        (
            "creates = [\"/opt/./a/../b\"]",
            "\"/opt/./a/../b\"",
            "write \"/opt/b\"",
        ),
    ] {
        check(&site, &shell(entry), wrong, expected);
    }
    for glob in [
        "/",
        "/**",
        "/etc/**",
        "/usr/*",
        "/{etc,usr}/**",
        "/e*/**",
        "/./etc/**",
        "//etc/**",
        "/etc/../usr/**",
        "/**/x",
        "/?tc/**",
        "/[e]tc/**",
    ] {
        let glob = format!("\"{glob}\"");
        for entry in [
            format!("[{glob}]"),
            format!("[{{ path = {glob}, device = true }}]"),
        ] {
            let template = shell(&format!("creates = {entry}"));
            check(&site, &template, &glob, "\"/opt/app/**\"");
        }
        for list in ["drop", "keep"] {
            let template = format!("{IMAGE}[[finish.{list}]]\nreason = \"x\"\npath = {glob}\n");
            check(&site, &template, &glob, "\"/var/lib/app/cache/*\"");
        }
    }
    for mode in ["644", "0o644", "0644", "\"rw-r--r--\""] {
        let template = format!("{IMAGE}{file}content = \"\"\nmode = {mode}\n");
        check(&site, &template, mode, "644\"");
    }
    let ami = "[base.ami]\nid = \"ami-aaaaaaaaaaaaaaaaa\"\n[builder.ec2]\n";
    for (size, expected) in [("8", "8GiB"), ("512", "512GiB"), ("\"1500MiB\"", "2GiB")] {
        let template = format!("{IMAGE}{ami}volume_size = {size}\n");
        check(&site, &template, size, expected);
    }
    let secret = hint(&site, &format!("{IMAGE}[secrets]\ntoken = \"x\"\n"));
    assert!(
        secret.starts_with("write `token = { env = \"TOKEN\" }`"),
        "{secret}"
    );
}

#[test]
fn the_hint_for_a_table_that_is_something_else_is_valid() {
    let site = Site::new();
    site.write("a", "");
    site.write("base.qcow2", &disk::xfs(7));
    for (wrong, expected) in [
        ("base = \"debian\"\n", "[base.bootstrap]"),
        ("base = \"ubuntu\"\n", "[base.bootstrap]"),
        ("base = \"trixie\"\n", "suite = \"trixie\""),
        ("base = \"base.qcow2\"\n", "[base.file]"),
        ("base = \"https://example.org/disk.qcow2\"\n", "[base.url]"),
        ("builder = \"qemu\"\n", "`[builder.qemu]`"),
        ("packages = \"nginx\"\n", "`[packages.apt]`"),
        (
            "packages = [\"nginx\", \"curl\"]\n",
            "`install = [\"nginx\", \"curl\"]`",
        ),
        ("test = \"x\"\n", "`[[test]]`"),
        ("test = [\"x\", \"y\"]\n", "command = \"y\""),
        ("provision = \"x\"\n", "`[[provision]]`"),
        ("provision = [\"x\"]\n", "inline = [\"x\"]"),
        ("files = \"a\"\n", "source = \"a\""),
        ("files = { \"/etc/motd\" = \"x\" }\n", "content = \"x\""),
        ("network = true\n", "`open = true`"),
        ("finish = false\n", "`rebuild = false`"),
        ("output = \"raw\"\n", "`format = \"raw\"`"),
        ("ssh = \"root\"\n", "`[ssh]`"),
        ("[provision]\nreboot = {}\n", "`[[provision]]`"),
        (
            "[provision.shell]\ninline = [\"true\"]\n",
            "`shell = { inline = [\"true\"] }`",
        ),
        (
            "[provision.shell]\ninline = [\n  \"true\",\n]\nuser = \"app\"\n",
            "user = \"app\"",
        ),
        (
            "[[provision.shell]]\ninline = [\"true\"]\n[[provision.shell]]\ninline = [\"x\"]\n",
            "[\"x\"]",
        ),
        ("[on_error.shell]\ninline = [\"true\"]\n", "`[[on_error]]`"),
        ("[test.nginx]\ncommand = \"true\"\n", "name = \"nginx\""),
        ("[test]\ncommand = \"true\"\n", "`command = \"true\"`"),
        (
            "[policy.ignore]\nid = \"CVE-1\"\nreason = \"x\"\n",
            "[[policy.ignore]]",
        ),
    ] {
        // Text of a table that is not on the root's first lines goes to the end.
        let template = if wrong.starts_with('[') {
            format!("{IMAGE}{wrong}")
        } else {
            format!("{wrong}\n{IMAGE}")
        };
        check(&site, &template, wrong.trim_end(), expected);
    }
}

#[test]
fn a_key_in_the_wrong_table_is_sent_to_its_own() {
    let site = Site::new();
    let step = format!("{IMAGE}[[provision]]\nshell.inline = [\"true\"]\n");
    for (template, wrong, expected) in [
        (
            "",
            "memory = \"1GiB\"",
            "`memory` belongs in `[builder.qemu]`",
        ),
        ("", "cpus = 2", "`[builder.qemu]`"),
        ("", "disk_size = \"8GiB\"", "`[builder.qemu]`"),
        ("", "path = \"out.qcow2\"", "`[output]`"),
        ("[ssh]\n", "cpus = 2", "`[builder.qemu]`"),
        ("[builder]\n", "memory = \"1GiB\"", "`[builder.qemu]`"),
        ("[base]\n", "suite = \"bookworm\"", "`[base.bootstrap]`"),
        (
            "[publish]\n",
            "regions = [\"eu-central-1\"]",
            "`[publish.ec2]`",
        ),
    ] {
        let template = match template {
            "" => format!("{wrong}\n{IMAGE}"),
            table => format!("{IMAGE}{table}{wrong}\n"),
        };
        check(&site, &template, wrong, expected);
    }
    for (wrong, expected) in [
        ("user = \"app\"", "`user` belongs in `shell`"),
        ("exit_codes = [0]", "`shell`"),
        ("working_directory = \"/opt\"", "`shell`"),
    ] {
        check(&site, &format!("{step}{wrong}\n"), wrong, expected);
    }
    for (lines, expected) in [
        ("[[provision]]\ncommand = \"x\"\n", "`shell = { inline ="),
        ("[[on_error]]\nuser = \"x\"\n", "`shell`"),
        ("[[test]]\nscript = \"x\"\n", "`command ="),
        ("[[test]]\ninline = [\"x\"]\n", "`command ="),
        ("[ssh]\nusername = \"x\"\n", "write `user`"),
        ("[ssh]\npassword = \"x\"\n", "karat logs in with a key"),
        ("[ssh]\nports = 5\n", "`min_port` and `max_port`"),
        (
            "[image]\nflavour = 5\n",
            "known keys here: name, description",
        ),
    ] {
        let template = format!(
            "{}{lines}",
            if lines.starts_with("[image]") {
                ""
            } else {
                IMAGE
            }
        );
        let site = Site::new();
        site.write("web.toml", &template);
        let said = site.karat(["validate", "web.toml"]);
        assert!(said.contains(expected), "{template}{said}");
    }
    for (template, expected) in [
        ("name = \"web\"\n", "`name` belongs in `[image]`"),
        (
            "shell = { inline = [\"true\"] }\n",
            "`shell` belongs in `[[provision]]`",
        ),
    ] {
        site.write("web.toml", &format!("{template}{IMAGE}"));
        let said = site.karat(["validate", "web.toml"]);
        assert!(said.contains(expected), "{template}{said}");
    }
}

#[test]
fn the_hint_for_a_slip_of_syntax_is_valid() {
    let site = Site::new();
    let qemu = "[image]\nname = \"web\"\n[builder.qemu]\n";
    for (before, wrong) in [
        ("[image]\n", "name: web"),
        ("[image]\n", "name: \"web\""),
        ("[image]\n", "name \"web\""),
        ("[image]\n", "name == \"web\""),
        ("[image]\n", "name = \"web\","),
        ("[image]\n", "name = \"web\";"),
        ("[image]\n", "name = web"),
        ("[image]\n", "name = “web”"),
        (IMAGE, "// comment"),
        (IMAGE, "/* comment */"),
        (qemu, "cpus = True"),
        (qemu, "cpus = 2 // two"),
        (qemu, "memory = null"),
        (qemu, "memory = None"),
        (qemu, "memory = 1GiB"),
        ("[image]\nname = \"web\"\n[ssh]\n", "agent = False"),
        ("[image]\nname = \"web\"\n[ssh]\n", "agent = no"),
        ("[image]\nname = \"web\"\n", r#"description = "a\d \\ \n""#),
    ] {
        if wrong == "cpus = True" {
            assert!(hint(&site, &format!("{before}{wrong}\n")).contains("`cpus = true`"));
            continue;
        }
        check(&site, &format!("{before}{wrong}\n"), wrong, "");
    }
}

#[test]
fn the_hint_for_an_option_is_valid() {
    let site = Site::new();
    let prune = ["prune", "--dry-run"].as_slice();
    for (command, option, wrong, expected) in [
        (prune, "--keep-within", "30", "\"30d\""),
        (prune, "--keep-within", "1M", "\"30d\""),
        (prune, "--keep-within", "6 months", "\"180d\""),
        (prune, "--keep-within", "1 year", "\"365d\""),
        (prune, "--grace", "7", "\"7d\""),
        (prune, "--grace", "1 week", "\"7d\""),
        (&["wait", "web/stable"], "--timeout", "0", "\"0s\""),
        (&["run", "abcd"], "--memory", "0", "\"4GiB\""),
        (&["run", "abcd"], "--memory", "0GiB", "\"4GiB\""),
        (&["run", "abcd"], "--memory", "512", "\"512MiB\""),
    ] {
        let run = |value: &str| {
            let option = format!("{option}={value}");
            let arguments = [command, &[option.as_str(), "--store", "store"]].concat();
            site.run_with(&arguments)
        };
        let refused = String::from_utf8(run(wrong).stderr).unwrap();
        assert!(refused.contains(expected), "{refused}");
        let advised = refused.rsplit("write ").next().unwrap().split('"').nth(1);
        let accepted = String::from_utf8(run(advised.unwrap()).stderr).unwrap();
        assert!(!accepted.contains("invalid value"), "{accepted}");
    }
}
