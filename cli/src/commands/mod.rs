//! The commands, one file each.

#[cfg(feature = "run")]
pub mod bench;
pub mod build;
pub mod check;
pub mod config;
pub mod explain;
pub mod fix;
pub mod fmt;
pub mod import;
pub mod ir;
pub mod models;
pub mod params;
pub mod predict;
#[cfg(feature = "run")]
pub mod probe;
#[cfg(feature = "run")]
pub mod run;
#[cfg(feature = "run")]
pub mod sample;
#[cfg(feature = "run")]
pub mod train;
#[cfg(feature = "run")]
pub mod verify;
#[cfg(feature = "run")]
pub mod wake;
