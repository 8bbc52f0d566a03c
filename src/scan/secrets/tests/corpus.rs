//! What the world leaves on disks, in the forms in which it leaves it: each secret in several. It counts that the file is
//! reported, whichever rule sees it. Made from parts, so that no scanner takes this file for a leak.

use std::collections::HashSet;

use data_encoding::{BASE64, BASE64URL_NOPAD};

use super::{ALNUM, BASE, HEX, UPPER, checked, gzip, jwt, pem, planted, some};
use crate::scan::secrets::check;
use crate::scan::secrets::rules::RULES;
use crate::scan::testing::Planted;

/// A password as a person or a generator makes it.
const CHOSEN: &str = "Tr4vel-Light!92";
/// One without anything but letters.
const WORDS: &str = "correcthorsebattery";

/// Path and content: each has one secret at least.
#[expect(clippy::too_many_lines, reason = "a table")]
fn variants() -> Vec<(&'static str, String)> {
    let aws = format!("AKIA{}", some(UPPER, 16));
    let key = some(BASE, 40);
    let storage = format!("{}==", some(BASE, 86));
    let webhook = format!(
        "https://hooks.slack.com/services/T{}/B{}/{}",
        some(UPPER, 8),
        some(UPPER, 10),
        some(ALNUM, 24)
    );
    let six = format!("$6${}${}", some(ALNUM, 8), some(ALNUM, 86));
    let rounds = format!("$6$rounds=4096${}${}", some(ALNUM, 8), some(ALNUM, 86));
    let basic = BASE64.encode(format!("ci:{CHOSEN}").as_bytes());
    let uuid = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
    let wg = format!("{}A=", some(BASE, 42));
    vec![
        // Clouds.
        (
            "/root/.aws/credentials",
            format!("[default]\naws_access_key_id={aws}\naws_secret_access_key = {key}\n"),
        ),
        (
            "/home/a/.aws/credentials",
            format!("[p]\naws_secret_access_key = {key}\n"),
        ),
        (
            "/etc/profile.d/aws.sh",
            format!("export AWS_SECRET_ACCESS_KEY='{key}'\n"),
        ),
        ("/opt/a/app.yml", format!("aws:\n  accessKeyId: {aws}\n")),
        (
            "/opt/b/app.json",
            format!("{{\"secretAccessKey\":\"{key}\"}}"),
        ),
        (
            "/opt/c/main.tf",
            format!(
                "provider \"aws\" {{\n  access_key = \"{aws}\"\n  secret_key = \"{key}\"\n}}\n"
            ),
        ),
        (
            "/root/.aws/cli/cache/1.json",
            format!(
                "{{\"Credentials\": {{\"SessionToken\": \"{}\"}}}}",
                some(BASE, 300)
            ),
        ),
        (
            "/etc/environment",
            format!("AWS_SESSION_TOKEN=\"{}\"\n", some(BASE, 300)),
        ),
        (
            "/root/.s3cfg",
            format!(
                "[default]\naccess_key = {}\nsecret_key = {key}\n",
                &aws[4..]
            ),
        ),
        (
            "/root/.config/rclone/rclone.conf",
            format!("[s3]\ntype = s3\nsecret_access_key = {key}\n"),
        ),
        (
            "/root/.config/rclone/rclone2.conf",
            format!("[box]\ntype = sftp\npass = {}\n", some(ALNUM, 36)),
        ),
        (
            "/root/.boto",
            format!("[Credentials]\naws_secret_access_key = {key}\n"),
        ),
        ("/root/.passwd-s3fs", format!("{aws}:{key}\n")),
        (
            "/opt/gcp/key.json",
            format!(
                "{{\n  \"type\": \"service_account\",\n  \"private_key_id\": \"{}\",\n  \"private_key\": {:?},\n  \"client_email\": \"x@y\"\n}}\n",
                some(HEX, 40),
                pem("")
            ),
        ),
        (
            "/etc/network/interfaces.d/wlan0",
            format!("iface wlan0 inet dhcp\n    wpa-ssid x\n    wpa-psk {WORDS}\n"),
        ),
        (
            "/etc/dbconfig-common/app.conf",
            "dbc_dbpass='kbVhGfQZhTCr'\n".to_owned(),
        ),
        ("/opt/ali.env", format!("ALI=LTAI{}\n", some(ALNUM, 20))),
        ("/opt/shop.env", format!("SHOP=shpat_{}\n", some(HEX, 32))),
        (
            "/root/.docker/a.json",
            format!("{{\"identitytoken\": \"{}\"}}", some(ALNUM, 40)),
        ),
        ("/opt/art.env", format!("A=AKCp{}\n", some(ALNUM, 69))),
        ("/opt/chimp.env", format!("M={}-us12\n", some(HEX, 32))),
        (
            "/opt/brevo.env",
            format!("B=xkeysib-{}-{}\n", some(HEX, 64), some(ALNUM, 16)),
        ),
        (
            "/etc/kubernetes/bootstrap.conf",
            format!("    token: {}.{}\n", "q8rz71", "xlmvb9k2w4t6y8p0"),
        ),
        ("/opt/curl.log", format!("> Authorization: Basic {basic}\n")),
        (
            "/opt/gcp/.env",
            format!("GOOGLE_API_KEY=AIza{}\n", some(ALNUM, 35)),
        ),
        (
            "/opt/gcp/index.html",
            format!("<script src=\"x?key=AIza{}&cb=1\">", some(ALNUM, 35)),
        ),
        (
            "/root/.config/gcloud/application_default_credentials.json",
            format!(
                "{{\"client_secret\": \"GOCSPX-{}\", \"refresh_token\": \"1//0g{}\"}}",
                some(ALNUM, 28),
                some(ALNUM, 90)
            ),
        ),
        (
            "/root/.config/gcloud/legacy.json",
            format!("{{\"refresh_token\": \"1//0g{}\"}}", some(ALNUM, 90)),
        ),
        ("/opt/az/a.env", format!("AZURE_STORAGE_KEY={storage}\n")),
        (
            "/opt/az/b.json",
            format!(
                "{{\"AzureWebJobsStorage\": \"DefaultEndpointsProtocol=https;AccountName=x;AccountKey={storage};EndpointSuffix=core\"}}"
            ),
        ),
        ("/opt/az/c.yaml", format!("storageAccountKey: {storage}\n")),
        (
            "/opt/az/d.env",
            format!("AZURE_CLIENT_SECRET=abc8Q~{}\n", some(ALNUM, 34)),
        ),
        (
            "/opt/az/e.txt",
            format!(
                "https://x.blob.core.windows.net/c?sv=2022-11-02&ss=b&srt=co&sp=rl&se=2030-01-01T00:00:00Z&st=2024&spr=https&sig={}%3D\n",
                some(ALNUM, 43)
            ),
        ),
        (
            "/opt/az/f.conf",
            format!(
                "Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey={}=\n",
                some(BASE, 43)
            ),
        ),
        (
            "/opt/do.tf",
            format!("token = \"dop_v1_{}\"\n", some(HEX, 64)),
        ),
        (
            "/opt/hetzner.env",
            format!("HCLOUD_TOKEN={}\n", some(ALNUM, 64)),
        ),
        (
            "/root/.config/hcloud/cli.toml",
            format!(
                "[[contexts]]\nname = \"p\"\ntoken = \"{}\"\n",
                some(ALNUM, 64)
            ),
        ),
        (
            "/root/.config/linode-cli",
            format!("[me]\ntoken = {}\n", some(HEX, 64)),
        ),
        (
            "/root/clouds.yaml",
            format!("clouds:\n  x:\n    auth:\n      username: a\n      password: {WORDS}\n"),
        ),
        ("/root/openrc.sh", format!("export OS_PASSWORD={CHOSEN}\n")),
        (
            "/etc/letsencrypt/cloudflare.ini",
            format!("dns_cloudflare_api_token = {}\n", some(ALNUM, 40)),
        ),
        // Forges.
        (
            "/root/.config/gh/hosts.yml",
            format!("github.com:\n    oauth_token: {}\n", checked("gho_")),
        ),
        (
            "/srv/r/.git/config",
            format!(
                "[remote \"origin\"]\n\turl = https://x-access-token:{}@github.com/a/b\n",
                checked("ghs_")
            ),
        ),
        (
            "/srv/s/.git/config",
            format!(
                "[remote \"origin\"]\n\turl = https://{}@github.com/a/b\n",
                checked("ghp_")
            ),
        ),
        (
            "/srv/x/.git/config",
            format!("[remote \"origin\"]\n\turl = https://bob:{WORDS}@git.corp.test/a/b\n"),
        ),
        (
            "/opt/gh.yaml",
            format!(
                "token: \"github_pat_{}_{}\"\n",
                some(ALNUM, 22),
                some(ALNUM, 59)
            ),
        ),
        (
            "/opt/gl.env",
            format!("CI_TOKEN=glpat-{}\n", some(ALNUM, 20)),
        ),
        (
            "/opt/gl2.env",
            format!("T=glpat-{}.01.{}\n", some(ALNUM, 27), some(ALNUM, 9)),
        ),
        ("/opt/gl3.env", format!("T=gldt-{}\n", some(ALNUM, 20))),
        (
            "/opt/gl4.sh",
            format!(
                "gitlab-runner register --registration-token GR1348941{}\n",
                some(ALNUM, 20)
            ),
        ),
        (
            "/opt/bb.env",
            format!("BITBUCKET_APP_PASSWORD=ATBB{}\n", some(ALNUM, 32)),
        ),
        (
            "/opt/bb2.env",
            format!("BITBUCKET_CLIENT_SECRET={}\n", some(ALNUM, 32)),
        ),
        (
            "/opt/gitea/app.ini",
            format!("[security]\nINTERNAL_TOKEN = {}\n", jwt()),
        ),
        // Chat.
        (
            "/opt/slack.json",
            format!(
                "{{\"token\":\"xoxp-{}-{}-{}-{}\"}}",
                "2487165309",
                "2487165310",
                "2487165311",
                some(HEX, 32)
            ),
        ),
        (
            "/opt/slack.env",
            format!(
                "APP=xapp-1-A{}-{}-{}\n",
                some(UPPER, 10),
                "2487165309123",
                some(HEX, 64)
            ),
        ),
        ("/opt/hook.sh", format!("curl -X POST {webhook} -d x\n")),
        (
            "/opt/disc.env",
            format!(
                "DISCORD_WEBHOOK=https://discord.com/api/webhooks/{}/{}\n",
                "834927461029384756",
                some(ALNUM, 68)
            ),
        ),
        (
            "/opt/disc.json",
            format!(
                "{{\"token\": \"{}.{}.{}\"}}",
                BASE64URL_NOPAD.encode(b"834927461029384756"),
                some(ALNUM, 6),
                some(ALNUM, 38)
            ),
        ),
        (
            "/opt/tg.sh",
            format!(
                "curl https://api.telegram.org/bot{}:AA{}/sendMessage\n",
                "7301948265",
                some(ALNUM, 33)
            ),
        ),
        (
            "/opt/tg.env",
            format!(
                "TELEGRAM_BOT_TOKEN={}:AA{}\n",
                "7301948265",
                some(ALNUM, 33)
            ),
        ),
        (
            "/opt/teams.yml",
            format!(
                "url: https://corp.webhook.office.com/webhookb2/{uuid}@{uuid}/IncomingWebhook/{}/{uuid}\n",
                some(HEX, 32)
            ),
        ),
        // Payment.
        (
            "/opt/pay/a.env",
            format!("STRIPE_SECRET_KEY=sk_live_{}\n", some(ALNUM, 99)),
        ),
        (
            "/opt/pay/b.php",
            format!("Stripe::setApiKey('rk_live_{}');\n", some(ALNUM, 24)),
        ),
        (
            "/opt/pay/c.env",
            format!("STRIPE_WEBHOOK_SECRET=whsec_{}\n", some(ALNUM, 32)),
        ),
        (
            "/opt/pay/d.env",
            format!("SQUARE_ACCESS_TOKEN=EAAA{}\n", some(ALNUM, 60)),
        ),
        ("/opt/pay/e.env", format!("SQ=sq0atp-{}\n", some(ALNUM, 22))),
        (
            "/opt/pay/f.yml",
            format!("paypal:\n  client_secret: E{}\n", some(ALNUM, 79)),
        ),
        (
            "/opt/pay/g.rb",
            format!("config.private_key = '{}' # braintree\n", some(HEX, 32)),
        ),
        (
            "/opt/pay/h.env",
            format!("BRAINTREE_PRIVATE_KEY={}\n", some(HEX, 32)),
        ),
        // Registries.
        (
            "/home/a/.npmrc",
            format!("//registry.npmjs.org/:_authToken={uuid}\n"),
        ),
        ("/home/b/.npmrc", format!("_auth={basic}\n")),
        ("/home/b/.yarnrc.yml", format!("npmAuthToken: {uuid}\n")),
        (
            "/home/c/.pypirc",
            format!("[pypi]\nusername = bob\npassword = {WORDS}\n"),
        ),
        (
            "/home/d/.pypirc",
            format!(
                "[pypi]\nusername: __token__\npassword: pypi-AgEIcHlwaS5vcmc{}\n",
                some(ALNUM, 140)
            ),
        ),
        (
            "/root/.config/pip/pip.conf",
            format!("[global]\nextra-index-url = https://ci:{WORDS}@pypi.corp.test/simple\n"),
        ),
        (
            "/home/e/.gem/credentials",
            format!("---\n:rubygems_api_key: rubygems_{}\n", some(HEX, 48)),
        ),
        (
            "/home/f/.cargo/credentials",
            format!("[registries.corp]\ntoken = \"{}\"\n", some(ALNUM, 32)),
        ),
        (
            "/home/g/.docker/config.json",
            format!(
                "{{\n\t\"auths\": {{\n\t\t\"https://index.docker.io/v1/\": {{\n\t\t\t\"auth\": \"{basic}\"\n\t\t}}\n\t}}\n}}"
            ),
        ),
        (
            "/home/h/.dockercfg",
            format!("{{\"quay.io\": {{\"auth\": \"{basic}\", \"email\": \"\"}}}}"),
        ),
        (
            "/etc/containers/auth.json",
            format!("{{\"auths\":{{\"r\":{{\"auth\":\"{basic}\"}}}}}}"),
        ),
        (
            "/opt/docker.env",
            format!("DOCKER_PAT=dckr_pat_{}\n", some(ALNUM, 27)),
        ),
        (
            "/root/.m2/settings.xml",
            format!(
                "<server><id>x</id><username>a</username><password>{WORDS}</password></server>"
            ),
        ),
        (
            "/root/.gradle/gradle.properties",
            format!("nexusPassword={WORDS}\n"),
        ),
        (
            "/root/.composer/auth.json",
            format!(
                "{{\"http-basic\": {{\"r.corp.test\": {{\"username\": \"a\", \"password\": \"{WORDS}\"}}}}}}"
            ),
        ),
        (
            "/root/.nuget/NuGet/NuGet.Config",
            format!("<add key=\"ClearTextPassword\" value=\"{CHOSEN}\" />"),
        ),
        // Services.
        ("/root/.vault-token", format!("hvs.CAES{}", some(ALNUM, 91))),
        ("/home/v/.vault-token", format!("s.{}\n", some(ALNUM, 24))),
        (
            "/etc/vault.d/agent.hcl",
            format!("token = \"s.{}\"\n", some(ALNUM, 24)),
        ),
        ("/opt/v.env", format!("VAULT_TOKEN={uuid}\n")),
        (
            "/root/.terraform.d/credentials.tfrc.json",
            format!(
                "{{\"credentials\":{{\"app.terraform.io\":{{\"token\":\"{}.atlasv1.{}\"}}}}}}",
                some(ALNUM, 14),
                some(ALNUM, 67)
            ),
        ),
        (
            "/opt/sg.py",
            format!(
                "sg = SendGridAPIClient('SG.{}.{}')\n",
                some(ALNUM, 22),
                some(ALNUM, 43)
            ),
        ),
        (
            "/opt/mg.env",
            format!(
                "MAILGUN_API_KEY={}-{}-{}\n",
                some(HEX, 32),
                some(HEX, 8),
                some(HEX, 8)
            ),
        ),
        (
            "/opt/tw.env",
            format!("TWILIO_AUTH_TOKEN={}\n", some(HEX, 32)),
        ),
        (
            "/opt/tw.json",
            format!("{{\"twilio\": {{\"authToken\": \"{}\"}}}}", some(HEX, 32)),
        ),
        (
            "/etc/default/datadog",
            format!("DD_API_KEY={}\n", some(HEX, 32)),
        ),
        (
            "/opt/nr.yml",
            format!("common:\n  license_key: '{}NRAL'\n", some(HEX, 36)),
        ),
        (
            "/opt/nr.ini",
            format!("newrelic.license = \"{}\"\n", some(HEX, 40)),
        ),
        (
            "/opt/graf.env",
            format!("GRAFANA=glsa_{}_{}\n", some(ALNUM, 32), some(HEX, 8)),
        ),
        (
            "/etc/grafana/grafana.ini",
            format!("[security]\nadmin_password = {WORDS}\n"),
        ),
        (
            "/opt/oai.env",
            format!(
                "OPENAI_API_KEY=sk-{}T3BlbkFJ{}\n",
                some(ALNUM, 20),
                some(ALNUM, 20)
            ),
        ),
        (
            "/opt/oai.py",
            format!(
                "openai.api_key = \"sk-proj-{}T3BlbkFJ{}\"\n",
                some(ALNUM, 74),
                some(ALNUM, 74)
            ),
        ),
        (
            "/opt/anth.env",
            format!(
                "ANTHROPIC_API_KEY=sk-ant-api03-{}-{}AA\n",
                some(ALNUM, 50),
                some(ALNUM, 42)
            ),
        ),
        (
            "/root/.cache/huggingface/token",
            format!("hf_{}", some(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJ", 34)),
        ),
        (
            "/root/.kube/config",
            format!("users:\n- name: a\n  user:\n    token: {}\n", jwt()),
        ),
        (
            "/etc/kubernetes/admin.conf",
            format!(
                "    client-key-data: {}\n",
                BASE64.encode(pem("EC ").as_bytes())
            ),
        ),
        (
            "/home/k/.kube/config",
            "users:\n- name: a\n  user:\n    username: a\n    password: sunnyday-parade\n"
                .to_owned(),
        ),
        (
            "/opt/secret.yaml",
            format!(
                "apiVersion: v1\nkind: Secret\ndata:\n  password: {}\n",
                BASE64.encode(CHOSEN.as_bytes())
            ),
        ),
        (
            "/var/lib/rancher/k3s/server/node-token",
            format!("K10{}::server:{}\n", some(HEX, 64), some(HEX, 32)),
        ),
        (
            "/opt/jwt.log",
            format!("Cookie: session={}; path=/\n", jwt()),
        ),
        (
            "/etc/sentry.conf",
            format!(
                "dsn=https://{}:{}@sentry.corp.test/1\n",
                some(HEX, 32),
                some(b"0123456789abcdef", 30)
            ),
        ),
        // Keys.
        (
            "/etc/ssl/private/a.pem",
            format!(
                "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n{}",
                pem("EC ")
            ),
        ),
        ("/root/.ssh/deploy", pem("OPENSSH ")),
        (
            "/opt/haproxy.yaml",
            format!("tls:\n  key: |\n    {}", pem("").replace('\n', "\n    ")),
        ),
        (
            "/opt/key.env",
            format!("KEY=\"{}\"\n", pem("RSA ").replace('\n', "\\n")),
        ),
        ("/root/crlf.pem", pem("").replace('\n', "\r\n")),
        ("/root/enc.pem", pem("ENCRYPTED ")),
        (
            "/root/pgp.asc",
            pem("PGP ")
                .replace("ATE KEY-", "ATE KEY BLOCK-")
                .replace("BLOCK-----\n", "BLOCK-----\nVersion: x\n\n"),
        ),
        (
            "/etc/wireguard/wg0.conf",
            format!("[Interface]\nPrivateKey={wg}\nAddress = 10.0.0.1\n"),
        ),
        ("/etc/wireguard/private.key", format!("{wg}\n")),
        (
            "/etc/systemd/network/wg0.netdev",
            format!("[WireGuard]\nPrivateKey={wg}\n"),
        ),
        (
            "/etc/NetworkManager/system-connections/wg0.nmconnection",
            format!("[wireguard]\nprivate-key={wg}\n"),
        ),
        (
            "/root/minisign.key",
            format!(
                "untrusted comment: minisign encrypted secret key\nRWRTY0Iy{}\n",
                some(BASE, 204)
            ),
        ),
        (
            "/root/.config/sops/age/keys.txt",
            format!(
                "# created: x\nAGE-SECRET-KEY-1{}\n",
                some(b"QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58)
            ),
        ),
        (
            "/root/sub/tls.jks.b64",
            format!("{}\n", BASE64.encode(pem("RSA ").as_bytes())),
        ),
        // Addresses.
        (
            "/opt/db.env",
            format!("DATABASE_URL=postgres://app:{WORDS}@db.corp.test:5432/app\n"),
        ),
        (
            "/opt/db2.env",
            format!("DATABASE_URL=\"postgresql://app:{CHOSEN}@db/app?sslmode=require\"\n"),
        ),
        (
            "/opt/db3.yml",
            "url: mysql://root:s3cr3tP%40ss@db:3306/x\n".to_owned(),
        ),
        (
            "/opt/mq.py",
            format!("broker = 'amqp://guest2:{WORDS}@mq:5672//'\n"),
        ),
        (
            "/opt/redis.env",
            format!("REDIS_URL=redis://:{WORDS}@cache:6379/0\n"),
        ),
        (
            "/opt/mongo.json",
            format!("{{\"uri\":\"mongodb+srv://app:{WORDS}@cluster0.abcde.mongodb.net/x\"}}"),
        ),
        (
            "/opt/jdbc.properties",
            format!("url=jdbc:postgresql://db/x?user=app&password={WORDS}\n"),
        ),
        (
            "/opt/spring/application.properties",
            format!("spring.datasource.password={WORDS}\n"),
        ),
        (
            "/opt/spring/application.yml",
            format!("spring:\n  datasource:\n    password: {WORDS}\n"),
        ),
        (
            "/opt/odbc.config",
            format!(
                "<add connectionString=\"Server=x;Database=y;User Id=sa;Password={CHOSEN};\" />"
            ),
        ),
        (
            "/etc/fstab.cifs",
            format!("//x/y /z cifs username=a,password={WORDS} 0 0\n"),
        ),
        (
            "/etc/apt/auth.conf.d/x.conf",
            format!("machine apt.corp.test\nlogin a\npassword {WORDS}\n"),
        ),
        (
            "/root/.netrc",
            format!("machine api.heroku.com login a@b password {uuid}\n"),
        ),
        (
            "/home/n/.netrc",
            format!("machine x.test password {WORDS} login bob\n"),
        ),
        (
            "/home/n/.netrc2",
            format!("default login anonymous2 password {WORDS}\n"),
        ),
        // Systems.
        (
            "/etc/NetworkManager/system-connections/Office.nmconnection",
            format!("[wifi-security]\nkey-mgmt=wpa-psk\npsk={WORDS}\n"),
        ),
        (
            "/etc/NetworkManager/system-connections/eap.nmconnection",
            format!("[802-1x]\nidentity=a\npassword={WORDS}\n"),
        ),
        (
            "/etc/wpa_supplicant/wpa_supplicant-wlan0.conf",
            format!("network={{\n  ssid=\"x\"\n  psk={}\n}}\n", some(HEX, 64)),
        ),
        (
            "/etc/netplan/60-wifi.yaml",
            format!(
                "network:\n  wifis:\n    w0:\n      access-points:\n        \"Office\":\n          password: \"{WORDS}\"\n"
            ),
        ),
        (
            "/var/lib/iwd/Office.psk",
            format!("[Security]\nPassphrase={WORDS}\n"),
        ),
        (
            "/etc/hostapd/hostapd.conf",
            format!("wpa_passphrase={WORDS}\n"),
        ),
        (
            "/var/lib/cloud/instances/i/user-data.txt",
            format!("#cloud-config\npassword: {WORDS}\nchpasswd: {{expire: false}}\n"),
        ),
        (
            "/var/lib/cloud/instances/i/cloud-config.txt",
            format!(
                "#cloud-config\nchpasswd:\n  users:\n    - name: bob\n      password: {WORDS}\n      type: text\n"
            ),
        ),
        (
            "/var/lib/cloud/instances/i/c.txt",
            format!("#cloud-config\nchpasswd:\n  list:\n    - bob:{WORDS}\n"),
        ),
        (
            "/root/user-data",
            format!("#cloud-config\nusers:\n  - name: a\n    passwd: {rounds}\n"),
        ),
        ("/opt/seed.sh", format!("echo 'root:{WORDS}' | chpasswd\n")),
        (
            "/opt/seed2.sh",
            format!("chpasswd <<EOF\nbob:{CHOSEN}\nEOF\n"),
        ),
        (
            "/root/preseed.cfg",
            format!("d-i passwd/user-password password {WORDS}\n"),
        ),
        (
            "/root/anaconda-ks.cfg",
            format!("rootpw --plaintext {WORDS}\n"),
        ),
        (
            "/root/anaconda2-ks.cfg",
            format!("user --name=a --password={six} --iscrypted\n"),
        ),
        (
            "/var/backups/shadow",
            format!("root:{six}:19000:0:99999:7:::\n"),
        ),
        (
            "/root/shadow.old",
            "bob:abJnggxhB/yWI:19000:0:99999:7:::\n".to_owned(),
        ),
        (
            "/root/old/shadow",
            format!(
                "bob:$1${}${}:19000:0:99999:7:::\n",
                some(ALNUM, 8),
                some(ALNUM, 22)
            ),
        ),
        ("/root/.pgpass", format!("*:*:*:postgres:{WORDS}\n")),
        (
            "/home/p/.pgpass",
            format!("localhost:5444:db:bob:{WORDS}\n"),
        ),
        (
            "/root/.my.cnf",
            format!("[client]\npassword = \"{WORDS}\"\n"),
        ),
        (
            "/etc/mysql/debian.cnf",
            format!(
                "[client]\nuser = debian-sys-maint\npassword = {}\n",
                some(ALNUM, 16)
            ),
        ),
        (
            "/root/.git-credentials",
            format!("https://bob:{WORDS}@git.corp.test\n"),
        ),
        (
            "/etc/nginx/.htpasswd",
            format!("bob:$apr1${}${}\n", some(ALNUM, 8), some(ALNUM, 22)),
        ),
        (
            "/etc/nginx/htpasswd",
            format!("bob:{{SHA}}{}=\n", some(BASE, 27)),
        ),
        ("/srv/www/.htpasswd", "bob:abJnggxhB/yWI\n".to_owned()),
        (
            "/etc/systemd/system/app.service",
            format!("[Service]\nEnvironment=DB_PASSWORD={WORDS}\n"),
        ),
        (
            "/etc/systemd/system/app2.service",
            format!(
                "[Service]\nEnvironment=\"A=b\" \"API_TOKEN={}\"\n",
                some(HEX, 32)
            ),
        ),
        (
            "/etc/systemd/system/app3.service.d/o.conf",
            format!("[Service]\nExecStart=/opt/app --db-password={CHOSEN}\n"),
        ),
        (
            "/etc/default/app",
            format!("APP_SECRET=\"{}\"\n", some(HEX, 32)),
        ),
        (
            "/etc/cron.d/backup",
            format!("0 3 * * * root RESTIC_PASSWORD={WORDS} restic backup /\n"),
        ),
        (
            "/root/.bash_history",
            format!("mysqldump -uroot -p{CHOSEN} --all-databases\n"),
        ),
        (
            "/home/h1/.bash_history",
            format!("mysql -h db -u root --password={WORDS} x\n"),
        ),
        (
            "/home/h2/.bash_history",
            format!("curl -u bob:{WORDS} https://x.test/\n"),
        ),
        (
            "/home/h3/.bash_history",
            format!("sshpass -p {WORDS} ssh root@x\n"),
        ),
        (
            "/home/h4/.bash_history",
            format!("export DB_PASS={WORDS}\n"),
        ),
        (
            "/home/h5/.bash_history",
            format!("PGPASSWORD={WORDS} psql -h db\n"),
        ),
        (
            "/home/h6/.bash_history",
            format!("docker login -u a --password {WORDS} r.test\n"),
        ),
        (
            "/home/h7/.bash_history",
            format!(
                "curl -H \"Authorization: Bearer {}\" https://x.test\n",
                some(ALNUM, 40)
            ),
        ),
        (
            "/home/h8/.zsh_history",
            format!(": 1700000000:0;vault login hvs.{}\n", some(ALNUM, 24)),
        ),
        (
            "/home/h9/.bash_history",
            format!("echo {WORDS} | sudo -S apt update\n"),
        ),
        (
            "/home/h10/.bash_history",
            format!("smbclient //x/y -U bob%{CHOSEN}\n"),
        ),
        (
            "/home/h11/.bash_history",
            format!(
                "ansible-vault encrypt_string x\naws configure set aws_secret_access_key {key}\n"
            ),
        ),
        (
            "/home/h12/.bash_history",
            format!("useradd -p '{six}' bob\n"),
        ),
        (
            "/home/h13/.bash_history",
            format!(
                "openssl enc -aes-256-cbc -k {CHOSEN} -in a\nopenssl rsa -passin pass:{CHOSEN}\n"
            ),
        ),
        (
            "/home/h14/.bash_history",
            format!("wget --user=bob --password={WORDS} https://x.test\n"),
        ),
        (
            "/home/h15/.bash_history",
            format!("nmcli dev wifi connect Office password {WORDS}\n"),
        ),
        ("/root/.vault_pass", format!("{CHOSEN}\n")),
        ("/etc/ansible/vault_password.txt", format!("{WORDS}\n")),
        (
            "/srv/ansible/group_vars/all.yml",
            format!("ansible_become_pass: {WORDS}\n"),
        ),
        (
            "/srv/ansible/hosts",
            format!("web1 ansible_host=10.0.0.1 ansible_password={WORDS}\n"),
        ),
        (
            "/etc/postfix/sasl_passwd",
            format!("[smtp.corp.test]:587 bob:{WORDS}\n"),
        ),
        (
            "/etc/msmtprc",
            format!("account a\nuser b\npassword {WORDS}\n"),
        ),
        ("/etc/ldap.conf", format!("binddn cn=a\nbindpw {WORDS}\n")),
        (
            "/etc/samba/creds",
            format!("username=a\npassword={WORDS}\n"),
        ),
        ("/etc/openvpn/auth.txt", format!("bob\n{CHOSEN}\n")),
        ("/etc/redis/redis.conf", format!("requirepass {WORDS}\n")),
        ("/etc/ppp/chap-secrets", format!("bob\t*\t{WORDS}\t*\n")),
        ("/etc/ipsec.secrets", format!("10.0.0.1 : PSK '{WORDS}'\n")),
        (
            "/etc/freeradius/clients.conf",
            format!("client x {{\n  secret = {WORDS}\n}}\n"),
        ),
        (
            "/etc/snmp/snmpd.conf",
            format!("createUser bob SHA \"{CHOSEN}\" AES\n"),
        ),
        (
            "/opt/wp/wp-config.php",
            format!("define( 'DB_PASSWORD', '{WORDS}' );\n"),
        ),
        (
            "/opt/dj/settings.py",
            format!("DATABASES = {{'default': {{'PASSWORD': '{WORDS}'}}}}\n"),
        ),
        (
            "/opt/dj/secret.py",
            format!(
                "SECRET_KEY = 'django-insecure-{}'\n",
                some(b"abcdefghijklmnop0123456789!@#$%^&*(-_=+)", 50)
            ),
        ),
        (
            "/opt/rails/secrets.yml",
            format!("production:\n  secret_key_base: {}\n", some(HEX, 128)),
        ),
        (
            "/opt/rails/config/master.key",
            format!("{}\n", some(HEX, 32)),
        ),
        (
            "/opt/laravel/.env",
            format!("APP_KEY=base64:{}=\n", some(BASE, 43)),
        ),
        (
            "/opt/node/config.js",
            format!("module.exports = {{ password: '{CHOSEN}' }};\n"),
        ),
        (
            "/opt/go/config.toml",
            format!("[db]\npassword = \"{WORDS}\"\n"),
        ),
        (
            "/opt/compose/docker-compose.yml",
            format!(
                "    environment:\n      - MYSQL_ROOT_PASSWORD={WORDS}\n      POSTGRES_PASSWORD: {WORDS}\n"
            ),
        ),
        (
            "/opt/compose2/docker-compose.yml",
            format!("    environment:\n      POSTGRES_PASSWORD: {WORDS}\n"),
        ),
        (
            "/opt/Dockerfile",
            format!("FROM x\nENV DB_PASSWORD={WORDS}\n"),
        ),
        (
            "/opt/helm/values.yaml",
            format!("postgresql:\n  auth:\n    postgresPassword: {WORDS}\n"),
        ),
        (
            "/opt/tf/terraform.tfvars",
            format!("db_password = \"{WORDS}\"\n"),
        ),
        (
            "/opt/tf/terraform.tfstate",
            format!("{{\"password\": \"{WORDS}\"}}"),
        ),
        (
            "/var/log/app.log",
            format!("2024 login user=bob password={WORDS} ok\n"),
        ),
        (
            "/var/lib/jenkins/secrets/master.key",
            format!("{}\n", some(HEX, 256)),
        ),
        (
            "/var/lib/jenkins/secrets/initialAdminPassword",
            format!("{}\n", some(HEX, 32)),
        ),
        (
            "/root/.config/filezilla/sitemanager.xml",
            format!(
                "<Pass encoding=\"base64\">{}</Pass>",
                BASE64.encode(CHOSEN.as_bytes())
            ),
        ),
        (
            "/etc/tomcat/tomcat-users.xml",
            format!("<user username=\"a\" password=\"{WORDS}\" roles=\"manager-gui\"/>"),
        ),
        ("/root/.erlang.cookie", some(UPPER, 20)),
        (
            "/etc/krb5.keytab",
            format!("\u{5}\u{2}\0\0\0{}", some(ALNUM, 60)),
        ),
    ]
}

#[test]
fn no_form_of_a_secret_is_missed() {
    let variants = variants();
    let mut tree = Planted::default();
    for (path, content) in &variants {
        tree = tree.file(path, 0o600, content.as_str());
    }
    let findings = check(&tree.root(), &HashSet::new()).unwrap();
    let found: HashSet<_> = findings
        .iter()
        .filter_map(|it| it.path.as_deref())
        .collect();
    let missed: Vec<_> = variants
        .iter()
        .map(|(path, _)| *path)
        .filter(|path| !found.contains(path))
        .collect();
    assert_eq!(
        missed,
        [""; 0],
        "{} of {} are missed",
        missed.len(),
        variants.len()
    );
}

#[test]
fn no_rule_is_without_a_secret_that_it_finds() {
    let planted = planted()
        .into_iter()
        .map(|(path, content, _)| (path, content));
    let variants = variants()
        .into_iter()
        .map(|(path, content)| (path, content.into_bytes()));
    let mut findings = Vec::new();
    for all in [planted.collect::<Vec<_>>(), variants.collect()] {
        let mut tree = Planted::default();
        for (path, content) in all {
            tree = tree.file(path, 0o600, content);
        }
        findings.extend(check(&tree.root(), &HashSet::new()).unwrap());
    }
    let idle: Vec<_> = RULES
        .iter()
        .map(|rule| rule.name)
        .filter(|name| {
            let id = format!("secret:{name}:");
            !findings.iter().any(|it| it.id.starts_with(&id))
        })
        .collect();
    assert_eq!(idle, [""; 0]);
}

#[test]
fn hidden_forms_are_seen_where_the_named_rules_need_the_path_within() {
    let content = gzip(format!("mysql -u root -p{CHOSEN} app\n"));
    let tree = Planted::default().file("/root/.bash_history.gz", 0o600, content);
    assert_eq!(check(&tree.root(), &HashSet::new()).unwrap().len(), 1);
}
