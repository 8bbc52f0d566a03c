//! A bench for karat's work in EC2: moto is the control plane, a proxy before it adds what moto lacks, has faults happen, and is the
//! data plane. Tests share one bench, and each has an AWS account of its own in it.
//!
//! ```ignore
//! let Some(bench) = Bench::start() else { return };
//! let account = bench.account();
//! account.fault("ec2:RegisterImage", 1, Fault::Throttle); // of bench::faults
//! let status = Command::new(env!("CARGO_BIN_EXE_karat")).envs(account.environment())...;
//! assert_eq!(account.left(), [""; 0]);
//! ```

mod account;
mod actions;
mod answer;
mod call;
mod copies;
mod ebs;
pub mod faults;
mod filters;
mod firewall;
mod form;
mod guest;
mod id;
mod image_attributes;
mod images;
mod imds;
mod instances;
mod launch_templates;
mod left;
mod metadata;
mod moto;
mod proxy;
mod python;
mod refreshes;
mod register;
mod run;
mod seed;
mod shadows;
mod signature;
mod snapshots;
mod ssm;
mod store;
mod sts;
mod tags;
mod tokens;
mod victim;
mod world;
mod xml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use tokio::net::TcpListener;

pub use account::Account;

use answer::Refusal;

/// The bench. There is one in a process.
pub struct Bench {
    inner: Arc<Inner>,
    url: String,
    tools: PathBuf,
}

/// What the proxy's parts share.
pub struct Inner {
    pub moto: moto::Moto,
    pub world: Mutex<world::World>,
    pub store: Mutex<store::Store>,
    /// By id.
    pub accounts: Mutex<BTreeMap<String, account::Record>>,
    runtime: tokio::runtime::Handle,
}

static BENCH: OnceLock<Option<Bench>> = OnceLock::new();

impl Bench {
    /// The bench of this process; the first call starts it. `None`, and a line on stderr, where moto is not installed.
    pub fn start() -> Option<&'static Self> {
        let bench = BENCH.get_or_init(|| moto::tools().map(launch));
        if bench.is_none() {
            eprintln!("SKIPPED: there is no moto here; `make setup-dev` installs it");
        }
        bench.as_ref()
    }

    /// The same for tests with guests, which need root, and a port 22 that is not this machine's own on all addresses.
    pub fn start_with_guests() -> Option<&'static Self> {
        let bench = Self::start()?;
        if run::port_is_free() {
            return Some(bench);
        }
        eprintln!(
            "SKIPPED: guests cannot have port 22 of 127.0.7.0/24; run this as root, without a sshd on 0.0.0.0"
        );
        None
    }

    /// A new account, with nothing in it.
    pub fn account(&self) -> Account {
        Account::new(&self.inner, &self.url)
    }

    /// Makes a disk on this machine a public AMI of Debian's in a region; its id, and that of its snapshot.
    pub fn seed_ami(&self, disk: &Path, region: &str, name: &str) -> (String, String) {
        seed::seed(&self.inner, disk, region, name)
    }

    /// Programs of the same Python environment as moto: `python` has boto3.
    pub fn tool(&self, name: &str) -> PathBuf {
        self.tools.join(name)
    }

    /// Where the proxy listens.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Starts moto and the proxy on a thread that lasts as long as the process: the kernel kills moto and guests when it ends.
fn launch(tools: PathBuf) -> Bench {
    let (sender, receiver) = std::sync::mpsc::channel();
    let programs = tools.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let inner = Arc::new(Inner {
                moto: moto::Moto::start(programs).await,
                world: Mutex::default(),
                store: Mutex::new(store::Store::new()),
                accounts: Mutex::default(),
                runtime: tokio::runtime::Handle::current(),
            });
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            sender.send((Arc::clone(&inner), url)).unwrap();
            proxy::serve(listener, inner).await;
        });
    });
    let (inner, url) = receiver.recv().expect("moto starts");
    Bench { inner, url, tools }
}

impl Inner {
    /// Whose key it is.
    fn account_of(&self, access_key: &str) -> Result<(String, account::Key), Refusal> {
        let accounts = self.accounts.lock().unwrap();
        let keys = accounts.values().flat_map(|record| {
            let keys = record.keys.iter();
            keys.map(|key| (record.id.clone(), key.clone()))
        });
        let mut found = keys.filter(|(_, key)| key.access == access_key);
        found.next().ok_or_else(|| {
            let message = "AWS was not able to validate the provided access credentials";
            Refusal::status(401, "AuthFailure", message)
        })
    }

    /// How long things are pending in an account.
    fn delay(&self, account: &str) -> std::time::Duration {
        self.accounts.lock().unwrap()[account].delay
    }

    /// Waits for something on the bench's own thread. Not to be called there.
    fn wait_for<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let (sender, receiver) = std::sync::mpsc::channel();
        self.runtime.spawn(async move {
            let _gone = sender.send(future.await);
        });
        receiver.recv().expect("what was waited for did not panic")
    }
}
