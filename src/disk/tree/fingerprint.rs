//! Fingerprints of trees, to compare them.

use std::hash::{Hash as _, Hasher};

use sha2::{Digest as _, Sha256};

use super::{Content, ContentChecks, Tree};
use crate::digest::Digest;
use crate::disk::read::FileType;

/// Returns a digest of everything that the listing of a tree contains, with the checksums of files in place of their digests.
/// It is for comparisons within one run of karat, and is never stored.
#[must_use]
pub fn fingerprint(tree: &Tree, checks: &ContentChecks) -> Digest {
    let mut all = Feed(Sha256::new());
    // Numbers of files in the order of their first names: they make hard links part of the digest.
    let mut numbers = vec![u32::MAX; tree.files().len()];
    let mut next = 0;
    for (path, index) in tree.paths() {
        let file = &tree.files()[index];
        (path, numbers[index]).hash(&mut all);
        if numbers[index] != u32::MAX {
            continue;
        }
        numbers[index] = next;
        next += 1;
        (file.kind, file.mode, file.uid, file.gid).hash(&mut all);
        (file.mtime, file.flags, file.rdev, &file.xattrs).hash(&mut all);
        match &file.content {
            Content::Link(target) => target.hash(&mut all),
            content if file.kind == FileType::File => {
                (content.size(), checks.get(index)).hash(&mut all);
            }
            _ => {}
        }
    }
    Digest::from_hasher(all.0)
}

/// Feeds the output of `Hash`, lengths of lists included, to SHA-256.
struct Feed(Sha256);

impl Hasher for Feed {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        unreachable!("the digest is taken as a whole")
    }
}
