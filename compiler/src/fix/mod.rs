//! Fixes: what they do to a network.

mod effect;

pub use effect::{Change, Effect};
