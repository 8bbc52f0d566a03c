use crate::site::{IMAGE, Site};

#[test]
fn later_sources_win() {
    let mut site = Site::new();
    site.write(
        "t.toml",
        "[image]\nname = \"web\"\ndescription = \"{{ x }}\"\n[variables.x]\ndefault = \"default\"\n",
    );
    site.write("one.toml", "x = \"file one\"\n");
    site.write("two.toml", "x = 2\n");
    let value = |site: &Site, args: &[&str]| {
        let args: [&str; 6] = std::array::from_fn(|i| args.get(i).copied().unwrap_or("--json"));
        let output = match args.iter().position(|arg| *arg == "--json") {
            Some(0) => site.run(["plan", "t.toml", "--json"]),
            Some(2) => site.run(["plan", "t.toml", "--json", args[0], args[1]]),
            _ => site.run([
                "plan", "t.toml", "--json", args[0], args[1], args[2], args[3],
            ]),
        };
        let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(plan["image"]["description"], plan["variables"]["x"]);
        plan["variables"]["x"].as_str().unwrap().to_owned()
    };
    assert_eq!(value(&site, &[]), "default");
    site.set("KARAT_VAR_x", "environment");
    site.set(
        "KARAT_VAR_unknown",
        "is not an error: another template may declare it",
    );
    assert_eq!(value(&site, &[]), "environment");
    assert_eq!(value(&site, &["--var-file", "one.toml"]), "file one");
    assert_eq!(
        value(&site, &["--var-file", "one.toml", "--var-file", "two.toml"]),
        "2"
    );
    assert_eq!(
        value(&site, &["--var", "x=a=b=c", "--var-file", "one.toml"]),
        "a=b=c"
    );
    assert_eq!(value(&site, &["--var", "x=1", "--var", "x="]), "");
    assert_eq!(value(&site, &["--var", "x={{ y }}"]), "{{ y }}");
}

#[test]
fn what_nobody_declared_or_gave_is_an_error() {
    let site = Site::new();
    let two = "[variables.color]\n[variables.size]\ndescription = \"how large\"\n";
    site.write(
        "t.toml",
        &format!("{IMAGE}description = \"{{{{ color }}}}\"\n{two}"),
    );
    site.write("vars.toml", "color = \"red\"\nsise = 1\n");
    site.write("broken.toml", "color = [1]\nsize =\n");
    site.write("array.toml", "color = [1]\n");
    let said = [
        site.karat(["validate", "t.toml"]),
        site.karat([
            "validate",
            "t.toml",
            "--var",
            "colour=red",
            "--var",
            "size=1",
        ]),
        site.karat(["validate", "t.toml", "--var-file", "vars.toml"]),
        site.karat(["validate", "t.toml", "--var-file", "broken.toml"]),
        site.karat(["validate", "t.toml", "--var-file", "array.toml"]),
        site.karat(["validate", "t.toml", "--var-file", "none.toml"]),
        site.karat(["validate", "t.toml", "--var", "color"]),
        site.karat(["validate", "t.toml", "--var", "=red"]),
        site.karat([
            "validate",
            "t.toml",
            "--var",
            "color=red",
            "--var",
            "size=1",
        ]),
    ];
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn defaults_refer_to_each_other_and_only_used_ones_count() {
    let site = Site::new();
    insta::assert_snapshot!(site.validate_each(&[
        "description = \"{{ a }}\"\n[variables.a]\ndefault = \"{{ b }}-{{ b }}\"\n[variables.b]\ndefault = 5\n",
        "description = \"{{ a }}\"\n[variables.a]\ndefault = \"{{ b }}\"\n[variables.b]\ndefault = \"x {{ c }}\"\n[variables.c]\ndefault = \"{{ a }}\"\n",
        "[variables.a]\ndefault = \"{{ a }}\"\n",
        "description = \"{{ a }}\"\n[variables.a]\ndefault = [1]\n",
        "description = \"{{ a }}\"\n[variables]\na = \"short\"\n",
        "[variables.Bad-Name]\ndefault = \"x\"\n",
    ]));
    site.write(
        "t.toml",
        &format!("{IMAGE}[variables.a]\ndefault = \"{{{{ nowhere }}}}\"\n"),
    );
    let said = [
        site.karat(["validate", "t.toml"]),
        site.karat(["validate", "t.toml", "--var", "a=given"]),
    ];
    insta::assert_snapshot!("overridden_default", said.join("\n"));
}

#[test]
fn an_undefined_name_is_pointed_at() {
    let site = Site::new();
    insta::assert_snapshot!(site.validate_each(&[
        "[variables.color]\ndefault = \"red\"\n[[provision]]\nshell = { inline = [\"echo \\t{{ color }} {{ colour }}\", \"{{ nope }}\"] }\n",
        "[[provision]]\nshell = { inline = [\"\"\"\nfirst\n  second {{ x }}\n\"\"\"] }\n",
        "[[provision]]\nshell = { inline = [\"docker ps --format '{{ .Names }}'\"] }\n",
        "[[provision]]\nshell = { inline = [\"docker ps --format '{{{{ .Names }}'\"] }\n",
        "[[provision]]\nshell = { inline = [\"echo {{ x\"] }\n",
    ]));
}

#[test]
fn a_variable_can_stand_for_a_number_or_a_boolean() {
    let site = Site::new();
    site.write(
        "t.toml",
        &format!("{IMAGE}[variables.n]\ndefault = 3\n[variables.yes]\ndefault = true\n[builder.qemu]\ncpus = \"{{{{ n }}}}\"\n[packages.apt]\nrecommends = \"{{{{ yes }}}}\"\n"),
    );
    let plan = site.karat(["plan", "--json", "t.toml"]);
    assert!(
        plan.contains("\"cpus\": 3") && plan.contains("\"recommends\": true"),
        "{plan}"
    );
}

#[test]
fn secrets_stay_names_and_are_refused_where_they_would_show() {
    let mut site = Site::new();
    site.set("TOKEN", "hunter2-the-value");
    let declared = "[secrets.token]\nenv = \"TOKEN\"\n[secrets.cert]\nfile = \"not/there.pem\"\n";
    site.write(
        "t.toml",
        &format!(
            "{IMAGE}{declared}{}",
            r#"
[builder.qemu]
arch = "x86_64"
[[files]]
content = "{{ cert }}"
destination = "/etc/cert.pem"
[[provision]]
shell = { inline = ["login {{ token }}"], environment = { TOKEN = "Bearer {{ token }}" } }
[[provision]]
file = { content = "t={{ token }}", destination = "/etc/t" }
[[on_error]]
shell = { inline = ["logout {{ token }}"] }
"#
        ),
    );
    let (text, json) = (
        site.karat(["plan", "t.toml"]),
        site.karat(["plan", "--json", "t.toml"]),
    );
    assert!(!text.contains("hunter2") && !json.contains("hunter2"));
    insta::assert_snapshot!("secrets_plan", text);
    insta::assert_snapshot!("secrets_plan_json", json);
    let cases = [
        "description = \"{{ token }}\"\n",
        "[[provision]]\nname = \"{{ token }}\"\nreboot = {}\n",
        "[[test]]\ncommand = \"login {{ token }}\"\n",
        "[variables.v]\ndefault = \"{{ token }}\"\n",
        "[secrets.other]\nfile = \"{{ token }}\"\n",
        "[secrets.both]\nfile = \"x\"\nenv = \"Y\"\n",
        "[secrets.none]\n",
        "[variables.token]\ndefault = \"x\"\n",
        "[[provision]]\nshell = { inline = [\"login {{ tokn }}\"] }\n",
    ]
    .map(|case| format!("{case}{declared}"));
    insta::assert_snapshot!(
        "secrets_refused",
        site.validate_each(&cases.each_ref().map(String::as_str))
    );
}
