//! Whether a build would only make again what the store has already.

use crate::base;
use crate::ec2::machine;
use crate::ec2::publish::publication;
use crate::os::hash_stream;
use crate::os::run_dir::RunDir;
use crate::pipeline::Settings;
use crate::plan::{self, Arch, Builder, Firmware, Plan, Qemu};
use crate::provision::Asked;
use crate::record::lock::{self, Lock, Request};
use crate::record::manifest::{self, Inputs, Network};
use crate::repository;
use crate::store::{Store, StoreError, Stored};
use crate::ui::Ui;

/// What a look at template, base, lock and archives gave.
#[derive(Debug)]
pub enum Verdict {
    /// The newest image of that name is what a build would make.
    Unchanged(Box<Stored>),
    /// Something is another, or cannot be told: here is what.
    Changed(String),
    /// Only an archive has something new, which a build has to resolve anew to get: here is which.
    Moved(String),
}

/// Compares what a build would start from with what the newest image of that name was made from.
///
/// With `locked` the lock alone decides, and no archive is asked. Whatever cannot be told is a change, with its reason:
/// a build then finds out. The values of secrets are recorded nowhere, so a change of one is not seen.
pub async fn verdict(plan: &Plan, settings: &Settings<'_>, locked: bool, ui: &Ui) -> Verdict {
    match look(plan, settings, locked, ui).await {
        Ok((stored, None)) => Verdict::Unchanged(Box::new(stored)),
        Ok((_, Some(reason))) => Verdict::Moved(reason),
        Err(reason) => Verdict::Changed(reason),
    }
}

async fn look(
    plan: &Plan,
    settings: &Settings<'_>,
    locked: bool,
    ui: &Ui,
) -> Result<(Stored, Option<String>), String> {
    let stored = newest(settings.store, &plan.image.name).map_err(|error| said(&error))?;
    let stored = stored.ok_or("the store has no image of that name")?;
    let image = &stored.manifest.outputs.image.digest;
    settings.store.image(image).map_err(|error| said(&error))?;
    let lock = Lock::read(&Lock::path_of(&plan.template.path)).map_err(|error| said(&error))?;
    let lock = lock.ok_or("there is no lock yet")?;
    let start = match &plan.builder {
        Builder::Qemu(guest) => start_of_guest(plan, guest, settings, ui).await?,
        Builder::Host(_) => return Err("an existing host is provisioned every time".to_owned()),
        Builder::Ec2(ec2) => start_of_instance(plan, ec2, &lock, &stored, settings, locked).await?,
    };
    if let Some(reason) = untold(&stored.manifest.inputs.network) {
        return Err(reason);
    }

    let asked = Asked::read(&plan.packages).map_err(|error| said(&error))?;
    let architecture = Some(start.arch.name());
    let request = asked.map_or_else(
        || Request::nothing(architecture),
        |asked| asked.request(architecture),
    );
    if let Some(difference) = lock
        .differences(&request, Some(&start.locked))
        .into_iter()
        .next()
    {
        return Err(difference);
    }
    let (of_plan, of_base, digest) = (plan.clone(), start.recorded.clone(), lock.digest());
    let inputs =
        hash_stream::blocking(move |stop| super::manifest_inputs::collect(&of_plan, of_base, stop));
    let mut inputs = inputs.await.map_err(|error| said(&error))?;
    inputs.lock = Some(manifest::Lock { digest });
    if let Some(what) = difference(&stored.manifest.inputs, &inputs) {
        return Err(format!("{what} has changed"));
    }
    if !is_such(&stored, &start, plan) {
        return Err("the kind of machine or file has changed".to_owned());
    }
    if let Some(reason) = start.newer {
        return Ok((stored, Some(reason)));
    }
    if !locked {
        let changed = repository::changed(&lock, settings.cache).await;
        if let Some(archive) = changed.map_err(|error| said(&error))?.first() {
            let name = format!("{} {}", archive.uri, archive.suite);
            let reason = format!("the archive {} has changed", name.trim_end());
            return Ok((stored, Some(reason)));
        }
    }
    Ok((stored, None))
}

/// What a build would start from.
struct Start {
    locked: lock::Base,
    recorded: manifest::Base,
    arch: Arch,
    firmware: Firmware,
    /// There is something newer to start from: here is what.
    newer: Option<String>,
}

async fn start_of_guest(
    plan: &Plan,
    guest: &Qemu,
    settings: &Settings<'_>,
    ui: &Ui,
) -> Result<Start, String> {
    let cache = settings.cache;
    let wanted = plan.base.as_ref().expect("a plan for QEMU has a base");
    let run = RunDir::create(&cache.runs()).map_err(|error| error.to_string())?;
    let places = base::Places {
        cache,
        store: settings.store,
        run: run.path(),
    };
    let base = base::at_hand(wanted, places, ui).await;
    let base = base.map_err(|error| said(&error))?;
    let base = base.ok_or("the base is not in the cache")?;
    Ok(Start {
        locked: base.locked(),
        recorded: super::manifest_inputs::base_of(wanted, &base),
        arch: guest.arch,
        firmware: guest.firmware,
        newer: None,
    })
}

async fn start_of_instance(
    plan: &Plan,
    ec2: &plan::Ec2,
    lock: &Lock,
    stored: &Stored,
    settings: &Settings<'_>,
    locked: bool,
) -> Result<Start, String> {
    let Some(plan::Base::Ami(wanted)) = &plan.base else {
        unreachable!("a plan for EC2 has an AMI");
    };
    let pinned = lock.base.as_ref().and_then(|base| base.ami.as_ref());
    let pinned = pinned.ok_or("the lock names no AMI")?;
    let region = super::ec2::region(ec2)
        .await
        .map_err(|error| said(&error))?;
    let ami = machine::pinned(wanted, ec2.arch, &region, pinned).await;
    let ami = ami.map_err(|error| said(&error))?;
    let ami = ami.ok_or("the AMI of the lock is gone, or another one is asked for")?;
    let made = publication::of(settings.store, stored.id).map_err(|error| said(&error))?;
    let mut made = made.iter().map(|it| &it.publication);
    let made = made.rfind(|it| it.region == region.name());
    let made = made.ok_or("no AMI was made of the last image")?;
    if region.image(&made.image).await.is_err() {
        return Err(format!(
            "{}, which was made of the last image, is gone",
            made.image
        ));
    }
    let mut newer = None;
    if !locked {
        let newest = machine::newest(wanted, ec2.arch, &region).await;
        let newest = newest.map_err(|error| said(&error))?;
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

/// The image of that name that was built last.
fn newest(store: &Store, name: &str) -> Result<Option<Stored>, StoreError> {
    let mut newest = None;
    for id in store.ids()? {
        let stored = store.manifest(id)?;
        if stored.manifest.inputs.image.name != name {
            continue;
        }
        let built = store.records_of(id)?.last().map(|record| record.finished);
        if newest.as_ref().is_none_or(|(when, _)| built > *when) {
            newest = Some((built, stored));
        }
    }
    Ok(newest.map(|(_, stored)| stored))
}

/// Whether the machine and the file are of the kind that the plan asks for: what a template leaves out is the host's.
fn is_such(stored: &Stored, start: &Start, plan: &Plan) -> bool {
    let outputs = &stored.manifest.outputs;
    outputs.arch == start.arch.name()
        && outputs.firmware == start.firmware.name()
        && outputs.image.format == plan.output.format.name()
}

/// Why nobody can tell without a build whether the guest would get the same from the network again.
fn untold(network: &Network) -> Option<String> {
    if network.open {
        return Some("what comes from an open network cannot be told".to_owned());
    }
    let known = |url: &str| {
        let mut allowed = network.allow.iter();
        allowed.any(|allow| allow.url == url && allow.sha256.is_some())
    };
    let request = network.requests.iter().find(|got| !known(&got.url))?;
    Some(format!(
        "what is at {} now cannot be told without its sha256",
        request.url
    ))
}

/// The first thing that is another, in words. Every field is named here, so that a new one is not forgotten.
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
        // What the guest got of that is no input of the next build.
        (
            (network.open, &network.allow) != (old.network.open, &old.network.allow),
            "what the network allows",
        ),
        (*finish != old.finish, "what is to be dropped or kept"),
    ];
    if let Some((_, what)) = whole.iter().find(|(differs, _)| *differs) {
        return Some((*what).to_owned());
    }
    let name = variables.iter().chain(&old.variables);
    let mut name = name.filter(|(name, value)| {
        variables.get(*name) != Some(value) || old.variables.get(*name) != Some(value)
    });
    if let Some((name, _)) = name.next() {
        return Some(format!("the variable `{name}`"));
    }
    if let Some(file) = other(files, &old.files) {
        return Some(format!("the file {}", file.destination));
    }
    let step = other(steps, &old.steps);
    step.map(|step| format!("what the step `{}` does", step.name))
        .or_else(|| (*sources != old.sources).then(|| "a file of the template".to_owned()))
}

/// The first of a list that is not in the other at the same place.
fn other<'a, T: PartialEq>(new: &'a [T], old: &'a [T]) -> Option<&'a T> {
    let differs = (0..new.len().max(old.len())).find(|index| new.get(*index) != old.get(*index))?;
    new.get(differs).or(old.get(differs))
}

/// An error in one line, with its causes.
fn said(error: &dyn std::error::Error) -> String {
    super::error::with_causes(error).replace('\n', ", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::record::manifest::{Allow, Request as Got};

    #[test]
    fn what_a_guest_got_is_known_only_by_its_digest() {
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
        for (network, told) in [
            (network(false, &[]), true),
            (network(false, &["https://example.org/tool"]), true),
            (network(false, &["https://example.org/tools/a"]), false),
            (network(true, &[]), false),
        ] {
            assert_eq!(untold(&network).is_none(), told, "{network:?}");
        }
    }
}
