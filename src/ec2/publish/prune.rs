//! Pruning of AMIs whose images the store no longer needs. An AMI is deprecated first; a later run deregisters it and deletes its
//! snapshots, unless something at AWS uses it. An AMI whose use cannot be determined is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::ec2::channel_target::DESCRIPTION_PREFIX;
use crate::ec2::client::autoscaling::{self, GroupLaunch};
use crate::ec2::client::ec2::{
    Filter, Image, LaunchTemplateVersion, Tags, images, instances, launch_templates, snapshots,
};
use crate::ec2::client::run_tags::{CONDEMNED, MANIFEST, PUBLISHED, after};
use crate::ec2::client::{AwsError, Region};
use crate::record::manifest::ManifestId;
use crate::time::Timestamp;

/// Delay of a deprecation: AWS deprecates by the minute, and not in the past.
const DEPRECATION_DELAY: Duration = Duration::from_mins(2);

/// AMI or snapshot, with what was done to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pruned {
    pub region: String,
    /// AMI, or a snapshot whose AMI is gone.
    pub image: String,
    /// Id of its manifest.
    pub id: ManifestId,
    pub fate: Fate,
}

/// Action on an AMI.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Deprecated, to be removed later.
    Deprecated,
    /// Deprecated earlier, within the grace period.
    Waiting,
    /// No longer deprecated: the store needs it again.
    Restored,
    /// Deregistered, and its snapshots deleted.
    Removed,
    /// Kept, for this reason.
    Kept(String),
}

impl Fate {
    /// Name in messages and JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Deprecated => "deprecated",
            Self::Waiting => "waiting",
            Self::Restored => "restored",
            Self::Removed => "removed",
            Self::Kept(_) => "kept",
        }
    }
}

/// Rules that decide which AMIs are pruned.
pub struct Rules<'a> {
    /// Returns whether the store has a manifest; AMIs of other stores are ignored.
    pub known: &'a dyn Fn(ManifestId) -> bool,
    /// Returns whether the store needs an image.
    pub held: &'a dyn Fn(ManifestId) -> bool,
    /// Time between deprecation and removal.
    pub grace: Duration,
    /// Report what would be done, and change nothing.
    pub dry_run: bool,
}

/// Prunes the AMIs of a region. An AMI that a permission is missing for is kept.
pub async fn prune(region: &Region, rules: &Rules<'_>) -> Result<Vec<Pruned>, AwsError> {
    let ours = [Filter::tagged(MANIFEST), Filter::tagged(PUBLISHED)];
    let mut images = images::list(region, &["self"], &ours).await?;
    images.sort_by(|one, other| one.creation_date.cmp(&other.creation_date));
    let mut done = Vec::new();
    let mut due = Vec::new();
    for image in &images {
        let Some(id) = manifest(image.tags.get(MANIFEST)).filter(|id| (rules.known)(*id)) else {
            continue;
        };
        let fate = match (since(image.tags.get(CONDEMNED)), (rules.held)(id)) {
            (None, true) => continue,
            (Some(_), true) => attempt(rules, Fate::Restored, restore(region, image)).await,
            (None, false) => attempt(rules, Fate::Deprecated, condemn(region, image)).await,
            (Some(age), false) if age < rules.grace => Fate::Waiting,
            (Some(_), false) => {
                due.push((image, id));
                continue;
            }
        };
        done.push(pruned(region, &image.id, id, fate));
    }
    let uses = Uses::of(region, &due).await;
    for (image, id) in due {
        let fate = match uses.reason_to_keep(&image.id) {
            Some(reason) => Fate::Kept(reason),
            None => attempt(rules, Fate::Removed, remove(region, image, id, &uses)).await,
        };
        done.push(pruned(region, &image.id, id, fate));
    }
    done.extend(orphans(region, rules, &images).await?);
    Ok(done)
}

fn pruned(region: &Region, image: &str, id: ManifestId, fate: Fate) -> Pruned {
    Pruned {
        region: region.name().to_owned(),
        image: image.to_owned(),
        id,
        fate,
    }
}

fn manifest(tag: Option<&str>) -> Option<ManifestId> {
    tag?.parse().ok()
}

/// Returns the time since the marking in a [`CONDEMNED`] tag.
fn since(tag: Option<&str>) -> Option<Duration> {
    let then: Timestamp = tag?.parse().ok()?;
    let age = Timestamp::now().seconds() - then.seconds();
    Some(Duration::from_secs(u64::try_from(age).unwrap_or_default()))
}

fn resources(image: &Image) -> Vec<&str> {
    let mut all = vec![image.id.as_str()];
    all.extend(image.snapshots());
    all
}

/// Does `work`, unless this is a dry run. A failure keeps the AMI.
async fn attempt(
    rules: &Rules<'_>,
    fate: Fate,
    work: impl Future<Output = Result<(), AwsError>>,
) -> Fate {
    if rules.dry_run {
        return fate;
    }
    work.await
        .map_or_else(|error| Fate::Kept(error.to_string()), |()| fate)
}

async fn condemn(region: &Region, image: &Image) -> Result<(), AwsError> {
    let time = after(DEPRECATION_DELAY).to_string();
    images::deprecate(region, &image.id, &time).await?;
    let tag = (CONDEMNED.to_owned(), Timestamp::now().to_string());
    region.tag(&resources(image), &Tags::from([tag])).await
}

async fn restore(region: &Region, image: &Image) -> Result<(), AwsError> {
    images::undeprecate(region, &image.id).await?;
    region.untag(&resources(image), CONDEMNED).await
}

async fn remove(
    region: &Region,
    image: &Image,
    id: ManifestId,
    uses: &Uses,
) -> Result<(), AwsError> {
    for (template, numbers) in uses.deletable_versions(&image.id) {
        launch_templates::delete_versions(region, &template, &numbers).await?;
    }
    images::remove(region, &image.id).await?;
    for snapshot in image.snapshots() {
        // An image may have volumes from snapshots that karat did not create.
        let is_ours = match snapshots::get(region, snapshot).await {
            Ok(snapshot) => manifest(snapshot.tags.get(MANIFEST)) == Some(id),
            Err(error) if error.is_not_found() => false,
            Err(error) => return Err(error),
        };
        if is_ours {
            snapshots::delete(region, snapshot).await?;
        }
    }
    Ok(())
}

/// Deletes snapshots whose AMI is gone, because a run was killed between the two steps.
async fn orphans(
    region: &Region,
    rules: &Rules<'_>,
    images: &[Image],
) -> Result<Vec<Pruned>, AwsError> {
    let used: BTreeSet<&str> = images.iter().flat_map(Image::snapshots).collect();
    let ours = [Filter::tagged(MANIFEST), Filter::tagged(CONDEMNED)];
    let mut done = Vec::new();
    for snapshot in snapshots::list(region, &ours).await? {
        let is_over = since(snapshot.tags.get(CONDEMNED)).is_some_and(|age| age >= rules.grace);
        let Some(id) = manifest(snapshot.tags.get(MANIFEST)).filter(|_| is_over) else {
            continue;
        };
        if used.contains(snapshot.id.as_str()) || (rules.held)(id) || !(rules.known)(id) {
            continue;
        }
        let delete = async {
            match snapshots::delete(region, &snapshot.id).await {
                Err(error) if !error.is_not_found() => Err(error),
                _ => Ok(()),
            }
        };
        let fate = attempt(rules, Fate::Removed, delete).await;
        done.push(pruned(region, &snapshot.id, id, fate));
    }
    Ok(done)
}

/// Uses of AMIs at AWS.
struct Uses {
    /// User of each AMI.
    found: BTreeMap<String, String>,
    /// Unused versions of launch templates that karat has created: they are deleted with their AMI.
    deletable: Vec<LaunchTemplateVersion>,
    /// Reason why the uses could not be determined.
    unknown: Option<String>,
}

impl Uses {
    async fn of(region: &Region, due: &[(&Image, ManifestId)]) -> Self {
        let mut uses = Self {
            found: BTreeMap::new(),
            deletable: Vec::new(),
            unknown: None,
        };
        let images: Vec<&str> = due.iter().map(|(image, _)| image.id.as_str()).collect();
        if !images.is_empty()
            && let Err(error) = uses.search(region, &images).await
        {
            uses.unknown = Some(format!("cannot determine what uses it: {error}"));
        }
        uses
    }

    async fn search(&mut self, region: &Region, images: &[&str]) -> Result<(), AwsError> {
        for instance in instances::launched_from(region, images).await? {
            let user = format!("instance {}", instance.id);
            self.found.insert(instance.image, user);
        }
        let groups = autoscaling::groups(region).await?;
        if groups.iter().any(|group| group.configuration.is_some()) {
            for (name, image) in autoscaling::launch_configurations(region).await? {
                let user = format!("launch configuration {name}");
                self.found.insert(image, user);
            }
        }
        for version in launch_templates::versions_launching(region, images).await? {
            let latest =
                launch_templates::versions(region, &version.template, &["$Latest"]).await?;
            let is_latest = latest.iter().any(|latest| latest.number == version.number);
            self.add_version(version, is_latest, &groups);
        }
        Ok(())
    }

    fn add_version(
        &mut self,
        version: LaunchTemplateVersion,
        is_latest: bool,
        groups: &[GroupLaunch],
    ) {
        let Some(image) = version.image().map(str::to_owned) else {
            return;
        };
        let number = version.number.to_string();
        let group = groups.iter().find(|group| {
            let mut templates = group.templates.iter();
            templates.any(|(id, wanted)| *id == version.template && *wanted == number)
        });
        let is_deletable = version.description.starts_with(DESCRIPTION_PREFIX)
            && !version.is_default
            && !is_latest
            && group.is_none();
        if is_deletable {
            self.deletable.push(version);
            return;
        }
        let user = match group {
            Some(group) => format!("Auto Scaling group {}", group.group),
            None => format!("launch template {} version {number}", version.template),
        };
        self.found.insert(image, user);
    }

    fn reason_to_keep(&self, image: &str) -> Option<String> {
        if let Some(unknown) = &self.unknown {
            return Some(unknown.clone());
        }
        let user = self.found.get(image)?;
        Some(format!("{user} uses it"))
    }

    /// Returns the versions to delete with an AMI, by template.
    fn deletable_versions(&self, image: &str) -> BTreeMap<String, Vec<u64>> {
        let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for version in self
            .deletable
            .iter()
            .filter(|version| version.image() == Some(image))
        {
            let numbers = found.entry(version.template.clone()).or_default();
            numbers.push(version.number);
        }
        found
    }
}
