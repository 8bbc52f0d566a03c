//! AMIs of images that nothing holds: deprecated first, and removed by a later run, with their snapshots, unless something at AWS
//! uses them. What cannot be looked at is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::register::deregister;
use crate::ec2::channel_target::OURS;
use crate::ec2::client::ec2::{Filter, Image, LaunchTemplateVersion, Tags};
use crate::ec2::client::run_tags::{CONDEMNED, MANIFEST, PUBLISHED, after};
use crate::ec2::client::{AwsError, Region};
use crate::record::manifest::ManifestId;
use crate::time::Timestamp;

/// AWS deprecates by the minute, and not in the past.
const SOON: Duration = Duration::from_mins(2);

/// What became of an AMI.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pruned {
    /// Where.
    pub region: String,
    /// The AMI, or a snapshot that was left of one.
    pub image: String,
    /// Its manifest.
    pub id: ManifestId,
    /// What was done.
    pub fate: Fate,
}

/// What is done to an AMI.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It was deprecated, and is removed later.
    Deprecated,
    /// Its time is not over yet.
    Waiting,
    /// Something holds it again.
    Restored,
    /// It is gone, with its snapshots.
    Removed,
    /// Something uses it, or it cannot be told.
    Kept(String),
}

impl Fate {
    /// For people and programs.
    #[must_use]
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

/// What decides.
pub struct Rules<'a> {
    /// Whether the store has a manifest; AMIs of other stores are not looked at.
    pub known: &'a dyn Fn(ManifestId) -> bool,
    /// Whether something holds it.
    pub held: &'a dyn Fn(ManifestId) -> bool,
    /// How long an AMI is deprecated before it goes.
    pub grace: Duration,
    /// Look, and do nothing.
    pub dry_run: bool,
}

/// Goes over the AMIs of a region.
///
/// # Errors
/// They cannot be listed. What is denied later keeps an AMI.
pub async fn prune(region: &Region, rules: &Rules<'_>) -> Result<Vec<Pruned>, AwsError> {
    let ours = [Filter::tagged(MANIFEST), Filter::tagged(PUBLISHED)];
    let mut images = region.images(&["self"], &ours).await?;
    images.sort_by(|one, other| one.creation_date.cmp(&other.creation_date));
    let mut done = Vec::new();
    let mut doomed = Vec::new();
    for image in &images {
        let Some(id) = manifest(image.tag(MANIFEST)).filter(|id| (rules.known)(*id)) else {
            continue;
        };
        let fate = match (since(image.tag(CONDEMNED)), (rules.held)(id)) {
            (None, true) => continue,
            (Some(_), true) => restore(region, image, rules).await,
            (None, false) => condemn(region, image, rules).await,
            (Some(age), false) if age < rules.grace => Fate::Waiting,
            (Some(_), false) => {
                doomed.push((image, id));
                continue;
            }
        };
        done.push(pruned(region, &image.id, id, fate));
    }
    let uses = Uses::of(region, &doomed).await;
    for (image, id) in doomed {
        let fate = match uses.of_image(&image.id) {
            Some(why) => Fate::Kept(why),
            None if rules.dry_run => Fate::Removed,
            None => remove(region, image, id, &uses).await,
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

/// How long ago something was condemned.
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

async fn condemn(region: &Region, image: &Image, rules: &Rules<'_>) -> Fate {
    if rules.dry_run {
        return Fate::Deprecated;
    }
    let condemned = async {
        region
            .deprecate_image(&image.id, &after(SOON).to_string())
            .await?;
        let tag = (CONDEMNED.to_owned(), Timestamp::now().to_string());
        region.tag(&resources(image), &Tags::from([tag])).await
    };
    condemned
        .await
        .map_or_else(|error| Fate::Kept(error.to_string()), |()| Fate::Deprecated)
}

async fn restore(region: &Region, image: &Image, rules: &Rules<'_>) -> Fate {
    if rules.dry_run {
        return Fate::Restored;
    }
    let restored = async {
        region.undeprecate_image(&image.id).await?;
        region.untag(&resources(image), CONDEMNED).await
    };
    restored
        .await
        .map_or_else(|error| Fate::Kept(error.to_string()), |()| Fate::Restored)
}

async fn remove(region: &Region, image: &Image, id: ManifestId, uses: &Uses) -> Fate {
    let removed = async {
        for (template, numbers) in uses.ours(&image.id) {
            region
                .delete_launch_template_versions(&template, &numbers)
                .await?;
        }
        deregister(region, &image.id).await?;
        for snapshot in image.snapshots() {
            // An image may have volumes that somebody else has made.
            let is_ours = match region.snapshot(snapshot).await {
                Ok(snapshot) => manifest(snapshot.tag(MANIFEST)) == Some(id),
                Err(error) if error.is_not_found() => false,
                Err(error) => return Err(error),
            };
            if is_ours {
                region.delete_snapshot(snapshot).await?;
            }
        }
        Ok(())
    };
    let removed: Result<(), AwsError> = removed.await;
    removed.map_or_else(|error| Fate::Kept(error.to_string()), |()| Fate::Removed)
}

/// Snapshots whose AMI is gone: of a run that was killed between the two.
async fn orphans(
    region: &Region,
    rules: &Rules<'_>,
    images: &[Image],
) -> Result<Vec<Pruned>, AwsError> {
    let used: BTreeSet<&str> = images.iter().flat_map(Image::snapshots).collect();
    let ours = [Filter::tagged(MANIFEST), Filter::tagged(CONDEMNED)];
    let mut done = Vec::new();
    for snapshot in region.own_snapshots(&ours).await? {
        let is_over = since(snapshot.tag(CONDEMNED)).is_some_and(|age| age >= rules.grace);
        let Some(id) = manifest(snapshot.tag(MANIFEST)).filter(|_| is_over) else {
            continue;
        };
        if used.contains(snapshot.id.as_str()) || (rules.held)(id) || !(rules.known)(id) {
            continue;
        }
        let fate = if rules.dry_run {
            Fate::Removed
        } else {
            match region.delete_snapshot(&snapshot.id).await {
                Err(error) if !error.is_not_found() => Fate::Kept(error.to_string()),
                _ => Fate::Removed,
            }
        };
        done.push(pruned(region, &snapshot.id, id, fate));
    }
    Ok(done)
}

/// What uses some AMIs.
struct Uses {
    /// By AMI.
    found: BTreeMap<String, String>,
    /// Versions of launch templates that karat has made and nobody launches: they go with their AMI.
    ours: Vec<LaunchTemplateVersion>,
    /// Why it cannot be told.
    unknown: Option<String>,
}

impl Uses {
    async fn of(region: &Region, doomed: &[(&Image, ManifestId)]) -> Self {
        let mut uses = Self {
            found: BTreeMap::new(),
            ours: Vec::new(),
            unknown: None,
        };
        let images: Vec<&str> = doomed.iter().map(|(image, _)| image.id.as_str()).collect();
        if !images.is_empty()
            && let Err(error) = uses.look(region, &images).await
        {
            uses.unknown = Some(format!("what uses it cannot be told: {error}"));
        }
        uses
    }

    async fn look(&mut self, region: &Region, images: &[&str]) -> Result<(), AwsError> {
        for instance in region.instances_of(images).await? {
            let by = format!("instance {}", instance.id);
            self.found.insert(instance.image, by);
        }
        let groups = region.auto_scaling_groups().await?;
        let configured = groups.iter().any(|it| it.configuration.is_some());
        let configurations = if configured {
            region.launch_configurations().await?
        } else {
            Vec::new()
        };
        for (name, image) in configurations {
            let of = |name: &str| format!("launch configuration {name}");
            self.found.insert(image, of(&name));
        }
        for version in region.launch_template_versions_of(images).await? {
            let Some(image) = version.image().map(str::to_owned) else {
                continue;
            };
            let latest = region
                .launch_template_versions(&version.template, &["$Latest"])
                .await?;
            let is_latest = latest.iter().any(|it| it.number == version.number);
            let number = version.number.to_string();
            let group = groups.iter().find(|group| {
                let names = |(template, wanted): &(String, String)| {
                    *template == version.template && *wanted == number
                };
                group.templates.iter().any(names)
            });
            let is_free = version.description.starts_with(OURS)
                && !version.is_default
                && !is_latest
                && group.is_none();
            if is_free {
                self.ours.push(version);
                continue;
            }
            let by = match group {
                Some(group) => format!("Auto Scaling group {}", group.group),
                None => format!("launch template {} version {number}", version.template),
            };
            self.found.insert(image, by);
        }
        Ok(())
    }

    fn of_image(&self, image: &str) -> Option<String> {
        if let Some(unknown) = &self.unknown {
            return Some(unknown.clone());
        }
        let by = self.found.get(image)?;
        Some(format!("{by} uses it"))
    }

    /// Versions that launch an AMI and go with it, by template.
    fn ours(&self, image: &str) -> BTreeMap<String, Vec<u64>> {
        let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for version in self.ours.iter().filter(|it| it.image() == Some(image)) {
            let numbers = found.entry(version.template.clone()).or_default();
            numbers.push(version.number);
        }
        found
    }
}
