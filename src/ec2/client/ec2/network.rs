//! Networks, and what lets traffic through to an instance.

use serde::Deserialize;

use super::tags::value;
use super::{Done, Filter, Items, Tag, Tags, ec2};
use crate::ec2::client::{AwsError, Region};

/// A part of a VPC, in one zone.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subnet {
    /// `subnet-...`
    #[serde(rename = "subnetId")]
    pub id: String,
    /// `vpc-...`
    #[serde(rename = "vpcId")]
    pub vpc: String,
    /// Its addresses: `10.0.1.0/24`.
    #[serde(default, rename = "cidrBlock")]
    pub addresses: String,
    /// Its instances get public addresses.
    #[serde(default, rename = "mapPublicIpOnLaunch")]
    pub is_public: bool,
}

/// A security group.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecurityGroup {
    /// `sg-...`
    #[serde(rename = "groupId")]
    pub id: String,
    /// Unique in its VPC.
    #[serde(rename = "groupName")]
    pub name: String,
    /// `vpc-...`
    #[serde(default, rename = "vpcId")]
    pub vpc: String,
    #[serde(default)]
    ip_permissions_egress: Items<serde::de::IgnoredAny>,
    #[serde(default)]
    tag_set: Items<Tag>,
}

impl SecurityGroup {
    /// Whether it lets anything out.
    #[must_use]
    pub fn lets_out(&self) -> bool {
        !self.ip_permissions_egress.item.is_empty()
    }

    /// The value of a tag.
    #[must_use]
    pub fn tag(&self, key: &str) -> Option<&str> {
        value(&self.tag_set.item, key)
    }
}

/// A security group to make.
#[derive(Clone, Copy, Debug)]
pub struct NewSecurityGroup<'a> {
    /// Unique in its VPC.
    pub name: &'a str,
    /// Of a few characters that AWS takes.
    pub description: &'a str,
    /// Where.
    pub vpc: &'a str,
    /// Tags from its first moment on.
    pub tags: &'a Tags,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subnets {
    #[serde(default)]
    subnet_set: Items<Subnet>,
    #[serde(default)]
    next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vpcs {
    #[serde(default)]
    vpc_set: Items<Vpc>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vpc {
    cidr_block: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Groups {
    #[serde(default)]
    security_group_info: Items<SecurityGroup>,
    #[serde(default)]
    next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    group_id: String,
}

impl Region {
    /// Subnets of the account.
    ///
    /// # Errors
    /// The call failed.
    pub async fn subnets(&self, filters: &[Filter]) -> Result<Vec<Subnet>, AwsError> {
        let query = ec2("DescribeSubnets").filtered(filters);
        let take = |page: Subnets| (page.subnet_set.item, page.next_token);
        self.pages(query, take).await
    }

    /// The addresses of a VPC.
    ///
    /// # Errors
    /// There is none, or the call failed.
    pub async fn addresses_of_vpc(&self, vpc: &str) -> Result<String, AwsError> {
        let query = ec2("DescribeVpcs").with_all("VpcId", [vpc]);
        let found: Vpcs = self.query(query).await?;
        let first = found.vpc_set.item.into_iter().next();
        first.map(|it| it.cidr_block).ok_or_else(|| AwsError::Gone {
            what: format!("VPC {vpc}"),
            region: self.name.clone(),
        })
    }

    /// Security groups of the account.
    ///
    /// # Errors
    /// The call failed.
    pub async fn security_groups(
        &self,
        filters: &[Filter],
    ) -> Result<Vec<SecurityGroup>, AwsError> {
        let query = ec2("DescribeSecurityGroups").filtered(filters);
        let take = |page: Groups| (page.security_group_info.item, page.next_token);
        self.pages(query, take).await
    }

    /// Makes a security group, which lets everything out and nothing in; or finds the one of this name that a lost answer has
    /// made.
    ///
    /// # Errors
    /// There is no such VPC, another one has the name, or the principal may not.
    pub async fn create_security_group(
        &self,
        new: &NewSecurityGroup<'_>,
    ) -> Result<String, AwsError> {
        // Sent again after a lost answer it is refused, since names are unique: it happens once.
        let query = ec2("CreateSecurityGroup")
            .with("GroupName", new.name)
            .with("GroupDescription", new.description)
            .with("VpcId", new.vpc)
            .tagging(&["security-group"], new.tags);
        match self.query::<Created>(query).await {
            Err(error) if error.error_code() == Some("InvalidGroup.Duplicate") => {
                let filters = [
                    Filter::new("group-name", [new.name]),
                    Filter::new("vpc-id", [new.vpc]),
                ];
                let mut found = self.security_groups(&filters).await?.into_iter();
                let is_ours = |it: &SecurityGroup| {
                    let mut tags = new.tags.iter();
                    tags.all(|(key, value)| it.tag(key) == Some(value))
                };
                found.find(is_ours).map(|it| it.id).ok_or(error)
            }
            answer => Ok(answer?.group_id),
        }
    }

    /// Lets a TCP port in from these addresses (`192.0.2.7/32`).
    ///
    /// # Errors
    /// There is no such group, or the principal may not.
    pub async fn let_in(&self, group: &str, port: u16, from: &str) -> Result<(), AwsError> {
        let query = ec2("AuthorizeSecurityGroupIngress");
        done_before(
            self.rule(query, group, "tcp", Some(port), from).await,
            "InvalidPermission.Duplicate",
        )
    }

    /// Lets a TCP port of these addresses be reached.
    ///
    /// # Errors
    /// There is no such group, or the principal may not.
    pub async fn let_out(&self, group: &str, port: u16, to: &str) -> Result<(), AwsError> {
        let query = ec2("AuthorizeSecurityGroupEgress");
        done_before(
            self.rule(query, group, "tcp", Some(port), to).await,
            "InvalidPermission.Duplicate",
        )
    }

    /// Takes back that everything is let out, which is so in every new group of a VPC; for IPv6 where that has it.
    ///
    /// # Errors
    /// There is no such group, or the principal may not.
    pub async fn let_nothing_out(&self, group: &str) -> Result<(), AwsError> {
        let revoke = async |everything| {
            let query = ec2("RevokeSecurityGroupEgress");
            done_before(
                self.rule(query, group, "-1", None, everything).await,
                "InvalidPermission.NotFound",
            )
        };
        tokio::try_join!(revoke("0.0.0.0/0"), revoke("::/0"))?;
        Ok(())
    }

    async fn rule(
        &self,
        query: crate::ec2::client::query::Query,
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
        self.query::<Done>(query).await.map(drop)
    }

    /// Removes a security group.
    ///
    /// # Errors
    /// There is none, something is in it (`DependencyViolation`), or the principal may not.
    pub async fn delete_security_group(&self, group: &str) -> Result<(), AwsError> {
        let query = ec2("DeleteSecurityGroup").with("GroupId", group);
        self.query::<Done>(query).await.map(drop)
    }
}

/// That it was so before is a success: an answer may have been lost.
fn done_before(result: Result<(), AwsError>, code: &str) -> Result<(), AwsError> {
    match result {
        Err(error) if error.error_code() == Some(code) => Ok(()),
        result => result,
    }
}
