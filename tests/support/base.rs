//! The base that tests of guests share: made from the machine's own archive once, and kept in karat's cache.

use std::path::{Path, PathBuf};

use karat::base::bootstrap::bootstrap;
use karat::fetch::Cache;
use karat::plan;
use karat::ui::Ui;

/// karat's cache of this user; `make test` sets `KARAT_CACHE`.
pub fn cache() -> PathBuf {
    Cache::of_user().unwrap().root().to_owned()
}

/// Makes the base in `cache`, or finds it there. `run` is for scratch files.
pub async fn make(cache: &Path, run: &Path) -> PathBuf {
    let plan = plan::Bootstrap {
        distribution: "debian".into(),
        suite: "bookworm".into(),
        mirror: None,
        arch: plan::Arch::X86_64,
    };
    let made = bootstrap(&plan, cache, run, &Ui::default()).await;
    made.unwrap_or_else(|error| panic!("{error}"))
}
