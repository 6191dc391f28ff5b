//! From graph to numbers, on Burn.
//!
//! ```text
//! Graph --plan--> order, last uses, sizes
//!       --module--> parameters by published name, a Burn module
//!       --execute--> tensors
//! ```
//!
//! The graph is not translated into nested Burn modules: an executor walks it and asks each operator's half of the
//! definition (`ops/<name>.rs`) to run on rank-erased tensors. Parameters live in a hand-written [`GraphModule`], so
//! that Burn's optimisers, autodiff and stores work on it as on any other module. What is generic over backends stays
//! behind [`Session`], which callers use as a trait object.

pub mod adamw;
pub mod bench;
pub mod constraint;
#[cfg(feature = "cuda")]
mod cuda;
pub mod data;
pub mod error;
pub mod execute;
mod fold;
pub mod frozen;
mod halves;
pub mod host;
pub mod init;
pub mod interface;
pub mod kernels;
pub mod memory;
pub mod module;
mod ops;
pub mod picture;
pub mod pipeline;
pub mod plan;
pub mod probe;
pub mod sample;
pub mod sensitivity;
pub mod session;
mod stages;
pub mod tensors;
pub mod train;
mod value;
pub mod verify;
pub mod wake;
pub mod weights;

pub use archc_compiler::analysis::precision::Format;
pub use error::RunError;
pub use frozen::Frozen;
pub use host::{HostData, HostTensor};
pub use interface::Interface;
pub use module::GraphModule;
pub use plan::Plan;
pub use session::{Denoiser, Device, Passes, Request, Response, Session, Weights, open, open_as, open_with};
pub use value::Value;
