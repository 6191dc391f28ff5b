//! Calls of a list of modules, one after the other, as loops; parts of one value as one cut.

use super::draft::uses;
use super::{CallStep, LoopStep, Module, OpStep, Step};
use crate::dim::Dim;
use crate::emit::number::Number;
use crate::ir::{Graph, NodeId};
use crate::ops::Op;
use crate::types::Axis;

/// Brings calls that are rounds of one loop together.
pub(super) fn roll(steps: Vec<Step>, outputs: &[NodeId], lengths: &[usize]) -> Vec<Step> {
    let mut rolled = vec![];
    let mut at = 0;
    while at < steps.len() {
        match rounds(steps.get(at..).unwrap_or_default(), lengths) {
            Some(calls) if is_closed(&calls, &steps, at, outputs) => {
                at += calls.len();
                rolled.extend(as_loop(&calls).map(Step::Loop));
            }
            _ => {
                rolled.extend(steps.get(at).cloned());
                at += 1;
            }
        }
    }
    rolled
}

/// Calls of all elements of a field in a row.
fn rounds<'a>(steps: &'a [Step], lengths: &[usize]) -> Option<Vec<&'a CallStep>> {
    let Some(Step::Call(first)) = steps.first() else { return None };
    let place = first.place?;
    let length = lengths.get(place.field).copied().filter(|length| *length > 1)?;
    let calls: Vec<&CallStep> = steps
        .iter()
        .take(length)
        .enumerate()
        .filter_map(|(index, step)| match step {
            Step::Call(call) if call.place.is_some_and(|own| own.field == place.field && own.index == Some(index)) => {
                Some(call)
            }
            _ => None,
        })
        .collect();
    let same = calls.iter().all(|call| {
        call.operands.len() == first.operands.len()
            && call.results.len() == first.results.len()
            && call.sizes == first.sizes
            && call.module == first.module
    });
    (calls.len() == length && same).then_some(calls)
}

/// Whether rounds differ in nothing but what they carry, and nothing else looks at what is carried.
fn is_closed(calls: &[&CallStep], steps: &[Step], at: usize, outputs: &[NodeId]) -> bool {
    let Some(carried) = as_loop(calls) else { return false };
    let consistent = calls.windows(2).all(|pair| {
        let [before, after] = pair else { return false };
        carried.operands.iter().enumerate().all(|(slot, (first, result))| {
            let own = after.operands.get(slot);
            match result {
                Some(result) => own == before.results.get(*result),
                None => own == Some(first),
            }
        })
    });
    let inner: Vec<NodeId> = calls.iter().rev().skip(1).flat_map(|call| call.results.iter().copied()).collect();
    let outside = |place: usize| place < at || place >= at + calls.len();
    let leaks = steps
        .iter()
        .enumerate()
        .filter(|(place, _)| outside(*place))
        .any(|(_, step)| uses(step).iter().any(|used| inner.contains(used)));
    // Every result goes on, so that the last round has what the others have.
    let all_carried = calls
        .first()
        .is_some_and(|call| (0..call.results.len()).all(|at| carried.operands.iter().any(|(_, own)| *own == Some(at))));
    consistent && all_carried && !leaks && !outputs.iter().any(|output| inner.contains(output))
}

fn as_loop(calls: &[&CallStep]) -> Option<LoopStep> {
    let [first, second, ..] = calls else { return None };
    let last = calls.last()?;
    let operands = first.operands.iter().zip(&second.operands);
    let operands =
        operands.map(|(own, next)| (*own, first.results.iter().position(|result| result == next && own != next)));
    Some(LoopStep {
        field: first.place?.field,
        module: first.module,
        operands: operands.collect(),
        sizes: first.sizes.clone(),
        results: last.results.clone(),
    })
}

/// Brings slices that are the equal parts of one value together.
pub(super) fn chunks(graph: &Graph, steps: Vec<Step>) -> Vec<Step> {
    let mut result: Vec<Step> = vec![];
    for step in steps {
        let Some((operand, at, count, groups)) = part(graph, &step) else {
            result.push(step);
            continue;
        };
        let Step::Op(OpStep { node, .. }) = step else { continue };
        let known = result.iter_mut().find_map(|step| match step {
            Step::Chunk { operand: own, parts, count: of, groups: by }
                if *own == operand && *of == count && *by == groups =>
            {
                Some(parts)
            }
            _ => None,
        });
        match known.and_then(|parts| parts.get_mut(at)) {
            Some(place) => *place = Some(node),
            None => {
                let mut parts = vec![None; count];
                if let Some(place) = parts.get_mut(at) {
                    *place = Some(node);
                }
                result.push(Step::Chunk { operand, parts, count, groups });
            }
        }
    }
    result
}

/// Which of how many equal parts of which value a step takes.
fn part(graph: &Graph, step: &Step) -> Option<(NodeId, usize, usize, Number)> {
    let Step::Op(OpStep { node, operands, numbers, .. }) = step else { return None };
    let Some(Op::Slice(slice)) = graph.node(*node).op() else { return None };
    let operand = *operands.first()?;
    if slice.along.axis() != Axis::Channel {
        return None;
    }
    let groups = Module::number(numbers, "groups").cloned().unwrap_or(Number::Int(slice.groups));
    let (start, size) = (slice.start.0.known()?, slice.size.known()?);
    let whole = graph.node(operand).ty.dim(Axis::Channel).and_then(Dim::known)? / slice.groups;
    let fits = size > 0 && whole % size == 0 && start % size == 0 && whole > size;
    fits.then_some((operand, (start / size) as usize, (whole / size) as usize, groups))
}
