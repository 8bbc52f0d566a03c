//! Permissions for what a template needs: the rows of `permissions.toml` for its features, with its regions and names. Pure.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::{Conditions, Statement, in_regions};
use crate::plan::{Ami, Base, Ec2, Interface, Plan, PublishEc2};

/// The table `permissions.toml`, which describes the fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    permissions: Vec<Row>,
    resources: BTreeMap<String, String>,
    conditions: BTreeMap<String, Conditions>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(rename = "for")]
    feature: String,
    statement: String,
    calls: String,
    on: Vec<String>,
    #[serde(default, rename = "if")]
    conditions: Vec<String>,
}

static TABLE: LazyLock<Table> =
    LazyLock::new(|| toml::from_str(include_str!("permissions.toml")).expect("the tests read it"));

/// Permissions to include besides those for registering AMIs from snapshots.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PublishOptions {
    /// Upload snapshots, rather than only take them from instances.
    pub uploads: bool,
    /// Move the targets of channels.
    pub channels: bool,
    /// Parameters that channels move; empty allows any.
    pub parameters: Vec<String>,
    /// Remove AMIs that are no longer needed.
    pub prune: bool,
}

/// Returns the permissions to build an image in one of these regions, up to its snapshot; in any region if none are named.
pub fn for_build(plan: &Plan, ec2: &Ec2, regions: &[String]) -> Vec<Statement> {
    let mut request = Request::new(&plan.image.name, regions, ec2.kms_key.as_deref());
    request.add_build(plan, ec2);
    request.statements()
}

/// Returns the permissions to publish an image of this name.
pub fn for_publication(
    image: &str,
    settings: &PublishEc2,
    options: &PublishOptions,
) -> Vec<Statement> {
    let mut request = Request::new(image, &settings.regions, settings.kms_key.as_deref());
    request.add_publication(settings, options);
    request.statements()
}

/// Features and names that permissions are for.
struct Request<'a> {
    regions: &'a [String],
    /// Features by name; true for those in use.
    features: BTreeMap<&'static str, bool>,
    /// Values of the names in braces.
    values: BTreeMap<&'static str, Vec<String>>,
}

impl<'a> Request<'a> {
    fn new(image: &str, regions: &'a [String], kms_key: Option<&str>) -> Self {
        let alias = kms_key.filter(|key| key.starts_with("alias/"));
        let key = match kms_key.unwrap_or_default() {
            arn if arn.starts_with("arn:") => arn.to_owned(),
            // Permissions are granted for keys; an alias is a property of a key.
            id => {
                let id = if alias.is_some() { "*" } else { id };
                format!("arn:{{partition}}:kms:{{region}}:*:key/{id}")
            }
        };
        let is_chinese = regions.iter().any(|name| name.starts_with("cn-"));
        let service = ["ec2.amazonaws.com", "ec2.amazonaws.com.cn"][usize::from(is_chinese)];
        Self {
            regions,
            features: BTreeMap::from([
                ("kms-key", kms_key.is_some()),
                ("kms-alias", alias.is_some()),
            ]),
            values: BTreeMap::from([
                ("image", vec![image.to_owned()]),
                ("named-region", regions.to_vec()),
                ("key", vec![key]),
                ("alias", alias.map(str::to_owned).into_iter().collect()),
                ("ec2-service", vec![service.to_owned()]),
            ]),
        }
    }

    fn add_build(&mut self, plan: &Plan, ec2: &Ec2) {
        let is_session = plan.ssh.interface == Some(Interface::Ssm);
        let is_sealed = !plan.network.open;
        let has_new_group = ec2.security_groups.is_empty();
        self.features.extend([
            ("build", true),
            ("spot-instance", ec2.spot),
            ("on-demand-instance", !ec2.spot),
            ("instance-profile", ec2.instance_profile.is_some()),
            // Tests of the finished image.
            ("tests", !plan.tests.is_empty()),
            // Security groups of the template, or one that karat creates.
            ("existing-groups", !has_new_group),
            ("new-group", has_new_group),
            // Rule of the new group for SSH.
            (
                "ssh-rule",
                has_new_group && (!is_session || ec2.ingress.is_some()),
            ),
            // The new group must not allow outbound traffic, except to the endpoint of Systems Manager.
            ("sealed-group", has_new_group && is_sealed),
            (
                "sealed-session-group",
                has_new_group && is_sealed && is_session,
            ),
            // SSH through Systems Manager.
            ("session", is_session),
            ("sealed-session", is_session && is_sealed),
        ]);
        let ami = match &plan.base {
            Some(Base::Ami(Ami::Id(id))) => Some(id),
            _ => None,
        };
        let or_any = |name: Option<&String>| vec![name.map_or("*", String::as_str).to_owned()];
        let profile = match ec2.instance_profile.as_deref().unwrap_or("*") {
            arn if arn.starts_with("arn:") => arn.to_owned(),
            name => format!("arn:{{partition}}:iam::*:instance-profile/{name}"),
        };
        self.values.extend([
            ("ami", or_any(ami)),
            ("subnet", or_any(ec2.subnet.as_ref())),
            ("vpc", or_any(ec2.vpc.as_ref())),
            ("group", ec2.security_groups.clone()),
            ("profile", vec![profile]),
        ]);
    }

    fn add_publication(&mut self, settings: &PublishEc2, options: &PublishOptions) {
        let is_shared_with_accounts = !settings.accounts.is_empty();
        let is_shared = is_shared_with_accounts || !settings.organizations.is_empty();
        self.features.extend([
            // AMIs made from snapshots.
            ("publish", true),
            // Snapshots written through the EBS direct APIs.
            ("upload", options.uploads),
            ("share", is_shared),
            ("share-with-accounts", is_shared_with_accounts),
            (
                "deprecate",
                settings.deprecate_after.is_some() || options.prune,
            ),
            ("protect", settings.protect),
            ("unprotect", settings.protect || options.prune),
            // `karat promote` and `karat rollback`.
            ("channels", options.channels),
            // `karat prune --ec2`.
            ("prune", options.prune),
            ("channels-or-prune", options.channels || options.prune),
        ]);
        let names = options.parameters.iter();
        let mut parameters: Vec<_> = names
            .map(|name| name.trim_start_matches('/').to_owned())
            .collect();
        if parameters.is_empty() {
            parameters.push("*".to_owned());
        }
        self.values.insert("parameter", parameters);
    }

    fn statements(&self) -> Vec<Statement> {
        let mut statements: Vec<Statement> = Vec::new();
        let is_used = |row: &&Row| self.features.get(&*row.feature) == Some(&true);
        for row in TABLE.permissions.iter().filter(is_used) {
            let mut statement = statements
                .pop_if(|last| last.sid == row.statement)
                .unwrap_or_else(|| Statement::allow(&row.statement, &[], Vec::new()));
            statement.add_actions(row.calls.split_whitespace());
            let resources = row.on.iter().map(|name| &TABLE.resources[name]);
            statement.add_resources(resources.flat_map(|pattern| self.filled(pattern)));
            for name in &row.conditions {
                for (operator, keys) in &TABLE.conditions[name] {
                    for (key, values) in keys {
                        let values = values.0.iter().flat_map(|value| self.filled(value));
                        statement.add_condition(operator, key, values.collect());
                    }
                }
            }
            statements.push(statement);
        }
        statements
    }

    /// Fills in the names of a pattern, once for each of their values.
    fn filled(&self, pattern: &str) -> Vec<String> {
        let mut texts = vec![pattern.to_owned()];
        for (name, values) in &self.values {
            let name = format!("{{{name}}}");
            if pattern.contains(&name) {
                let fill = |text: &String| {
                    values
                        .iter()
                        .map(|value| text.replace(&name, value))
                        .collect::<Vec<_>>()
                };
                texts = texts.iter().flat_map(fill).collect();
            }
        }
        let mut filled: Vec<_> = texts
            .iter()
            .flat_map(|text| in_regions(text, self.regions))
            .collect();
        // Resources of IAM belong to all regions.
        filled.dedup();
        filled
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ec2::iam::Policy;
    use crate::plan::{self, Builder};

    fn settings() -> PublishEc2 {
        PublishEc2 {
            regions: vec!["eu-central-1".to_owned(), "us-east-1".to_owned()],
            ..PublishEc2::default()
        }
    }

    fn uploads() -> PublishOptions {
        PublishOptions {
            uploads: true,
            ..PublishOptions::default()
        }
    }

    /// Calls that are allowed, separated by spaces as in the table.
    fn actions(settings: &PublishEc2, also: &PublishOptions) -> String {
        let statements = for_publication("web", settings, also);
        let actions = statements.iter().flat_map(Statement::actions);
        let mut actions: Vec<_> = actions.copied().collect();
        actions.sort_unstable();
        actions.dedup();
        actions.join(" ")
    }

    const PLAIN: &str = "ebs:CompleteSnapshot ebs:GetSnapshotBlock ebs:ListSnapshotBlocks ebs:PutSnapshotBlock \
        ebs:StartSnapshot ec2:CreateTags ec2:DeleteSnapshot ec2:DeregisterImage ec2:DescribeImages \
        ec2:DescribeSnapshots ec2:RegisterImage";

    /// Calls that are allowed besides [`PLAIN`].
    fn more(settings: &PublishEc2, also: &PublishOptions) -> String {
        let found = actions(settings, also);
        let plain: Vec<_> = PLAIN.split(' ').collect();
        let more = found.split(' ').filter(|action| !plain.contains(action));
        more.collect::<Vec<_>>().join(" ")
    }

    /// Change of settings, and the calls that it adds.
    type Case<T> = (fn(&mut T), &'static str);

    #[test]
    fn only_what_the_template_says_is_allowed() {
        assert_eq!(actions(&settings(), &uploads()), PLAIN);
        let cases: [Case<PublishEc2>; 5] = [
            (
                |settings| settings.accounts.push("123456789012".to_owned()),
                "ec2:DescribeImageAttribute ec2:ModifyImageAttribute ec2:ModifySnapshotAttribute",
            ),
            (
                |settings| settings.organizations.push("arn:...".to_owned()),
                "ec2:DescribeImageAttribute ec2:ModifyImageAttribute",
            ),
            (
                |settings| settings.deprecate_after = Some(Duration::from_hours(1)),
                "ec2:EnableImageDeprecation",
            ),
            (
                |settings| settings.protect = true,
                "ec2:DisableImageDeregistrationProtection ec2:EnableImageDeregistrationProtection",
            ),
            (
                |settings| settings.kms_key = Some("alias/disks".to_owned()),
                "kms:CreateGrant kms:Decrypt kms:DescribeKey kms:GenerateDataKeyWithoutPlaintext \
                 kms:ReEncrypt*",
            ),
        ];
        for (change, expected) in cases {
            let mut settings = settings();
            change(&mut settings);
            assert_eq!(more(&settings, &uploads()), expected, "{settings:?}");
        }
    }

    #[test]
    fn more_is_allowed_when_it_is_asked_for() {
        let cases: [Case<PublishOptions>; 2] = [
            (
                |also| also.prune = true,
                "autoscaling:DescribeAutoScalingGroups autoscaling:DescribeLaunchConfigurations \
                 ec2:DeleteLaunchTemplateVersions ec2:DeleteTags ec2:DescribeInstances \
                 ec2:DescribeLaunchTemplateVersions ec2:DescribeLaunchTemplates \
                 ec2:DisableImageDeprecation ec2:DisableImageDeregistrationProtection \
                 ec2:EnableImageDeprecation",
            ),
            (
                |also| also.channels = true,
                "ec2:CreateLaunchTemplateVersion ec2:DeleteLaunchTemplateVersions \
                 ec2:DescribeLaunchTemplateVersions ec2:DescribeLaunchTemplates \
                 ec2:ModifyLaunchTemplate ssm:DeleteParameter ssm:GetParameter ssm:PutParameter",
            ),
        ];
        for (change, expected) in cases {
            let mut also = uploads();
            change(&mut also);
            assert_eq!(more(&settings(), &also), expected, "{also:?}");
        }
    }

    #[test]
    fn the_table_names_what_there_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("web.toml");
        let text = "[image]\nname = \"web\"\n[base.ami]\nid = \"ami-01234567\"\n[builder.ec2]\n";
        std::fs::write(&path, text).unwrap();
        let plan = plan::load(&path, &plan::Inputs::default()).unwrap();
        let Builder::Ec2(ec2) = &plan.builder else {
            panic!("{:?}", plan.builder);
        };
        let mut request = Request::new("web", &[], None);
        request.add_build(&plan, ec2);
        request.add_publication(&settings(), &uploads());
        for row in &TABLE.permissions {
            assert!(
                request.features.contains_key(&*row.feature),
                "{}",
                row.feature
            );
            for name in &row.on {
                let pattern = &TABLE.resources[name];
                let is_filled = |arn: &String| !arn.replace("${", "").contains('{');
                assert!(request.filled(pattern).iter().all(is_filled), "{pattern}");
            }
            for name in &row.conditions {
                assert!(TABLE.conditions.contains_key(name), "{name}");
            }
        }
    }

    #[test]
    fn whatever_is_changed_is_karat_s_own() {
        for statement in for_publication("web", &settings(), &uploads()) {
            let text = serde_json::to_string(&statement).unwrap();
            let is_search = statement
                .actions()
                .iter()
                .all(|action| action.contains(":Describe"));
            let is_limited = text.contains("Tag/karat:image\":\"web\"");
            assert!(is_limited || is_search, "{text}");
            assert_eq!(text.contains("\"*\""), is_search, "{text}");
        }
    }

    #[test]
    fn keys_are_named_by_what_is_known_of_them() {
        let resources = |key: &str| {
            let settings = PublishEc2 {
                regions: vec!["us-east-1".to_owned()],
                kms_key: Some(key.to_owned()),
                ..PublishEc2::default()
            };
            let mut statements = for_publication("web", &settings, &uploads());
            statements.retain(|statement| statement.sid == "UseTheKey");
            let policy = serde_json::to_value(Policy::new(statements)).unwrap();
            let first = &policy["Statement"][0];
            let resource = first["Resource"][0].as_str().unwrap().to_owned();
            (resource, first["Condition"].is_object())
        };
        let arn = "arn:aws:kms:us-east-1:123456789012:key/12-34";
        for (key, resource, is_conditional) in [
            ("alias/disks", "arn:aws:kms:us-east-1:*:key/*", true),
            ("12-34", "arn:aws:kms:us-east-1:*:key/12-34", false),
            (arn, arn, false),
        ] {
            assert_eq!(resources(key), (resource.to_owned(), is_conditional));
        }
    }
}
