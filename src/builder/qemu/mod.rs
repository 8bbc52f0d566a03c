//! stub
use super::*;
use crate::base::BaseDisk;
use crate::plan;
use crate::ui::Ui;
use std::path::{Path, PathBuf};
/// x
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("not written yet")]
pub struct QemuError;
/// x
pub struct QemuMachine;
#[expect(missing_docs, reason = "stub")]
impl QemuMachine {
    pub async fn launch(
        _p: &plan::Qemu,
        _s: &plan::Ssh,
        _b: &BaseDisk,
        _r: &Path,
        _u: &Ui,
    ) -> Result<Self, QemuError> {
        todo!()
    }
    pub async fn wait_ready(&mut self, _t: Duration) -> Result<(), QemuError> {
        todo!()
    }
    pub async fn clean_up(&mut self) -> Result<(), QemuError> {
        todo!()
    }
    pub async fn shut_down(self, _t: Duration) -> Result<PathBuf, QemuError> {
        todo!()
    }
    pub fn accelerator(&self) -> &str {
        ""
    }
    pub fn virtual_size(&self) -> u64 {
        0
    }
}
impl Machine for QemuMachine {
    fn session(&self) -> &Session {
        todo!()
    }
    async fn reconnect(&mut self, _w: Duration) -> Result<(), MachineError> {
        todo!()
    }
    fn death(&self) -> Death {
        todo!()
    }
    fn login(&self) -> String {
        todo!()
    }
    async fn destroy(self) {}
}
/// x
pub fn end_leftover(_p: &Path) -> std::io::Result<bool> {
    todo!()
}
