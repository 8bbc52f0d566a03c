//! Security groups.

use serde::Deserialize;

use super::tags::{TagSet, Tags};
use super::{Filter, ec2};
use crate::ec2::client::query::{Items, Query};
use crate::ec2::client::{AwsError, Region};

/// Security group as AWS describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecurityGroup {
    /// `sg-...`
    #[serde(rename = "groupId")]
    pub id: String,
    #[serde(default)]
    ip_permissions_egress: Items<serde::de::IgnoredAny>,
    #[serde(default, rename = "tagSet")]
    pub tags: TagSet,
}

impl SecurityGroup {
    /// Returns whether any outbound traffic is allowed.
    pub fn allows_outbound(&self) -> bool {
        !self.ip_permissions_egress.item.is_empty()
    }
}

/// Security group to create.
#[derive(Clone, Copy, Debug)]
pub struct NewSecurityGroup<'a> {
    /// Name, unique in its VPC.
    pub name: &'a str,
    /// Description, of the few characters that AWS accepts.
    pub description: &'a str,
    pub vpc: &'a str,
    pub tags: &'a Tags,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    group_id: String,
}

/// Lists security groups of the account.
pub async fn list(region: &Region, filters: &[Filter]) -> Result<Vec<SecurityGroup>, AwsError> {
    let query = ec2("DescribeSecurityGroups").filtered(filters);
    region.list(query).await
}

/// Creates a security group, which allows all outbound and no inbound traffic. Returns the existing one when a call whose
/// response was lost has created it.
pub async fn create(region: &Region, new: &NewSecurityGroup<'_>) -> Result<String, AwsError> {
    // Names are unique, so AWS refuses a repeated call: the group is created once.
    let query = ec2("CreateSecurityGroup")
        .with("GroupName", new.name)
        .with("GroupDescription", new.description)
        .with("VpcId", new.vpc)
        .tagging(&["security-group"], new.tags);
    match region.query::<Created>(query).await {
        Err(error) if error.error_code() == Some("InvalidGroup.Duplicate") => {
            let filters = [
                Filter::new("group-name", [new.name]),
                Filter::new("vpc-id", [new.vpc]),
            ];
            let is_ours = |group: &SecurityGroup| {
                let mut tags = new.tags.iter();
                tags.all(|(key, value)| group.tags.get(key) == Some(value))
            };
            let mut found = list(region, &filters).await?.into_iter();
            found.find(is_ours).map(|group| group.id).ok_or(error)
        }
        answer => Ok(answer?.group_id),
    }
}

/// Allows connections to a TCP port from these addresses (`192.0.2.7/32`).
pub async fn allow_inbound(
    region: &Region,
    group: &str,
    port: u16,
    from: &str,
) -> Result<(), AwsError> {
    let query = ec2("AuthorizeSecurityGroupIngress");
    let changed = change(region, query, group, "tcp", Some(port), from).await;
    accept_repeated(changed, "InvalidPermission.Duplicate")
}

/// Allows connections to a TCP port of these addresses.
pub async fn allow_outbound(
    region: &Region,
    group: &str,
    port: u16,
    to: &str,
) -> Result<(), AwsError> {
    let query = ec2("AuthorizeSecurityGroupEgress");
    let changed = change(region, query, group, "tcp", Some(port), to).await;
    accept_repeated(changed, "InvalidPermission.Duplicate")
}

/// Revokes the rules that allow all outbound traffic: every new group of a VPC has one for IPv4, and one for IPv6 where the
/// VPC has that.
pub async fn deny_outbound(region: &Region, group: &str) -> Result<(), AwsError> {
    let revoke = async |everything| {
        let query = ec2("RevokeSecurityGroupEgress");
        let changed = change(region, query, group, "-1", None, everything).await;
        accept_repeated(changed, "InvalidPermission.NotFound")
    };
    tokio::try_join!(revoke("0.0.0.0/0"), revoke("::/0"))?;
    Ok(())
}

async fn change(
    region: &Region,
    query: Query,
    group: &str,
    protocol: &str,
    port: Option<u16>,
    addresses: &str,
) -> Result<(), AwsError> {
    let (range, field) = if addresses.contains(':') {
        ("Ipv6Ranges", "CidrIpv6")
    } else {
        ("IpRanges", "CidrIp")
    };
    let query = query
        .with("GroupId", group)
        .with("IpPermissions.1.IpProtocol", protocol)
        .with_some("IpPermissions.1.FromPort", port)
        .with_some("IpPermissions.1.ToPort", port)
        .with(&format!("IpPermissions.1.{range}.1.{field}"), addresses);
    region.perform(query).await
}

/// Deletes a security group; refused with `DependencyViolation` while something is in it.
pub async fn delete(region: &Region, group: &str) -> Result<(), AwsError> {
    region
        .perform(ec2("DeleteSecurityGroup").with("GroupId", group))
        .await
}

/// Accepts the refusal of a change that was already made: the response to the first call may have been lost.
fn accept_repeated(result: Result<(), AwsError>, code: &str) -> Result<(), AwsError> {
    match result {
        Err(error) if error.error_code() == Some(code) => Ok(()),
        result => result,
    }
}
