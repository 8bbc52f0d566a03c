//! x
/// x
pub struct Record;
