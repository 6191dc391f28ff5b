//! Moments of every value at initialisation, forward.
//!
//! Values are taken to be independent where they meet; each operator's own formula stands in its file.

use super::moments::Moments;
use crate::ir::{Graph, NodeId, NodeKind};
use crate::ops::ParameterMoments;
use crate::types::{Kind, Type};
use smallvec::SmallVec;

/// Moments by node.
#[derive(Debug)]
pub struct Signal {
    moments: Vec<Moments>,
}

impl Signal {
    pub fn of(graph: &Graph) -> Self {
        let mut signal = Signal { moments: Vec::with_capacity(graph.node_count()) };
        for id in graph.node_ids() {
            let node = graph.node(id);
            let moments = match &node.kind {
                NodeKind::Input(_) => input_moments(node.ty.kind),
                NodeKind::Op(op) => {
                    let operands = graph.operands(id);
                    let types: SmallVec<[&Type; 3]> = operands.iter().map(|x| &graph.node(*x).ty).collect();
                    let known: SmallVec<[Moments; 3]> = operands.iter().map(|x| signal.at(*x).clone()).collect();
                    let parameters: SmallVec<[ParameterMoments; 2]> = node
                        .parameters
                        .iter()
                        .map(|parameter| {
                            let parameter = graph.parameter(*parameter);
                            let (mean, std) = parameter.init.mean_and_std(parameter.fans);
                            ParameterMoments { mean, std, constant: parameter.init.is_constant() }
                        })
                        .collect();
                    op.as_operator().moments(&types, &known, &parameters)
                }
            };
            signal.moments.push(moments);
        }
        signal
    }

    /// Moments of a value.
    pub fn at(&self, node: NodeId) -> &Moments {
        static NOTHING: Moments = Moments::Unknown(std::borrow::Cow::Borrowed("there is no such value"));
        self.moments.get(node.index()).unwrap_or(&NOTHING)
    }
}

/// Features come in at unit variance; times and labels are not features.
fn input_moments(kind: Kind) -> Moments {
    match kind {
        Kind::Image | Kind::Video | Kind::Tokens | Kind::Sequence | Kind::Vector => Moments::UNIT,
        Kind::Scalar | Kind::Timestep | Kind::Sigma | Kind::Label | Kind::Ids | Kind::Mask => {
            Moments::unknown("the distribution of this input is not declared")
        }
    }
}
