use crate::site::Site;

#[test]
fn a_base_from_a_url_has_exactly_one_good_checksum() {
    let site = Site::new();
    let upper = "AB".repeat(32);
    let short = "ab".repeat(31);
    let url = "[base.url]\nurl = \"https://example.org/disk.qcow2\"\n";
    let list = "sha256_url = \"https://example.org/SHA256SUMS\"\n";
    let cases = [
        url.to_owned(),
        format!("{url}sha256 = \"{short}\"\n"),
        format!("{url}sha256 = \"{}\"\n", "zz".repeat(32)),
        format!("{url}sha256 = \"\"\n"),
        format!("{url}sha256 = \"{upper}\"\n"),
        format!("{url}sha256 = \"sha256:{upper}\"\n"),
        format!("{url}{list}"),
        format!("{url}sha256 = \"{upper}\"\n{list}"),
        format!("[base.url]\nurl = \"disk.qcow2\"\nsha256 = \"{upper}\"\n"),
        format!("[base.url]\nsha256 = \"{upper}\"\n"),
        "[base.file]\npath = \"t.toml\"\nsha256 = \"12\"\n".to_owned(),
    ];
    let cases: Vec<&str> = cases.iter().map(String::as_str).collect();
    insta::assert_snapshot!(site.validate_each(&cases));
}

#[test]
fn a_base_from_the_store_is_named_by_one_channel_or_id() {
    let site = Site::new();
    let cases = [
        "[base.manifest]\n",
        "[base.manifest]\nchannel = \"base/stable\"\nid = \"0123456789ab\"\n",
        "[base.manifest]\nchannel = \"base\"\n",
        "[base.manifest]\nid = \"Base\"\n",
        "[base.manifest]\nchannel = \"base/stable\"\n",
        "[base.manifest]\nid = \"0123456789ab\"\n",
        "[base.manifest]\nid = \"base\"\n",
        "[base.manifest]\nid = \"base@latest\"\n",
    ];
    insta::assert_snapshot!(site.validate_each(&cases));
}

#[test]
fn upper_case_is_shown_in_lower_case() {
    let site = Site::new();
    let digest = "AB".repeat(32);
    site.write(
        "t.toml",
        &format!("[image]\nname = \"web\"\n[base.url]\nurl = \"https://example.org/d\"\nsha256 = \"{digest}\"\n"),
    );
    let plan = site.karat(["plan", "t.toml", "--json"]);
    assert!(
        plan.contains(&format!("sha256:{}", digest.to_lowercase())),
        "{plan}"
    );
}
