//! `condition/raw-numbers`

use crate::analysis::stacks::{passage, readers};
use crate::ir::{Graph, Input, NodeId};
use crate::lint::{Context, Report, Stage};
use crate::ops::activation::Function;
use crate::ops::{Op, Passage};
use crate::types::Kind;
use crate::words::figure;
use archc_grammar::{Fix, Safety, Span};
use rustc_hash::FxHashSet;
use std::sync::Arc;

/// Root mean square from which on numbers are raw: what has been embedded or normalised is of size 1.
const RAW: f64 = 30.0;
/// The same where `archc.yaml` declares how large the numbers are, and nothing is guessed.
const RAW_DECLARED: f64 = 10.0;
/// What is multiplied by less has been brought to another unit.
const ANOTHER_UNIT: f64 = 0.1;
/// Names of inputs that hold pixels, frames per second and the like, as diffusers and the models behind it call them, also
/// behind another word. What only may be one, such as `size`, is not among them.
const ENDINGS: [&str; 16] = [
    "time_ids",
    "original_size",
    "orig_size",
    "target_size",
    "image_size",
    "crop_size",
    "size_in_pixels",
    "resolution",
    "crop_coords",
    "crop_top_left",
    "crops_coords_top_left",
    "fps",
    "frame_rate",
    "num_frames",
    "motion_bucket",
    "motion_bucket_id",
];
/// Names that say so only on their own: strokes have a width as well.
const WHOLE: [&str; 4] = ["height", "width", "crop", "crops"];

rule! {
    /// ## What it does
    ///
    /// Finds linear maps that are fed raw numbers of a sample: timesteps, sizes in pixels, crops. Numbers are raw if they
    /// are predicted to be of size 30 or more, or 10 where `archc.yaml` declares what the input is
    /// (`statistics: { inputs: { NAME: { mean: .., std: .. } } }`). Of an input without declaration the name has to say
    /// what it holds: `height`, `width`, `crop`, `crops`; or, also behind another word as in `added_time_ids`, `time_ids`,
    /// `original_size`, `orig_size`, `target_size`, `image_size`, `crop_size`, `size_in_pixels`, `resolution`,
    /// `crop_coords`, `crop_top_left`, `crops_coords_top_left`, `fps`, `frame_rate`, `num_frames`, `motion_bucket`,
    /// `motion_bucket_id`. A division by ten or more, or anything else but a reshape, a cut or a concatenation on the way,
    /// is taken as an embedding.
    ///
    /// ## Why is this bad
    ///
    /// A linear map of a number is a line. Timesteps of root mean square 577 make features of size 333 at the default
    /// initialisation, all along one direction: the layers behind are saturated, or see nothing but the sign, and
    /// neighbouring steps differ by a thousandth. Sines and cosines of the number at many frequencies are of size 0.7 and
    /// tell steps apart; SDXL embeds each of its six sizes and crops that way, 256 channels each. Gates that are fed raw
    /// numbers are reported by `gate/saturated`.
    ///
    /// ## Example
    ///
    /// ```arch
    /// model Raw(x: tokens[16, 32], t: timestep) -> tokens[16, 32] {
    ///     let raw = t * parameter(vector[4], init: one) @scale
    ///     x -> linear(32) @in + raw -> linear(32) @time
    /// }
    /// ```
    ///
    /// ## Use instead
    ///
    /// ```arch
    /// model Embedded(x: tokens[16, 32], t: timestep) -> tokens[16, 32] {
    ///     x -> linear(32) @in + t -> sinusoid(64) -> linear(32) @time
    /// }
    /// ```
    ///
    /// ## Fix
    ///
    /// Brings the numbers to size 1, by a factor in front of the map (unsafe: the network computes something else; weights
    /// still load). Whether they are better embedded only the author can say.
    ///
    /// ## References
    ///
    /// * Podell et al., *SDXL*, ICLR 2024, section 2.2: Fourier features of sizes and crops.
    /// * Tancik et al., *Fourier Features Let Networks Learn High Frequency Functions*, NeurIPS 2020.
    ///
    /// ## Threads
    ///
    /// * intuitive-robots/MoDE_Diffusion_Policy#14: a user finds `log(sigma) / 4` fed to a linear layer instead of
    ///   sines, and asks what follows.
    /// * robot-learning-freiburg/PointFlowMatch#3: times are multiplied by 20 before they are embedded; the author
    ///   tried both, and results are a bit better so.
    ///
    /// ## To confirm
    ///
    /// `archc predict SPEC --format lines` prints the mean square behind the map, 1.1e5 for timesteps at the usual
    /// start; `archc probe SPEC --format json` measures it.
    "condition/raw-numbers", Warning
    pub struct RawNumbers {
        map: Span,
        size: Size,
        /// The input, where its name says that the numbers are raw.
        input: Option<Span>,
    }

    check(context) {
        let graph = context.graph;
        let found = graph.node_ids().filter_map(|id| {
            let (Op::Linear(_), operand) = (graph.node(id).op()?, graph.operand(id, 0)?) else { return None };
            let ty = &graph.node(operand).ty;
            if ty.kind != Kind::Vector || !ty.batch.samples || only_gates(graph, id) {
                return None;
            }
            let map = context.place(id);
            if let Some(size) = predicted(context, operand) {
                return Some((id, RawNumbers { map, size: Size::Predicted(size), input: None }));
            }
            let input = named(context, operand)?;
            let place = context.place(input.node);
            Some((id, RawNumbers { map, size: Size::Named(Arc::clone(&input.name)), input: Some(place) }))
        });
        found.collect()
    }

    report(finding, _context) {
        let what = match &finding.size {
            Size::Predicted(size) => format!("its input is of size {}", figure(*size)),
            Size::Named(name) => format!("`{name}` arrives as it is"),
        };
        let input = finding.input.map(|place| (place, "pixels, frames or steps, by its name".to_owned()));
        let named = input.is_some();
        Report {
            message: "a linear map is fed raw numbers".to_owned(),
            labels: std::iter::once((finding.map, what)).chain(input).collect(),
            notes: if named {
                vec!["`statistics` in archc.yaml may say that they are of size 1".to_owned()]
            } else {
                vec![]
            },
            help: Some("embed them first, `sinusoid(256)`, or bring them to size 1".to_owned()),
        }
    }

    fixes(finding, context) {
        // How large named numbers are nobody knows.
        let Size::Predicted(size) = finding.size else { return vec![] };
        let scaled = format!("affine(scale: {})", figure(1.0 / size));
        let fix = |map: Stage| Fix::new("bring the numbers to size 1", Safety::Unsafe, vec![map.before(&scaled)]);
        context.stage(finding.map).map(fix).into_iter().collect()
    }
}

/// How it is known that numbers are raw.
#[derive(Clone, Debug)]
enum Size {
    Predicted(f64),
    /// By the name of the input.
    Named(Arc<str>),
}

/// The predicted root mean square of a value that no learned map has made, where that is large.
fn predicted(context: &Context<'_>, operand: NodeId) -> Option<f64> {
    if !is_unmapped(context.graph, operand) {
        return None;
    }
    let declared = sources(context.graph, operand).into_iter().any(|input| is_declared(context, input));
    let size = libm::sqrt(context.signal().square(operand)?);
    (size > if declared { RAW_DECLARED } else { RAW }).then_some(size)
}

/// An input of raw numbers by its name that is part of a value as it is, unless its size is declared.
fn named<'g>(context: &Context<'g>, operand: NodeId) -> Option<&'g Input> {
    let is_raw = |input: &&Input| says_raw(&input.name) && !is_declared(context, input);
    sources(context.graph, operand).into_iter().find(is_raw)
}

/// Inputs that are part of a value as they are.
fn sources(graph: &Graph, node: NodeId) -> Vec<&Input> {
    let (mut open, mut seen, mut found) = (vec![node], FxHashSet::default(), vec![]);
    while let Some(at) = open.pop() {
        if !seen.insert(at) {
            continue;
        }
        let keeps = match passage(graph, at) {
            None => {
                found.extend(graph.inputs.iter().find(|input| input.node == at));
                false
            }
            Some(Passage::Keep | Passage::Cut | Passage::Join) => true,
            Some(Passage::Scale) => {
                matches!(graph.node(at).op(), Some(Op::Affine(affine)) if affine.scale.abs() > ANOTHER_UNIT)
            }
            Some(
                Passage::Source
                | Passage::Gate
                | Passage::Normalize
                | Passage::Resample
                | Passage::Project
                | Passage::Transform
                | Passage::Add,
            ) => false,
        };
        if keeps {
            open.extend(graph.operands(at));
        }
    }
    found
}

fn is_declared(context: &Context<'_>, input: &Input) -> bool {
    context.given.inputs.inputs.contains_key(&*input.name)
}

/// Whether a name says that numbers are raw.
fn says_raw(name: &str) -> bool {
    let ends = |known: &str| name.strip_suffix(known).is_some_and(|rest| rest.is_empty() || rest.ends_with('_'));
    WHOLE.contains(&name) || ENDINGS.into_iter().any(ends)
}

/// Whether a value comes from inputs without any learned map in between.
pub(super) fn is_unmapped(graph: &Graph, node: NodeId) -> bool {
    let (mut open, mut seen) = (vec![node], FxHashSet::default());
    while let Some(at) = open.pop() {
        if !seen.insert(at) {
            continue;
        }
        let maps = matches!(passage(graph, at), Some(Passage::Project | Passage::Transform));
        // A map of what is the same for all samples is a factor.
        if maps && graph.node(at).ty.batch.samples && !graph.node(at).parameters.is_empty() {
            return false;
        }
        open.extend(graph.operands(at));
    }
    true
}

/// Whether nothing but gates read a value.
fn only_gates(graph: &Graph, node: NodeId) -> bool {
    let is_gate = |reader: NodeId| match graph.node(reader).op() {
        Some(Op::Activation(activation)) => matches!(activation.function, Function::Sigmoid | Function::Tanh),
        _ => false,
    };
    readers(graph, node).into_iter().all(is_gate)
}
