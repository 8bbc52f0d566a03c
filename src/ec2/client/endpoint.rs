//! Where calls go: `AWS_ENDPOINT_URL` and its kin, or the region's own host.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_types::service_config::ServiceConfigKey;

/// A service that karat calls.
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

    /// The first label of its hosts, and what requests are signed for.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ec2 => "ec2",
            Self::Ebs => "ebs",
            Self::Ssm => "ssm",
            Self::Sts => "sts",
            Self::AutoScaling => "autoscaling",
        }
    }

    /// What it is called in `AWS_ENDPOINT_URL_...` and in configuration files.
    fn id(self) -> &'static str {
        match self {
            Self::Ec2 => "EC2",
            Self::Ebs => "EBS",
            Self::Ssm => "SSM",
            Self::Sts => "STS",
            Self::AutoScaling => "Auto Scaling",
        }
    }
}

/// How the regions of other partitions begin, and the domain of their hosts: `partitions.json` of botocore.
const PARTITIONS: [(&str, &str); 5] = [
    ("cn-", "amazonaws.com.cn"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("eusc-", "amazonaws.eu"),
];

/// Addresses that somebody asked for.
#[derive(Debug)]
pub(super) struct Endpoints(pub(super) BTreeMap<Service, String>);

impl Endpoints {
    /// What the environment and the configuration files say.
    pub(super) fn of(config: &SdkConfig) -> Self {
        let asked = Service::ALL.into_iter().filter_map(|service| {
            let key = ServiceConfigKey::builder()
                .service_id(service.id())
                .env("AWS_ENDPOINT_URL")
                .profile("endpoint_url")
                .build();
            let own = config.service_config().zip(key.ok());
            let own = own.and_then(|(source, key)| source.load_config(key));
            let url = own.or_else(|| config.endpoint_url().map(str::to_owned))?;
            Some((service, url.trim_end_matches('/').to_owned()))
        });
        Self(asked.collect())
    }

    /// Whether somebody has said where a service is.
    pub(super) fn is_asked(&self, service: Service) -> bool {
        self.0.contains_key(&service)
    }

    /// The address of a service in a region, without a slash at its end.
    pub(super) fn url(&self, service: Service, region: &str) -> String {
        if let Some(url) = self.0.get(&service) {
            return url.clone();
        }
        let other = PARTITIONS.iter().find(|(of, _)| region.starts_with(of));
        let domain = other.map_or("amazonaws.com", |(_, domain)| domain);
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
