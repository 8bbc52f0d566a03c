//! IAM policies: who may do what with which resources. Pure.

pub(crate) mod machine;
pub(crate) mod publish;
use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::client::run_tags::{IMAGE, RUN};

/// The language that policies are written in; AWS has named no later one.
const LANGUAGE: &str = "2012-10-17";

/// How regions of other partitions begin, and what ARNs there begin with: `partitions.json` of botocore.
const PARTITIONS: [(&str, &str); 6] = [
    ("cn-", "aws-cn"),
    ("us-gov-", "aws-us-gov"),
    ("us-iso-", "aws-iso"),
    ("us-isob-", "aws-iso-b"),
    ("eu-isoe-", "aws-iso-e"),
    ("eusc-", "aws-eusc"),
];

/// A policy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Policy {
    version: &'static str,
    #[serde(rename = "Statement")]
    statements: Vec<Statement>,
}

impl Policy {
    /// A policy that allows this, and nothing else.
    #[must_use]
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

    /// IAM wants every statement to have a name of its own.
    fn add(&mut self, mut statement: Statement) {
        if self.statements.contains(&statement) {
            return;
        }
        let is_taken = |sid: &str| self.statements.iter().any(|it| it.sid == sid);
        let name = statement.sid.clone();
        let mut number = 1;
        while is_taken(&statement.sid) {
            number += 1;
            statement.sid = format!("{name}{number}");
        }
        self.statements.push(statement);
    }
}

/// What may be done with some resources, and when.
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

/// What a condition compares with. One value is written without a list, which `Bool` and `Null` want.
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
    /// Allows these calls with these resources.
    #[must_use]
    pub fn allow(sid: &str, actions: &[&'static str], resources: Vec<String>) -> Self {
        Self {
            sid: sid.to_owned(),
            effect: "Allow",
            actions: actions.to_vec(),
            resources,
            conditions: BTreeMap::new(),
        }
    }

    /// The calls.
    #[must_use]
    pub fn actions(&self) -> &[&'static str] {
        &self.actions
    }

    /// Only while `operator` is true of what the request has under `key`, and these values.
    #[must_use]
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

    /// Only for what is made with karat's tags for this image.
    #[must_use]
    pub fn making(self, image: &str) -> Self {
        self.when("StringEquals", format!("aws:RequestTag/{IMAGE}"), [image])
            .when("Null", format!("aws:RequestTag/{RUN}"), ["false"])
    }

    /// Only for what karat has made for this image.
    #[must_use]
    pub fn made_for(self, image: &str) -> Self {
        self.when("StringEquals", format!("aws:ResourceTag/{IMAGE}"), [image])
    }

    /// Only in these regions; anywhere when none are named. For calls that AWS lets nobody limit to some resources.
    #[must_use]
    pub fn within(self, regions: &[String]) -> Self {
        if regions.is_empty() {
            return self;
        }
        self.when("StringEquals", "aws:RequestedRegion", regions)
    }
}

/// Every resource, for calls that AWS lets nobody limit to some.
#[must_use]
pub fn any() -> Vec<String> {
    vec!["*".to_owned()]
}

/// The ARNs of a kind of resource in each of these regions; in any, when none are named. EC2's images and snapshots have no
/// account in theirs, and that of others is not known: `account` is `""` or `"*"`.
#[must_use]
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
    let other = PARTITIONS.iter().find(|(of, _)| region.starts_with(of));
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
        let names: Vec<_> = policy.statements.iter().map(|it| &*it.sid).collect();
        assert_eq!(names, ["Use", "Use2"]);
    }
}
