//! `precision/overflow`

use crate::analysis::precision::{Format, Hazard};
use crate::lint::Report;
use crate::words::figure;
use archc_grammar::Span;

rule! {
    /// ## What it does
    ///
    /// Where a model is declared to run in few bits (`archc check --dtype f16`), finds operators whose largest predicted
    /// number comes within a factor of 8 of the largest that the format holds.
    ///
    /// ## Why is this bad
    ///
    /// f16 ends at 65504. What comes to 9000 at initialisation is infinite when training has made it eight times as large,
    /// and everything behind it is NaN: black images. Norms square what they are given and attention sums products before it
    /// divides, so that numbers of 90 are within the margin there. The streams of Flux reach 90,000; diffusers clips in
    /// ten places. bf16 has the range of f32.
    ///
    /// ## Example
    ///
    /// ```arch dtype=f16
    /// model Loud(x: image[3, 16, 16]) -> image[3, 16, 16] {
    ///     let h = (x * 10000) -> conv2d(3, kernel: 3) @conv
    ///     h
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch dtype=f16
    /// model Quiet(x: image[3, 16, 16]) -> image[3, 16, 16] {
    ///     let h = x -> conv2d(3, kernel: 3) @conv
    ///     h
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// None: the language has no word for the numbers of a single operation; whoever runs the network chooses them.
    ///
    /// ## Evidence
    ///
    /// With every value and gradient rounded to f16, a network whose stream holds numbers in the tens of thousands diverges at
    /// once; with the nodes in f32 that are listed for it, and all others rounded as before, it learns as in f32
    /// (`tests/evidence/report.md`).
    ///
    /// ## References
    ///
    /// * Leadbetter, Lindgren & Rootzen 1983, chapter 1: the largest of n normal numbers.
    ///
    /// ## Threads
    ///
    /// * huggingface/diffusers#9097: two places of Flux overflow in f16; clipping them gives coherent images.
    /// * black-forest-labs/flux#472: the largest value in FLUX.1-dev is 91,648 in the first step, and rises later.
    /// * zai-org/CogVideo#637: CogVideoX-1.5 gives black videos in f16 and not in bf16, in which it was trained.
    /// * ostris/ai-toolkit#1046: modulation that overflows in f16 makes all gradients NaN; a LoRA stays exactly zero
    ///   while the loss looks normal.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC --dtype f16` lists the operators to be kept in f32 with the largest number of each;
    /// `archc probe SPEC --format json` measures mean squares.
    "precision/overflow", Warning
    pub struct Overflow {
        place: Span,
        format: Format,
        largest: f64,
        inside: bool,
    }

    check(context) {
        let Some(precision) = context.precision() else { return vec![] };
        let format = precision.format;
        let found = precision.kept.iter().filter_map(|kept| {
            let (largest, inside) = match kept.hazard {
                Hazard::Result { largest } => (largest, false),
                Hazard::Inside { largest } => (largest, true),
                Hazard::Sum { .. } | Hazard::Steps { .. } => return None,
            };
            Some((kept.node, Overflow { place: context.place(kept.node), format, largest, inside }))
        });
        found.collect()
    }

    report(finding, _context) {
        let format = finding.format.name();
        let what = if finding.inside { "what it computes on the way" } else { "its result" };
        Report {
            message: format!("this may overflow in {format}"),
            labels: vec![(finding.place, format!("{what} comes to {} at initialisation", figure(finding.largest)))],
            notes: vec![format!("the largest number of {format} is {}", figure(finding.format.largest()))],
            help: Some("keep this operator in f32, or scale its input down".to_owned()),
        }
    }
}
