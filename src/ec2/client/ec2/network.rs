//! Subnets and VPCs.

use serde::Deserialize;

use super::{Filter, ec2};
use crate::ec2::client::{AwsError, Region};

/// Part of a VPC, in one availability zone.
#[derive(Clone, Debug, Deserialize)]
pub struct Subnet {
    /// `subnet-...`
    #[serde(rename = "subnetId")]
    pub id: String,
    /// `vpc-...`
    #[serde(rename = "vpcId")]
    pub vpc: String,
    /// Address range, such as `10.0.1.0/24`.
    #[serde(default, rename = "cidrBlock")]
    pub addresses: String,
    /// Its instances get public addresses.
    #[serde(default, rename = "mapPublicIpOnLaunch")]
    pub is_public: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vpc {
    cidr_block: String,
}

impl Region {
    /// Lists subnets of the account.
    pub async fn subnets(&self, filters: &[Filter]) -> Result<Vec<Subnet>, AwsError> {
        self.list(ec2("DescribeSubnets").filtered(filters)).await
    }

    /// Returns the address range of a VPC.
    pub async fn vpc_addresses(&self, vpc: &str) -> Result<String, AwsError> {
        let query = ec2("DescribeVpcs").with_all("VpcId", [vpc]);
        let found: Vec<Vpc> = self.list(query).await?;
        let vpc = self.first_of(found, format!("VPC {vpc}"))?;
        Ok(vpc.cidr_block)
    }
}
