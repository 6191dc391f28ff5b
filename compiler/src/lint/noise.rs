//! Where what is found about a process belongs.

use super::Context;
use crate::ir::NodeId;

/// The node that stands for the process of a model: its main output.
pub(crate) fn process_node(context: &Context<'_>) -> Option<NodeId> {
    context.graph.outputs.first().map(|output| output.node)
}
