//! `karat verify --ec2`: compares the AMIs of an image with it, and checks the AWS targets of a channel.

use std::path::Path;

use futures_util::future::join_all;

use super::CommandError;
use super::shared::attestation_status::trusted_publications;
use crate::ec2::channel_target;
use crate::ec2::client::{Aws, Settings};
use crate::ec2::publish::{Publication, PublishError, Published, ami_check, read_back};
use crate::plan;
use crate::record::channel::ChannelName;
use crate::record::manifest::{Manifest, ManifestId};
use crate::sign::Trust;
use crate::store::{ChannelPolicy, Ec2Targets, Store};
use crate::ui::Ui;
use crate::ui::text::{terminal_safe, with_causes};

/// Result of the comparison with AWS.
#[derive(Debug, Default)]
pub(super) struct Ec2Report {
    /// Region and id of each AMI that matches the image.
    pub(super) verified: Vec<(String, String)>,
    pub(super) faults: Vec<String>,
}

/// Reads every AMI of an image block by block. With a channel, also checks its targets.
pub(super) async fn verify_amis(
    store: &Store,
    id: ManifestId,
    channel: Option<&ChannelName>,
    trust: Option<&Trust>,
    ui: &Ui,
) -> Result<Ec2Report, CommandError> {
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
    let published = trusted_publications(store, id, trust)?;
    let mut report = Ec2Report::default();
    if published.is_empty() {
        let signer = trust.map_or("", |_| " by a trusted signer");
        let fault = format!("{}: no AMI was attested{signer}", id.short());
        report.faults.push(fault);
    }
    let comparisons = published.iter().map(async |published| {
        let publication = &published.publication;
        let bar = ui.bar(&format!("reading {}", publication.region), None);
        let faults = compare(&aws, publication, &manifest).await;
        bar.advance(manifest.outputs.image.virtual_size);
        (publication, faults)
    });
    for (Publication { region, image, .. }, compared) in join_all(comparisons).await {
        match compared {
            Ok(faults) if faults.is_empty() => {
                report.verified.push((region.clone(), image.clone()));
            }
            Ok(faults) => report.faults.extend(faults.iter().map(|fault| {
                format!(
                    "{region}: {} {}",
                    terminal_safe(image),
                    terminal_safe(fault)
                )
            })),
            Err(error) => report.faults.push(with_causes(&error)),
        }
    }
    if let (Some(name), Some(targets)) = (channel, &targets) {
        let faults = target_faults(store, name, targets, &aws, &published).await;
        report.faults.extend(faults);
    }
    Ok(report)
}

/// Reports the AWS targets of a channel that do not name the published AMIs.
async fn target_faults(
    store: &Store,
    name: &ChannelName,
    targets: &Ec2Targets,
    aws: &Aws,
    published: &[Published],
) -> Vec<String> {
    let mut faults = Vec::new();
    if store.ec2_journal(name).exists() {
        faults.push(format!(
            "{name}: a move was interrupted at AWS; the next move recovers from it"
        ));
    }
    for region in &targets.regions {
        let mut publications = published.iter().map(|published| &published.publication);
        let Some(publication) = publications.find(|found| found.region == *region) else {
            faults.push(format!("{name}: the image has no AMI in {region}"));
            continue;
        };
        match channel_target::drift(&aws.region(region), targets, &publication.image).await {
            Ok(drift) => faults.extend(
                drift
                    .iter()
                    .map(|fault| format!("{name}: {}", terminal_safe(fault))),
            ),
            Err(error) => faults.push(with_causes(&error)),
        }
    }
    faults
}

/// Compares an AMI with its attestation by its metadata, and then with the image by its bytes. Returns the differences.
async fn compare(
    aws: &Aws,
    publication: &Publication,
    manifest: &Manifest,
) -> Result<Vec<String>, PublishError> {
    let image = &manifest.outputs.image;
    if let Some(recorded) = image.disk.filter(|disk| *disk != publication.disk) {
        let fault = format!(
            "was attested with the disk {}, but the image has {recorded}",
            publication.disk
        );
        return Ok(vec![fault]);
    }
    let region = aws.region(&publication.region);
    let faults = ami_check::differences(&region, publication).await?;
    if !faults.is_empty() {
        return Ok(faults);
    }
    match read_back::digest(&region, &publication.snapshot, image.virtual_size).await {
        Ok(disk) if disk == publication.disk => Ok(Vec::new()),
        Ok(disk) => Ok(vec![format!(
            "does not match the image: its disk is {disk}, expected {}",
            publication.disk
        )]),
        Err(PublishError::Aws(error)) if error.is_denied() => Ok(vec![format!(
            "cannot be read with these credentials: it belongs to account {}",
            publication.account
        )]),
        Err(error) => Err(error),
    }
}

/// Returns the AWS profile of the channel's targets, or of the template.
fn profile(manifest: &Manifest, targets: Option<&Ec2Targets>) -> Option<String> {
    if let Some(targets) = targets {
        return targets.profile.clone();
    }
    let inputs = &manifest.inputs;
    let name = Path::new("the template");
    let publish = plan::publication(name, &inputs.template.text, &inputs.variables);
    publish.ok().flatten().and_then(|publish| publish.profile)
}
