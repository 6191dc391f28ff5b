//! `process/degenerate-time-embedding`

use crate::ir::NodeId;
use crate::analysis::numbers::scalars_at;
use crate::lint::{Report, Stage};
use crate::ops::{Op, Sinusoid};
use crate::types::Kind;
use crate::words::short;
use archc_grammar::{Fix, Safety, Span};

/// Points of the range of times at which the embedding is looked at.
const POINTS: u32 = 64;
/// Least effective number of directions, with the margin of 15 % of all thresholds.
const RANK: f64 = 4.0 * 0.85;
/// What the numbers of a timestep range over in published networks.
const RANGE: f64 = 1000.0;

rule! {
    /// ## What it does
    ///
    /// Finds sinusoidal embeddings of the time or the noise level that hardly change over the range of the declared
    /// process: around their mean they fill fewer than 4 directions (effective rank, the exponential of the entropy of the
    /// spectrum).
    ///
    /// ## Why is this bad
    ///
    /// The usual frequencies, 1 to 1/10000, are made for times from 0 to 1000. Of times from 0 to 1 only the fastest few
    /// make part of a period: all embeddings point the same way (cosine above 0.97), and what differs lies along a single
    /// line, effective rank 1.05 where 0 to 1000 gives 59. The network has to tell noise levels apart by small
    /// differences of one number. Multiplying the time by 1000 repairs it, and so do Fourier features.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Net(x: image[3, 16, 16], t: timestep) -> image[3, 16, 16] {
    ///     process { schedule: flow(steps: 1), prediction: flow }
    ///     let c = t -> sinusoid(256) -> linear(3) @time
    ///     x -> conv2d(3, kernel: 3) @conv + c
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Net(x: image[3, 16, 16], t: timestep) -> image[3, 16, 16] {
    ///     process { schedule: flow(steps: 1), prediction: flow }
    ///     let c = (1000 * t) -> sinusoid(256) -> linear(3) @time
    ///     x -> conv2d(3, kernel: 3) @conv + c
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Stretches the numbers to a range of 1000 (unsafe: the network computes something else; weights still load).
    ///
    /// ## Evidence
    ///
    /// A remark, because small experiments do not confirm it: with a transformer on images of digits the loss of flow matching
    /// is the same up to 1 %, that of predicting noise up to 3 % (`tests/evidence/report.md`). The noise of an image tells its
    /// level as well: EDM's networks train with such an embedding, and most networks degrade gracefully without any condition
    /// on the noise (Sun et al. 2025).
    ///
    /// ## References
    ///
    /// * Karras et al., *Analyzing and Improving the Training Dynamics of Diffusion Models*, CVPR 2024: EDM2 replaces the
    ///   positional embedding of EDM, of effective rank 1.3, by Fourier features. EDM trains well all the same.
    /// * Sun et al., *Is Noise Conditioning Necessary for Denoising Generative Models?*, ICML 2025.
    /// * Tancik et al., *Fourier Features Let Networks Learn High Frequency Functions*, NeurIPS 2020.
    ///
    /// ## Threads
    ///
    /// * willisma/SiT#24: times from 0 to 1 in an embedding made for 0 to 1000, reported with a plot; the reporter
    ///   expects little harm.
    /// * jasonkyuyim/se3_diffusion#8: the author multiplies times, since without that their embeddings "will be nearly
    ///   identical".
    /// * ArchiMickey/Just-a-DiT#9: a fix rescales times, as embeddings were almost constant and FID was higher than
    ///   that of U-Nets.
    ///
    /// ## To confirm
    ///
    /// `archc run SPEC --inputs times.safetensors --mid PATH --output out.safetensors`, with a batch of times over the
    /// whole range and PATH the first layer behind the embedding: the rows of `mid.PATH` lie along one line.
    "process/degenerate-time-embedding", Info
    pub struct DegenerateTimeEmbedding {
        place: Span,
        schedule: Span,
        low: f64,
        high: f64,
        rank: f64,
        cosine: f64,
    }

    check(context) {
        let graph = context.graph;
        let Some(declared) = &graph.process else { return vec![] };
        let mut found = vec![];
        for input in &graph.inputs {
            let range = context.ranges().at(input.node);
            if !matches!(graph.node(input.node).ty.kind, Kind::Timestep | Kind::Sigma) || !range.is_bounded() {
                continue;
            }
            let embeddings: Vec<(NodeId, NodeId, &Sinusoid)> = graph.node_ids().filter_map(|id| {
                let Some(Op::Sinusoid(sinusoid)) = graph.node(id).op() else { return None };
                let number = graph.operand(id, 0)?;
                graph.node(number).ty.kind.is_scalar().then_some((id, number, sinusoid))
            }).collect();
            if embeddings.is_empty() {
                continue;
            }
            // Noise levels are spread over orders of magnitude.
            let is_wide = range.low > 0.0 && range.high / range.low > 100.0;
            let levels = (0..POINTS).map(|at| {
                let at = f64::from(at) / f64::from(POINTS - 1);
                if is_wide { range.low * libm::pow(range.high / range.low, at) } else { range.low + (range.high - range.low) * at }
            });
            let numbers: Vec<Vec<Option<f64>>> = levels.map(|level| scalars_at(graph, input.node, level)).collect();
            for (id, number, sinusoid) in embeddings {
                let values: Option<Vec<f64>> = numbers.iter().map(|numbers| numbers.get(number.index()).copied().flatten()).collect();
                let Some(values) = values.filter(|values| values.iter().all(|value| value.is_finite())) else { continue };
                let Some((rank, cosine)) = spectrum(sinusoid, &values).filter(|(rank, _)| *rank < RANK) else { continue };
                let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)));
                let (place, schedule) = (context.place(id), declared.place("schedule"));
                found.push((id, DegenerateTimeEmbedding { place, schedule, low, high, rank, cosine }));
            }
        }
        found
    }

    report(finding, _context) {
        let DegenerateTimeEmbedding { place, schedule, low, high, rank, cosine } = finding;
        Report {
            message: format!("this embedding of the noise fills {rank:.2} directions"),
            labels: vec![
                (*place, format!("it is given numbers from {} to {}", short((low * 1e3).round() / 1e3), short((high * 1e3).round() / 1e3))),
                (*schedule, "over this range of noise".to_owned()),
            ],
            notes: vec![format!("the least cosine of two of its values is {cosine:.3}")],
            help: Some("stretch the numbers to a range of about 1000 (`1000 * t`), or use Fourier features".to_owned()),
        }
    }

    fixes(finding, context) {
        let stretched = format!("affine(scale: {})", short(libm::round(RANGE / (finding.high - finding.low))));
        let fix = |stage: Stage| Fix::new("stretch the numbers", Safety::Unsafe, vec![stage.before(&stretched)]);
        context.stage(finding.place).filter(|_| finding.high - finding.low < RANGE).map(fix).into_iter().collect()
    }
}

/// Effective rank around the mean, and the least cosine of any two, of the embeddings of these numbers; none where all are
/// the same.
fn spectrum(sinusoid: &Sinusoid, values: &[f64]) -> Option<(f64, f64)> {
    let half = (sinusoid.features / 2).min(512);
    let whole = (sinusoid.features / 2) as f64;
    let frequencies: Vec<f64> = (0..half)
        .map(|at| at as f64 * whole / half as f64)
        .map(|at| libm::pow(sinusoid.max_period, -at / (whole - sinusoid.shift)))
        .collect();
    // Of two embeddings the product is a sum of cosines of the difference.
    let product = |a: f64, b: f64| frequencies.iter().map(|frequency| libm::cos(frequency * (a - b))).sum::<f64>() / half as f64;
    let gram: Vec<Vec<f64>> = values.iter().map(|a| values.iter().map(|b| product(*a, *b)).collect()).collect();
    let cosine = gram.iter().flatten().copied().fold(1.0, f64::min);
    let count = values.len() as f64;
    let means: Vec<f64> = gram.iter().map(|row| row.iter().sum::<f64>() / count).collect();
    let all = means.iter().sum::<f64>() / count;
    let centred: Vec<Vec<f64>> = gram
        .iter()
        .zip(&means)
        .map(|(row, own)| row.iter().zip(&means).map(|(value, other)| value - own - other + all).collect())
        .collect();
    let eigenvalues = eigenvalues(centred);
    let total: f64 = eigenvalues.iter().sum();
    if total <= 1e-12 {
        return None;
    }
    let entropy: f64 = eigenvalues.iter().map(|value| value / total).filter(|p| *p > 1e-12).map(|p| -p * libm::log(p)).sum();
    Some((libm::exp(entropy), cosine))
}

/// Eigenvalues of a symmetric matrix that are not negative, largest first, by powers of the matrix: each is taken away
/// once found. Small ones hardly count, so the search ends where little is left.
fn eigenvalues(mut matrix: Vec<Vec<f64>>) -> Vec<f64> {
    const ROUNDS: usize = 60;
    let trace = |matrix: &[Vec<f64>]| matrix.iter().enumerate().filter_map(|(at, row)| row.get(at)).sum::<f64>();
    let total = trace(&matrix);
    let mut found = vec![];
    // Beyond this many directions the embedding is not degenerate.
    while found.len() < 16 && trace(&matrix) > 1e-4 * total {
        // A start that no eigenvector is likely to be orthogonal to.
        let mut vector: Vec<f64> = (0..matrix.len()).map(|at| libm::sin(1.0 + 2.3 * at as f64 * (found.len() + 1) as f64)).collect();
        let mut value = 0.0;
        for _ in 0..ROUNDS {
            let next: Vec<f64> = matrix.iter().map(|row| row.iter().zip(&vector).map(|(a, b)| a * b).sum()).collect();
            value = libm::sqrt(next.iter().map(|x| x * x).sum());
            if value <= 0.0 {
                break;
            }
            vector = next.into_iter().map(|x| x / value).collect();
        }
        for (row, x) in matrix.iter_mut().zip(&vector) {
            for (cell, y) in row.iter_mut().zip(&vector) {
                *cell -= value * x * y;
            }
        }
        found.push(value);
    }
    found
}
