use std::time::{Duration, Instant};

use crate::site::Site;

#[test]
fn validate_and_plan_take_less_than_50_ms() {
    let site = Site::new();
    assert!(site.run(["init", "web.toml"]).status.success());
    let mut text = std::fs::read_to_string(site.path("web.toml")).unwrap();
    for index in 0..50 {
        text.push_str("[[provision]]\nshell = { inline = [\"true\"] }\n");
        text.extend(["name = \"{{ greeting }} ", &index.to_string(), "\"\n"]);
    }
    site.write("web.toml", &text);
    for verb in ["validate", "plan"] {
        // The fastest of several: the machine may be busy with other tests, which is not what is measured.
        let runs = (0..10).map(|_| {
            let start = Instant::now();
            assert!(site.run([verb, "web.toml"]).status.success());
            start.elapsed()
        });
        let fastest = runs.min().unwrap();
        assert!(
            fastest < Duration::from_millis(50),
            "{verb} took {fastest:?}"
        );
    }
}
