//! Which images are built on which: the base of one is the file of another.

use std::collections::{BTreeMap, BTreeSet};

use super::{Store, StoreError};
use crate::digest::Digest;
use crate::record::manifest::ManifestId;

/// All images of a store, by what they are built on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lineage {
    /// Name, base and image of each manifest.
    images: BTreeMap<ManifestId, (String, Digest, Digest)>,
}

/// An image in a line of descent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relative {
    /// Its manifest.
    pub id: ManifestId,
    /// Its name.
    pub name: String,
    /// Steps from the image that was asked for, from 1.
    pub distance: usize,
}

impl Store {
    /// Reads all manifests for what they are built on. One that is damaged is left out.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn lineage(&self) -> Result<Lineage, StoreError> {
        let mut lineage = Lineage::default();
        for id in self.ids()? {
            if let Ok(stored) = self.manifest(id) {
                let (inputs, outputs) = (stored.manifest.inputs, stored.manifest.outputs);
                lineage.add(
                    id,
                    inputs.image.name,
                    inputs.base.digest,
                    outputs.image.digest,
                );
            }
        }
        Ok(lineage)
    }
}

impl Lineage {
    /// Adds an image.
    pub fn add(&mut self, id: ManifestId, name: String, base: Digest, image: Digest) {
        self.images.insert(id, (name, base, image));
    }

    /// Images that are this file.
    pub fn of_image(&self, digest: Digest) -> impl Iterator<Item = ManifestId> {
        let images = self.images.iter();
        images.filter_map(move |(id, (_, _, image))| (*image == digest).then_some(*id))
    }

    /// What an image is built on, the nearest first.
    #[must_use]
    pub fn parents(&self, id: ManifestId) -> Vec<Relative> {
        self.walk(id, |id| {
            let base = self.images.get(&id).map(|(_, base, _)| *base);
            base.into_iter().flat_map(|it| self.of_image(it)).collect()
        })
    }

    /// What is built on an image, each followed by what is built on it.
    #[must_use]
    pub fn children(&self, id: ManifestId) -> Vec<Relative> {
        self.walk(id, |id| {
            let image = self.images.get(&id).map(|(_, _, image)| *image);
            let images = self.images.iter();
            let on_it = images.filter(|(_, (_, base, _))| Some(*base) == image);
            on_it.map(|(id, _)| *id).collect()
        })
    }

    /// Depth first, each image once: one that is its own base is no endless line.
    fn walk(&self, id: ManifestId, next: impl Fn(ManifestId) -> Vec<ManifestId>) -> Vec<Relative> {
        let mut seen = BTreeSet::from([id]);
        let mut found = Vec::new();
        let mut open: Vec<_> = next(id).into_iter().rev().map(|it| (it, 1)).collect();
        while let Some((id, distance)) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            let name = self.images.get(&id).map(|(name, _, _)| name.clone());
            found.push(Relative {
                id,
                name: name.unwrap_or_default(),
                distance,
            });
            open.extend(next(id).into_iter().rev().map(|it| (it, distance + 1)));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_followed_both_ways() {
        let digest = |text: &str| Digest::of(text.as_bytes());
        let id = |text: &str| ManifestId::of(text.as_bytes());
        let mut lineage = Lineage::default();
        for (name, base) in [
            ("base", "debian"),
            ("web", "base"),
            ("shop", "web"),
            ("mail", "base"),
            ("self", "self"),
        ] {
            lineage.add(id(name), name.to_owned(), digest(base), digest(name));
        }
        let names = |found: Vec<Relative>| {
            let mut names: Vec<_> = found.into_iter().map(|it| (it.name, it.distance)).collect();
            names.sort();
            names
        };
        let pairs_of = |pairs: &[(&str, usize)]| {
            let pairs = pairs.iter().map(|(name, far)| ((*name).to_owned(), *far));
            pairs.collect::<Vec<_>>()
        };
        let down = pairs_of(&[("mail", 1), ("shop", 2), ("web", 1)]);
        assert_eq!(names(lineage.children(id("base"))), down);
        let up = pairs_of(&[("base", 2), ("web", 1)]);
        assert_eq!(names(lineage.parents(id("shop"))), up);
        assert_eq!(lineage.children(id("self")), []);
        assert_eq!(lineage.parents(id("nothing")), []);
    }
}
