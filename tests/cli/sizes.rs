use crate::site::{IMAGE, Site};

#[test]
fn sizes_are_read_or_refused_with_a_hint() {
    let site = Site::new();
    let said = site.validate_each(&[
        "[builder.qemu]\nmemory = \"\"\ndisk_size = \"\"\n",
        "[builder.qemu]\nmemory = \"512MiB\"\ndisk_size = \"4GiB\"\n",
        "[builder.qemu]\nmemory = 4\n",
        "[builder.qemu]\nmemory = \"4\"\ndisk_size = \"4G\"\n",
        "[builder.qemu]\nmemory = \"12345x\"\ndisk_size = \"99999999999TiB\"\n",
        "[builder.qemu]\nmemory = \"0MiB\"\n",
        "[builder.qemu]\nmemory = 1.5\n",
    ]);
    insta::assert_snapshot!(said);
}

#[test]
fn durations_are_read_or_refused_with_a_hint() {
    let site = Site::new();
    let said = site.validate_each(&[
        "[ssh]\ntimeout = \"90s\"\n[[provision]]\ntimeout = \"10m\"\npause_before = \"\"\nreboot = {}\n",
        "[ssh]\ntimeout = 90\n",
        "[ssh]\ntimeout = \"90\"\n",
        "[ssh]\ntimeout = \"0s\"\n",
        "[ssh]\ntimeout = \"5 minutes\"\n",
        "[ssh]\ntimeout = \"99999999999999999999s\"\n",
        "[[provision]]\npause = \"10s\"\n",
        "[[provision]]\npause = {}\n",
    ]);
    insta::assert_snapshot!(said);
}

#[test]
fn an_empty_size_is_the_default() {
    let site = Site::new();
    site.write("t.toml", &format!("{IMAGE}[builder.qemu]\nmemory = \"\"\n"));
    let plan = site.karat(["plan", "t.toml"]);
    assert!(
        plan.contains("2 cpus, 1GiB memory, disk size of the base"),
        "{plan}"
    );
}
