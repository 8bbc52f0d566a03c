//! IAM policies: documents that allow calls on resources. Pure.

mod permissions;

pub use permissions::{PublishOptions, for_build, for_publication};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use super::client::partition;

/// Version of the policy language; AWS has published no later one.
const LANGUAGE: &str = "2012-10-17";

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
    conditions: Conditions,
}

/// Values by operator and key.
type Conditions = BTreeMap<String, BTreeMap<String, Values>>;

/// Values that a condition compares with. A single value is written without a list, which `Bool` and `Null` require.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
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

    /// Adds the condition that `operator` holds for the value of `key` in the request and these values. Adds nothing if there are
    /// no values.
    fn add_condition(&mut self, operator: &str, key: &str, values: Vec<String>) {
        if !values.is_empty() {
            let keys = self.conditions.entry(operator.to_owned()).or_default();
            keys.insert(key.to_owned(), Values(values));
        }
    }
}

/// Returns an ARN in each of these regions; in any region if none are named.
fn in_regions(arn: &str, regions: &[String]) -> Vec<String> {
    let any = ["*".to_owned()];
    let regions = if regions.is_empty() { &any } else { regions };
    let fill = |region: &String| {
        arn.replace("{partition}", partition(region).0)
            .replace("{region}", region)
    };
    regions.iter().map(fill).collect()
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
            let pattern = "arn:{partition}:ec2:{region}::image/*";
            let found = in_regions(pattern, &[region.to_owned()]);
            assert_eq!(found, [expected]);
        }
        assert_eq!(
            in_regions("arn:{partition}:ssm:{region}:*:parameter/a", &[]),
            ["arn:aws:ssm:*:*:parameter/a"]
        );
    }

    #[test]
    fn a_policy_is_written_as_iam_reads_it() {
        let images = vec!["arn:aws:ec2:eu-west-1::image/*".to_owned()];
        let mut statement = Statement::allow("Remove", &["ec2:DeregisterImage"], images);
        let image = vec!["web".to_owned()];
        statement.add_condition("StringEquals", "aws:ResourceTag/karat:image", image);
        let policy = Policy::new(vec![statement]);
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
        let one = Statement::allow("Use", &["a:B"], vec!["*".to_owned()]);
        let other = Statement::allow("Use", &["a:C"], vec!["*".to_owned()]);
        let policy = Policy::new(vec![one.clone(), one.clone(), other, one]);
        let names: Vec<_> = policy
            .statements
            .iter()
            .map(|statement| &*statement.sid)
            .collect();
        assert_eq!(names, ["Use", "Use2"]);
    }
}
