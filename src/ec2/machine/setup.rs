//! What an instance needs before it is launched: somewhere to be, and a way in.

use std::net::SocketAddr;

use ipnet::IpNet;
use tokio_util::sync::CancellationToken;

use super::{Ec2Error, Rental};
use crate::ec2::client::caller::address_towards;
use crate::ec2::client::ec2::{Filter, NewSecurityGroup, Subnet};
use crate::ec2::client::{AwsError, Region, eventually};
use crate::plan::{self, Interface};

const SSH: u16 = 22;
/// The agent of Systems Manager asks for work there.
const HTTPS: u16 = 443;

/// Where an instance is launched, and what lets SSH in to it.
#[derive(Debug)]
pub struct Place {
    /// Subnets to try, the best first.
    pub(super) subnets: Vec<Subnet>,
    /// Security groups.
    pub(super) groups: Vec<String>,
    /// The one among them that is the run's own.
    pub(super) temporary: Option<String>,
    /// The VPC's own security group, which takes an instance that has stopped.
    pub(super) default_group: Option<String>,
}

/// Looks up and makes what an instance needs; what does not depend on each other at the same time. `name` tells its security group
/// from others of the run.
///
/// # Errors
/// Something is not there, or the principal may not.
pub async fn set_up(
    plan: &plan::Plan,
    ec2: &plan::Ec2,
    rental: &Rental,
    name: &str,
    cancel: &CancellationToken,
) -> Result<Place, Ec2Error> {
    let interface = plan.ssh.interface.unwrap_or(Interface::PublicIp);
    let region = &rental.region;
    let look = async {
        let subnets = subnets(ec2, interface, region);
        let public = async {
            let asks = ec2.ingress.is_none()
                && ec2.security_groups.is_empty()
                && interface == Interface::PublicIp;
            Ok::<_, Ec2Error>(if asks {
                Some(IpNet::from(region.own_address().await?))
            } else {
                None
            })
        };
        let existing = existing(ec2, plan.network.open, region);
        let (subnets, public, ()) = tokio::try_join!(subnets, public, existing)?;
        let vpc = subnets[0].vpc.clone();
        let default = async {
            let filters = [
                Filter::new("vpc-id", [&vpc]),
                Filter::new("group-name", ["default"]),
            ];
            // Only a short cut: without it, the group is waited for.
            let found = region.security_groups(&filters).await.unwrap_or_default();
            Ok::<_, Ec2Error>(found.into_iter().next().map(|it| it.id))
        };
        let from = async {
            Ok(match (&ec2.ingress, public, interface) {
                (Some(ingress), _, _) => Some(ingress.clone()),
                (None, Some(public), _) => Some(public.to_string()),
                (None, None, Interface::Ssm) => None,
                (None, None, _) => Some(towards(&subnets[0]).await?.to_string()),
            })
        };
        let agent = async {
            let sealed = interface == Interface::Ssm && !plan.network.open;
            Ok(if sealed {
                Some(region.addresses_of_vpc(&vpc).await?)
            } else {
                None
            })
        };
        let (default, from, agent) = tokio::try_join!(default, from, agent)?;
        Ok::<_, Ec2Error>((subnets, vpc, default, from, agent))
    };
    let found = cancel.run_until_cancelled(look).await;
    let (subnets, vpc, default_group, from, agent) = found.unwrap_or(Err(Ec2Error::Cancelled))?;
    if !ec2.security_groups.is_empty() {
        return Ok(Place {
            subnets,
            groups: ec2.security_groups.clone(),
            temporary: None,
            default_group,
        });
    }
    let group = rental.make(cancel, make_group(&vpc, name, rental)).await?;
    let rules = async {
        let sealed = !plan.network.open;
        let closed = async {
            if sealed {
                eventually(async || region.let_nothing_out(&group).await).await
            } else {
                Ok(())
            }
        };
        let opened = async {
            match &from {
                Some(from) => eventually(async || region.let_in(&group, SSH, from).await).await,
                None => Ok(()),
            }
        };
        let agent = async {
            match &agent {
                Some(to) => eventually(async || region.let_out(&group, HTTPS, to).await).await,
                None => Ok(()),
            }
        };
        tokio::try_join!(closed, opened, agent)?;
        Ok::<_, Ec2Error>(())
    };
    let done = cancel.run_until_cancelled(rules).await;
    done.unwrap_or(Err(Ec2Error::Cancelled))?;
    Ok(Place {
        subnets,
        groups: vec![group.clone()],
        temporary: Some(group),
        default_group,
    })
}

async fn make_group(vpc: &str, name: &str, rental: &Rental) -> Result<String, Ec2Error> {
    let name = format!("karat-{}-{name}", rental.id());
    let new = NewSecurityGroup {
        name: &name,
        description: "SSH to an instance that karat builds an image on",
        vpc,
        tags: rental.tags(),
    };
    let group = rental.region.create_security_group(&new).await?;
    rental.know(&group);
    Ok(group)
}

/// The subnet of the template, or those of its VPC or the default one.
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
    // In a VPC with both kinds, a public address leads nowhere from the private ones, and the other way round.
    let wants_public = interface == Interface::PublicIp;
    found.sort_by_key(|it| (it.is_public != wants_public, it.id.clone()));
    if found.is_empty() {
        let region = region.name().to_owned();
        return Err(Ec2Error::NoSubnet { region, place });
    }
    Ok(found)
}

/// Looks whether the security groups of the template are there, and let nothing out of a sealed network.
async fn existing(ec2: &plan::Ec2, open: bool, region: &Region) -> Result<(), Ec2Error> {
    let wanted = &ec2.security_groups;
    if wanted.is_empty() {
        return Ok(());
    }
    let found = region
        .security_groups(&[Filter::new("group-id", wanted)])
        .await?;
    for id in wanted {
        match found.iter().find(|it| it.id == *id) {
            None => {
                return Err(Ec2Error::NoGroup {
                    group: id.clone(),
                    region: region.name().to_owned(),
                });
            }
            Some(group) if !open && group.lets_out() => {
                return Err(Ec2Error::LetsOut { group: id.clone() });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// This machine's address as a subnet sees it.
async fn towards(subnet: &Subnet) -> Result<IpNet, AwsError> {
    let failed = |problem: String| AwsError::OwnAddress { problem };
    let range = subnet.addresses.parse::<IpNet>();
    let range = range.map_err(|error| failed(error.to_string()))?;
    let address = address_towards(SocketAddr::new(range.addr(), SSH)).await;
    address
        .map(IpNet::from)
        .map_err(|error| failed(format!("there is no way to {}: {error}", subnet.addresses)))
}
