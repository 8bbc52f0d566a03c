//! Metadata of an AMI that is made from an image: names, tags, architecture, boot mode.

use super::PublishError;
use crate::ec2::client::ec2::Tags;
use crate::ec2::client::run_tags::MANIFEST;
use crate::plan::{BootMode, PublishEc2};
use crate::record::manifest::{Manifest, ManifestId};
use crate::size::GIB;

/// Device that holds the system. In current instances EBS volumes are `NVMe` devices, regardless of this name.
pub(super) const ROOT_DEVICE: &str = "/dev/xvda";

/// Metadata that is the same in every region.
#[derive(Clone, Debug)]
pub struct AmiMetadata {
    /// Id of the manifest.
    pub id: ManifestId,
    /// Name of the image.
    pub image: String,
    /// Name of the AMI, unique in an account and region.
    pub name: String,
    /// Description of AMI and snapshot.
    pub description: String,
    /// AWS's name of the architecture.
    pub architecture: &'static str,
    /// AWS's name of the boot mode.
    pub boot_mode: &'static str,
    /// Size of the snapshot, in GiB.
    pub size: u64,
}

impl AmiMetadata {
    /// Derives the metadata. Refuses an image whose architecture or firmware is unknown or not available at AWS.
    pub fn new(
        id: ManifestId,
        manifest: &Manifest,
        settings: &PublishEc2,
    ) -> Result<Self, PublishError> {
        let outputs = &manifest.outputs;
        let image = &manifest.inputs.image.name;
        let prefix = settings.name.as_ref().unwrap_or(image);
        Ok(Self {
            id,
            image: image.clone(),
            name: format!("{prefix}-{}", id.short()),
            description: description(settings, manifest),
            architecture: match outputs.arch.as_str() {
                "x86_64" => "x86_64",
                "aarch64" => "arm64",
                _ => return Err(unknown("architecture", &outputs.arch)),
            },
            boot_mode: match (settings.boot_mode, outputs.firmware.as_str()) {
                (Some(mode), _) => mode.name(),
                (None, "bios") => BootMode::LegacyBios.name(),
                (None, "uefi") => BootMode::Uefi.name(),
                _ => return Err(unknown("firmware", &outputs.firmware)),
            },
            size: outputs.image.virtual_size.div_ceil(GIB).max(1),
        })
    }

    /// Returns the tags of AMI and snapshot: the template's `own`, those of the `run`, and the image's.
    pub fn tags(&self, own: &Tags, run: &Tags) -> Tags {
        let mut tags = own.clone();
        tags.extend(run.clone());
        tags.insert(MANIFEST.to_owned(), self.id.to_string());
        tags.insert("Name".to_owned(), self.name.clone());
        tags
    }
}

fn unknown(what: &'static str, found: &str) -> PublishError {
    PublishError::Unknown {
        what,
        found: found.to_owned(),
    }
}

/// Returns the description of the template, or else of the image, reduced to what AWS accepts: 255 ASCII characters.
fn description(settings: &PublishEc2, manifest: &Manifest) -> String {
    let own = &manifest.inputs.image.description;
    let text = settings.description.as_ref().unwrap_or(own);
    let ascii = text
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| c.is_ascii_graphic() || *c == ' ');
    ascii.take(255).collect::<String>().trim().to_owned()
}
