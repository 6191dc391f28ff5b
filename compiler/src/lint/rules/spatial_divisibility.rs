//! `skip/spatial-divisibility`

use crate::dim::{Dim, Symbol};
use crate::lint::Report;
use archc_grammar::{Fix, Safety, Span};
use std::collections::BTreeMap;

rule! {
    /// ## What it does
    ///
    /// Finds inputs whose size has to be divisible by the product of the strides, where nothing says so; and sizes
    /// that are not, where they are known.
    ///
    /// ## Why is this bad
    ///
    /// A stride of two halves a size and rounds; the way up doubles it and does not round back. An image of 30 pixels
    /// becomes 15, 8, and then 16 on the way up, where the skip is 15 wide. Frameworks report that when the model
    /// runs, at the join, far from the input whose size is wrong.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Halves(x: image[4, H, W]) -> image[4, H, W] {
    ///     let down = x -> conv2d(4, kernel: 3, stride: 2) @down
    ///     concat(x, down -> upsample(2)) -> conv2d(4, kernel: 3) @out
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Halves(x: image[4, H, W]) -> image[4, H, W] {
    ///     assert(H % 2 == 0, "the way down halves the height")
    ///     assert(W % 2 == 0, "the way down halves the width")
    ///     let down = x -> conv2d(4, kernel: 3, stride: 2) @down
    ///     concat(x, down -> upsample(2)) -> conv2d(4, kernel: 3) @out
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// States it at the beginning of the model (safe).
    ///
    /// ## References
    ///
    /// * Ronneberger et al., *U-Net*, MICCAI 2015, section 2: sizes have to be chosen so that all poolings apply to
    ///   even sizes.
    ///
    /// ## Threads
    ///
    /// * huggingface/diffusers#3630: images of 28 x 28 in a `UNet2DModel`: "Expected size 8 but got size 7".
    /// * huggingface/diffusers#255: 520 pixels are refused in the same way, 18 against 17, though they are divisible by
    ///   8.
    /// * lucidrains/denoising-diffusion-pytorch#232: 100 x 100 fails and 96 x 96 works; the author: sizes have to be
    ///   divisible by 2^N.
    ///
    /// ## To confirm
    ///
    /// `archc run SPEC --set H=31 --set W=31`, with the names that the sizes have in SPEC: an odd size does not come
    /// back as it was, and the run is refused.
    "skip/spatial-divisibility", Warning
    pub struct SpatialDivisibility {
        symbol: Symbol,
        modulus: u64,
        needed_by: Span,
        input: Span,
    }

    check(context) {
        let graph = context.graph;
        let mut declared: BTreeMap<Symbol, u64> = BTreeMap::new();
        let mut needed: BTreeMap<Symbol, (u64, Span)> = BTreeMap::new();
        for constraint in &graph.constraints {
            let Some((symbol, modulus)) = constraint.whole.divisibility() else { continue };
            if constraint.declared {
                let known = declared.entry(symbol).or_insert(1);
                *known = lcm(*known, modulus);
            } else {
                let place = context.place_of_scope(constraint.scope).unwrap_or(constraint.span);
                let known = needed.entry(symbol).or_insert((1, place));
                if modulus > known.0 {
                    *known = (lcm(known.0, modulus), place);
                }
            }
        }
        let inputs = || graph.inputs.iter().map(|input| input.node);
        let found = needed.into_iter().filter_map(|(symbol, (modulus, needed_by))| {
            if declared.get(&symbol).is_some_and(|known| known % modulus == 0) {
                return None;
            }
            let owns = |dim: &Dim| dim.symbols().contains(&symbol);
            let input = inputs().find(|node| graph.node(*node).ty.dims.iter().any(owns))?;
            let span = graph.node(input).span;
            Some((input, SpatialDivisibility { symbol, modulus, needed_by, input: span }))
        });
        found.collect()
    }

    report(finding, _context) {
        let SpatialDivisibility { symbol, modulus, needed_by, input } = finding;
        Report {
            message: format!("`{symbol}` has to be divisible by {modulus}, and nothing says so"),
            labels: vec![
                (*input, format!("`{symbol}` is known only when the model runs")),
                (*needed_by, format!("divides it for the last time, by {modulus} in all")),
            ],
            notes: vec![],
            help: Some(format!("state it: `assert({symbol} % {modulus} == 0, \"..\")`")),
        }
    }

    fixes(finding, context) {
        let SpatialDivisibility { symbol, modulus, input, .. } = finding;
        let statement = format!("assert({symbol} % {modulus} == 0, \"strides divide it by {modulus} in all\")");
        let edit = context.definition(*input).and_then(|model| context.first_statement(&model.body, &statement));
        let title = format!("state that {modulus} divides `{symbol}`");
        edit.map(|edit| Fix::new(title, Safety::Safe, vec![edit])).into_iter().collect()
    }
}

fn lcm(a: u64, b: u64) -> u64 {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a.checked_div(x).map_or(0, |quotient| quotient.saturating_mul(b))
}
