//! `--if-changed`: comparison of a build's inputs with those of the newest image in the store.

use super::{Job, base_disk};
use crate::base::BaseContext;
use crate::ec2::client::ec2::images;
use crate::ec2::machine;
use crate::ec2::publish::publication;
use crate::os::hash_stream::{self, Stop};
use crate::os::run_dir::RunDir;
use crate::plan::{self, Arch, Builder, Firmware, Plan, Qemu};
use crate::provision::DeclaredPackages;
use crate::record::lock::{self, Lock, PackageRequest};
use crate::record::manifest::{self, Inputs, Network};
use crate::repository;
use crate::store::StoredManifest;
use crate::ui::text::with_causes;

/// Result of comparing template, base, lock and archives with the newest image.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// A build would make the newest image of this name again.
    Unchanged(Box<StoredManifest>),
    /// An input has changed or cannot be compared, for this reason.
    Changed(String),
    /// Only a package archive or an AMI is newer, for this reason: the build has to resolve again to get it.
    Moved(String),
}

/// Base and machine that a build would start from.
struct Start {
    locked: lock::LockedBase,
    recorded: manifest::Base,
    arch: Arch,
    firmware: Firmware,
    /// Newer AMI than the locked one, in words.
    newer: Option<String>,
}

impl Job<'_> {
    /// Compares the inputs of a build with those of the newest image of this name.
    ///
    /// With `Settings::locked` the lock file alone decides, and no archive is asked. An input that cannot be compared counts as
    /// changed. The values of secrets are not recorded, so changes of them are not detected.
    pub(crate) async fn verdict(&self) -> Verdict {
        match self.compare_with_newest().await {
            Ok((stored, None)) => Verdict::Unchanged(Box::new(stored)),
            Ok((_, Some(reason))) => Verdict::Moved(reason),
            Err(reason) => Verdict::Changed(reason),
        }
    }

    /// Returns the newest image, and the reason to resolve again if there is one. The error is the reason of a change.
    async fn compare_with_newest(&self) -> Result<(StoredManifest, Option<String>), String> {
        let (plan, settings) = (self.plan, self.settings);
        let store = settings.store;
        let stored = or_reason(store.newest(&plan.image.name))?
            .ok_or("the store has no image of that name")?;
        or_reason(store.image(&stored.manifest.outputs.image.digest))?;
        let lock = or_reason(Lock::read(&Lock::path_of(&plan.template.path)))?
            .ok_or("there is no lock file yet")?;
        let start = match &plan.builder {
            Builder::Qemu(guest) => self.start_of_guest(guest).await?,
            Builder::Host(_) => return Err("an existing host is provisioned every time".to_owned()),
            Builder::Ec2(ec2) => self.start_of_instance(ec2, &lock, &stored).await?,
        };
        if let Some(reason) = unpredictable(&stored.manifest.inputs.network) {
            return Err(reason);
        }
        self.compare_inputs(&lock, &start, &stored).await?;
        if start.newer.is_some() || settings.locked {
            return Ok((stored, start.newer));
        }
        let changed = or_reason(repository::changed(&lock, settings.cache).await)?;
        let reason = changed.first().map(|archive| {
            let name = format!("{} {}", archive.uri, archive.suite);
            format!("the archive {} has changed", name.trim_end())
        });
        Ok((stored, reason))
    }

    /// Compares the inputs of the plan with those of the stored image; the error is the first difference.
    async fn compare_inputs(
        &self,
        lock: &Lock,
        start: &Start,
        stored: &StoredManifest,
    ) -> Result<(), String> {
        let plan = self.plan;
        let architecture = Some(start.arch.name());
        let request = or_reason(DeclaredPackages::read(plan.packages.as_ref()))?.map_or_else(
            || PackageRequest::nothing(architecture),
            |asked| asked.request(architecture),
        );
        let differences = lock.differences(&request, Some(&start.locked));
        if let Some(difference) = differences.into_iter().next() {
            return Err(difference);
        }
        let (of_plan, of_base, digest) = (plan.clone(), start.recorded.clone(), lock.digest());
        let collect = move |stop: &Stop| super::manifest_inputs::collect(&of_plan, of_base, stop);
        let mut inputs = or_reason(hash_stream::blocking(collect).await)?;
        inputs.lock = Some(manifest::Lock { digest });
        if let Some(what) = difference(&stored.manifest.inputs, &inputs) {
            return Err(format!("{what} has changed"));
        }
        if !is_same_kind(stored, start, plan) {
            return Err("the kind of machine or file has changed".to_owned());
        }
        Ok(())
    }

    async fn start_of_guest(&self, guest: &Qemu) -> Result<Start, String> {
        let cache = self.settings.cache;
        let wanted = self.plan.base.as_ref().expect("a plan for QEMU has a base");
        let run = or_reason(RunDir::create(&cache.runs()))?;
        let context = BaseContext {
            cache,
            run: run.path(),
        };
        let base = base_disk::find_local(wanted, self.settings.store, context, self.ui).await;
        let base = or_reason(base)?.ok_or("the base is not in the cache")?;
        Ok(Start {
            locked: base.locked(),
            recorded: super::manifest_inputs::base_of(wanted, &base),
            arch: guest.arch,
            firmware: guest.firmware,
            newer: None,
        })
    }

    async fn start_of_instance(
        &self,
        ec2: &plan::Ec2,
        lock: &Lock,
        stored: &StoredManifest,
    ) -> Result<Start, String> {
        let Some(plan::Base::Ami(wanted)) = &self.plan.base else {
            unreachable!("a plan for EC2 has an AMI");
        };
        let pinned = lock
            .base
            .as_ref()
            .and_then(|base| base.ami.as_ref())
            .ok_or("the lock file names no AMI")?;
        let region = or_reason(super::ec2::region(ec2).await)?;
        let ami = or_reason(machine::pinned_ami(wanted, ec2.arch, &region, pinned).await)?
            .ok_or("the locked AMI is gone, or the template selects another one")?;
        let published = or_reason(publication::list(self.settings.store, stored.id))?;
        let published = published
            .iter()
            .map(|published| &published.publication)
            .rfind(|publication| publication.region == region.name())
            .ok_or("no AMI was made of the last image")?;
        if images::get(&region, &published.image).await.is_err() {
            return Err(format!(
                "{}, the AMI of the last image, is gone",
                published.image
            ));
        }
        let mut newer = None;
        if !self.settings.locked {
            let newest = or_reason(machine::newest_ami(wanted, ec2.arch, &region).await)?;
            let other = newest.pinned.id;
            newer = (other != pinned.id).then(|| format!("{other} is newer than {}", pinned.id));
        }
        Ok(Start {
            locked: ami.locked(),
            recorded: ami.recorded(),
            arch: ec2.arch,
            firmware: ami.firmware(ec2.arch),
            newer,
        })
    }
}

/// Compares architecture, firmware and format: a template that omits them takes the host's.
fn is_same_kind(stored: &StoredManifest, start: &Start, plan: &Plan) -> bool {
    let outputs = &stored.manifest.outputs;
    outputs.arch == start.arch.name()
        && outputs.firmware == start.firmware.name()
        && outputs.image.format == plan.output.format.name()
}

/// Returns the reason if only a build can tell whether the guest would get the same from the network again.
fn unpredictable(network: &Network) -> Option<String> {
    if network.open {
        return Some("an open network may give the guest other content".to_owned());
    }
    let known = |url: &str| {
        let mut allowed = network.allow.iter();
        allowed.any(|allow| allow.url == url && allow.sha256.is_some())
    };
    let request = network.requests.iter().find(|got| !known(&got.url))?;
    Some(format!(
        "the content of {} may have changed, since the template has no sha256 of it",
        request.url
    ))
}

/// Returns the first input that differs, in words. Every field is named, so that a new one is not forgotten.
fn difference(old: &Inputs, new: &Inputs) -> Option<String> {
    let Inputs {
        image,
        template,
        variables,
        secrets,
        base,
        packages,
        lock,
        files,
        steps,
        sources,
        finish,
        network,
        // Follows from the network.
        hermetic: _,
    } = new;
    let whole = [
        (*template != old.template, "the template"),
        (*image != old.image, "the description"),
        (*secrets != old.secrets, "where a secret comes from"),
        (*base != old.base, "the base"),
        (*packages != old.packages, "the list of packages"),
        (*lock != old.lock, "the lock"),
        // Without the guest's requests: they are a result of the build.
        (
            (network.open, &network.allow) != (old.network.open, &old.network.allow),
            "what the network allows",
        ),
        (*finish != old.finish, "what is to be dropped or kept"),
    ];
    if let Some((_, what)) = whole.iter().find(|(differs, _)| *differs) {
        return Some((*what).to_owned());
    }
    let variable = variables
        .iter()
        .chain(&old.variables)
        .find(|(name, value)| {
            variables.get(*name) != Some(value) || old.variables.get(*name) != Some(value)
        });
    if let Some((name, _)) = variable {
        return Some(format!("the variable `{name}`"));
    }
    if let Some(file) = first_difference(files, &old.files) {
        return Some(format!("the file {}", file.destination));
    }
    first_difference(steps, &old.steps)
        .map(|step| format!("what the step `{}` does", step.name))
        .or_else(|| (*sources != old.sources).then(|| "a file of the template".to_owned()))
}

/// Returns the first element that differs from the other list's at the same index.
fn first_difference<'a, T: PartialEq>(new: &'a [T], old: &'a [T]) -> Option<&'a T> {
    let differs = (0..new.len().max(old.len())).find(|index| new.get(*index) != old.get(*index))?;
    new.get(differs).or(old.get(differs))
}

/// Turns an error into a reason: one line, with its causes.
fn or_reason<T, E: std::error::Error>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| with_causes(&error).replace('\n', ", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::record::manifest::{Allow, Request as Got};

    #[test]
    fn content_is_predictable_only_by_its_digest() {
        let allow = |url: &str, sha256| Allow {
            url: url.to_owned(),
            sha256,
        };
        let digest = Digest::of(b"x");
        let network = |open, got: &[&str]| Network {
            open,
            allow: vec![
                allow("https://example.org/tool", Some(digest)),
                allow("https://example.org/tools/", None),
            ],
            requests: got
                .iter()
                .map(|url| Got {
                    url: (*url).to_owned(),
                    status: None,
                    sha256: Some(digest),
                    size: Some(1),
                })
                .collect(),
        };
        for (network, predictable) in [
            (network(false, &[]), true),
            (network(false, &["https://example.org/tool"]), true),
            (network(false, &["https://example.org/tools/a"]), false),
            (network(true, &[]), false),
        ] {
            assert_eq!(
                unpredictable(&network).is_none(),
                predictable,
                "{network:?}"
            );
        }
    }
}
