//! What an AMI of an image is called, and how it boots.

use super::PublishError;
use crate::plan::{BootMode, PublishEc2};
use crate::record::manifest::{Manifest, ManifestId};

/// The device that the system is on. EBS volumes are `NVMe` devices in instances of this decade, whatever this says.
pub(super) const ROOT_DEVICE: &str = "/dev/xvda";
/// A volume is made of whole GiB.
const GIB: u64 = 1 << 30;

/// What is the same in every region.
#[derive(Clone, Debug)]
pub struct About {
    /// The manifest.
    pub id: ManifestId,
    /// The image's own name.
    pub image: String,
    /// The AMI's, unique in an account and region.
    pub name: String,
    /// Of AMI and snapshot.
    pub description: String,
    /// AWS's name of it.
    pub architecture: &'static str,
    /// AWS's name of it.
    pub boot_mode: &'static str,
    /// Of the snapshot, in GiB.
    pub size: u64,
}

impl About {
    /// What is to be made of an image.
    ///
    /// # Errors
    /// Its architecture or firmware is unknown, or nothing that AWS has.
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
}

fn unknown(what: &'static str, found: &str) -> PublishError {
    PublishError::Unknown {
        what,
        found: found.to_owned(),
    }
}

/// What the template says, or else the image's own, as far as AWS takes it: ASCII, 255 characters.
fn description(settings: &PublishEc2, manifest: &Manifest) -> String {
    let own = &manifest.inputs.image.description;
    let text = settings.description.as_ref().unwrap_or(own);
    let ascii = text
        .chars()
        .map(|it| if it.is_whitespace() { ' ' } else { it });
    let ascii = ascii.filter(|it| it.is_ascii_graphic() || *it == ' ');
    ascii.take(255).collect::<String>().trim().to_owned()
}
