//! From syntax tree to knowledge: elaboration, the graph, analyses, lints. No tensor library, no I/O.

pub mod analysis;
mod compile;
pub mod dim;
pub mod elaborate;
pub mod emit;
pub mod fix;
pub mod import;
pub mod init;
pub mod ir;
pub mod library;
pub mod lint;
pub mod ops;
pub mod passes;
pub mod pipeline;
pub mod program;
pub mod settings;
pub mod sincos;
pub mod source;
pub mod suggest;
pub mod types;
pub mod words;

pub use archc_grammar::{Diagnostic, Edit, FileId, Fix, Frame, Label, Level, Safety, Span};
pub use compile::{
    Checked, CompileError, Compiled, CompiledPipeline, Options, check, compile, compile_pipeline, has_errors,
};
