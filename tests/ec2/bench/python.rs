//! boto3: it knows AWS's own interfaces and nothing of the bench.

use std::path::Path;
use std::process::Command;

use super::{Account, Bench};

impl Bench {
    /// Runs lines of Python in an account, after `boto/prelude.py`; what they print.
    pub fn python(&self, account: &Account, lines: &str) -> String {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ec2/boto");
        let output = Command::new(self.tool("python"))
            .args(["-B", "-c", &format!("from prelude import *\n{lines}")])
            .env_clear()
            .env("PYTHONPATH", place)
            .envs(account.environment())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let calls = account.calls().into_iter();
        let calls: Vec<_> = calls.map(|call| (call.name, call.status)).collect();
        assert!(output.status.success(), "{stderr}\n{calls:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}
