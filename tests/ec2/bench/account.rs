//! An AWS account of a test's own: its credentials, its faults, its calls, and what is left in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Inner;
use super::faults::{Fault, Moment, Plan};
use super::form::Form;
use super::left;
use super::world::State;

/// The region of an account's environment.
pub const REGION: &str = "us-east-1";
/// How long things take that take their time, unless a test says otherwise.
const DELAY: Duration = Duration::from_millis(100);

/// A call that was made.
#[derive(Clone, Debug)]
pub struct Logged {
    /// `ec2:RunInstances`
    pub name: String,
    pub region: String,
    /// `None` when there was no answer.
    pub status: Option<u16>,
    /// Since the account was made.
    pub at: Duration,
    pub form: Form,
    /// Path and query.
    pub path: String,
}

/// What a caller signs with.
#[derive(Clone, Debug)]
pub struct Key {
    pub access: String,
    pub secret: String,
    /// A role's have it.
    pub session: Option<String>,
}

impl Key {
    pub fn new(session: Option<String>) -> Self {
        let kind = if session.is_some() { "ASIA" } else { "AKIA" };
        let number = super::id::account();
        Self {
            access: format!("{kind}BENCH{number}"),
            secret: format!("wJalrXUtnFEMI/K7MDENG+bPxRf{number}"),
            session,
        }
    }
}

/// What the proxy knows of an account.
pub struct Record {
    pub id: String,
    /// Its own, and those of roles.
    pub keys: Vec<Key>,
    pub made: Instant,
    pub calls: Vec<Logged>,
    pub plan: Plan,
    pub delay: Duration,
    pub guests: bool,
    /// Disks and consoles of guests.
    pub directory: std::path::PathBuf,
}

/// An account. Dropping it ends its guests and forgets it.
pub struct Account {
    pub id: String,
    pub access_key: String,
    pub secret_key: String,
    url: String,
    inner: Arc<Inner>,
    directory: tempfile::TempDir,
}

impl Account {
    pub(super) fn new(inner: &Arc<Inner>, url: &str) -> Self {
        let id = super::id::account();
        let key = Key::new(None);
        let directory = tempfile::tempdir().unwrap();
        let record = Record {
            id: id.clone(),
            keys: vec![key.clone()],
            made: Instant::now(),
            calls: Vec::new(),
            plan: Plan::default(),
            delay: DELAY,
            guests: false,
            directory: directory.path().to_owned(),
        };
        inner.accounts.lock().unwrap().insert(id.clone(), record);
        Self {
            id,
            access_key: key.access,
            secret_key: key.secret,
            url: url.to_owned(),
            inner: Arc::clone(inner),
            directory,
        }
    }

    /// Variables for a process that works in this account.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.url.clone()),
            ("AWS_ACCESS_KEY_ID", self.access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_key.clone()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    /// Has the nth such call from now on (from 1; 0 is every one) go wrong. `*` is any call; `ec2:CopyImage@eu-west-1` one region's.
    pub fn fault(&self, call: &str, nth: u32, fault: Fault) {
        self.record(|record| record.plan.fault(call, nth, fault));
    }

    /// No more faults and hooks.
    pub fn clear(&self) {
        self.record(|record| record.plan.clear());
    }

    /// Calls `hook` when the nth such call has arrived and nothing has been done about it.
    pub fn before(&self, call: &str, nth: u32, hook: impl Fn() + Send + Sync + 'static) {
        self.record(|record| record.plan.hook(Moment::Before, call, nth, Arc::new(hook)));
    }

    /// Calls `hook` when the nth such call has been carried out and not been answered.
    pub fn after(&self, call: &str, nth: u32, hook: impl Fn() + Send + Sync + 'static) {
        self.record(|record| record.plan.hook(Moment::After, call, nth, Arc::new(hook)));
    }

    /// How long images, snapshots and instances (those without a guest) are pending.
    pub fn delay(&self, delay: Duration) {
        self.record(|record| record.delay = delay);
    }

    /// From now on, instances are real guests.
    pub fn boot_guests(&self) {
        self.record(|record| record.guests = true);
    }

    /// Calls so far, refused ones too.
    pub fn calls(&self) -> Vec<Logged> {
        self.record(|record| record.calls.clone())
    }

    /// How often a call was made.
    pub fn count(&self, call: &str) -> usize {
        self.calls().iter().filter(|made| made.name == call).count()
    }

    /// Everything that exists in this account, in all regions that were asked for anything: `us-east-1 snapshot snap-1`.
    pub fn left(&self) -> Vec<String> {
        let (inner, id) = (Arc::clone(&self.inner), self.id.clone());
        self.inner
            .wait_for(async move { left::of(&inner, &id).await })
    }

    /// Addresses of the instances that are not gone.
    pub fn addresses(&self) -> Vec<String> {
        let mut world = self.inner.world.lock().unwrap();
        let ours = world.instances.values_mut();
        let ours = ours.filter(|it| it.owner == self.id);
        let there = ours.filter_map(|it| {
            let is_there = matches!(it.state(), State::Pending | State::Running);
            is_there.then(|| it.address.clone())
        });
        there.collect()
    }

    /// Kills an instance's guest, as when its host breaks down. It is terminated.
    pub fn kill_instance(&self, instance: &str) {
        super::instances::kill(&self.inner, instance);
    }

    /// What the guest of an instance wrote to its serial console.
    pub fn console(&self, instance: &str) -> String {
        let path = self.directory.path().join(instance).join("console.log");
        String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
    }

    fn record<T>(&self, with: impl FnOnce(&mut Record) -> T) -> T {
        let mut accounts = self.inner.accounts.lock().unwrap();
        with(
            accounts
                .get_mut(&self.id)
                .expect("it is there until it is dropped"),
        )
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let mut world = self.inner.world.lock().unwrap();
        for instance in world.instances.values_mut() {
            if instance.owner == self.id {
                instance.guest = None;
            }
        }
    }
}
