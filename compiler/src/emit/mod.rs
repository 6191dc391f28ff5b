//! From a graph to source code of a tensor library.
//!
//! A graph is flat, and code has structure. [`structure`] recovers it, for any target: which instances of blocks are the
//! same module, which calls are rounds of one loop, what a module takes and gives, and which of its numbers follow from
//! its hyperparameters. A target spells that out: [`rust`] as a crate on Burn, [`pytorch`] as a Python package.

pub mod checkpoint;
pub mod names;
pub mod number;
pub mod pytorch;
pub mod rust;
pub mod structure;
mod trace;
mod values;

use std::fmt;

/// What keeps a network from being written down, as a sentence for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmitError(pub String);

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EmitError {}
