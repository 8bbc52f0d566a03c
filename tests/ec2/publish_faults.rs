//! `karat publish` when calls fail, answers are lost, or it is interrupted or killed at any call: in the end there is one AMI of one
//! snapshot, or nothing.

mod calls;
mod others;
mod signals;
mod stage;
