//! Emitted networks as modules, each with a test that runs it on the reference data. Written when the test is built.

#![deny(warnings)]

include!(concat!(env!("ARCHC_EMITTED"), "/networks.rs"));
