//! Where images that should have the same size lost a row: a stride over a size that it does not divide.

use super::Elaborator;
use crate::dim::Dim;
use crate::ir::NodeId;
use crate::ops::Op;
use crate::types::{Axis, Kind};
use archc_grammar::{Diagnostic, Label};
use std::collections::BTreeSet;

/// Values that are looked at behind each of the two.
const MAX_SEARCH: usize = 4096;

impl Elaborator<'_> {
    /// Adds the place where a row was lost to the report of two images that differ in size.
    ///
    /// An image of 15 rows is halved to 8 and doubled to 16: what is wrong shows where the two meet, and happened at the
    /// stride.
    pub(super) fn show_lost_rows(&self, problem: &mut Diagnostic, a: NodeId, b: NodeId) {
        let images = [a, b].iter().all(|node| self.ty(*node).kind == Kind::Image);
        if !images || self.ty(a).positions().eq(self.ty(b).positions()) {
            return;
        }
        let (behind_a, behind_b) = (self.behind(a), self.behind(b));
        let lost = behind_a.symmetric_difference(&behind_b).find_map(|node| Some((*node, self.loses_rows(*node)?)));
        if let Some((node, text)) = lost {
            problem.labels.push(Label { span: self.graph.node(node).span, text });
        }
    }

    /// Everything that a value depends on, as far as it is near.
    fn behind(&self, node: NodeId) -> BTreeSet<NodeId> {
        let mut seen = BTreeSet::new();
        let mut open = vec![node];
        while let Some(at) = open.pop() {
            if seen.len() < MAX_SEARCH && seen.insert(at) {
                open.extend(self.graph.operands(at));
            }
        }
        seen
    }

    /// What a convolution does to a size that its stride does not divide.
    fn loses_rows(&self, node: NodeId) -> Option<String> {
        let Some(Op::Conv2d(conv)) = self.graph.node(node).op() else { return None };
        let before = self.ty(self.graph.operand(node, 0)?);
        let axes = [(Axis::Height, conv.stride.height), (Axis::Width, conv.stride.width)];
        axes.into_iter().find_map(|(axis, stride)| {
            let size = before.dim(axis).and_then(Dim::known)?;
            let left = self.ty(node).dim(axis).and_then(Dim::known)?;
            let back = left.checked_mul(stride)?;
            (size % stride != 0).then(|| {
                let name = axis.name();
                format!("{stride} does not divide the {name} of {size}: it becomes {left}, and {back} on the way back")
            })
        })
    }
}
