//! Log of served and refused requests.

use std::sync::{Mutex, PoisonError};

use crate::digest::Digest;

/// One request that the proxy served.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ServedRequest {
    /// Requested URL, without a login.
    pub url: String,
    /// HTTP status of the response.
    pub status: u16,
    /// Digest and size of the body; `None` for a HEAD request or an incomplete transfer.
    pub content: Option<ServedBody>,
    /// Name of the rule that allowed the request.
    pub rule: String,
}

/// Digest and size of a response body.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ServedBody {
    /// SHA-256 of the body.
    pub sha256: Digest,
    /// Number of bytes in the body.
    pub size: u64,
}

/// Shared by all connections of a proxy.
#[derive(Default, Debug)]
pub(super) struct Log {
    served: Mutex<Vec<ServedRequest>>,
    refused: Mutex<Vec<String>>,
}

impl Log {
    pub fn add(&self, served: ServedRequest) {
        lock(&self.served).push(served);
    }

    /// Records a refusal; returns true if it is new.
    pub fn refuse(&self, sentence: &str) -> bool {
        let mut refused = lock(&self.refused);
        let new = !refused.iter().any(|known| known == sentence);
        refused.push(sentence.to_owned());
        new
    }

    pub fn served(&self) -> Vec<ServedRequest> {
        lock(&self.served).clone()
    }

    pub fn refused(&self) -> Vec<String> {
        lock(&self.refused).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
