//! `precision/half-reduction`

use crate::analysis::precision::{Format, Hazard};
use crate::lint::Report;
use crate::words::figure;
use archc_grammar::Span;

rule! {
    /// ## What it does
    ///
    /// Where a model is declared to run in few bits (`archc check --dtype bf16`), finds norms, softmax and attention whose
    /// sums have so many terms that adding them one by one in the format loses more than 1 %.
    ///
    /// ## Why is this bad
    ///
    /// Each addition rounds: the errors of n of them grow like `sqrt(n)` times half the distance to the next number, 2^-8 in
    /// bf16, 2^-11 in f16. The statistics of a group of 8 channels of 128 x 128 pixels are sums of 131,072 terms: wrong by
    /// more than their value in bf16, by 18 % in f16. Frameworks that reduce in f32 whatever they are given are safe;
    /// kernels that do not are not, and softmax weights no longer sum to one.
    ///
    /// ## Example
    ///
    /// ```arch dtype=bf16
    /// model Coarse(x: image[8, 64, 64]) -> image[8, 64, 64] {
    ///     x -> group_norm(groups: 2) @norm -> conv2d(8, kernel: 3) @conv
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// Keep the norm in f32; or sum over less:
    ///
    /// ```arch dtype=bf16
    /// model Fine(x: image[4, 64, 64]) -> image[4, 64, 64] {
    ///     x -> pixel_norm() -> conv2d(4, kernel: 3) @conv
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// None: the language has no word for the numbers of a single operation; whoever runs the network chooses them.
    ///
    /// ## Evidence
    ///
    /// A remark, because it is not tried: archc's own kernels sum in f32, as those of PyTorch do, so that no experiment
    /// here shows the error. It is that of hardware and libraries that sum in the format of their operands.
    ///
    /// ## References
    ///
    /// * Higham, *The Accuracy of Floating Point Summation*, SIAM J. Sci. Comput. 1993.
    ///
    /// ## Threads
    ///
    /// * pytorch/pytorch#77507: group norm on the CPU computed its moments in bf16.
    /// * pytorch/executorch#16727: norms in f16 differed from PyTorch's, which sums in f32, most where the variance was
    ///   large.
    /// * lucidrains/imagen-pytorch#69: losses explode in f16; a softmax in f32 is tried, which guided-diffusion has.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC --dtype bf16` lists the sums that lose more than they may, with the number of their terms
    /// and the error.
    "precision/half-reduction", Info
    pub struct HalfReduction {
        place: Span,
        format: Format,
        terms: f64,
        error: f64,
    }

    check(context) {
        let Some(precision) = context.precision() else { return vec![] };
        let format = precision.format;
        let found = precision.kept.iter().filter_map(|kept| {
            let Hazard::Sum { terms, error } = kept.hazard else { return None };
            Some((kept.node, HalfReduction { place: context.place(kept.node), format, terms, error }))
        });
        found.collect()
    }

    report(finding, _context) {
        let format = finding.format.name();
        Report {
            message: format!("the sums in this are too long for {format}"),
            labels: vec![(
                finding.place,
                format!("{:.0} terms lose {} % if they are added one by one", finding.terms, figure(100.0 * finding.error)),
            )],
            notes: vec![],
            help: Some("keep this operator in f32, or its sums".to_owned()),
        }
    }
}
