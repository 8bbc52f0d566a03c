//! IAM policies: documents that allow calls on resources. Pure.

mod permissions;

pub use permissions::{PublishOptions, for_build, for_publication};

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::client::run_tags::{IMAGE, RUN};

/// Version of the policy language; AWS has published no later one.
const LANGUAGE: &str = "2012-10-17";

/// Prefixes of the regions of other partitions, with the partitions' names in ARNs: `partitions.json` of botocore.
const PARTITIONS: [(&str, &str); 6] = [
    ("cn-", "aws-cn"),
    ("us-gov-", "aws-us-gov"),
    ("us-iso-", "aws-iso"),
    ("us-isob-", "aws-iso-b"),
    ("eu-isoe-", "aws-iso-e"),
    ("eusc-", "aws-eusc"),
];

/// Policy document.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Policy {
    version: &'static str,
    #[serde(rename = "Statement")]
    statements: Vec<Statement>,
}

impl Policy {
    /// Makes a policy that allows these statements and nothing else.
    pub fn new(statements: Vec<Statement>) -> Self {
        let mut policy = Self {
            version: LANGUAGE,
            statements: Vec::new(),
        };
        for statement in statements {
            policy.add(statement);
        }
        policy
    }

    /// Adds a statement, unless it is there, and renames it if its id is taken: IAM requires unique ids.
    fn add(&mut self, mut statement: Statement) {
        if self.statements.contains(&statement) {
            return;
        }
        let is_taken = |sid: &str| self.statements.iter().any(|other| other.sid == sid);
        let name = statement.sid.clone();
        let mut number = 1;
        while is_taken(&statement.sid) {
            number += 1;
            statement.sid = format!("{name}{number}");
        }
        self.statements.push(statement);
    }
}

/// Statement that allows calls on resources under conditions.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    sid: String,
    effect: &'static str,
    #[serde(rename = "Action")]
    actions: Vec<&'static str>,
    #[serde(rename = "Resource")]
    resources: Vec<String>,
    #[serde(rename = "Condition", skip_serializing_if = "BTreeMap::is_empty")]
    conditions: BTreeMap<&'static str, BTreeMap<String, Values>>,
}

/// Values that a condition compares with. A single value is written without a list, which `Bool` and `Null` require.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Values(Vec<String>);

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &*self.0 {
            [value] => value.serialize(serializer),
            values => values.serialize(serializer),
        }
    }
}

impl Statement {
    /// Makes a statement that allows these calls on these resources.
    pub fn allow(sid: &str, actions: &[&'static str], resources: Vec<String>) -> Self {
        Self {
            sid: sid.to_owned(),
            effect: "Allow",
            actions: actions.to_vec(),
            resources,
            conditions: BTreeMap::new(),
        }
    }

    /// Adds calls that are not allowed yet.
    fn add_actions(&mut self, actions: impl Iterator<Item = &'static str>) {
        for action in actions {
            if !self.actions.contains(&action) {
                self.actions.push(action);
            }
        }
    }

    /// Adds resources that are not covered yet.
    fn add_resources(&mut self, resources: impl Iterator<Item = String>) {
        for resource in resources {
            if !self.resources.contains(&resource) {
                self.resources.push(resource);
            }
        }
    }

    #[cfg(test)]
    fn actions(&self) -> &[&'static str] {
        &self.actions
    }

    /// Adds the condition that `operator` holds for the value of `key` in the request and these values.
    pub fn when<T: Into<String>>(
        mut self,
        operator: &'static str,
        key: impl Into<String>,
        values: impl IntoIterator<Item = T>,
    ) -> Self {
        let values = Values(values.into_iter().map(Into::into).collect());
        let keys = self.conditions.entry(operator).or_default();
        keys.insert(key.into(), values);
        self
    }

    /// Restricts it to the creation of resources with karat's tags for this image.
    pub fn making(self, image: &str) -> Self {
        self.when("StringEquals", format!("aws:RequestTag/{IMAGE}"), [image])
            .when("Null", format!("aws:RequestTag/{RUN}"), ["false"])
    }

    /// Restricts it to resources that karat has created for this image.
    pub fn made_for(self, image: &str) -> Self {
        self.when("StringEquals", format!("aws:ResourceTag/{IMAGE}"), [image])
    }

    /// Restricts it to these regions, unless none are named. For calls that cannot be restricted to resources.
    pub fn within(self, regions: &[String]) -> Self {
        if regions.is_empty() {
            return self;
        }
        self.when("StringEquals", "aws:RequestedRegion", regions)
    }
}

/// Returns the resource that stands for all, for calls that cannot be restricted to resources.
pub fn any() -> Vec<String> {
    vec!["*".to_owned()]
}

/// Returns the ARNs of a kind of resource in each of these regions; in any region if none are named. The ARNs of images and
/// snapshots have no account, and the account of other resources is not known: `account` is `""` or `"*"`.
pub fn arns(service: &str, regions: &[String], account: &str, resource: &str) -> Vec<String> {
    let arn = |region: &str| {
        let partition = partition(region);
        format!("arn:{partition}:{service}:{region}:{account}:{resource}")
    };
    if regions.is_empty() {
        return vec![arn("*")];
    }
    regions.iter().map(|region| arn(region)).collect()
}

fn partition(region: &str) -> &'static str {
    let other = PARTITIONS
        .iter()
        .find(|(prefix, _)| region.starts_with(prefix));
    other.map_or("aws", |(_, partition)| partition)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arns_are_of_the_region_s_partition() {
        for (region, expected) in [
            ("eu-central-1", "arn:aws:ec2:eu-central-1::image/*"),
            ("cn-north-1", "arn:aws-cn:ec2:cn-north-1::image/*"),
            ("us-gov-west-1", "arn:aws-us-gov:ec2:us-gov-west-1::image/*"),
            (
                "us-isob-east-1",
                "arn:aws-iso-b:ec2:us-isob-east-1::image/*",
            ),
        ] {
            let found = arns("ec2", &[region.to_owned()], "", "image/*");
            assert_eq!(found, [expected]);
        }
        assert_eq!(
            arns("ssm", &[], "*", "parameter/a"),
            ["arn:aws:ssm:*:*:parameter/a"]
        );
    }

    #[test]
    fn a_policy_is_written_as_iam_reads_it() {
        let images = arns("ec2", &["eu-west-1".to_owned()], "", "image/*");
        let statement = Statement::allow("Remove", &["ec2:DeregisterImage"], images);
        let policy = Policy::new(vec![statement.made_for("web")]);
        let expected = json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Sid": "Remove",
                "Effect": "Allow",
                "Action": ["ec2:DeregisterImage"],
                "Resource": ["arn:aws:ec2:eu-west-1::image/*"],
                "Condition": {"StringEquals": {"aws:ResourceTag/karat:image": "web"}},
            }],
        });
        assert_eq!(serde_json::to_value(policy).unwrap(), expected);
    }

    #[test]
    fn statements_are_there_once_and_have_names_of_their_own() {
        let one = Statement::allow("Use", &["a:B"], any());
        let other = Statement::allow("Use", &["a:C"], any());
        let policy = Policy::new(vec![one.clone(), one.clone(), other, one]);
        let names: Vec<_> = policy
            .statements
            .iter()
            .map(|statement| &*statement.sid)
            .collect();
        assert_eq!(names, ["Use", "Use2"]);
    }
}
