//! Template -> plan: checks every value and fills in every default. Pure: conditions on host files are returned as a list.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::check::{Checker, is_plain_name};
use super::{
    Builder, Format, Image, LeftOutStep, Output, Plan, PublishEc2, SecretSource, Ssh,
    TemplateSource,
};
use crate::template::files::{Need, NeedKind};
use crate::template::problem::Problem;
use crate::template::schema::{self, Str, Template};
use crate::template::spanned::Spanned;
use crate::template::tree::Removed;

/// Inputs of a plan besides the template.
pub(super) struct PlanInputs<'a> {
    pub source: TemplateSource,
    pub variables: BTreeMap<String, String>,
    pub secrets: BTreeMap<String, SecretSource>,
    /// Absolute directory of the template.
    pub dir: &'a Path,
    pub home: Option<&'a Path>,
    /// Replacements for paths of host files, by the path in the template.
    pub moved: &'a BTreeMap<String, PathBuf>,
    /// Entries that were invalid and are reported already.
    pub removed: &'a Removed,
}

/// A plan with its problems and its conditions on host files.
pub(super) struct MadePlan {
    /// `None` only if there are problems.
    pub plan: Option<Plan>,
    pub needs: Vec<Need>,
    pub problems: Vec<Problem>,
}

pub(super) fn make(template: &Template, given: PlanInputs<'_>) -> MadePlan {
    let mut checker = Checker::new(given.dir, given.home, given.removed, given.moved);
    let plan = checker.plan(template, given);
    MadePlan {
        plan: checker.problems.is_empty().then_some(plan),
        needs: checker.needs,
        problems: checker.problems,
    }
}

/// Checks only the `[publish]` table.
pub(super) fn publish_only(
    template: &Template,
    dir: &Path,
    removed: &Removed,
) -> (Option<PublishEc2>, Vec<Problem>) {
    let moved = BTreeMap::new();
    let mut checker = Checker::new(dir, None, removed, &moved);
    let publish = checker.publish(template.publish.as_ref());
    (publish, checker.problems)
}

/// Checks only the `[builder]` and `[ssh]` tables.
pub(super) fn machine_only(template: &Template, removed: &Removed) -> Option<(Builder, Ssh)> {
    let moved = BTreeMap::new();
    let mut checker = Checker::new(Path::new("."), None, removed, &moved);
    let builder = checker.builder(template.builder.as_ref());
    let ssh = checker.ssh(template.ssh.as_ref(), &builder);
    checker.problems.is_empty().then_some((builder, ssh))
}

impl Checker<'_> {
    fn plan(&mut self, template: &Template, given: PlanInputs<'_>) -> Plan {
        let builder = self.builder(template.builder.as_ref());
        let image = self.image(template.image.as_ref());
        let base = self.base(template.base.as_ref(), &builder);
        self.disk_tables(template, &builder);
        self.disk_fits(template.builder.as_ref(), &builder, base.as_ref());
        self.dnf_on_debian(template.packages.as_ref(), base.as_ref());
        let ssh = self.ssh(template.ssh.as_ref(), &builder);
        let network = self.network(template.network.as_ref(), &builder);
        self.one_network(template.builder.as_ref(), &network);
        let kind = match builder {
            Builder::Qemu(_) => "qemu",
            Builder::Host(_) => "host",
            Builder::Ec2(_) => "ec2",
        };
        let files = template
            .files
            .iter()
            .filter_map(|file| self.upload(&file.span(), file.get_ref()))
            .collect();
        let tests = template
            .test
            .iter()
            .map(|test| self.test(&test.span(), test.get_ref()))
            .collect();
        let mut finish = self.finish(template.finish.as_ref());
        let (steps, mut left_out) = self.steps(&template.provision, kind);
        let (on_error, others) = self.steps(&template.on_error, kind);
        left_out.extend(others.into_iter().map(|step| LeftOutStep {
            reason: format!("on error, {}", step.reason),
            ..step
        }));
        // A snapshot stays as the instance left it.
        finish.rebuild &= kind != "ec2";
        Plan {
            template: given.source,
            image,
            variables: given.variables,
            secrets: given.secrets,
            base,
            builder,
            ssh,
            network,
            packages: self.packages(template.packages.as_ref()),
            files,
            steps,
            left_out,
            on_error,
            tests,
            finish,
            policy: self.policy(template.policy.as_ref()),
            output: self.output(template.output.as_ref()),
            publish: self.publish(template.publish.as_ref()),
            sources: std::mem::take(&mut self.sources),
        }
    }

    fn image(&mut self, image: Option<&Spanned<schema::Image>>) -> Image {
        let help = "add [image] with `name = \"web\"`";
        let Some(image) = image else {
            if !self.removed.has(&(0..0), "image") {
                self.report(Problem::nowhere("the table [image] is missing").help(help));
            }
            // Continue with a dummy name, to find other problems too.
            return Image {
                name: String::new(),
                description: String::new(),
            };
        };
        let span = image.span();
        let image = image.get_ref();
        let name = match &image.name {
            None => {
                self.missing(&span, "name", "add `name = \"web\"`");
                String::new()
            }
            Some(name) => self.image_name(name),
        };
        Image {
            name,
            description: image.description.clone().unwrap_or_default(),
        }
    }

    fn image_name(&mut self, name: &Str) -> String {
        let text = name.get_ref();
        if !is_plain_name(text) {
            let problem = Problem::at(name.span(), format!("invalid image name {text:?}"));
            self.report(problem.help("names consist of a-z, 0-9 and -, and do not start with -"));
        }
        text.clone()
    }

    fn output(&mut self, output: Option<&Spanned<schema::Output>>) -> Output {
        let formats = [Format::Qcow2, Format::Raw, Format::Vmdk, Format::Vhd];
        let formats = formats.map(|format| (format.name(), format));
        let defaults = schema::Output::default();
        let output = output.map_or(&defaults, Spanned::get_ref);
        Output {
            format: self.choice("format", output.format.as_ref(), &formats, Format::Qcow2),
            path: output
                .path
                .as_ref()
                .map(|path| self.needed(path, NeedKind::Absent)),
        }
    }
}
