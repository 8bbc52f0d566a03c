//! The network of a build: what its plan allows, and the record of what was got.

use std::collections::BTreeSet;

use super::{BuildError, Job};
use crate::builder::qemu::QemuMachine;
use crate::manifest::Request;
use crate::network::{Purpose, Rule, Rules, Seal, SealError};
use crate::plan::OnRefused;
use crate::ui::Ui;

/// The status of an answer that needs no mention.
const OK: u16 = 200;

impl Job<'_> {
    /// Seals a machine, unless the template opens the network.
    pub(super) async fn seal(&self, machine: &mut QemuMachine) -> Result<(), BuildError> {
        match self.new_seal()? {
            Some(seal) => Ok(machine.seal_with(seal).await?),
            None => Ok(()),
        }
    }

    /// As [`Self::seal`], for a boot of the finished image.
    pub(super) async fn seal_finished(&self, machine: &mut QemuMachine) -> Result<(), BuildError> {
        match self.new_seal()? {
            Some(seal) => Ok(machine.seal_with(seal.tolerant()).await?),
            None => Ok(()),
        }
    }

    fn new_seal(&self) -> Result<Option<Seal>, SealError> {
        let network = &self.plan.network;
        if network.open {
            return Ok(None);
        }
        let rules = network.allow.iter().enumerate().map(|(index, allow)| {
            let rule = Rule::new(&allow.url, format!("network.allow[{index}]"))?;
            Ok::<_, SealError>(match allow.sha256 {
                Some(digest) => rule.from_file(digest, self.settings.cache.path(&digest)),
                None => rule,
            })
        });
        let rules = rules.collect::<Result<Vec<_>, _>>()?;
        let template = self.plan.template.path.file_name().unwrap_or_default();
        let purpose = Purpose::Steps(template.to_string_lossy().into_owned());
        let strict = network.on_refused == OnRefused::Fail;
        Seal::new(Rules::new(rules, purpose), strict, self.ui).map(Some)
    }
}

/// What a manifest records of what was served: sorted, each once, without secrets.
pub(super) fn requests(seal: Option<&Seal>, ui: &Ui) -> Vec<Request> {
    let served = seal.map(Seal::served).unwrap_or_default();
    let requests = served.into_iter().map(|served| Request {
        url: ui.redact(&served.url),
        status: Some(served.status).filter(|status| *status != OK),
        sha256: served.content.map(|content| content.sha256),
        size: served.content.map(|content| content.size),
    });
    requests.collect::<BTreeSet<_>>().into_iter().collect()
}
