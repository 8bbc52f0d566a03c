use crate::site::{IMAGE, Site};

#[test]
fn a_policy_allows_what_a_template_needs() {
    let site = Site::new();
    site.write(
        "web.toml",
        &format!(
            "{IMAGE}[publish.ec2]\nregions = [\"eu-central-1\", \"us-east-1\"]\nencrypted = true\n\
             kms_key = \"alias/disks\"\naccounts = [\"123456789012\"]\ndeprecate_after = \"90d\"\nprotect = true\n"
        ),
    );
    insta::assert_snapshot!("policy", site.karat(["iam-policy", "web.toml"]));
}

#[test]
fn more_is_allowed_where_it_is_asked_for() {
    let site = Site::new();
    site.write("web.toml", IMAGE);
    insta::assert_snapshot!(
        "policy_more",
        site.karat([
            "iam-policy",
            "web.toml",
            "--region",
            "us-gov-west-1",
            "--channels",
            "--parameter",
            "/images/web",
            "--prune",
        ])
    );
}

#[test]
fn a_template_that_does_nothing_at_aws_needs_no_policy() {
    let site = Site::new();
    site.write("web.toml", IMAGE);
    insta::assert_snapshot!("policy_none", site.karat(["iam-policy", "web.toml"]));
    let named = ["iam-policy", "web.toml", "--parameter", "/images/web"];
    insta::assert_snapshot!("policy_alone", site.karat(named));
}
