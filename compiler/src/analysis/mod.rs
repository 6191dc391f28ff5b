//! What can be known of a graph without running it. Each analysis is a pure function of the graph; its results are
//! indexed by the same ids.

#![deny(clippy::wildcard_enum_match_arm, clippy::match_wildcard_for_single_variants)]

pub(crate) mod algebra;
pub mod balance;
pub mod cost;
pub mod factors;
pub mod gaussian;
pub mod growth;
pub mod liveness;
pub mod moments;
pub(crate) mod numbers;
pub mod precision;
pub mod preconditioning;
pub mod profile;
pub mod ranges;
pub mod signal;
pub mod stacks;
pub mod stages;
pub mod streams;
