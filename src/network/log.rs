//! What passed through a proxy, and what did not.

use std::sync::{Mutex, PoisonError};

use crate::digest::Digest;

/// One request that was served.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Served {
    /// What was fetched, without a login.
    pub url: String,
    /// The HTTP status with which it was answered.
    pub status: u16,
    /// What came; `None` when only the head was asked for, or when not all of it was taken.
    pub content: Option<Content>,
    /// The line of the template that allows it, or another name of the reason.
    pub rule: String,
}

/// What a body was.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Content {
    /// SHA-256 of all of it.
    pub sha256: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// Filled by the connections of a proxy.
#[derive(Default, Debug)]
pub(super) struct Log {
    served: Mutex<Vec<Served>>,
    /// One sentence each.
    refused: Mutex<Vec<String>>,
}

impl Log {
    pub fn add(&self, served: Served) {
        lock(&self.served).push(served);
    }

    /// Returns whether this was not refused before.
    pub fn refuse(&self, sentence: &str) -> bool {
        let mut refused = lock(&self.refused);
        let new = !refused.iter().any(|known| known == sentence);
        refused.push(sentence.to_owned());
        new
    }

    pub fn served(&self) -> Vec<Served> {
        lock(&self.served).clone()
    }

    pub fn refused(&self) -> Vec<String> {
        lock(&self.refused).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
