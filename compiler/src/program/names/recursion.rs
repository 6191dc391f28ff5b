//! Blocks that use themselves.

use super::Checker;
use archc_grammar::Diagnostic;
use rustc_hash::FxHashSet;
use std::sync::Arc;

impl Checker<'_> {
    /// Blocks are unrolled, so a block that uses itself has no end.
    pub(super) fn recursion(&mut self) {
        let starts: Vec<Arc<str>> = self.edges.keys().cloned().collect();
        let mut done = FxHashSet::default();
        for start in starts {
            self.follow(&start, &mut vec![], &mut done);
        }
    }

    fn follow(&mut self, at: &Arc<str>, path: &mut Vec<Arc<str>>, done: &mut FxHashSet<Arc<str>>) {
        if done.contains(at) {
            return;
        }
        path.push(at.clone());
        for (to, span) in self.edges.get(at).cloned().unwrap_or_default() {
            if let Some(start) = path.iter().position(|name| *name == to) {
                let circle: Vec<&str> = path.iter().skip(start).map(|name| &**name).collect();
                let mut problem = Diagnostic::error("block/recursive", format!("`{to}` uses itself"))
                    .label(span, "closes the circle")
                    .help("blocks are unrolled at compile time; repeat one with `for i in 0..n { .. }`");
                if circle.len() > 1 {
                    problem = problem.note(format!("{} -> {to}", circle.join(" -> ")));
                }
                self.problems.push(problem);
            } else {
                // Chains of blocks may be as long as the file.
                stacker::maybe_grow(32 << 10, 1 << 20, || self.follow(&to, path, done));
            }
        }
        path.pop();
        done.insert(at.clone());
    }
}
