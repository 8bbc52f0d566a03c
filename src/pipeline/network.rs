//! Network policy of a build, and the record of its requests.

use std::collections::BTreeSet;

use super::{BuildError, Job};
use crate::machine::guest::{Backend, Guest};
use crate::network::{EgressError, EgressProxy, ProxyPurpose, ServedRequest, UrlRule, UrlRules};
use crate::plan::OnRefused;
use crate::record::manifest::Request;
use crate::ui::Ui;

/// HTTP status that is not recorded.
const OK: u16 = 200;

impl Job<'_> {
    /// Seals a machine, unless the template opens the network.
    pub(super) async fn seal_guest<B: Backend>(
        &self,
        machine: &mut Guest<B>,
    ) -> Result<(), BuildError> {
        match self.new_seal()? {
            Some(seal) => Ok(machine.seal_with(seal).await?),
            None => Ok(()),
        }
    }

    /// Seals a machine that runs the finished image: a refused request does not fail its tests.
    pub(super) async fn seal_test_guest<B: Backend>(
        &self,
        machine: &mut Guest<B>,
    ) -> Result<(), BuildError> {
        match self.new_seal()? {
            Some(seal) => Ok(machine.seal_with(seal.tolerant()).await?),
            None => Ok(()),
        }
    }

    fn new_seal(&self) -> Result<Option<EgressProxy>, EgressError> {
        let network = &self.plan.network;
        if network.open {
            return Ok(None);
        }
        let rules = network.allow.iter().enumerate().map(|(index, allow)| {
            let rule = UrlRule::new(&allow.url, format!("network.allow[{index}]"))?;
            Ok::<_, EgressError>(match allow.sha256 {
                Some(digest) => rule.from_file(digest, self.settings.cache.path(&digest)),
                None => rule,
            })
        });
        let rules = rules.collect::<Result<Vec<_>, _>>()?;
        let template = self.plan.template.path.file_name().unwrap_or_default();
        let purpose = ProxyPurpose::Steps(template.to_string_lossy().into_owned());
        let strict = network.on_refused == OnRefused::Fail;
        EgressProxy::new(UrlRules::new(rules, purpose), strict, self.ui).map(Some)
    }
}

/// Returns the guest's requests as the manifest records them.
pub(super) fn requests(seal: Option<&EgressProxy>, ui: &Ui) -> Vec<Request> {
    record(seal.map(EgressProxy::served).unwrap_or_default(), ui)
}

/// Sorts and deduplicates the requests, and redacts secrets.
fn record(served: Vec<ServedRequest>, ui: &Ui) -> Vec<Request> {
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
    use crate::network::ServedBody;

    #[test]
    fn requests_are_recorded_in_order_and_each_once() {
        let content = |text: &str| ServedBody {
            sha256: Digest::of(text.as_bytes()),
            size: text.len() as u64,
        };
        let served = |url: &str, status, content| ServedRequest {
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
