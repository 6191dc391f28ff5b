//! Mechanisms: small networks that show each of them, and every one by itself against plain loops and PyTorch.

#![expect(clippy::indexing_slicing, reason = "an index out of range is a failure of the test")]

#[path = "../common/mod.rs"]
mod common;
mod fixtures;
mod frequency;
mod noise;
mod pytorch;
mod stochastic;
