//! Predicates of attestations. They describe records of the [store](crate::store), and are defined there.

pub(crate) use crate::store::predicate::*;
