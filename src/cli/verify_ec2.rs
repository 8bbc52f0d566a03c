//! `karat verify --ec2`: whether the AMIs of an image are the image, and what a channel moves at AWS names them.

use std::path::Path;

use futures_util::future::join_all;

use super::shared::channel_move::published;
use super::shared::failure::chain;
use super::shared::store_args::plain;
use crate::ec2::channel_target;
use crate::ec2::client::{Aws, Settings};
use crate::ec2::publish::{Publication, PublishError, ami_check, read_back};
use crate::record::channel::ChannelName;
use crate::record::manifest::{Manifest, ManifestId};
use crate::sign::Trust;
use crate::store::{ChannelPolicy, Ec2Targets, Store};
use crate::template;
use crate::ui::Ui;

/// What was found at AWS.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// AMIs that are the image, each with its region.
    pub(super) proved: Vec<(String, String)>,
    /// What is not as it should be.
    pub(super) faults: Vec<String>,
}

/// Reads every AMI of an image block by block. With a channel, what it moves is looked at, too.
pub(super) async fn look(
    store: &Store,
    id: ManifestId,
    channel: Option<&ChannelName>,
    trust: Option<&Trust>,
    ui: &Ui,
) -> Result<Found, super::verify::VerifyError> {
    let manifest = store.manifest(id)?.manifest;
    let targets = match channel {
        Some(name) => ChannelPolicy::read(store, name)?.ec2,
        None => None,
    };
    let settings = Settings {
        profile: profile(&manifest, targets.as_ref()),
        region: None,
    };
    let aws = Aws::connect(&settings).await?;
    let published = published(store, id, trust)?;
    let mut found = Found::default();
    if published.is_empty() {
        let who = trust.map_or("", |_| " by anybody you trust");
        found
            .faults
            .push(format!("{}: no AMI of it is stated{who}", id.short()));
    }
    let looks = published.iter().map(async |it| {
        let said = &it.publication;
        let bar = ui.bar(&format!("reading {}", said.region), None);
        let looked = one(&aws, said, &manifest).await;
        bar.advance(manifest.outputs.image.virtual_size);
        (said, looked)
    });
    for (said, looked) in join_all(looks).await {
        match looked {
            Ok(faults) if faults.is_empty() => {
                let place = (said.region.clone(), said.image.clone());
                found.proved.push(place);
            }
            Ok(faults) => {
                let place = format!("{}: {}", said.region, plain(&said.image));
                let faults = faults.into_iter();
                found
                    .faults
                    .extend(faults.map(|it| format!("{place} {}", plain(&it))));
            }
            Err(error) => found.faults.push(chain(&error, ": ")),
        }
    }
    if let (Some(name), Some(targets)) = (channel, &targets) {
        if store.ec2_journal(name).exists() {
            let what = "a move of it at AWS was interrupted; the next move ends it";
            found.faults.push(format!("{name}: {what}"));
        }
        for region in &targets.regions {
            let said = published.iter().map(|it| &it.publication);
            let Some(said) = said.into_iter().find(|it| it.region == *region) else {
                found
                    .faults
                    .push(format!("{name}: there is no AMI of it in {region}"));
                continue;
            };
            match channel_target::drift(&aws.region(region), targets, &said.image).await {
                Ok(drift) => found
                    .faults
                    .extend(drift.iter().map(|it| format!("{name}: {}", plain(it)))),
                Err(error) => found.faults.push(chain(&error, ": ")),
            }
        }
    }
    Ok(found)
}

/// What is wrong with one AMI: by what AWS says of it, and if that is right, by its bytes.
async fn one(
    aws: &Aws,
    said: &Publication,
    manifest: &Manifest,
) -> Result<Vec<String>, PublishError> {
    let image = &manifest.outputs.image;
    if let Some(recorded) = image.disk.filter(|it| *it != said.disk) {
        let told = format!(
            "was stated to be the disk {}, and the image is {recorded}",
            said.disk
        );
        return Ok(vec![told]);
    }
    let region = aws.region(&said.region);
    let faults = ami_check::faults(&region, said).await?;
    if !faults.is_empty() {
        return Ok(faults);
    }
    match read_back::digest(&region, &said.snapshot, image.virtual_size).await {
        Ok(found) if found == said.disk => Ok(Vec::new()),
        Ok(found) => Ok(vec![format!(
            "is not the image: its disk is {found}, and should be {}",
            said.disk
        )]),
        Err(PublishError::Aws(error)) if error.is_denied() => Ok(vec![format!(
            "cannot be read with these credentials: it belongs to account {}",
            said.account
        )]),
        Err(error) => Err(error),
    }
}

fn profile(manifest: &Manifest, targets: Option<&Ec2Targets>) -> Option<String> {
    if let Some(targets) = targets {
        return targets.profile.clone();
    }
    let inputs = &manifest.inputs;
    let name = Path::new("the template");
    let publish = template::publication(name, &inputs.template.text, &inputs.variables);
    publish.ok().flatten().and_then(|it| it.profile)
}
