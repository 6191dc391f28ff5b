//! Text of the `.arch` language: parsing, syntax errors, formatting. Nothing here knows what a layer is.
//!
//! ```text
//! source --scan--> brackets, strings, depth --pest--> pairs --parse--> syntax tree + problems
//!        --tokens--> formatted source
//! ```
//!
//! Parsing never fails: it returns a tree *and* a list of problems. Whatever could not be read stands in the tree as
//! [`ast::ExprKind::Invalid`], or its name stands in [`Parsed::broken`], so that later phases can stay silent about
//! the echoes of a syntax error. pest types do not leave this crate.

pub mod ast;
pub mod diagnostic;
pub mod fix;
pub mod format;
mod parse;
pub mod span;
mod walk;

pub use diagnostic::{Diagnostic, Frame, Label, Level};
pub use fix::{Edit, Fix, Safety, apply};
pub use format::format;
pub use parse::{MAX_DEPTH, MAX_SOURCE_BYTES, Parsed, foreign_word, grammar_rules, parse, parse_expression, rules_of};
pub use span::{FileId, Span};
