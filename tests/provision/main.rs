//! Provisioners against a real sshd on loopback. They need root, as a machine's own sshd does.

mod apt;
mod files;
mod machine;
mod reboot;
mod retry;
mod sealed;
mod shell;
