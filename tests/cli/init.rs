use crate::site::Site;
use crate::support::site::texts;

#[test]
fn a_starter_template_is_valid_and_is_never_overwritten() {
    let site = Site::new();
    insta::assert_snapshot!("init", site.karat(["init", "--name", "web"]));
    insta::assert_snapshot!("init_validate", site.karat(["validate", "web.toml"]));
    site.write("web.toml", "mine");
    insta::assert_snapshot!("init_again", site.karat(["init", "web.toml"]));
    assert_eq!(
        std::fs::read_to_string(site.path("web.toml")).unwrap(),
        "mine"
    );
}

#[test]
fn the_schema_that_a_starter_names_stands_beside_it_and_is_never_overwritten() {
    let site = Site::new();
    assert!(site.run(["init", "images/web.toml"]).status.success());
    let schema = site.path("images/karat.schema.json");
    let [printed, _] = texts(site.run(["schema"]));
    assert_eq!(std::fs::read_to_string(&schema).unwrap(), printed);
    site.write("images/karat.schema.json", "mine");
    assert!(site.run(["init", "images/mail.toml"]).status.success());
    assert_eq!(std::fs::read_to_string(&schema).unwrap(), "mine");
}

#[test]
fn the_name_comes_from_the_file_or_the_directory() {
    let site = Site::new();
    let said = [
        site.karat(["init", "Web Server.toml"]),
        site.karat(["init", "images/db"]),
        site.karat(["init", "--name", "Bad Name"]),
        site.karat(["init", "/proc/nowhere/x.toml"]),
    ];
    insta::assert_snapshot!("init_names", said.join("\n"));
    let plan = site.run(["plan", "Web Server.toml", "--json"]);
    assert!(
        String::from_utf8(plan.stdout)
            .unwrap()
            .contains("\"name\": \"web-server\"")
    );
    assert!(site.run(["validate", "images/db/db.toml"]).status.success());
}

#[test]
fn a_template_is_not_created_under_another_extension() {
    let site = Site::new();
    let refused = site.karat(["init", "web.hcl"]);
    assert!(
        refused.starts_with("exit 2") && refused.contains("`karat init web.toml`"),
        "{refused}"
    );
    assert!(!site.path("web.hcl").exists());
}
