//! The graph for Graphviz.

use super::groups::Groups;
use super::{Graph, NodeId, NodeKind, ROOT, ScopeId};
use std::fmt::Write;

impl Graph {
    /// A DOT document; blocks are clusters unless `flat`, and edges inside of what runs as one are bold.
    pub fn to_dot(&self, groups: &Groups, flat: bool) -> String {
        let mut text = format!("digraph {} {{\n", quoted(self.name()));
        text.push_str("    rankdir=TB;\n    node [shape=box, fontname=\"sans-serif\", fontsize=10];\n");
        text.push_str("    edge [fontname=\"sans-serif\", fontsize=8];\n");
        if flat {
            for id in self.node_ids() {
                self.dot_node(id, 1, &mut text);
            }
        } else {
            let mut children: Vec<Vec<ScopeId>> = self.scope_ids().map(|_| vec![]).collect();
            for scope in self.scope_ids() {
                if let Some(list) = self.scope(scope).parent.and_then(|parent| children.get_mut(parent.index())) {
                    list.push(scope);
                }
            }
            let mut nodes: Vec<Vec<NodeId>> = self.scope_ids().map(|_| vec![]).collect();
            for id in self.node_ids() {
                if let Some(list) = nodes.get_mut(self.node(id).scope.index()) {
                    list.push(id);
                }
            }
            self.dot_scope(ROOT, &children, &nodes, 1, &mut text);
        }
        for id in self.node_ids() {
            for operand in self.operands(id) {
                let label = quoted(&self.node(operand).ty.to_string());
                let is_inside = groups.of(operand).is_some_and(|group| group.nodes.contains(&id));
                let style = if is_inside { ", style=bold" } else { "" };
                let _ = writeln!(text, "    n{} -> n{} [label={label}{style}];", operand.0, id.0);
            }
        }
        for output in &self.outputs {
            let name = quoted(&output.name);
            let _ = writeln!(text, "    out_{} [label={name}, shape=oval];", output.node.0);
            let _ = writeln!(text, "    n{} -> out_{};", output.node.0, output.node.0);
        }
        text.push_str("}\n");
        text
    }

    fn dot_scope(
        &self,
        scope: ScopeId,
        children: &[Vec<ScopeId>],
        nodes: &[Vec<NodeId>],
        depth: usize,
        text: &mut String,
    ) {
        let indent = "    ".repeat(depth);
        for id in nodes.get(scope.index()).into_iter().flatten() {
            self.dot_node(*id, depth, text);
        }
        for child in children.get(scope.index()).into_iter().flatten() {
            let own = self.scope(*child);
            let label = if own.path.is_empty() { own.name.to_string() } else { format!("{} @{}", own.name, own.path) };
            let _ = writeln!(text, "{indent}subgraph cluster_{} {{", child.0);
            let _ = writeln!(text, "{indent}    label={}; color=gray;", quoted(&label));
            self.dot_scope(*child, children, nodes, depth + 1, text);
            let _ = writeln!(text, "{indent}}}");
        }
    }

    fn dot_node(&self, id: NodeId, depth: usize, text: &mut String) {
        let node = self.node(id);
        let indent = "    ".repeat(depth);
        let (label, shape) = match &node.kind {
            NodeKind::Input(at) => {
                let name = self.inputs.get(*at as usize).map_or("input", |input| &input.name);
                (name.to_owned(), "oval")
            }
            NodeKind::Op(op) => match &node.path {
                Some(path) if !node.parameters.is_empty() => (format!("{}\n{path}", op.name()), "box"),
                _ => (op.name().to_owned(), "box"),
            },
        };
        let _ = writeln!(text, "{indent}n{} [label={}, shape={shape}];", id.0, quoted(&label));
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
