//! Lineage of images: the base of one is the image file of another.

use std::collections::{BTreeMap, BTreeSet};

use super::{Store, StoreError};
use crate::digest::Digest;
use crate::record::manifest::ManifestId;

/// Bases of all images of a store.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lineage {
    /// Name, base and image of each manifest.
    images: BTreeMap<ManifestId, (String, Digest, Digest)>,
}

/// An ancestor or descendant of an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relative {
    pub id: ManifestId,
    pub name: String,
    /// Number of generations, from 1.
    pub distance: usize,
}

impl Store {
    /// Reads the lineage from all manifests. Damaged manifests are left out.
    ///
    /// # Errors
    /// The directory of manifests cannot be read.
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
    pub fn add(&mut self, id: ManifestId, name: String, base: Digest, image: Digest) {
        self.images.insert(id, (name, base, image));
    }

    /// Returns the manifests of an image file.
    pub fn of_image(&self, digest: Digest) -> impl Iterator<Item = ManifestId> {
        let images = self.images.iter();
        images.filter_map(move |(id, (_, _, image))| (*image == digest).then_some(*id))
    }

    /// Returns the ancestors of an image, the nearest first.
    pub fn parents(&self, id: ManifestId) -> Vec<Relative> {
        self.walk(id, |id| {
            let base = self.images.get(&id).map(|(_, base, _)| *base);
            base.into_iter()
                .flat_map(|base| self.of_image(base))
                .collect()
        })
    }

    /// Returns the descendants of an image, each followed by its own descendants.
    pub fn children(&self, id: ManifestId) -> Vec<Relative> {
        self.walk(id, |id| {
            let image = self.images.get(&id).map(|(_, _, image)| *image);
            let images = self.images.iter();
            let children = images.filter(|(_, (_, base, _))| Some(*base) == image);
            children.map(|(id, _)| *id).collect()
        })
    }

    /// Walks depth first and visits each image once, so an image that is its own base ends the walk.
    fn walk(&self, id: ManifestId, next: impl Fn(ManifestId) -> Vec<ManifestId>) -> Vec<Relative> {
        let mut seen = BTreeSet::from([id]);
        let mut found = Vec::new();
        let mut open: Vec<_> = next(id).into_iter().rev().map(|id| (id, 1)).collect();
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
            open.extend(next(id).into_iter().rev().map(|id| (id, distance + 1)));
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
            let mut names: Vec<_> = found
                .into_iter()
                .map(|found| (found.name, found.distance))
                .collect();
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
