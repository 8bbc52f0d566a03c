//! A process that is killed when a call of its arrives, or has been carried out.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Account;

/// The process. It is named once it runs; until then its calls wait.
#[derive(Clone, Default)]
pub struct Victim(Arc<AtomicI32>);

impl Victim {
    /// Names the process.
    pub fn is(&self, pid: u32) {
        let pid = i32::try_from(pid).expect("Linux has no larger ones");
        self.0.store(pid, Ordering::SeqCst);
    }

    fn kill(&self) {
        while self.0.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let pid = Pid::from_raw(self.0.load(Ordering::SeqCst)).expect("it is not 0");
        let _gone = kill_process(pid, Signal::KILL);
    }
}

impl Account {
    /// Kills a process when its nth such call from now on has arrived. The call is carried out, as one on its way would be.
    pub fn kill_before(&self, call: &str, nth: u32) -> Victim {
        let victim = Victim::default();
        let this = victim.clone();
        self.before(call, nth, move || this.kill());
        victim
    }

    /// Kills a process when its nth such call from now on has been carried out, before it learns of it.
    pub fn kill_after(&self, call: &str, nth: u32) -> Victim {
        let victim = Victim::default();
        let this = victim.clone();
        self.after(call, nth, move || this.kill());
        victim
    }
}
