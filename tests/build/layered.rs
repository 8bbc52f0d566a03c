//! An image that is built on another one of the store.

use crate::site::Site;

const SHOP: &str = r#"
[image]
name = "shop"

[base.manifest]
channel = "web/stable"

[builder.qemu]
cpus = 1

[[provision]]
name = "open the shop"
shell = { inline = ["systemctl is-enabled nginx", "echo open >/etc/shop"] }
creates = ["/etc/shop"]
"#;

/// Builds on an image, once a channel points to it. Returns the new id.
pub fn on(site: &Site, id: &str) -> String {
    site.stdout(["promote", id, "web/stable"]);
    site.write("shop.toml", SHOP);
    let shop = site.stdout(["build", "shop.toml"]).trim().to_owned();
    let children = site.stdout(["children", id]);
    assert!(children.starts_with(&shop[..12]), "{children}");
    let parents = site.stdout(["parents", &shop, "--json"]);
    assert!(parents.contains(id), "{parents}");
    let status = site.stdout(["store", "status"]);
    assert!(status.contains("base of"), "{status}");
    // Its base is in the store already, in chunks, and nowhere else.
    let verified = site.stdout(["verify", &shop, "--json"]);
    let verified: serde_json::Value = serde_json::from_str(&verified).unwrap();
    assert_eq!(verified["missing"], serde_json::json!([]), "{verified}");
    let kinds = verified["attestations"].as_array().unwrap().iter();
    let kinds: Vec<_> = kinds.map(|it| it["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["provenance", "scan"]);
    let diff = site.stdout(["diff", id, &shop]);
    assert!(diff.contains("/etc/shop"), "{diff}");
    let again = site.stdout(["rebuild", &shop]);
    assert!(again.starts_with("L4 same bytes"), "{again}");
    shop
}

/// Nothing is built on it any more once it is revoked.
pub fn not_on_a_revoked_one(site: &Site, id: &str) {
    site.stdout(["revoke", id, "--reason", "backdoor"]);
    let refused = site.karat(["build", "shop.toml"]).output().unwrap();
    let log = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{log}");
    assert!(log.contains("was revoked by"), "{log}");
}
