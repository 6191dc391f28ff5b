//! From the names of a published checkpoint to the places of parameters in the modules.

use super::EmitError;
use super::structure::{Element, Field, Part, Structure};
use crate::ir::{Graph, ParameterId};
use crate::ops::Op;

/// A parameter of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub published: String,
    /// Fields and indices that lead to it, with the name it has in PyTorch at the end.
    pub place: String,
    /// Whether it is a field by itself, rather than one of a layer.
    pub is_field: bool,
    /// One of the parameters that stand in that place of their module.
    pub parameter: ParameterId,
}

/// A part of names that reads differently in modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    pub from: Vec<Segment>,
    pub to: Vec<Segment>,
    /// Whether more segments follow.
    pub is_prefix: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    Text(String),
    /// Any index.
    Index,
}

/// All names, and what to rename in which order to come from one to the other.
#[derive(Debug, Default)]
pub struct Checkpoint {
    pub names: Vec<Name>,
    pub renames: Vec<Rename>,
}

/// How the layers of a target call a parameter, where the layers' own loading does not know PyTorch's name.
pub type Leaf = fn(&Op, &'static str) -> &'static str;

impl Checkpoint {
    pub fn of(graph: &Graph, structure: &Structure, leaf: Leaf) -> Result<Self, EmitError> {
        let mut checkpoint = Checkpoint::default();
        checkpoint.collect_names(graph, structure, leaf, structure.root, "", "");
        checkpoint.collect_renames(graph, structure, leaf, structure.root, &[], &[]);
        for name in &checkpoint.names {
            let found = checkpoint.renamed(&name.published);
            if found != name.place {
                return Err(EmitError(format!(
                    "`{}` would become `{found}` instead of `{}`",
                    name.published, name.place
                )));
            }
        }
        Ok(checkpoint)
    }

    /// A published name as the renames leave it.
    fn renamed(&self, name: &str) -> String {
        let mut segments: Vec<String> = name.split('.').map(str::to_owned).collect();
        for rename in &self.renames {
            if let Some(found) = rename.apply(&segments) {
                segments = found;
            }
        }
        segments.join(".")
    }

    fn collect_names(
        &mut self,
        graph: &Graph,
        structure: &Structure,
        leaf: Leaf,
        module: usize,
        outer: &str,
        place: &str,
    ) {
        let Some(module) = structure.module(module) else { return };
        for field in &module.fields {
            for (index, element) in field.elements.iter().enumerate() {
                let own = if field.is_list { format!("{}.{index}", field.name) } else { field.name.clone() };
                let place = join(place, &own);
                match &element.part {
                    Part::Module { module, .. } => {
                        self.collect_names(graph, structure, leaf, *module, &join(outer, path(element)), &place);
                    }
                    Part::Layer { node, .. } => {
                        let scope = &graph.scope(module.scope).path;
                        for id in &graph.node(*node).parameters {
                            let parameter = graph.parameter(*id);
                            let op = graph.node(*node).op();
                            let is_field = is_field(op);
                            let name = op.map_or(parameter.name, |op| leaf(op, parameter.name));
                            let rest = parameter.path.strip_prefix(&**scope).unwrap_or(&parameter.path);
                            self.names.push(Name {
                                published: join(outer, rest.trim_start_matches('.')),
                                place: if is_field { place.clone() } else { join(&place, name) },
                                is_field,
                                parameter: *id,
                            });
                        }
                    }
                }
            }
        }
    }

    fn collect_renames(
        &mut self,
        graph: &Graph,
        structure: &Structure,
        leaf: Leaf,
        module: usize,
        outer: &[Segment],
        place: &[Segment],
    ) {
        let Some(module) = structure.module(module) else { return };
        for field in &module.fields {
            let any = any_index(field);
            let count = if any { 1 } else { field.elements.len() };
            for (index, element) in field.elements.iter().take(count).enumerate() {
                let mut to = place.to_vec();
                to.push(Segment::Text(field.name.clone()));
                if field.is_list {
                    to.push(if any { Segment::Index } else { Segment::Text(index.to_string()) });
                }
                let mut from = outer.to_vec();
                from.extend(segments(path(element)));
                if any && let Some(last) = from.last_mut() {
                    *last = Segment::Index;
                }
                match &element.part {
                    Part::Module { module, .. } if path(element).is_empty() => {
                        self.collect_renames(graph, structure, leaf, *module, outer, &to);
                    }
                    Part::Module { module, .. } => {
                        self.rename(from, &to, true);
                        self.collect_renames(graph, structure, leaf, *module, &to, &to);
                    }
                    Part::Layer { node, .. } => {
                        let scope = &graph.scope(module.scope).path;
                        let shared = path(element).is_empty();
                        let op = graph.node(*node).op();
                        if !shared && !is_field(op) {
                            self.rename(from, &to, true);
                        }
                        for id in &graph.node(*node).parameters {
                            let parameter = graph.parameter(*id);
                            let name = op.map_or(parameter.name, |op| leaf(op, parameter.name));
                            let mut whole = to.clone();
                            if is_field(op) || shared {
                                let rest = parameter.path.strip_prefix(&**scope).unwrap_or(&parameter.path);
                                let mut from = outer.to_vec();
                                from.extend(segments(rest.trim_start_matches('.')));
                                whole.extend((!is_field(op)).then(|| Segment::Text(name.to_owned())));
                                self.rename(from, &whole, false);
                            } else if name != parameter.name {
                                let mut from = to.clone();
                                from.push(Segment::Text(parameter.name.to_owned()));
                                whole.push(Segment::Text(name.to_owned()));
                                self.rename(from, &whole, false);
                            }
                        }
                    }
                }
            }
        }
    }

    fn rename(&mut self, from: Vec<Segment>, to: &[Segment], is_prefix: bool) {
        let rename = Rename { from, to: to.to_vec(), is_prefix };
        if rename.from != rename.to && !self.renames.contains(&rename) {
            self.renames.push(rename);
        }
    }
}

impl Rename {
    fn apply(&self, name: &[String]) -> Option<Vec<String>> {
        let long_enough = if self.is_prefix { name.len() > self.from.len() } else { name.len() == self.from.len() };
        if !long_enough {
            return None;
        }
        let mut indices = vec![];
        for (segment, own) in self.from.iter().zip(name) {
            match segment {
                Segment::Text(text) if text == own => {}
                Segment::Index if own.chars().all(|c| c.is_ascii_digit()) => indices.push(own.clone()),
                Segment::Text(_) | Segment::Index => return None,
            }
        }
        let mut indices = indices.into_iter();
        let mut renamed: Vec<String> = vec![];
        for segment in &self.to {
            renamed.push(match segment {
                Segment::Text(text) => text.clone(),
                Segment::Index => indices.next()?,
            });
        }
        renamed.extend(name.iter().skip(self.from.len()).cloned());
        Some(renamed)
    }

    /// As a regular expression and its replacement.
    pub fn pattern(&self) -> (String, String) {
        let mut from: Vec<String> = vec![];
        let mut to: Vec<String> = vec![];
        let mut count = 0;
        for segment in &self.from {
            from.push(match segment {
                Segment::Text(text) => text.clone(),
                Segment::Index => r"(\d+)".to_owned(),
            });
        }
        for segment in &self.to {
            to.push(match segment {
                Segment::Text(text) => text.clone(),
                Segment::Index => {
                    count += 1;
                    format!("${{{count}}}")
                }
            });
        }
        let (end, dot) = if self.is_prefix { (r"\.", ".") } else { ("$", "") };
        (format!("^{}{end}", from.join(r"\.")), format!("{}{dot}", to.join(".")))
    }
}

/// Operators whose parameter is a field of its module.
fn is_field(op: Option<&Op>) -> bool {
    matches!(op, Some(Op::Parameter(_) | Op::Resample(_)))
}

/// The place of an element in the checkpoint; none for what shares the place of its module.
fn path(element: &Element) -> &str {
    if element.path.starts_with('@') { "" } else { &element.path }
}

/// Whether elements are numbered in the checkpoint as they are in the list.
fn any_index(field: &Field) -> bool {
    let numbered = |(at, element): (usize, &Element)| {
        element.path.rsplit_once('.').is_some_and(|(_, last)| last == at.to_string())
    };
    field.is_list && field.elements.iter().enumerate().all(numbered)
}

fn segments(path: &str) -> impl Iterator<Item = Segment> + '_ {
    path.split('.').filter(|segment| !segment.is_empty()).map(|segment| Segment::Text(segment.to_owned()))
}

fn join(outer: &str, name: &str) -> String {
    match (outer, name) {
        ("", name) => name.to_owned(),
        (outer, "") => outer.to_owned(),
        (outer, name) => format!("{outer}.{name}"),
    }
}
