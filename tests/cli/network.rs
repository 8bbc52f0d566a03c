use crate::site::Site;

#[test]
fn what_a_sealed_guest_may_get_is_checked() {
    let site = Site::new();
    insta::assert_snapshot!(site.validate_each(&[
        "[network]\nallow = [{ url = \"https://example.org/tools/\" }]\n",
        "[network]\nalow = []\n",
        "[network]\nallow = [\"https://example.org/tool\"]\n",
        "[network]\nallow = [{ sha256 = \"abcd\" }]\n",
        "[network]\nallow = [{ url = \"example.org/tool\", sha256 = \"abcd\" }]\n",
        "[network]\nallow = [{ url = \"ftp://example.org/tool\" }]\n",
        "[network]\nallow = [{ url = \"https://me:secret@example.org/tool\" }]\n",
        "[network]\nallow = [{ url = \"https://example.org/tool#part\" }]\n",
        "[network]\nallow = [{ url = \"https://example.org/?q=1\" }]\n",
        "[[network.allow]]\nurl = \"https://example.org/tools/\"\nsha256 = \"abababababababababababababababababababababababababababababababab\"\n",
        "[network]\nopen = true\nallow = [{ url = \"https://example.org/tool\" }]\n",
        "[network]\non_refused = \"ignore\"\n",
        "[network]\nopen = \"perhaps\"\n",
        "[builder.qemu]\nextra_args = [\"-netdev\", \"user,id=more\"]\n",
        "[network]\nopen = true\n[builder.qemu]\nextra_args = [\"-netdev\", \"user,id=more\"]\n",
        "[network]\nopen = true\n[builder.host]\naddress = \"192.0.2.1\"\nhost_key = \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ\"\n",
    ]));
}

#[test]
fn a_plan_says_what_the_guest_may_reach() {
    let site = Site::new();
    let digest = "ab".repeat(32);
    let mut shown = String::new();
    for network in [
        String::new(),
        format!(
            "[network]\non_refused = \"warn\"\nallow = [{{ url = \"https://example.org/tools/\" }}, \
             {{ url = \"https://example.org/tool\", sha256 = \"{digest}\" }}]\n"
        ),
        "[network]\nopen = true\n".to_owned(),
    ] {
        site.write("web.toml", &format!("[image]\nname = \"web\"\n{network}"));
        let plan = site.karat(["plan", "web.toml"]);
        let lines = plan.lines().skip_while(|line| !line.starts_with("network"));
        let lines = lines.take_while(|line| line.starts_with("network") || line.starts_with(' '));
        shown.extend(lines.flat_map(|line| [line, "\n"]));
        shown.push('\n');
    }
    insta::assert_snapshot!(shown);
}
