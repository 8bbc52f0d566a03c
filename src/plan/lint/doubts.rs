//! Values that are valid, and that a build probably refuses.

use super::LintWarning;
use crate::plan::{Base, Builder, Ignore, Plan};
use crate::record::lock::Manager;
use crate::time::Timestamp;

/// Words in the names of disks with apt.
const DEB_DISTRIBUTIONS: [&str; 2] = ["debian", "ubuntu"];
/// Words in the names of disks with dnf.
const RPM_DISTRIBUTIONS: [&str; 6] = ["fedora", "rocky", "almalinux", "centos", "rhel", "oracle"];

impl Plan {
    pub(super) fn doubts(&self) -> Vec<LintWarning> {
        let bootstrap = self.base.iter().filter_map(|base| match base {
            Base::Bootstrap(base) => base.lint(),
            _ => None,
        });
        let mut doubts: Vec<_> = bootstrap.collect();
        doubts.extend(self.packages_doubt());
        doubts.extend(self.argument_doubts());
        doubts.extend(self.output_doubt());
        let now = Timestamp::now();
        let expired = self.policy.ignore.iter();
        doubts.extend(expired.filter_map(|ignore| expired_doubt(ignore, now)));
        doubts
    }

    /// Returns a warning if the name of the base says that it has another package manager.
    fn packages_doubt(&self) -> Option<LintWarning> {
        let name = match self.base.as_ref()? {
            Base::File { path, .. } => path.file_name()?.to_string_lossy().to_lowercase(),
            Base::Url { url, .. } => url.to_lowercase(),
            _ => return None,
        };
        let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
        let (declared, other) = match self.packages.as_ref()?.manager {
            Manager::Apt if has(&RPM_DISTRIBUTIONS) && !has(&DEB_DISTRIBUTIONS) => ("apt", "dnf"),
            Manager::Dnf if has(&DEB_DISTRIBUTIONS) && !has(&RPM_DISTRIBUTIONS) => ("dnf", "apt"),
            _ => return None,
        };
        Some(LintWarning::new(
            format!("the base {name} probably has no {declared}"),
            format!("declare the packages in [packages.{other}]"),
        ))
    }

    /// Returns a warning of each option of QEMU that has its value in the same string.
    fn argument_doubts(&self) -> Vec<LintWarning> {
        let Builder::Qemu(guest) = &self.builder else {
            return Vec::new();
        };
        let joined = guest.extra_args.iter().filter_map(|argument| {
            let (option, value) = argument.trim().split_once(char::is_whitespace)?;
            let value = value.trim_start();
            option.starts_with('-').then(|| {
                LintWarning::new(
                    format!("QEMU has no option {argument:?}"),
                    format!("write two strings in `extra_args`: {option:?}, {value:?}"),
                )
            })
        });
        joined.collect()
    }

    fn output_doubt(&self) -> Option<LintWarning> {
        let directory = self.output.path.as_ref()?.parent()?;
        (!directory.exists()).then(|| {
            LintWarning::new(
                format!(
                    "the directory {} of `output.path` does not exist",
                    directory.display()
                ),
                format!("run `mkdir -p {}` before the build", directory.display()),
            )
        })
    }
}

fn expired_doubt(ignore: &Ignore, now: Timestamp) -> Option<LintWarning> {
    let until = ignore.until.filter(|until| *until < now)?.to_string();
    let day = until.split('T').next().unwrap_or_default();
    let what = [&ignore.id, &ignore.package, &ignore.path];
    let what: Vec<&str> = what.into_iter().flatten().map(String::as_str).collect();
    Some(LintWarning::new(
        format!(
            "findings of {} were accepted until {day} only",
            what.join(" ")
        ),
        "set a later `until`, or remove the table [[policy.ignore]]",
    ))
}
