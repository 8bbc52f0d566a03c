//! Endpoints: `AWS_ENDPOINT_URL`, its variants for each service, or the region's own host.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_types::service_config::ServiceConfigKey;

/// Service that karat calls.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Service {
    Ec2,
    Ebs,
    Ssm,
    Sts,
    AutoScaling,
}

impl Service {
    const ALL: [Self; 5] = [
        Self::Ec2,
        Self::Ebs,
        Self::Ssm,
        Self::Sts,
        Self::AutoScaling,
    ];

    /// First label of its hosts, and name of the service in signatures.
    pub(super) fn name(self) -> &'static str {
        self.names().0
    }

    /// Returns its name, and the one in `AWS_ENDPOINT_URL_...` and in configuration files.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Ec2 => ("ec2", "EC2"),
            Self::Ebs => ("ebs", "EBS"),
            Self::Ssm => ("ssm", "SSM"),
            Self::Sts => ("sts", "STS"),
            Self::AutoScaling => ("autoscaling", "Auto Scaling"),
        }
    }
}

/// Prefixes of the regions of other partitions, with the partitions' names in ARNs and the domains of their hosts:
/// `partitions.json` of botocore.
const PARTITIONS: [(&str, (&str, &str)); 6] = [
    ("cn-", ("aws-cn", "amazonaws.com.cn")),
    ("us-gov-", ("aws-us-gov", "amazonaws.com")),
    ("us-iso-", ("aws-iso", "c2s.ic.gov")),
    ("us-isob-", ("aws-iso-b", "sc2s.sgov.gov")),
    ("eu-isoe-", ("aws-iso-e", "cloud.adc-e.uk")),
    ("eusc-", ("aws-eusc", "amazonaws.eu")),
];

/// Returns name and domain of a region's partition.
pub(in crate::ec2) fn partition(region: &str) -> (&'static str, &'static str) {
    let other = PARTITIONS
        .iter()
        .find(|(prefix, _)| region.starts_with(prefix));
    other.map_or(("aws", "amazonaws.com"), |(_, partition)| *partition)
}

/// Configured endpoints, by service.
#[derive(Debug)]
pub(super) struct Endpoints(pub(super) BTreeMap<Service, String>);

impl Endpoints {
    /// Reads the endpoints in the environment and the configuration files.
    pub(super) fn from_config(config: &SdkConfig) -> Self {
        let configured = Service::ALL.into_iter().filter_map(|service| {
            let key = ServiceConfigKey::builder()
                .service_id(service.names().1)
                .env("AWS_ENDPOINT_URL")
                .profile("endpoint_url")
                .build();
            let url = config
                .service_config()
                .zip(key.ok())
                .and_then(|(source, key)| source.load_config(key))
                .or_else(|| config.endpoint_url().map(str::to_owned))?;
            Some((service, url.trim_end_matches('/').to_owned()))
        });
        Self(configured.collect())
    }

    /// Returns whether the endpoint of a service is configured.
    pub(super) fn is_configured(&self, service: Service) -> bool {
        self.0.contains_key(&service)
    }

    /// Returns the URL of a service in a region, without a trailing slash.
    pub(super) fn url(&self, service: Service, region: &str) -> String {
        if let Some(url) = self.0.get(&service) {
            return url.clone();
        }
        let (_, domain) = partition(region);
        format!("https://{}.{region}.{domain}", service.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_has_its_own_hosts() {
        let asked = BTreeMap::from([(Service::Ssm, "http://127.0.0.1:5000".to_owned())]);
        let endpoints = Endpoints(asked);
        for (service, region, expected) in [
            (
                Service::Ec2,
                "eu-central-1",
                "https://ec2.eu-central-1.amazonaws.com",
            ),
            (
                Service::Ebs,
                "cn-north-1",
                "https://ebs.cn-north-1.amazonaws.com.cn",
            ),
            (
                Service::AutoScaling,
                "us-gov-west-1",
                "https://autoscaling.us-gov-west-1.amazonaws.com",
            ),
            (Service::Ssm, "eu-central-1", "http://127.0.0.1:5000"),
        ] {
            assert_eq!(endpoints.url(service, region), expected);
        }
    }
}
