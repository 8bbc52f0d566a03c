use crate::site::Site;

const BASE: &str = "[base.ami]\nowners = [\"136693071363\"]\nname = \"debian-12-amd64-*\"\n";

#[test]
fn an_instance_starts_from_an_ami_and_nothing_else_does() {
    let site = Site::new();
    let cases = [
        "[builder.ec2]\n",
        "[builder.ec2]\n[base.url]\nurl = \"https://example.org/d\"\n",
        "[base.ami]\nid = \"ami-0123456789abcdef0\"\n",
        "[builder.ec2]\n[base.ami]\n",
        "[builder.ec2]\n[base.ami]\nname = \"debian-12-amd64-*\"\n",
        "[builder.ec2]\n[base.ami]\nowners = []\nname = \"debian-*\"\n",
        "[builder.ec2]\n[base.ami]\nowners = [\"Debian\"]\nname = \"debian-*\"\n",
        "[builder.ec2]\n[base.ami]\nowners = [\"amazon\"]\n",
        "[builder.ec2]\n[base.ami]\nowners = [\"amazon\"]\nname = \"a\"\nfilters = { name = [\"b\"] }\n",
        "[builder.ec2]\n[base.ami]\nowners = [\"self\"]\nfilters = { \"tag:team\" = [] }\n",
        "[builder.ec2]\n[base.ami]\nid = \"debian\"\n",
        "[builder.ec2]\n[base.ami]\nid = \"ami-0123456789abcdef0\"\nowners = [\"self\"]\n",
        "[builder.ec2]\n[builder.qemu]\n[base.ami]\nid = \"ami-0123456789abcdef0\"\n",
        "[builder.ec2]\n[base.ami]\nid = \"ami-0123456789abcdef0\"\n",
        "[builder.ec2]\n[base.ami]\nowners = [\"self\"]\nfilters = { \"tag:team\" = [\"web\"] }\n",
    ];
    insta::assert_snapshot!(site.validate_each(&cases));
}

#[test]
fn what_an_instance_is_and_who_reaches_it_is_checked() {
    let site = Site::new();
    let cases = [
        "[builder.ec2]\nregion = \"Frankfurt\"\n",
        "[builder.ec2]\narch = \"arm64\"\n",
        "[builder.ec2]\ninstance_types = []\n",
        "[builder.ec2]\ninstance_types = [\"t3.small\", \"large\"]\n",
        "[builder.ec2]\nsubnet = \"subnet-12345678\"\nvpc = \"vpc-12345678\"\n",
        "[builder.ec2]\nsubnet = \"mine\"\n",
        "[builder.ec2]\ningress = \"0.0.0.0/0\"\n",
        "[builder.ec2]\ningress = \"::/0\"\n",
        "[builder.ec2]\ningress = \"128.0.0.0/1\"\n",
        "[builder.ec2]\ningress = \"203.0.113.7\"\n",
        "[builder.ec2]\ningress = \"203.0.113.7/32\"\nsecurity_groups = [\"sg-12345678\"]\n",
        "[builder.ec2]\nvolume_size = \"1500MiB\"\n",
        "[builder.ec2]\nencrypted = false\nkms_key = \"alias/images\"\n",
        "[builder.ec2]\n[builder.ec2.tags]\n\"karat:run\" = \"mine\"\n",
        "[builder.ec2]\ndisk_size = \"8GiB\"\n",
        "[builder.ec2]\n[ssh]\ninterface = \"public\"\n",
        "[builder.ec2]\n[ssh]\nmin_port = 2000\nmax_port = 2010\n",
        "[builder.ec2]\n[ssh]\ninterface = \"ssm\"\njump = { address = \"192.0.2.1\", host_key = \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN76zuqnjypL54/w4763l7q1Sn3IBYHptJ5wcYfEWkzP\" }\n",
        "[builder.ec2]\n[ssh]\njump = { address = \"192.0.2.1\", host_key = \"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN76zuqnjypL54/w4763l7q1Sn3IBYHptJ5wcYfEWkzP\" }\n",
        "[builder.ec2]\n[publish.ec2]\nencrypted = true\n",
        "[builder.ec2]\nencrypted = true\n[publish.ec2]\naccounts = [\"123456789012\"]\n",
        "[builder.ec2]\n[[finish.drop]]\npath = \"/var/lib/app\"\nreason = \"cache\"\n",
    ];
    let cases: Vec<String> = cases.iter().map(|case| format!("{case}{BASE}")).collect();
    let mut cases: Vec<&str> = cases.iter().map(String::as_str).collect();
    cases.push("[ssh]\ninterface = \"ssm\"\n");
    insta::assert_snapshot!(site.validate_each(&cases));
}

#[test]
fn a_plan_shows_what_is_launched() {
    let site = Site::new();
    site.write(
        "least.toml",
        &format!("[image]\nname = \"web\"\n[builder.ec2]\n{BASE}"),
    );
    site.write(
        "most.toml",
        "[image]\nname = \"web\"\n[base.ami]\nid = \"ami-0123456789abcdef0\"\n\
         [builder.ec2]\nregion = \"eu-central-1\"\nprofile = \"images\"\narch = \"aarch64\"\n\
         instance_types = [\"t4g.medium\", \"m7g.large\"]\nspot = true\nsubnet = \"subnet-12345678\"\n\
         ingress = \"203.0.113.7/32\"\ninstance_profile = \"builder\"\nvolume_size = \"16GiB\"\nvolume_type = \"gp2\"\n\
         kms_key = \"alias/images\"\ntags = { team = \"web\" }\n\
         [ssh]\nuser = \"admin\"\ninterface = \"private_ip\"\n\
         [[provision]]\nshell = { inline = [\"true\"] }\nonly = [\"ec2\"]\n\
         [[provision]]\nshell = { inline = [\"false\"] }\nexcept = [\"ec2\"]\n",
    );
    insta::assert_snapshot!("ec2_least", site.karat(["plan", "least.toml"]));
    insta::assert_snapshot!("ec2_most", site.karat(["plan", "most.toml"]));
    insta::assert_snapshot!("ec2_json", site.karat(["plan", "most.toml", "--json"]));
}

#[test]
fn an_image_of_ec2_is_made_once() {
    let site = Site::new();
    site.write(
        "web.toml",
        &format!("[image]\nname = \"web\"\n[builder.ec2]\n{BASE}"),
    );
    insta::assert_snapshot!(site.karat(["build", "web.toml", "--twice", "--store", "store"]));
}
