//! Signal at initialisation: moments of every value, forward, and of the gradients of every block, backward.
//!
//! Parameters are drawn once and averaged over. A fresh linear map with zero mean makes a value that is uncorrelated with
//! everything before it, an *innovation*; sums, scalings, activations and normalisations carry what they are given on with
//! some gain. So the covariance of two values that meet at a sum is found exactly by following both back to what they
//! share ([`covariance`]), and most meet nothing: `Cov(x, x + f(x)) = Var(x)` where `f` ends in a fresh linear map.
//!
//! What the layers do to moments stands in the operators' files ([`Operator::signal`](crate::ops::Operator::signal),
//! [`Operator::signal_back`](crate::ops::Operator::signal_back)); this module walks the graph.

pub mod backward;
pub mod blocks;
mod covariance;

use super::gaussian::Expansions;
use super::moments::{Estimate, INDEPENDENT, Moments, Unknown};
use crate::init::Init;
use crate::ir::{Graph, Node, NodeId, NodeKind};
use crate::ops::concat::JoinAxis;
use crate::ops::signals::{self, Joined, Response, Signals};
use crate::ops::{Op, ParameterMoments};
use crate::sincos::SinCosGrid;
use crate::types::Kind;
use covariance::Covariances;
use smallvec::{SmallVec, smallvec};
use std::collections::BTreeMap;

/// What goes into a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Moments of images, videos and tokens, brought to unit variance.
    pub features: Moments,
    /// Noise level.
    pub sigma: f64,
    /// Standard deviation of clean images.
    pub sigma_data: f64,
    /// Moments of other inputs, by name.
    pub named: BTreeMap<String, Moments>,
}

impl Default for Statistics {
    /// White noise, what a denoiser sees at the highest noise levels.
    fn default() -> Self {
        Self { features: Moments::unit(), sigma: 0.5, sigma_data: 0.5, named: BTreeMap::new() }
    }
}

impl Statistics {
    /// At noise level `sigma`: an image of deviation `sigma_data` whose neighbours have the given correlation, under white
    /// noise (Karras et al. 2022).
    pub fn noisy(sigma: f64, sigma_data: f64, correlation: f64) -> Self {
        let total = sigma * sigma + sigma_data * sigma_data;
        let share = if total > 0.0 { sigma_data * sigma_data / total } else { 1.0 };
        let features = Moments::smooth(correlation).mixed(share, &Moments::unit());
        Self { features, sigma, sigma_data, named: BTreeMap::new() }
    }

    /// Variance of an image with its noise.
    pub fn total(&self) -> f64 {
        self.sigma * self.sigma + self.sigma_data * self.sigma_data
    }

    /// Features as a model takes them: one that is told the noise level scales them itself.
    pub fn scale(&self, graph: &Graph) -> f64 {
        let told = graph.inputs.iter().any(|input| graph.node(input.node).ty.kind == Kind::Sigma);
        if told { libm::sqrt(self.total()) } else { 1.0 }
    }

    fn input(&self, name: &str, kind: Kind, scale: f64) -> Estimate {
        if let (Some(declared), false) = (self.named.get(name), kind.is_index()) {
            return Ok(*declared);
        }
        match kind {
            Kind::Image | Kind::Video | Kind::Tokens | Kind::Sequence => Ok(self.features.scaled(scale)),
            Kind::Vector | Kind::Scalar => Ok(Moments::uniform(0.0, 1.0)),
            Kind::Sigma => Ok(Moments::uniform(self.sigma, self.sigma * self.sigma)),
            // Uniform on 0..1000.
            Kind::Timestep => Ok(Moments::uniform(500.0, 1000.0 * 1000.0 / 3.0)),
            Kind::Label | Kind::Ids => Err(Unknown::because("labels are indices, not numbers")),
            // Every token takes part.
            Kind::Mask => Ok(Moments::uniform(1.0, 1.0)),
        }
    }
}

/// Moments of every value.
#[derive(Debug)]
pub struct Signal {
    moments: Vec<Estimate>,
    /// How each value carries its operands.
    carries: Vec<SmallVec<[f64; 3]>>,
    expansions: Expansions,
}

impl Signal {
    /// For inputs of unit variance.
    pub fn of(graph: &Graph) -> Self {
        Self::with(graph, &Statistics::default())
    }

    pub fn with(graph: &Graph, statistics: &Statistics) -> Self {
        let mut signal = Signal {
            moments: Vec::with_capacity(graph.node_count()),
            carries: Vec::with_capacity(graph.node_count()),
            expansions: Expansions::default(),
        };
        let scale = statistics.scale(graph);
        for id in graph.node_ids() {
            let node = graph.node(id);
            let response = match &node.kind {
                NodeKind::Input(at) => {
                    let name = graph.inputs.get(*at as usize).map_or("", |input| &*input.name);
                    let channels = node.ty.channels().unwrap_or(1).max(1) as f64;
                    let moments = statistics.input(name, node.ty.kind, scale);
                    moments.map(|moments| Response::fresh(moments.similar(1.0 / channels)))
                }
                NodeKind::Op(op) => op.as_operator().signal(&signal.at_node(graph, id, node)),
            };
            let (moments, carries) = match response {
                Ok(response) => (Ok(response.moments), response.carries),
                Err(reason) => (Err(reason), smallvec![]),
            };
            signal.moments.push(moments);
            signal.carries.push(carries);
        }
        signal
    }

    /// Moments of a value.
    pub fn at(&self, node: NodeId) -> &Estimate {
        static NOTHING: Estimate = Err(Unknown(std::borrow::Cow::Borrowed("there is no such value")));
        self.moments.get(node.index()).unwrap_or(&NOTHING)
    }

    /// Mean square of a value.
    pub fn square(&self, node: NodeId) -> Option<f64> {
        self.at(node).as_ref().ok().map(Moments::square)
    }

    /// Moments of the mean over all positions, by its mean square: what positions have in common.
    pub fn shared(&self, graph: &Graph, node: NodeId) -> Estimate {
        let moments = self.at(node).clone()?;
        let axes = signals::sizes_of(&graph.node(node).ty, &graph.typical);
        let count = axes.iter().product::<f64>().max(1.0);
        let square = moments.summed(&axes) / (count * count);
        Ok(Moments { class: moments.class, ..Moments::uniform(moments.mean, square) })
    }

    /// Operands of a node with the gains by which it carries them.
    fn carried(&self, graph: &Graph, node: NodeId) -> SmallVec<[(NodeId, f64); 3]> {
        let Some(carries) = self.carries.get(node.index()).filter(|carries| !carries.is_empty()) else {
            return smallvec![];
        };
        let operands = graph.operands(node).into_iter().zip(carries.iter().copied());
        operands.filter(|(_, gain)| *gain != 0.0).collect()
    }

    /// The two streams of tokens that a value puts side by side.
    fn joined<'a>(&'a self, graph: &'a Graph, node: NodeId) -> Option<Joined<'a>> {
        match (graph.node(node).op(), graph.operands(node).as_slice()) {
            (Some(Op::Concat(concat)), [a, b]) if concat.along == JoinAxis::Tokens => {
                Some([*a, *b].map(|x| (&graph.node(x).ty, self.at(x))))
            }
            _ => None,
        }
    }

    fn at_node<'a>(&'a self, graph: &'a Graph, id: NodeId, node: &'a Node) -> Signals<'a> {
        let operands = graph.operands(id);
        let parameter = |parameter: &crate::ir::ParameterId| {
            let parameter = graph.parameter(*parameter);
            ParameterMoments::of(&parameter.init, parameter.fans)
        };
        let covariance = match (operands.as_slice(), node.op()) {
            ([a, b], Some(op)) if op.as_operator().needs_covariance() => {
                Covariances::forward(graph, self).between(*a, *b)
            }
            _ => INDEPENDENT,
        };
        let joined = match node.op() {
            Some(Op::Attention(_)) => operands.iter().map(|x| self.joined(graph, *x)).collect(),
            _ => smallvec![],
        };
        Signals {
            joined,
            operands: operands.iter().map(|x| (&graph.node(*x).ty, self.at(*x))).collect(),
            parameters: node.parameters.iter().map(parameter).collect(),
            table: operands.first().and_then(|x| table(graph, *x)),
            result: &node.ty,
            covariance,
            expansions: &self.expansions,
            sizes: &graph.typical,
        }
    }
}

/// The table of positions that a value is, as it was initialised.
fn table(graph: &Graph, node: NodeId) -> Option<&SinCosGrid> {
    let node = graph.node(node);
    match (node.op(), node.parameters.first().map(|parameter| &graph.parameter(*parameter).init)) {
        (Some(Op::Parameter(_)), Some(Init::SinCos2d(grid))) => Some(grid),
        _ => None,
    }
}
