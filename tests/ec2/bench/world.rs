//! What the bench itself keeps, because moto keeps too little of it: images, snapshots, and the true state of instances.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::answer::{Answer, Refusal};
use super::form::Form;
use super::guest::Guest;
use super::store::Blocks;
use super::xml::Node;

/// Keys and values.
pub type Tags = BTreeMap<String, String>;

/// Everything, of all accounts and regions.
#[derive(Default)]
pub struct World {
    pub images: BTreeMap<String, Image>,
    pub snapshots: BTreeMap<String, Snapshot>,
    pub instances: BTreeMap<String, Instance>,
    /// What stands in moto for an image: account, region and image to moto's image.
    pub shadows: BTreeMap<(String, String, String), String>,
    /// Calls with a client token: account, region, action and token to what was asked and answered.
    pub tokens: HashMap<(String, String, String, String), (Form, Answer)>,
    /// Versions of launch templates that were removed: template and number.
    pub removed_versions: BTreeSet<(String, String)>,
    pub refreshes: super::refreshes::Refreshes,
    /// Where anything was asked for: account and region.
    pub regions: BTreeSet<(String, String)>,
}

/// How far something is that takes its time.
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// It waits for somebody: blocks are uploaded, a guest is copied.
    Open,
    /// It ends then; whether it fails.
    Until(Instant, bool),
}

/// Where something is on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    Pending,
    Done,
    Failed,
}

impl Progress {
    pub fn after(delay: Duration, fails: bool) -> Self {
        Self::Until(Instant::now() + delay, fails)
    }

    pub fn stage(self) -> Stage {
        match self {
            Self::Until(end, fails) if end <= Instant::now() => {
                if fails {
                    Stage::Failed
                } else {
                    Stage::Done
                }
            }
            _ => Stage::Pending,
        }
    }
}

/// A snapshot, and which bytes it has.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub id: String,
    pub owner: String,
    pub region: String,
    pub description: String,
    pub gib: u64,
    pub progress: Progress,
    pub blocks: Blocks,
    /// Which of the blocks this snapshot's own upload wrote.
    pub written: BTreeSet<u32>,
    pub parent: Option<String>,
    /// Made by the EBS direct APIs.
    pub direct: bool,
    pub tags: Tags,
    pub encrypted: bool,
    pub volume: String,
    pub started: String,
    /// Accounts that may make volumes of it, or `all`.
    pub shared: BTreeSet<String>,
}

impl Snapshot {
    pub fn status(&self) -> &'static str {
        match self.progress.stage() {
            Stage::Pending => "pending",
            Stage::Done => "completed",
            Stage::Failed => "error",
        }
    }

    pub fn is_visible_to(&self, account: &str) -> bool {
        self.owner == account || self.shared.contains(account) || self.shared.contains("all")
    }
}

/// A disk of an image.
#[derive(Clone, Debug)]
pub struct Device {
    pub name: String,
    pub snapshot: Option<String>,
    pub gib: u64,
    pub kind: String,
    pub delete: bool,
    pub encrypted: bool,
}

/// An AMI.
#[derive(Clone, Debug)]
pub struct Image {
    pub id: String,
    pub owner: String,
    pub region: String,
    pub name: String,
    pub description: String,
    pub architecture: String,
    pub boot_mode: Option<String>,
    pub imds: Option<String>,
    pub tpm: Option<String>,
    pub ena: bool,
    pub root: String,
    pub devices: Vec<Device>,
    pub progress: Progress,
    pub tags: Tags,
    pub created: String,
    /// Accounts that may start it, `all`, or ARNs of organisations.
    pub shared: BTreeSet<String>,
    pub deprecated: Option<String>,
    /// As `DescribeImages` writes it: `disabled`, `enabled-without-cooldown`, `enabled-with-cooldown`.
    pub protection: &'static str,
    pub disabled: bool,
    /// Image and region that it was copied from.
    pub source: Option<(String, String)>,
    pub deregistered: bool,
}

impl Image {
    pub fn state(&self) -> &'static str {
        match self.progress.stage() {
            Stage::Pending => "pending",
            Stage::Failed => "failed",
            Stage::Done if self.disabled => "disabled",
            Stage::Done => "available",
        }
    }

    pub fn is_visible_to(&self, account: &str, region: &str) -> bool {
        let shared = |with: &str| self.shared.contains(with);
        let is_open = shared(account) || shared("all");
        let may = self.owner == account || (is_open && !self.disabled);
        may && self.region == region && !self.deregistered
    }

    pub fn root_device(&self) -> Option<&Device> {
        self.devices.iter().find(|device| device.name == self.root)
    }
}

/// What the bench knows of an instance besides moto's record of it.
#[derive(Debug)]
pub struct Instance {
    pub id: String,
    pub owner: String,
    pub region: String,
    pub image: String,
    pub zone: String,
    pub key: String,
    pub address: String,
    /// Where it is on its way, and when it gets to the next state by itself.
    pub state: State,
    pub next: Option<(Instant, State)>,
    /// Why it is in this state: a code and a message.
    pub reason: Option<(String, String)>,
    /// The guest powers off: then it is terminated rather than stopped.
    pub ends_with_shutdown: bool,
    pub groups: Vec<String>,
    /// Volumes that were made with it: id, device, size.
    pub volumes: Vec<(String, String, u64)>,
    /// What `RunInstances` was asked.
    pub asked: Form,
    pub guest: Option<Guest>,
}

/// States of an instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Pending,
    Running,
    ShuttingDown,
    Terminated,
    Stopping,
    Stopped,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::ShuttingDown => "shutting-down",
            Self::Terminated => "terminated",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }

    pub fn code(self) -> u32 {
        match self {
            Self::Pending => 0,
            Self::Running => 16,
            Self::ShuttingDown => 32,
            Self::Terminated => 48,
            Self::Stopping => 64,
            Self::Stopped => 80,
        }
    }

    pub fn node(self, name: &str) -> Node {
        let children = vec![
            Node::text("code", self.code()),
            Node::text("name", self.name()),
        ];
        Node::new(name, children)
    }
}

impl Instance {
    /// The state now.
    pub fn state(&mut self) -> State {
        if let Some((when, next)) = self.next
            && when <= Instant::now()
        {
            self.state = next;
            self.next = None;
        }
        self.state
    }

    pub fn enter(&mut self, state: State, next: Option<(Instant, State)>) {
        self.state = state;
        self.next = next;
    }
}

impl World {
    /// An image that an account may use.
    pub fn image(&self, id: &str, account: &str, region: &str) -> Result<&Image, Refusal> {
        let found = self.images.get(id);
        let found = found.filter(|image| image.is_visible_to(account, region));
        found.ok_or_else(|| self.no_image(id, account, region))
    }

    /// An image of an account's own.
    pub fn own_image(
        &mut self,
        id: &str,
        account: &str,
        region: &str,
    ) -> Result<&mut Image, Refusal> {
        self.image(id, account, region)?;
        let image = self.images.get_mut(id).expect("it was found just now");
        if image.owner != account {
            let message = "Not authorized for images: [".to_owned() + id + "]";
            return Err(Refusal::new("AuthFailure", message));
        }
        Ok(image)
    }

    fn no_image(&self, id: &str, account: &str, region: &str) -> Refusal {
        let was_there = self.images.get(id).is_some_and(|image| {
            image.deregistered && image.owner == account && image.region == region
        });
        if !id.starts_with("ami-") {
            Refusal::new("InvalidAMIID.Malformed", format!("Invalid id: \"{id}\""))
        } else if was_there {
            let message = format!("The image ID '{id}' is no longer available");
            Refusal::new("InvalidAMIID.Unavailable", message)
        } else {
            let message = format!("The image id '[{id}]' does not exist");
            Refusal::new("InvalidAMIID.NotFound", message)
        }
    }

    /// A snapshot that an account may use.
    pub fn snapshot(&self, id: &str, account: &str, region: &str) -> Result<&Snapshot, Refusal> {
        let found = self
            .snapshots
            .get(id)
            .filter(|snapshot| snapshot.region == region && snapshot.is_visible_to(account));
        found.ok_or_else(|| no_snapshot(id))
    }

    /// A snapshot of an account's own.
    pub fn own_snapshot(
        &mut self,
        id: &str,
        account: &str,
        region: &str,
    ) -> Result<&mut Snapshot, Refusal> {
        let found = self
            .snapshots
            .get_mut(id)
            .filter(|snapshot| snapshot.region == region && snapshot.owner == account);
        found.ok_or_else(|| no_snapshot(id))
    }
}

fn no_snapshot(id: &str) -> Refusal {
    if id.starts_with("snap-") {
        let message = format!("The snapshot '{id}' does not exist.");
        Refusal::new("InvalidSnapshot.NotFound", message)
    } else {
        let message =
            format!("Value ({id}) for parameter snapshotId is invalid. Expected: 'snap-...'.");
        Refusal::new("InvalidSnapshotID.Malformed", message)
    }
}
