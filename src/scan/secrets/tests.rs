//! Planted secrets, made here from parts, so that no scanner takes this file for a leak.

#[cfg(test)]
mod corpus;
use std::collections::HashSet;
use std::io::Write as _;

use data_encoding::{BASE64, BASE64URL_NOPAD};

use super::check;
use super::rule::Rules;
use super::rules::RULES;
use super::validators::base62;
use crate::scan::Severity;
use crate::scan::testing::Planted;

pub(super) const ALNUM: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
pub(super) const HEX: &[u8] = b"0123456789abcdef";
pub(super) const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
pub(super) const BASE: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Characters as random as a key's, the same in every run.
pub(super) fn some(letters: &[u8], count: usize) -> String {
    let mut state = 0x2545_f491_u64 + count as u64 * 77;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(letters[usize::try_from(state >> 33).unwrap() % letters.len()])
    };
    (0..count).map(|_| next()).collect()
}

/// A token of GitHub's or npm's form, with its checksum.
pub(super) fn checked(prefix: &str) -> String {
    let random = some(ALNUM, 30);
    let mut crc = flate2::Crc::new();
    crc.update(random.as_bytes());
    format!(
        "{prefix}{random}{}",
        String::from_utf8_lossy(&base62(crc.sum()))
    )
}

/// A key in PEM: DER that says its length.
pub(super) fn pem(kind: &str) -> String {
    let mut der = vec![0x30, 0x82, 0x02, 0x00];
    der.extend(some(ALNUM, 512).into_bytes());
    let body = BASE64.encode(&der);
    let lines: Vec<_> = body
        .as_bytes()
        .chunks(64)
        .map(String::from_utf8_lossy)
        .collect();
    format!(
        "-----BEGIN {kind}PRIV{}-----\n{}\n-----END {kind}PRIV{0}-----\n",
        "ATE KEY",
        lines.join("\n")
    )
}

pub(super) fn jwt() -> String {
    let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    format!(
        "{}.{}.{}",
        part(r#"{"alg":"HS256","typ":"JWT"}"#),
        part(r#"{"sub":"42","admin":true}"#),
        some(ALNUM, 43)
    )
}

pub(super) fn gzip(text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_ref()).unwrap();
    encoder.finish().unwrap()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A journal with one message that is long enough to be compressed.
fn journal(message: &str) -> Vec<u8> {
    let field = format!("MESSAGE={}{message}", "starting unit number 1; ".repeat(40));
    let mut file = b"LPKSHHRH\0\0\0\0".to_vec();
    file.extend([0; 200]);
    file.extend(zstd::bulk::compress(field.as_bytes(), 3).unwrap());
    file.extend([0; 100]);
    file
}

/// `SQLite` as it lies on the disk: rows with nothing between them.
fn sqlite(value: &str) -> Vec<u8> {
    [
        b"SQLite format 3\0\x10\0",
        &[0; 200][..],
        b"\x0b\x03\x17admin",
        value.as_bytes(),
        b"\x01\x02ok",
    ]
    .concat()
}

/// Path, content and the rule that must find something in it.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn planted() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let github = checked("ghp_");
    let sixty = format!("$6${}${}", some(ALNUM, 16), some(ALNUM, 86));
    let yes = format!("$y$j9T${}${}", some(ALNUM, 22), some(ALNUM, 43));
    let basic = BASE64.encode(b"deploy:Tr0ub4dor-3");
    let text = |path, text: String, rule| (path, text.into_bytes(), rule);
    vec![
        text(
            "/root/.aws/credentials",
            format!("[default]\naws_access_key_id = AKIA{}\n", some(UPPER, 16)),
            "aws-access-key",
        ),
        text(
            "/root/.aws/config",
            format!("aws_secret_access_key={}\n", some(BASE, 40)),
            "aws-secret-key",
        ),
        text(
            "/opt/sa.json",
            format!(
                "{{\"type\": \"service_account\", \"private_key\": {:?}}}",
                pem("")
            ),
            "gcp-service-account",
        ),
        text(
            "/opt/azure.env",
            format!(
                "DefaultEndpointsProtocol=https;AccountName=a;AccountKey={}==;EndpointSuffix=x",
                some(BASE, 86)
            ),
            "azure-storage-key",
        ),
        text(
            "/root/.config/doctl/config.yaml",
            format!("access-token: dop_v1_{}\n", some(HEX, 64)),
            "digitalocean-token",
        ),
        text(
            "/root/.bash_history",
            format!("ls\nexport GH_TOKEN={github}\n"),
            "github-token",
        ),
        text(
            "/root/.zsh_history",
            format!(
                ": 1:0;git clone https://x:github_pat_{}_{}@h/r\n",
                some(ALNUM, 22),
                some(ALNUM, 59)
            ),
            "github-fine-grained-token",
        ),
        text(
            "/etc/gitlab-runner/config.toml",
            format!("token = \"glrt-{}\"\n", some(ALNUM, 20)),
            "gitlab-token",
        ),
        text(
            "/opt/bb",
            format!("ATBB{}\n", some(ALNUM, 32)),
            "bitbucket-token",
        ),
        text(
            "/opt/app/.env",
            format!(
                "SLACK=xoxb-{}-{}-{}\n",
                "2487165309",
                "3391650274815",
                some(ALNUM, 24)
            ),
            "slack-token",
        ),
        text(
            "/etc/alertmanager.yml",
            format!(
                "url: https://hooks.slack.com/services/T{}/B{}/{}\n",
                some(UPPER, 8),
                some(UPPER, 10),
                some(ALNUM, 24)
            ),
            "slack-webhook",
        ),
        text(
            "/opt/bot.ini",
            format!(
                "DISCORD_TOKEN={}.{}.{}\n",
                BASE64URL_NOPAD.encode(b"834927461029384756"),
                some(ALNUM, 6),
                some(ALNUM, 38)
            ),
            "discord-token",
        ),
        text(
            "/opt/tg.conf",
            format!("bot = {}:AA{}\n", "7301948265", some(ALNUM, 33)),
            "telegram-token",
        ),
        text(
            "/var/www/config.php",
            format!("$k = 'sk_live_{}';", some(ALNUM, 24)),
            "stripe-key",
        ),
        text(
            "/opt/square",
            format!("sq0csp-{}\n", some(ALNUM, 43)),
            "square-token",
        ),
        text(
            "/opt/bt",
            format!(
                "access_token$production${}${}\n",
                some(b"0123456789abcdefghijk", 16),
                some(HEX, 32)
            ),
            "braintree-token",
        ),
        text(
            "/opt/twilio",
            format!("SK{}\n", some(HEX, 32)),
            "twilio-key",
        ),
        text(
            "/etc/postfix/sasl_passwd",
            format!(
                "[smtp.sendgrid.net]:587 apikey:SG.{}.{}\n",
                some(ALNUM, 22),
                some(ALNUM, 43)
            ),
            "sendgrid-key",
        ),
        text("/opt/mg", format!("key-{}\n", some(HEX, 32)), "mailgun-key"),
        text(
            "/root/.npmrc",
            format!("//r/:_authToken={}\n", checked("npm_")),
            "npm-token",
        ),
        text(
            "/home/u/.npmrc",
            "//npm.corp/:_authToken=7c9e6679-7425-40de-944b\n".to_owned(),
            "npmrc-auth",
        ),
        text(
            "/root/.pypirc",
            format!("password = pypi-AgEIcHlwaS5vcmc{}\n", some(ALNUM, 120)),
            "pypi-token",
        ),
        text(
            "/root/.cargo/credentials.toml",
            format!("[registry]\ntoken = \"cio{}\"\n", some(ALNUM, 32)),
            "crates-io-token",
        ),
        text(
            "/root/.gem/credentials",
            format!(":key: rubygems_{}\n", some(HEX, 48)),
            "rubygems-key",
        ),
        text(
            "/root/.docker/config.json",
            format!("{{\"auths\": {{\"r\": {{\"auth\": \"{basic}\"}}}}}}"),
            "docker-auth",
        ),
        text(
            "/root/.vault-token",
            format!("hvs.{}", some(ALNUM, 95)),
            "vault-token",
        ),
        text(
            "/root/.terraformrc",
            format!(
                "token = \"{}.atlasv1.{}\"",
                some(ALNUM, 14),
                some(ALNUM, 67)
            ),
            "terraform-token",
        ),
        text(
            "/etc/datadog-agent/datadog.yaml",
            format!("api_key: {}\n", some(HEX, 32)),
            "datadog-agent-key",
        ),
        text(
            "/etc/newrelic-infra.yml",
            format!("license_key: {}NRAL\n", some(HEX, 36)),
            "new-relic-key",
        ),
        text(
            "/opt/ai.env",
            format!("KEY=sk-proj-{}\n", some(ALNUM, 80)),
            "openai-key",
        ),
        text(
            "/opt/ai2.env",
            format!("KEY=sk-ant-api03-{}\n", some(ALNUM, 95)),
            "anthropic-key",
        ),
        text("/root/.ssh/id_rsa", pem("RSA "), "private-key"),
        text(
            "/etc/ssl/server.json",
            format!("{{\"tls\": {:?}}}", pem("EC ")),
            "private-key",
        ),
        text(
            "/root/.kube/config",
            format!(
                "    client-key-data: {}\n",
                BASE64.encode(pem("RSA ").as_bytes())
            ),
            "private-key-base64",
        ),
        text(
            "/root/k.ppk",
            format!(
                "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nPublic-Lines: 1\nAAAA\nPrivate-Lines: 1\n{}\n",
                some(ALNUM, 48)
            ),
            "putty-key",
        ),
        text(
            "/root/age.txt",
            format!(
                "AGE-SECRET-KEY-1{}\n",
                some(b"QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58)
            ),
            "age-key",
        ),
        text(
            "/etc/apt/sources.list.d/a.list",
            "deb https://build:Xk29-fLq@apt.corp.test/debian stable main\n".to_owned(),
            "url-password",
        ),
        text(
            "/etc/pip.conf",
            "index-url = https://ci:k3yw0rd77@pypi.corp.test/simple\n".to_owned(),
            "url-password",
        ),
        text(
            "/srv/app/.git/config",
            "url = https://oauth2:hunter2xyz@git.corp.test/a.git\n".to_owned(),
            "url-password",
        ),
        text(
            "/root/.git-credentials",
            "https://bob:p4ssw0rd-of-bob@git.corp.test\n".to_owned(),
            "url-password",
        ),
        text(
            "/root/.netrc",
            "machine ftp.corp.test\nlogin bob\npassword Zu7-abba\n".to_owned(),
            "netrc",
        ),
        text(
            "/etc/wpa_supplicant/wpa_supplicant.conf",
            "network={\n\tssid=\"x\"\n\tpsk=\"blue horses run\"\n}\n".to_owned(),
            "wifi-password",
        ),
        text(
            "/etc/NetworkManager/system-connections/x.nmconnection",
            "[wifi-security]\npsk=bluehorses\n".to_owned(),
            "wifi-password",
        ),
        text(
            "/var/lib/cloud/instance/user-data.txt",
            "#cloud-config\nchpasswd:\n  list: |\n    root:Wint3rCame\n".to_owned(),
            "chpasswd",
        ),
        text(
            "/var/lib/cloud/seed/nocloud/user-data",
            "#cloud-config\nusers:\n  - name: a\n    plain_text_passwd: Wint3rCame\n".to_owned(),
            "cloud-init-password",
        ),
        text(
            "/opt/ud.yaml",
            format!("users:\n  - passwd_x: 1\n    hashed_passwd: {sixty}\n"),
            "password-hash",
        ),
        text("/opt/session", jwt(), "jwt"),
        text(
            "/var/backups/shadow.bak",
            format!("root:{yes}:19000:0:99999:7:::\n"),
            "shadow-hash",
        ),
        text(
            "/root/.pgpass",
            "db.corp.test:5432:app:app:f00lish\n".to_owned(),
            "pgpass",
        ),
        text(
            "/root/.my.cnf",
            "[client]\nuser=root\npassword=s3same!\n".to_owned(),
            "mysql-password",
        ),
        text(
            "/etc/wireguard/wg0.conf",
            format!("[Interface]\nPrivateKey = {}A=\n", some(BASE, 42)),
            "wireguard-key",
        ),
        text(
            "/root/.mysql_history",
            "mysql -u root -pS3same_open app\n".to_owned(),
            "command-line-password",
        ),
        text(
            "/root/deploy.sh",
            "sshpass -p 'S3same!x' ssh host\n".to_owned(),
            "command-line-password",
        ),
        text(
            "/opt/web/.env",
            "DB_PASSWORD=gr33n-Apples-7\nDEBUG=1\n".to_owned(),
            "variable",
        ),
        text(
            "/opt/django/settings.py",
            format!("SECRET_KEY = 'dj-{}'\n", some(ALNUM, 50)),
            "secret-key-setting",
        ),
        text(
            "/srv/terraform.tfstate",
            "{\"attributes\": {\"master_password\": \"gr33n-Apples-7\"}}".to_owned(),
            "setting",
        ),
        text(
            "/root/curl.log",
            format!("> Authorization: Bearer {}\n", some(ALNUM, 40)),
            "authorization-header",
        ),
        (
            "/var/log/app.log.1.gz",
            gzip(format!("GET /\ntoken {github}\n")),
            "github-token",
        ),
        (
            "/var/log/journal/1/system.journal",
            journal(&format!("login with {github}")),
            "github-token",
        ),
        ("/var/lib/app/app.db", sqlite(&github), "github-token"),
        (
            "/root/export.reg",
            utf16(&format!("\u{feff}key={github}\r\n")),
            "github-token",
        ),
        (
            "/root/environ",
            b"PATH=/bin\0DB_PASSWORD=gr33n-Apples-7\0HOME=/\0".to_vec(),
            "variable",
        ),
        text(
            "/root/notes.json",
            format!("{{\"text\": \"use\\n{github}\\nthen\"}}"),
            "github-token",
        ),
        text(
            "/root/docker.sh",
            "echo x\ndocker login -u ci -p gr33nApples7 r.corp.test\n".to_owned(),
            "command-line-password",
        ),
        text(
            "/root/k8s.yaml",
            format!(
                "  .dockerconfigjson: {}\n",
                BASE64
                    .encode(format!("{{\"auths\":{{\"r\":{{\"auth\":\"{basic}\"}}}}}}").as_bytes())
            ),
            "docker-config-base64",
        ),
        text(
            "/etc/redis/redis.conf",
            "requirepass gr33n-Apples-7\n".to_owned(),
            "spaced-setting",
        ),
        text(
            "/root/.psql_history",
            "alter user app with password 'gr33n-Apples-7';\n".to_owned(),
            "sql-password",
        ),
        text(
            "/var/www/wp-config.php",
            "define('DB_PASSWORD', 'gr33n-Apples-7');\n".to_owned(),
            "php-define",
        ),
        text(
            "/opt/app/main.py",
            "api_key = \"q8Zr-71xLmVb\"\n".to_owned(),
            "password-in-program",
        ),
        text(
            "/etc/ppp/chap-secrets",
            "bob * \"gr33n Apples\" *\n".to_owned(),
            "ppp-password",
        ),
        text(
            "/etc/ipsec.secrets",
            ": PSK \"gr33n-Apples-7\"\n".to_owned(),
            "ipsec-psk",
        ),
        text(
            "/etc/openvpn/ta.key",
            format!("-----BEGIN OpenVPN Static key V1-----\n{}\n", some(HEX, 32)),
            "openvpn-key",
        ),
        text(
            "/root/.gnupg/private-keys-v1.d/1.key",
            "(11:private-key(3:ecc".to_owned(),
            "gnupg-key",
        ),
        text(
            "/root/.google_authenticator",
            format!("{}\n\" RATE_LIMIT 3 30\n\" TOTP_AUTH\n", some(UPPER, 26)),
            "one-time-password-seed",
        ),
        text(
            "/boot/grub/custom.cfg",
            format!(
                "password_pbkdf2 root grub.pbkdf2.sha512.10000.{}.{}\n",
                some(b"0123456789ABCDEF", 128),
                some(b"0123456789ABCDEF", 128)
            ),
            "grub-password-hash",
        ),
        text(
            "/etc/sssd/sssd.conf",
            "ldap_default_authtok = gr33n-Apples-7\n".to_owned(),
            "setting",
        ),
        text(
            "/root/.smbcredentials",
            "username=a\npassword=gr33n-Apples-7\n".to_owned(),
            "credentials-file",
        ),
        (
            "/var/lib/systemd/coredump/core.1",
            [
                b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x04\0".to_vec(),
                b"\0DB_PASSWORD=gr33n-Apples-7\0".to_vec(),
            ]
            .concat(),
            "variable",
        ),
    ]
}

#[test]
fn every_planted_secret_is_found_by_its_rule_and_never_shown() {
    let planted = planted();
    let mut tree = Planted::default();
    for (path, content, _) in &planted {
        tree = tree.file(path, 0o600, content.clone());
    }
    let findings = check(&tree.root(), &HashSet::new()).unwrap();
    for (path, content, rule) in &planted {
        let id = format!("secret:{rule}:{path}");
        let found = findings.iter().find(|finding| finding.id == id);
        let others: Vec<_> = findings
            .iter()
            .filter(|other| other.path.as_deref() == Some(path))
            .map(|other| &other.id)
            .collect();
        let found = found.unwrap_or_else(|| panic!("{id} is missing; there is {others:?}"));
        assert!(found.severity >= Severity::High, "{id}");
        assert!(!found.mend.is_empty() && found.accept.contains(&id), "{id}");
        // No long run of characters of the file is in what is shown: shorter are the public beginnings of kinds.
        let content = String::from_utf8_lossy(content).replace('\0', "");
        for window in content
            .as_bytes()
            .windows(16)
            .filter(|window| window.iter().all(u8::is_ascii_alphanumeric))
        {
            let window = String::from_utf8_lossy(window);
            assert!(
                !found.evidence.contains(window.as_ref()),
                "{id} shows {window}"
            );
        }
    }
    let paths: HashSet<_> = findings
        .iter()
        .filter_map(|finding| finding.path.as_deref())
        .collect();
    assert_eq!(paths.len(), planted.len(), "each file has one");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_stands_in_place_of_a_secret_is_none() {
    let github = checked("ghp_");
    let hash = format!(
        "root:$6${}${}:19000:0:99999:7:::\n",
        some(ALNUM, 16),
        some(ALNUM, 86)
    );
    for (path, content) in [
        ("/a", format!("AKIA{}EXAMPLE", "IOSFODNN7")),
        (
            "/b",
            format!(
                "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCY{}KEY",
                "EXAMPLE"
            ),
        ),
        (
            "/c.env",
            "DB_PASSWORD=changeme123\nAPI_KEY=${API_KEY}\nTOKEN=<your-token-1>\n".to_owned(),
        ),
        (
            "/d.env",
            "DB_PASSWORD=xxxxxxxxxxxx1\nAPP_SECRET=$(cat /run/x1)\nDB_PASSWORD_FILE=/run/s1\n"
                .to_owned(),
        ),
        (
            "/e.conf",
            "url=https://user:password@host/\nb=http://${U}:${P1}@h/\nc=http://h:8080/a@b\n"
                .to_owned(),
        ),
        (
            "/f",
            "-----BEGIN RSA PRIVATE KEY-----\n-----END RSA PRIVATE KEY-----\n".to_owned(),
        ),
        (
            "/g",
            format!("-----BEGIN CERTIFICATE-----\n{}\n", some(BASE, 64)),
        ),
        (
            "/h.py",
            "password = getpass.getpass('enter it: 1')\n".to_owned(),
        ),
        (
            "/i.conf",
            "password = none\n#secret: string\ntoken = null\n".to_owned(),
        ),
        ("/etc/shadow", hash.clone()),
        ("/etc/shadow-", hash),
        (
            "/usr/share/doc/x/README",
            "https://bob:p4ssw0rd-of-bob@git.corp.test\n".to_owned(),
        ),
        ("/j", format!("ghp_{}", "0".repeat(36))),
        ("/o.json", "{\"output_token\": \"NextMarker\"}".to_owned()),
        (
            "/p.conf",
            "# dbc_dbpass: database user password\n".to_owned(),
        ),
        ("/q.yml", "password: !vault |\n  x\n".to_owned()),
        (
            "/r.yml",
            "api_key_id: 596cc79e5d91b400010d15ad\n".to_owned(),
        ),
        (
            "/s.xml",
            "certificateKeystorePassword=\"changeit\"\n".to_owned(),
        ),
        ("/t.go", "s.Ipv6CidrBlockAssociation = v\n".to_owned()),
        (
            "/u.py",
            format!("token: xoxb-{}-56789{}\n", "1234", "abcdefghijklmnop"),
        ),
        (
            "/opt/v.env.example",
            "DB_PASSWORD=gr33n-Apples-7\n".to_owned(),
        ),
        (
            "/usr/lib/python3/dist-packages/x/.netrc",
            "machine ftp.corp.test\nlogin bob\npassword Zu7-abba\n".to_owned(),
        ),
        (
            "/var/lib/dpkg/info/x.preinst",
            "mysqladmin ping -psandbox1\n".to_owned(),
        ),
        (
            "/w.json",
            "{\"a\": \"--- PASS: TestVet/3 (0.1s)\"}".to_owned(),
        ),
        ("/k", format!("x{}y", github.replace('_', "-"))),
        (
            "/l.json",
            format!("{{\"auth\": \"{}\"}}", BASE64.encode(b"no colon here")),
        ),
        (
            "/m",
            "eyJhbGciOiJub3QganNvbg.eyJhbGciOiJub3QganNvbg.0123456789abcdef0123".to_owned(),
        ),
        ("/n", "\u{7f}ELF\0DB_PASSWORD=gr33n-Apples-7\0".to_owned()),
    ] {
        let tree = Planted::default().file(path, 0o644, content);
        assert_eq!(check(&tree.root(), &HashSet::new()).unwrap(), [], "{path}");
    }
}

#[test]
fn packaged_files_are_left_out_and_a_file_with_two_names_is_looked_at_once() {
    let tree = Planted::default().file("/a", 0o644, checked("ghp_"));
    let root = tree.root();
    let index = root.tree().find(b"/a").unwrap();
    assert_eq!(check(&root, &HashSet::from([index])).unwrap(), []);
    assert_eq!(check(&root, &HashSet::new()).unwrap().len(), 1);
}

#[test]
fn what_python_compiled_from_a_packaged_file_is_left_out_with_it() {
    let tree = Planted::default()
        .file("/p/a.py", 0o644, "")
        .file("/p/__pycache__/a.cpython-311.pyc", 0o644, checked("ghp_"))
        .file(
            "/p/__pycache__/a.cpython-311.opt-1.pyc",
            0o644,
            checked("ghp_"),
        )
        .file("/p/__pycache__/b.cpython-311.pyc", 0o644, checked("ghp_"))
        .file("/p/a.pyc", 0o644, checked("ghp_"));
    let root = tree.root();
    let source = root.tree().find(b"/p/a.py").unwrap();
    for (skip, expected) in [(HashSet::from([source]), 2), (HashSet::new(), 4)] {
        let found = check(&root, &skip).unwrap();
        assert_eq!(found.len(), expected, "{found:?}");
    }
}

#[test]
fn evidence_says_where_and_how_long_and_what_is_proved() {
    let token = checked("ghp_");
    let text = format!("one\ntwo {token}\n\nfour {token}\n");
    let tree = Planted::default().file("/a", 0o644, text);
    let found = check(&tree.root(), &HashSet::new()).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    let digest = &crate::digest::Digest::of(token.as_bytes()).hex()[..8];
    let each =
        format!("40 characters that begin with `ghp_`, digest {digest}..., its form is proved");
    assert_eq!(found[0].evidence, format!("line 2: {each}; line 4: {each}"));
    assert_eq!(found[0].severity, Severity::Critical);
    let tree = Planted::default().file("/root/.pgpass", 0o600, "h:5432:a:b:f00lish\n");
    let found = check(&tree.root(), &HashSet::new()).unwrap();
    assert_eq!(
        found[0].evidence, "line 1: 7 characters",
        "a chosen password could be guessed from its digest"
    );
}

#[test]
fn secrets_are_found_once_at_the_borders_of_pieces_and_parts() {
    let token = checked("ghp_");
    for border in [1 << 20, 4 << 20] {
        for before in [0, 1, 20, 39, 40, 41] {
            let mut content = vec![b'.'; border - before];
            content.extend(format!(" {token} ").bytes());
            content.extend(vec![b'.'; 100_000]);
            let tree = Planted::default().file("/big", 0o644, content);
            let found = check(&tree.root(), &HashSet::new()).unwrap();
            assert_eq!(found.len(), 1, "{before} before {border}");
            assert!(
                !found[0].evidence.contains(';'),
                "{before} before {border}: {}",
                found[0].evidence
            );
        }
    }
}

#[test]
fn what_cannot_be_unpacked_is_searched_as_far_as_it_goes() {
    let token = checked("ghp_");
    let mut cut = gzip(format!("{token}\n{}", some(ALNUM, 4000)));
    cut.truncate(cut.len() - 100);
    let tree = Planted::default().file("/a.gz", 0o644, cut).file(
        "/b.gz",
        0o644,
        b"\x1f\x8b\x08junk".to_vec(),
    );
    let found = check(&tree.root(), &HashSet::new()).unwrap();
    let ids: Vec<_> = found.iter().map(|finding| finding.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "secret:github-token:/a.gz",
            "secret-not-searched:/a.gz",
            "secret-not-searched:/b.gz"
        ]
    );
    assert!(
        found[0].evidence.starts_with("unpacked, line 1: "),
        "{}",
        found[0].evidence
    );
}

#[test]
fn every_rule_has_a_pattern_anchors_or_names_of_files_and_a_name_of_its_own() {
    let mut names = HashSet::new();
    for (index, rule) in RULES.iter().enumerate() {
        assert!(names.insert(rule.name), "{} twice", rule.name);
        let whole = matches!(rule.files, super::rule::Files::Named(_));
        assert!(!rule.anchors.is_empty() || whole, "{}", rule.name);
        assert!(!rule.what.is_empty(), "{}", rule.name);
        assert!(rule.severity >= Severity::High, "{}", rule.name);
        let groups = Rules::get().pattern(index).captures_len();
        assert!(groups > 1, "{} has no group for the secret", rule.name);
        assert!(
            rule.within <= super::text::AFTER && rule.before <= super::text::BEFORE,
            "{}",
            rule.name
        );
    }
}
