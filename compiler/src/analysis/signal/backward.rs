//! Gradients at initialisation: what becomes of a unit cotangent at the end of a block on its way to the start.
//!
//! A cotangent and not a loss: where the last layer starts at zero, the gradient of every loss vanishes below it, and
//! says nothing about the layers.

use super::Signal;
use super::covariance::{Carried, Covariances};
use crate::analysis::moments::{Class, Estimate, INDEPENDENT, Moments, zip};
use crate::ir::{Graph, NodeId, ScopeId};
use crate::types::Type;
use rustc_hash::FxHashMap;
use smallvec::{SmallVec, smallvec};

/// A value with so many users is a condition, whose users are fresh maps; nobody looks for covariance among them.
const MANY: usize = 32;

/// What a user sends back to a value.
#[derive(Clone, Debug)]
struct Contribution {
    user: NodeId,
    /// The mean of `dy/dx` where the value passes element by element.
    gain: f64,
    /// Whether the value was the same for many positions, so that their gradients are summed.
    summed: bool,
    moments: Estimate,
}

/// Moments of the gradients of all values of a scope, for independent unit cotangents at its outputs.
#[derive(Debug)]
pub struct Cotangents<'g> {
    graph: &'g Graph,
    contributions: FxHashMap<NodeId, SmallVec<[Contribution; 2]>>,
    moments: FxHashMap<NodeId, Estimate>,
    /// Values that the scope is given from outside, of those that have features.
    arriving: Vec<NodeId>,
    members: Vec<NodeId>,
}

impl<'g> Cotangents<'g> {
    fn of(graph: &'g Graph, signal: &Signal, scope: ScopeId, members: &[NodeId]) -> Self {
        let mut own = Self {
            graph,
            contributions: FxHashMap::default(),
            moments: FxHashMap::default(),
            arriving: arriving(graph, members),
            members: members.to_vec(),
        };
        let outputs: SmallVec<[NodeId; 2]> = match graph.scope(scope).parent {
            None => graph.outputs.iter().map(|output| output.node).collect(),
            Some(_) => graph.scope(scope).outputs.iter().copied().collect(),
        };
        let mut sinks: Vec<NodeId> = vec![];
        for id in members.iter().rev().copied() {
            let seed = outputs.contains(&id).then(|| unit(&graph.node(id).ty));
            let gradient = own.collect(id, seed);
            own.send_back(signal, id, &gradient);
            own.moments.insert(id, gradient);
            sinks.extend(graph.operands(id));
        }
        // What comes from outside the scope is where the gradients leave it.
        sinks.sort_unstable();
        sinks.dedup();
        for id in sinks {
            if !own.moments.contains_key(&id) {
                let gradient = own.collect(id, None);
                own.moments.insert(id, gradient);
            }
        }
        own
    }

    /// Moments of the gradient of a value; zero where none arrives.
    pub fn at(&self, node: NodeId) -> &Estimate {
        static NOTHING: Estimate = Ok(Moments::ZERO);
        self.moments.get(&node).unwrap_or(&NOTHING)
    }

    /// Values that the scope is given from outside, of those that have features.
    pub fn arriving(&self) -> &[NodeId] {
        &self.arriving
    }

    /// Values that are made in the scope.
    pub fn members(&self) -> &[NodeId] {
        &self.members
    }

    fn collect(&self, node: NodeId, seed: Option<Moments>) -> Estimate {
        let none = smallvec![];
        let contributions = self.contributions.get(&node).unwrap_or(&none);
        let mut sum = seed.unwrap_or(Moments::ZERO);
        for (at, contribution) in contributions.iter().enumerate() {
            let moments = contribution.moments.as_ref().map_err(Clone::clone)?;
            let mut covariance = INDEPENDENT;
            if contribution.gain != 0.0 && contributions.len() <= MANY {
                for other in contributions.iter().take(at).filter(|other| other.gain != 0.0) {
                    let shared = Covariances::backward(self).between(contribution.user, other.user);
                    covariance = zip(&covariance, &shared, |sum, own| sum + contribution.gain * other.gain * own);
                }
            }
            sum = sum.plus(moments, &covariance);
        }
        // What sums over the same positions share is not followed: it may even cancel.
        let shared = contributions.len() > 1 && contributions.iter().any(|own| own.summed);
        Ok(if shared { sum.at_most(Class::Factor2) } else { sum })
    }

    fn send_back(&mut self, signal: &Signal, id: NodeId, gradient: &Estimate) {
        let node = self.graph.node(id);
        let Some(op) = node.op() else { return };
        let operands = self.graph.operands(id);
        let at = signal.at_node(self.graph, id, node);
        let sent: SmallVec<[Estimate; 3]> = match gradient {
            // Nothing comes from nothing, whatever is unknown of the operator.
            Ok(gradient) if gradient.square() == 0.0 => operands.iter().map(|_| Ok(Moments::ZERO)).collect(),
            Ok(gradient) => match op.as_operator().signal_back(&at, gradient) {
                Ok(sent) => sent.into_iter().enumerate().map(|(slot, own)| Ok(at.unfolded(slot, own))).collect(),
                Err(reason) => operands.iter().map(|_| Err(reason.clone())).collect(),
            },
            Err(reason) => operands.iter().map(|_| Err(reason.clone())).collect(),
        };
        let carries: SmallVec<[(NodeId, f64); 3]> = signal.carried(self.graph, id);
        for (slot, (operand, moments)) in operands.iter().zip(sent).enumerate() {
            let stretched = at.positions(slot) != at.axes_of(at.result).iter().product::<f64>();
            let gain = carries.iter().find(|(own, _)| own == operand).map_or(0.0, |(_, gain)| *gain);
            let gain = if stretched { 0.0 } else { gain };
            let summed = at.positions(slot) == 1.0 && stretched;
            self.contributions.entry(*operand).or_default().push(Contribution { user: id, gain, summed, moments });
        }
    }
}

impl Carried for &Cotangents<'_> {
    fn parts(&self, node: NodeId) -> SmallVec<[(NodeId, f64); 3]> {
        let contributions = self.contributions.get(&node).map(SmallVec::as_slice).unwrap_or_default();
        contributions.iter().filter(|own| own.gain != 0.0).map(|own| (own.user, own.gain)).collect()
    }

    fn moments(&self, node: NodeId) -> &Estimate {
        self.at(node)
    }

    fn order(&self, node: NodeId) -> usize {
        self.graph.node_count() - 1 - node.index()
    }

    fn node(&self, order: usize) -> NodeId {
        NodeId((self.graph.node_count() - 1 - order) as u32)
    }
}

fn unit(ty: &Type) -> Moments {
    if ty.kind.has_positions() { Moments::unit() } else { Moments::uniform(0.0, 1.0) }
}

/// How many times larger the mean square of a gradient is at the start of a scope than at its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Gain {
    /// The value that comes in.
    pub input: NodeId,
    pub gain: Estimate,
}

/// Gains of the scopes that are wanted: to each of the values they are given from outside.
pub fn gains(graph: &Graph, signal: &Signal, wanted: impl Fn(&ScopeId) -> bool) -> Vec<(ScopeId, Vec<Gain>)> {
    let gain = |own: &Cotangents<'_>, input: NodeId| Gain { input, gain: own.at(input).clone() };
    let all = cotangents(graph, signal, wanted);
    let gains = |own: &Cotangents<'_>| own.arriving.iter().map(|input| gain(own, *input)).collect();
    all.into_iter().map(|(scope, own)| (scope, gains(&own))).collect()
}

/// Gradients in the scopes that are wanted, each for unit cotangents at its own outputs; of those that are given
/// something and make something.
pub fn cotangents<'g>(
    graph: &'g Graph,
    signal: &Signal,
    wanted: impl Fn(&ScopeId) -> bool,
) -> Vec<(ScopeId, Cotangents<'g>)> {
    let mut members: FxHashMap<ScopeId, Vec<NodeId>> = FxHashMap::default();
    for id in graph.node_ids() {
        for scope in graph.enclosing(graph.node(id).scope).filter(&wanted) {
            members.entry(scope).or_default().push(id);
        }
    }
    let mut found = vec![];
    for scope in graph.scope_ids() {
        let (Some(members), false) = (members.get(&scope), graph.scope(scope).outputs.is_empty()) else { continue };
        let own = Cotangents::of(graph, signal, scope, members);
        if !own.arriving.is_empty() {
            found.push((scope, own));
        }
    }
    found
}

/// Values that a scope is given from outside, of those that have features.
fn arriving(graph: &Graph, members: &[NodeId]) -> Vec<NodeId> {
    let mut inputs: Vec<NodeId> = vec![];
    for id in members {
        for operand in graph.operands(*id) {
            let outside = members.binary_search(&operand).is_err();
            if outside && graph.node(operand).ty.kind != crate::types::Kind::Label && !inputs.contains(&operand) {
                inputs.push(operand);
            }
        }
    }
    inputs
}
