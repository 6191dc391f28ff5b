//! The graph as text that reads like a program. It is stable, so that snapshots of it show what a change of a spec does.
//!
//! Blocks stand where they are called, with their tensors by name; a run of instances that differ in nothing but
//! their place is printed once, with how often it repeats. Values are named as in the source, else by their label, else
//! by their operator. Parameters stand under the operation that owns them, with shape and initialiser.

use super::groups::Groups;
use super::{Graph, Node, NodeId, NodeKind, ROOT, Scope, ScopeId, ScopeKind};
use crate::ops::Storage;
use crate::types::Type;
use rustc_hash::{FxHashMap, FxHashSet};
use std::fmt::Write;

const INDENT: &str = "    ";

impl Graph {
    /// The graph as a program, with blocks as written and repeated blocks once.
    ///
    /// ```
    /// use archc_compiler::{Options, compile};
    ///
    /// let source = "model Tiny(x: vector[8]) -> vector[4] { x -> linear(4, init: zero) @head }";
    /// let compiled = compile("tiny.arch", None, &[], &[("tiny.arch", source)], &Options::default())?;
    /// let text = compiled.graph.expect("nothing is wrong with it").to_text();
    /// assert!(text.contains("head = linear(x, features: 4, bias: true) -> vector[4]"));
    /// # Ok::<(), archc_compiler::CompileError>(())
    /// ```
    pub fn to_text(&self) -> String {
        self.to_text_with(&Groups::default())
    }

    /// The same with a remark behind what runs as one.
    pub fn to_text_with(&self, groups: &Groups) -> String {
        let mut printer = Printer::new(self, groups);
        let mut text = printer.header();
        let mut names = Names::default();
        for input in &self.inputs {
            names.give(input.node, &input.name);
        }
        let body = printer.body(ROOT, &mut names, "", 0);
        text.push_str(&body);
        text.push('\n');
        for output in &self.outputs {
            let _ = writeln!(text, "out {} = {}", output.name, names.of(output.node));
        }
        text
    }

    /// Every operation on a line of its own, values by number, parameters by their full names.
    pub fn to_flat_text(&self) -> String {
        self.to_flat_text_with(&Groups::default())
    }

    /// The same with a remark behind what runs as one.
    pub fn to_flat_text_with(&self, groups: &Groups) -> String {
        let mut text = Printer::new(self, groups).header();
        for id in self.node_ids() {
            let node = self.node(id);
            let NodeKind::Op(op) = &node.kind else { continue };
            let operands: Vec<String> = self.operands(id).iter().map(|operand| self.flat_name(*operand)).collect();
            let remark = groups.remark(self, id);
            let _ = writeln!(text, "{} = {} -> {}{remark}", self.flat_name(id), call(op, &operands), node.ty);
            for parameter in &node.parameters {
                let parameter = self.parameter(*parameter);
                let _ = writeln!(text, "{INDENT}{} {}", parameter.path, parameter_line(parameter));
            }
        }
        text.push('\n');
        for output in &self.outputs {
            let _ = writeln!(text, "out {} = {}", output.name, self.flat_name(output.node));
        }
        text
    }

    fn flat_name(&self, id: NodeId) -> String {
        match self.node(id).kind {
            NodeKind::Input(at) => {
                self.inputs.get(at as usize).map_or_else(|| format!("%{}", id.0), |input| input.name.to_string())
            }
            NodeKind::Op(_) => format!("%{}", id.0),
        }
    }
}

/// `linear(x, features: 4, bias: true)`
fn call(op: &crate::ops::Op, operands: &[String]) -> String {
    let activation = matches!(op, crate::ops::Op::Activation(_));
    let attributes = op.attributes().into_iter().filter(|_| !activation);
    let arguments: Vec<String> =
        operands.iter().cloned().chain(attributes.map(|(name, value)| format!("{name}: {value}"))).collect();
    format!("{}({})", op.name(), arguments.join(", "))
}

/// `[384, 1152] xavier_uniform`
fn parameter_line(parameter: &super::Parameter) -> String {
    let storage = match parameter.storage {
        Storage::Trained => "",
        Storage::Frozen => " frozen",
        Storage::Buffer => " buffer",
    };
    format!("{:?} {}{storage}", parameter.shape, parameter.init)
}

/// Names of values in one block instance.
#[derive(Clone, Default)]
struct Names {
    names: FxHashMap<NodeId, String>,
    taken: FxHashSet<String>,
}

impl Names {
    /// Names a value; a name that is taken gets a number.
    fn give(&mut self, node: NodeId, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        let mut count = 1;
        while !self.taken.insert(name.clone()) {
            count += 1;
            name = format!("{wanted}_{count}");
        }
        self.names.insert(node, name.clone());
        name
    }

    fn of(&self, node: NodeId) -> String {
        self.names.get(&node).cloned().unwrap_or_else(|| format!("%{}", node.0))
    }
}

enum Item {
    Node(NodeId),
    Scope(ScopeId),
}

struct Printer<'g> {
    graph: &'g Graph,
    groups: &'g Groups,
    /// What stands directly in each scope, in order.
    items: Vec<Vec<Item>>,
    /// Values from outside that a block uses without being given them.
    captured: Vec<Vec<NodeId>>,
}

/// An instance as text: what it is called with, and what is in it.
struct Instance {
    scope: ScopeId,
    arguments: Vec<(String, NodeId)>,
    body: String,
    results: Vec<String>,
}

impl<'g> Printer<'g> {
    fn new(graph: &'g Graph, groups: &'g Groups) -> Self {
        let count = graph.scope_ids().count();
        let mut items: Vec<Vec<Item>> = (0..count).map(|_| vec![]).collect();
        let mut placed = vec![false; count];
        for id in graph.node_ids() {
            if matches!(graph.node(id).kind, NodeKind::Input(_)) {
                continue;
            }
            let scope = graph.node(id).scope;
            // A scope stands where its first node does, and so do those around it.
            let fresh: Vec<ScopeId> = graph
                .enclosing(scope)
                .take_while(|scope| *scope != ROOT && !placed.get(scope.index()).copied().unwrap_or(true))
                .collect();
            for scope in fresh.into_iter().rev() {
                if let Some(slot) = placed.get_mut(scope.index()) {
                    *slot = true;
                }
                let parent = graph.scope(scope).parent.unwrap_or(ROOT);
                if let Some(list) = items.get_mut(parent.index()) {
                    list.push(Item::Scope(scope));
                }
            }
            if let Some(list) = items.get_mut(scope.index()) {
                list.push(Item::Node(id));
            }
        }
        let captured = captures(graph, count);
        Self { graph, groups, items, captured }
    }

    fn header(&self) -> String {
        let graph = self.graph;
        let mut text = String::new();
        for line in graph.docs.lines() {
            let _ = writeln!(text, "/// {line}");
        }
        match &graph.preset {
            Some(preset) => {
                let _ = writeln!(text, "model {} as {preset}", graph.model);
            }
            None => {
                let _ = writeln!(text, "model {}", graph.model);
            }
        }
        let values: Vec<String> =
            graph.hyperparameters.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        if !values.is_empty() {
            let _ = writeln!(text, "with {}", values.join(", "));
        }
        let mut needs: std::collections::BTreeMap<_, u64> = std::collections::BTreeMap::new();
        for (symbol, modulus) in graph.constraints.iter().filter_map(|c| c.whole.divisibility()) {
            let known = needs.entry(symbol).or_insert(1);
            *known = (*known).max(modulus);
        }
        let needs: Vec<String> =
            needs.into_iter().map(|(symbol, modulus)| format!("{symbol} % {modulus} == 0")).collect();
        if !needs.is_empty() {
            let _ = writeln!(text, "where {}", needs.join(", "));
        }
        if let Some(declared) = &graph.process {
            let _ = writeln!(text, "process {{");
            for (name, value) in declared.process.entries() {
                let _ = writeln!(text, "{INDENT}{name}: {value}");
            }
            text.push_str("}\n");
        }
        let _ = writeln!(text, "parameters {}", graph.parameter_elements());
        text.push('\n');
        for input in &graph.inputs {
            let _ = writeln!(text, "in {}: {}", input.name, graph.node(input.node).ty);
        }
        text.push('\n');
        text
    }

    /// Everything in a scope, one level of indentation for each scope that is not a block of its own.
    fn body(&mut self, scope: ScopeId, names: &mut Names, base: &str, depth: usize) -> String {
        let items = self.items.get_mut(scope.index()).map(std::mem::take).unwrap_or_default();
        let mut text = String::new();
        let mut at = 0;
        while let Some(item) = items.get(at) {
            match item {
                Item::Node(id) => {
                    self.node(*id, names, base, depth, &mut text);
                    at += 1;
                }
                Item::Scope(child) if self.graph.scope(*child).kind == ScopeKind::Block => {
                    let run: Vec<ScopeId> = items
                        .iter()
                        .skip(at)
                        .map_while(|item| match item {
                            Item::Scope(next) if self.graph.scope(*next).kind == ScopeKind::Block => Some(*next),
                            Item::Scope(_) | Item::Node(_) => None,
                        })
                        .collect();
                    at += self.blocks(&run, names, base, depth, &mut text);
                }
                Item::Scope(child) => {
                    self.group(*child, names, base, depth, &mut text);
                    at += 1;
                }
            }
        }
        text
    }

    fn node(&self, id: NodeId, names: &mut Names, base: &str, depth: usize, text: &mut String) {
        let node = self.graph.node(id);
        let NodeKind::Op(op) = &node.kind else { return };
        let operands: Vec<String> = self.graph.operands(id).iter().map(|operand| names.of(*operand)).collect();
        let name = names.give(id, &wanted_name(node, op.name(), base));
        let indent = INDENT.repeat(depth);
        let remark = self.groups.remark(self.graph, id);
        let _ = writeln!(text, "{indent}{name} = {} -> {}{remark}", call(op, &operands), node.ty);
        for parameter in &node.parameters {
            let parameter = self.graph.parameter(*parameter);
            let own = if parameter.name.is_empty() { "value" } else { parameter.name };
            let _ = writeln!(text, "{indent}{INDENT}{own} {}", parameter_line(parameter));
        }
    }

    /// A branch or a section: it shares the names around it.
    fn group(&mut self, scope: ScopeId, names: &mut Names, base: &str, depth: usize, text: &mut String) {
        let own = self.graph.scope(scope);
        let label = relative(&own.path, base);
        let label = if label.is_empty() { String::new() } else { format!(" @{label}") };
        let indent = INDENT.repeat(depth);
        let _ = writeln!(text, "{indent}{}{label} {{", own.name);
        let inner = self.body(scope, names, base, depth + 1);
        text.push_str(&inner);
        let _ = writeln!(text, "{indent}}}");
    }

    /// As many of the blocks at the start of `run` as are the same; returns how many.
    fn blocks(&mut self, run: &[ScopeId], names: &mut Names, base: &str, depth: usize, text: &mut String) -> usize {
        let mut same: Vec<Instance> = vec![];
        for scope in run {
            let name = &self.graph.scope(*scope).name;
            if same.first().is_some_and(|first| self.graph.scope(first.scope).name != *name) {
                break;
            }
            let instance = self.instance(*scope, depth);
            if !same.is_empty() && !self.continues(&same, &instance) {
                // It has been rendered; it starts the next run.
                let count = same.len();
                self.print(&same, names, base, depth, text);
                self.print(&[instance], names, base, depth, text);
                return count + 1;
            }
            same.push(instance);
        }
        self.print(&same, names, base, depth, text);
        same.len()
    }

    fn instance(&mut self, scope: ScopeId, depth: usize) -> Instance {
        let own = self.graph.scope(scope);
        let mut names = Names::default();
        let mut arguments: Vec<(String, NodeId)> = vec![];
        for (name, node) in &own.inputs {
            // A tensor that is given twice goes by its first name.
            if !names.names.contains_key(node) {
                names.give(*node, name);
            }
            arguments.push((name.to_string(), *node));
        }
        let captured = self.captured.get(scope.index()).cloned().unwrap_or_default();
        for node in captured {
            if !names.names.contains_key(&node) {
                let own = self.graph.node(node);
                let wanted = own.name.as_deref().map_or_else(|| "value".to_owned(), str::to_owned);
                let name = names.give(node, &wanted);
                arguments.push((name, node));
            }
        }
        let path = own.path.to_string();
        let outputs = own.outputs.clone();
        let body = self.body(scope, &mut names, &path, depth + 1);
        let results = outputs.iter().map(|output| names.of(*output)).collect();
        Instance { scope, arguments, body, results }
    }

    /// Whether an instance repeats those before it: the same inside, fed by the one before or by the same values.
    fn continues(&self, before: &[Instance], next: &Instance) -> bool {
        let (Some(first), Some(last)) = (before.first(), before.last()) else { return false };
        let outputs = &self.graph.scope(last.scope).outputs;
        first.body == next.body
            && first.results == next.results
            && first.arguments.len() == next.arguments.len()
            && last
                .arguments
                .iter()
                .zip(&next.arguments)
                .all(|((name, value), (other, new))| name == other && (value == new || outputs.contains(new)))
    }

    fn print(&self, same: &[Instance], names: &mut Names, base: &str, depth: usize, text: &mut String) {
        let (Some(first), Some(last)) = (same.first(), same.last()) else { return };
        let own = self.graph.scope(first.scope);
        let arguments: Vec<String> =
            first.arguments.iter().map(|(name, value)| format!("{name}: {}", names.of(*value))).collect();
        let indent = INDENT.repeat(depth);
        let label = label(own, base);
        for instance in same {
            let scope = self.graph.scope(instance.scope);
            let label = self::label(scope, base);
            match scope.outputs.as_slice() {
                [only] => {
                    names.give(*only, label);
                }
                several => {
                    for (at, output) in several.iter().enumerate() {
                        names.give(*output, &format!("{label}#{at}"));
                    }
                }
            }
        }
        let repeats = if same.len() > 1 {
            let end = relative(&self.graph.scope(last.scope).path, base);
            format!(" .. {end} x {}, each from the one before", same.len())
        } else {
            String::new()
        };
        let _ = writeln!(text, "{indent}{label} = {}({}){repeats} {{", own.name, arguments.join(", "));
        text.push_str(&first.body);
        let types: Vec<String> = own.outputs.iter().map(|output| self.ty(*output).to_string()).collect();
        let _ = writeln!(text, "{indent}}} -> {}: {}", first.results.join(", "), types.join(", "));
    }

    fn ty(&self, node: NodeId) -> &Type {
        &self.graph.node(node).ty
    }
}

/// The label of a block, else its name: one labelled `@.` has the path of what is around it.
fn label<'a>(scope: &'a Scope, base: &str) -> &'a str {
    let label = relative(&scope.path, base);
    if label.is_empty() { &scope.name } else { label }
}

/// The name in the source, else the label, else the operator.
fn wanted_name(node: &Node, op: &str, base: &str) -> String {
    match (&node.path, &node.name) {
        (Some(path), _) if !relative(path, base).is_empty() => relative(path, base).to_owned(),
        (_, Some(name)) => name.to_string(),
        _ => op.to_owned(),
    }
}

/// A path as seen from inside another one.
fn relative<'a>(path: &'a str, base: &str) -> &'a str {
    if base.is_empty() {
        return path;
    }
    path.strip_prefix(base).map_or(path, |rest| rest.strip_prefix('.').unwrap_or(rest))
}

/// Values from outside of each block that are used inside without being arguments.
fn captures(graph: &Graph, count: usize) -> Vec<Vec<NodeId>> {
    let mut captured: Vec<Vec<NodeId>> = vec![vec![]; count];
    // Depth of every scope, so that "outside" is a comparison of ancestors.
    for id in graph.node_ids() {
        for operand in graph.operands(id) {
            let home = graph.node(operand).scope;
            for scope in graph.enclosing(graph.node(id).scope) {
                if scope == ROOT || is_inside(graph, home, scope) {
                    break;
                }
                let own = graph.scope(scope);
                if own.kind != ScopeKind::Block || own.inputs.iter().any(|(_, node)| *node == operand) {
                    continue;
                }
                if let Some(list) = captured.get_mut(scope.index())
                    && !list.contains(&operand)
                {
                    list.push(operand);
                }
            }
        }
    }
    captured
}

fn is_inside(graph: &Graph, scope: ScopeId, outer: ScopeId) -> bool {
    graph.enclosing(scope).any(|scope| scope == outer)
}
