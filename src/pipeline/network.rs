//! The network of a build: what its plan allows, and the record of what was got.

use std::collections::BTreeSet;

use super::{BuildError, Job};
use crate::machine::qemu::QemuMachine;
use crate::network::{Purpose, Rule, Rules, Seal, SealError, Served};
use crate::plan::OnRefused;
use crate::record::manifest::Request;
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

    pub(super) fn new_seal(&self) -> Result<Option<Seal>, SealError> {
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

/// What a manifest records of what a guest got.
pub(super) fn requests(seal: Option<&Seal>, ui: &Ui) -> Vec<Request> {
    record(seal.map(Seal::served).unwrap_or_default(), ui)
}

/// Sorted, each once, without secrets.
fn record(served: Vec<Served>, ui: &Ui) -> Vec<Request> {
    let requests = served.into_iter().map(|served| Request {
        url: ui.redact(&served.url),
        status: Some(served.status).filter(|status| *status != OK),
        sha256: served.content.map(|content| content.sha256),
        size: served.content.map(|content| content.size),
    });
    requests.collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::network::Content;

    #[test]
    fn requests_are_recorded_in_order_and_each_once() {
        let content = |text: &str| Content {
            sha256: Digest::of(text.as_bytes()),
            size: text.len() as u64,
        };
        let served = |url: &str, status, content| Served {
            url: url.to_owned(),
            status,
            content,
            rule: "network.allow[0]".to_owned(),
        };
        let recorded = record(
            vec![
                served("https://example.org/b", 200, Some(content("b"))),
                served("https://example.org/a", 404, Some(content("no"))),
                served("https://example.org/b", 200, Some(content("b"))),
                served("https://example.org/b", 200, None),
                served("https://example.org/b", 200, Some(content("another"))),
            ],
            &Ui::default(),
        );
        let told: Vec<_> = recorded
            .iter()
            .map(|request| (&request.url[19..], request.status, request.size))
            .collect();
        let mut expected = vec![
            ("/a", Some(404), Some(2)),
            ("/b", None, None),
            ("/b", None, Some(1)),
            ("/b", None, Some(7)),
        ];
        // Of two contents, the one with the smaller digest comes first.
        if Digest::of(b"another") < Digest::of(b"b") {
            expected.swap(2, 3);
        }
        assert_eq!(told, expected);
    }
}
