//! Tests as data: markdown suites of `.arch` sources with expectations beside the lines.
//!
//! A suite is a markdown file. Every fenced block of the language `arch` is a case; a block that expects nothing has to
//! compile and lint in silence. Expectations are comments at the end of the line they are about:
//!
//! ```text
//! x + y // error: [shape/mismatch] image[4, 8, 8] and image[4, 4, 4] cannot be added // help: they differ in height
//! ```
//!
//! * `error: [id] text`, `warning: [id] text`: a diagnostic whose primary label starts on this line; `text` is a part of
//!   its message.
//! * `help: text`, `note: text` behind one of these: parts of its help and of its notes.
//! * `label: text`: some diagnostic of the case has a label on this line that contains the text.
//! * A line that starts with `//^` speaks about the line above it.
//!
//! What stands behind `arch` on the opening fence configures the case:
//!
//! * `model="x: image[4, 8, 8]"`: the block is the body of a model with these parameters.
//! * `file="blocks/stem.arch"`: the block is a file of this name; all blocks under the same heading make one case, and
//!   the block without a name is the file that is checked.
//! * `set="depth = 3; dim = 8"`: hyperparameters given from outside.
//! * `target="name"`: compiles this model or preset alone.
//! * `budget="nodes = 100"`: limits (`nodes`, `iterations`, `depth`).

pub mod architectures;
pub mod case;
pub mod corpus;
pub mod edits;
pub mod evidence;
pub mod expectation;
pub mod experiment;
pub mod markdown;
pub mod mistakes;
pub mod mutation;
pub mod pages;
pub mod parallel;
pub mod report;
pub mod run;

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
