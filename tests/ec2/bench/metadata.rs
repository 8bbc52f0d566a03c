//! What an instance is told about itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::Inner;
use super::call::Call;
use super::form::Form;
use super::world::Image;
use super::xml::Node;

/// Values by path: `meta-data/instance-id`.
pub struct Metadata(BTreeMap<String, Vec<u8>>);

/// Whom it is about.
struct Subject<'a> {
    id: &'a str,
    image: &'a Image,
    account: String,
    region: String,
    zone: String,
    address: String,
    key: String,
    asked: Form,
}

/// The address of a guest's network card: cloud-init finds the card by it.
pub fn mac(address: &str) -> String {
    let last: u8 = address
        .rsplit('.')
        .next()
        .and_then(|last| last.parse().ok())
        .unwrap_or_default();
    format!("02:00:7f:00:07:{last:02x}")
}

impl Metadata {
    pub async fn of(inner: &Inner, id: &str, image: &Image) -> Self {
        let subject = {
            let world = inner.world.lock().unwrap();
            let instance = &world.instances[id];
            Subject {
                id,
                image,
                account: instance.owner.clone(),
                region: instance.region.clone(),
                zone: instance.zone.clone(),
                address: instance.address.clone(),
                key: instance.key.clone(),
                asked: instance.asked.clone(),
            }
        };
        let mut values = subject.plain();
        values.insert(
            "dynamic/instance-identity/document".into(),
            subject.document(),
        );
        if let Some(line) = subject.public_key(inner).await {
            let name = format!("0={}", subject.key);
            values.insert("meta-data/public-keys".into(), name.into_bytes());
            values.insert(
                "meta-data/public-keys/0/openssh-key".into(),
                line.into_bytes(),
            );
        }
        if let Some(data) = subject.user_data(inner).await {
            values.insert("user-data".into(), data);
        }
        Self(values)
    }

    /// A value, or the names in a directory; a directory's own end with a slash.
    pub fn get(&self, path: &str) -> Option<Vec<u8>> {
        let path = path.trim_matches('/');
        if let Some(value) = self.0.get(path) {
            return Some(value.clone());
        }
        let prefix = if path.is_empty() {
            String::new()
        } else {
            format!("{path}/")
        };
        let below = self.0.keys().filter_map(|name| name.strip_prefix(&prefix));
        let names: BTreeSet<String> = below
            .map(|name| match name.split_once('/') {
                Some((directory, _)) => format!("{directory}/"),
                None => name.to_owned(),
            })
            .collect();
        // What is a value and a directory at once is listed as a directory.
        let names: Vec<&str> = names
            .iter()
            .filter(|name| !names.contains(&format!("{name}/")))
            .map(String::as_str)
            .collect();
        (!names.is_empty()).then(|| names.join("\n").into_bytes())
    }
}

impl Subject<'_> {
    fn kind(&self) -> &str {
        self.asked.get("InstanceType").unwrap_or("m1.small")
    }

    fn plain(&self) -> BTreeMap<String, Vec<u8>> {
        let address = &self.address;
        let name = format!("ip-{}.ec2.internal", address.replace('.', "-"));
        let nic = format!("network/interfaces/macs/{}", mac(address));
        let root = &self.image.root;
        let values = [
            ("instance-id", self.id),
            ("instance-type", self.kind()),
            ("instance-action", "none"),
            ("instance-life-cycle", "on-demand"),
            ("ami-id", &self.image.id),
            ("ami-launch-index", "0"),
            ("ami-manifest-path", "(unknown)"),
            ("hostname", &name),
            ("local-hostname", &name),
            ("local-ipv4", address),
            ("public-ipv4", address),
            ("mac", &mac(address)),
            ("profile", "default-hvm"),
            ("reservation-id", "r-0be00000000000000"),
            ("security-groups", "default"),
            ("block-device-mapping/ami", root.trim_start_matches("/dev/")),
            ("block-device-mapping/root", root),
            ("placement/availability-zone", &self.zone),
            ("placement/availability-zone-id", "use1-az1"),
            ("placement/region", &self.region),
            ("services/domain", "amazonaws.com"),
            ("services/partition", "aws"),
            (&format!("{nic}/mac"), &mac(address)),
            (&format!("{nic}/device-number"), "0"),
            (&format!("{nic}/interface-id"), "eni-0be00000000000000"),
            (&format!("{nic}/owner-id"), &self.account),
            (&format!("{nic}/local-ipv4s"), address),
            (&format!("{nic}/public-ipv4s"), address),
        ];
        let entry =
            |(path, value): (&str, &str)| (format!("meta-data/{path}"), value.as_bytes().to_vec());
        values.into_iter().map(entry).collect()
    }

    fn document(&self) -> Vec<u8> {
        let document = json!({
            "accountId": self.account, "architecture": self.image.architecture,
            "availabilityZone": self.zone, "imageId": self.image.id, "instanceId": self.id,
            "instanceType": self.kind(), "privateIp": self.address, "region": self.region,
            "pendingTime": karat::time::Timestamp::now().to_string(), "version": "2017-09-30",
            "billingProducts": null, "devpayProductCodes": null, "marketplaceProductCodes": null,
            "kernelId": null, "ramdiskId": null,
        });
        serde_json::to_vec_pretty(&document).expect("it is plain JSON")
    }

    async fn public_key(&self, inner: &Inner) -> Option<String> {
        let asked = [
            ("KeyName.1", self.key.as_str()),
            ("IncludePublicKey", "true"),
        ];
        let root = self.ask(inner, "DescribeKeyPairs", &asked).await;
        let found = root
            .items("keySet")
            .first()
            .filter(|_| !self.key.is_empty())?;
        Some(found.value("publicKey").trim().to_owned() + "\n")
    }

    /// What was asked for, or what the launch template has.
    async fn user_data(&self, inner: &Inner) -> Option<Vec<u8>> {
        let asked = [("InstanceId", self.id), ("Attribute", "userData")];
        let root = self.ask(inner, "DescribeInstanceAttribute", &asked).await;
        let mut data = [self.asked.text("UserData"), root.value("userData/value")].into_iter();
        let data = data.find(|data| !data.is_empty())?;
        data_encoding::BASE64.decode(data.as_bytes()).ok()
    }

    async fn ask(&self, inner: &Inner, action: &str, parameters: &[(&str, &str)]) -> Node {
        let call = Call::ec2(&self.account, &self.region, action, parameters);
        let answer = inner.ask(&call).await;
        Node::parse(&String::from_utf8_lossy(&answer.body)).unwrap_or_default()
    }
}
