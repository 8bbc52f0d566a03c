//! Network of an instance: the subnets to launch into, and a security group that allows SSH.

use std::net::SocketAddr;

use ipnet::IpNet;
use tokio_util::sync::CancellationToken;

use super::{Ec2Error, ResourceGuard};
use crate::ec2::client::ec2::{Filter, NewSecurityGroup, Subnet, security_groups};
use crate::ec2::client::own_address::address_towards;
use crate::ec2::client::{AwsError, Region, eventually};
use crate::plan::{self, Interface};

pub(super) const SSH_PORT: u16 = 22;
/// Port at which the agent of Systems Manager polls for work.
const HTTPS_PORT: u16 = 443;

/// Network that an instance is launched into.
#[derive(Debug)]
pub struct InstanceNetwork {
    /// Subnets to try, in order of preference.
    pub(super) subnets: Vec<Subnet>,
    /// Ids of its security groups.
    pub(super) groups: Vec<String>,
    /// Security group created for this instance.
    pub(super) temporary: Option<String>,
    /// Default security group of the VPC, to which an instance moves before the temporary one is deleted.
    pub(super) default_group: Option<String>,
}

/// Finds the subnets and security groups of an instance, or creates a security group for it. `name` distinguishes the group from
/// others of the run.
pub async fn set_up(
    plan: &plan::Plan,
    ec2: &plan::Ec2,
    resources: &ResourceGuard,
    name: &str,
    cancel: &CancellationToken,
) -> Result<InstanceNetwork, Ec2Error> {
    let setup = Setup {
        ec2,
        interface: plan.ssh.interface.unwrap_or(Interface::PublicIp),
        sealed: !plan.network.open,
        region: &resources.region,
    };
    let found = cancel.run_until_cancelled(setup.look_up()).await;
    let found = found.unwrap_or(Err(Ec2Error::Cancelled))?;
    let mut groups = ec2.security_groups.clone();
    let mut temporary = None;
    if groups.is_empty() {
        let create = create_group(&found.subnets[0].vpc, name, resources);
        let group = resources.create(cancel, create).await?;
        let rules = cancel.run_until_cancelled(setup.set_rules(&group, &found));
        rules.await.unwrap_or(Err(Ec2Error::Cancelled))?;
        groups.push(group.clone());
        temporary = Some(group);
    }
    Ok(InstanceNetwork {
        subnets: found.subnets,
        groups,
        temporary,
        default_group: found.default_group,
    })
}

/// Settings of the network.
struct Setup<'a> {
    ec2: &'a plan::Ec2,
    interface: Interface,
    /// The security group must not allow outbound traffic.
    sealed: bool,
    region: &'a Region,
}

/// Existing network, with the address ranges for the rules of a new security group.
struct Found {
    subnets: Vec<Subnet>,
    default_group: Option<String>,
    /// Addresses that SSH is allowed from.
    ssh_from: Option<String>,
    /// Addresses at which the agent of Systems Manager reaches its endpoint.
    agent_to: Option<String>,
}

impl Setup<'_> {
    /// Looks everything up, as far as possible in parallel.
    async fn look_up(&self) -> Result<Found, Ec2Error> {
        let groups = check_groups(self.ec2, self.sealed, self.region);
        let subnets = subnets(self.ec2, self.interface, self.region);
        let (subnets, own_address, ()) = tokio::try_join!(subnets, self.own_address(), groups)?;
        let vpc = &subnets[0].vpc;
        let (default_group, ssh_from, agent_to) = tokio::try_join!(
            self.default_group(vpc),
            self.ssh_from(own_address, &subnets[0]),
            self.agent_to(vpc)
        )?;
        Ok(Found {
            subnets,
            default_group,
            ssh_from,
            agent_to,
        })
    }

    /// Returns the caller's address on the internet, if a rule for SSH needs it.
    async fn own_address(&self) -> Result<Option<IpNet>, Ec2Error> {
        let is_needed = self.ec2.ingress.is_none()
            && self.ec2.security_groups.is_empty()
            && self.interface == Interface::PublicIp;
        if !is_needed {
            return Ok(None);
        }
        Ok(Some(IpNet::from(self.region.own_address().await?)))
    }

    async fn default_group(&self, vpc: &str) -> Result<Option<String>, Ec2Error> {
        let filters = [
            Filter::new("vpc-id", [vpc]),
            Filter::new("group-name", ["default"]),
        ];
        // Only an optimization: without it, the end of the build waits until the temporary group is unused.
        let found = security_groups::list(self.region, &filters).await;
        Ok(found
            .unwrap_or_default()
            .into_iter()
            .next()
            .map(|group| group.id))
    }

    async fn ssh_from(
        &self,
        own_address: Option<IpNet>,
        subnet: &Subnet,
    ) -> Result<Option<String>, Ec2Error> {
        Ok(match (&self.ec2.ingress, own_address, self.interface) {
            (Some(ingress), _, _) => Some(ingress.clone()),
            (None, Some(own), _) => Some(own.to_string()),
            (None, None, Interface::Ssm) => None,
            (None, None, _) => Some(address_seen_by(subnet).await?.to_string()),
        })
    }

    async fn agent_to(&self, vpc: &str) -> Result<Option<String>, Ec2Error> {
        if self.interface != Interface::Ssm || !self.sealed {
            return Ok(None);
        }
        Ok(Some(self.region.vpc_addresses(vpc).await?))
    }

    /// Sets the rules of a new security group, which allows all outbound traffic at first.
    async fn set_rules(&self, group: &str, found: &Found) -> Result<(), Ec2Error> {
        let outbound = async {
            if !self.sealed {
                return Ok(());
            }
            eventually(async || security_groups::deny_outbound(self.region, group).await).await
        };
        let ssh = async {
            let Some(from) = &found.ssh_from else {
                return Ok(());
            };
            eventually(async || {
                security_groups::allow_inbound(self.region, group, SSH_PORT, from).await
            })
            .await
        };
        let agent = async {
            let Some(to) = &found.agent_to else {
                return Ok(());
            };
            eventually(async || {
                security_groups::allow_outbound(self.region, group, HTTPS_PORT, to).await
            })
            .await
        };
        tokio::try_join!(outbound, ssh, agent)?;
        Ok(())
    }
}

async fn create_group(
    vpc: &str,
    name: &str,
    resources: &ResourceGuard,
) -> Result<String, Ec2Error> {
    let name = format!("karat-{}-{name}", resources.id());
    let new = NewSecurityGroup {
        name: &name,
        description: "SSH to an instance that karat builds an image on",
        vpc,
        tags: resources.tags(),
    };
    let group = security_groups::create(&resources.region, &new).await?;
    resources.remember(&group);
    Ok(group)
}

/// Finds the subnet of the template, or those of its VPC or the default VPC.
async fn subnets(
    ec2: &plan::Ec2,
    interface: Interface,
    region: &Region,
) -> Result<Vec<Subnet>, Ec2Error> {
    let (filter, place) = match (&ec2.subnet, &ec2.vpc) {
        (Some(subnet), _) => (Filter::new("subnet-id", [subnet]), subnet.clone()),
        (None, Some(vpc)) => (Filter::new("vpc-id", [vpc]), format!("the VPC {vpc}")),
        (None, None) => (
            Filter::new("default-for-az", ["true"]),
            "the default VPC".to_owned(),
        ),
    };
    let mut found = region.subnets(&[filter]).await?;
    // In a VPC with both kinds, public addresses do not work in private subnets, nor private addresses in public ones.
    let wants_public = interface == Interface::PublicIp;
    found.sort_by_key(|subnet| (subnet.is_public != wants_public, subnet.id.clone()));
    if found.is_empty() {
        let region = region.name().to_owned();
        return Err(Ec2Error::NoSubnet { region, place });
    }
    Ok(found)
}

/// Checks that the security groups of the template exist, and allow no outbound traffic if the network is sealed.
async fn check_groups(ec2: &plan::Ec2, sealed: bool, region: &Region) -> Result<(), Ec2Error> {
    let wanted = &ec2.security_groups;
    if wanted.is_empty() {
        return Ok(());
    }
    let found = security_groups::list(region, &[Filter::new("group-id", wanted)]).await?;
    for id in wanted {
        match found.iter().find(|group| group.id == *id) {
            None => {
                return Err(Ec2Error::NoGroup {
                    group: id.clone(),
                    region: region.name().to_owned(),
                });
            }
            Some(group) if sealed && group.allows_outbound() => {
                return Err(Ec2Error::LetsOut { group: id.clone() });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Returns this machine's address as a subnet sees it.
async fn address_seen_by(subnet: &Subnet) -> Result<IpNet, AwsError> {
    let failed = |problem: String| AwsError::OwnAddress { problem };
    let range = subnet
        .addresses
        .parse::<IpNet>()
        .map_err(|error| failed(error.to_string()))?;
    let address = address_towards(SocketAddr::new(range.addr(), SSH_PORT)).await;
    address
        .map(IpNet::from)
        .map_err(|error| failed(format!("no route to {}: {error}", subnet.addresses)))
}
