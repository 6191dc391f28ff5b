//! Does a warning mean trouble? Networks that a rule finds fault with, trained beside their repairs.
//!
//! ```text
//! tests/evidence/cases/*.yaml --case--> flagged and fixed network
//!                             --trial--> what became of both, for each seed
//!                             --outcome--> what the rule predicts, measured; the loss
//!                             --report, plot--> tests/evidence/report.md, losses.svg
//! ```
//!
//! What is measured, which way it ought to go and how far is declared in the case, before anything is trained. All
//! networks see the same 1797 images of digits, and both variants of a case the same batches.

mod case;
mod metric;
mod outcome;
mod plot;
mod report;
mod trial;

pub use case::{Case, Variant, all};
pub use metric::Metric;
pub use outcome::{Expect, Outcome};
pub use plot::plot;
pub use report::report;
pub use trial::{Trial, run};
