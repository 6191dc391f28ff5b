//! Names of parameters: paths in a checkpoint, names for what has none, and the order of a state dict.

use super::value::LabelValue;
use super::{Elaborator, Value};
use crate::ir::Graph;
use crate::ops::Storage;
use archc_grammar::ast::{ParameterPath, PathPart};
use archc_grammar::{Diagnostic, Span};
use indexmap::IndexMap;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Paths in use.
#[derive(Default)]
pub(super) struct Naming {
    /// The path of the innermost naming scope.
    path: Arc<str>,
    /// How many unlabelled calls of each name a naming scope has seen.
    counts: FxHashMap<(Arc<str>, Arc<str>), u32>,
    /// `order` statements, by naming scope.
    orders: FxHashMap<Arc<str>, Vec<Arc<str>>>,
}

impl Naming {
    pub fn path(&self) -> Arc<str> {
        self.path.clone()
    }

    /// Enters a path; returns the one to go back to.
    pub fn enter(&mut self, path: Arc<str>) -> Arc<str> {
        std::mem::replace(&mut self.path, path)
    }

    /// The path of a call: its label, or a name made from what is called and its order in the naming scope.
    pub fn path_for(&mut self, label: Option<&LabelValue>, callee: &str) -> Arc<str> {
        match label {
            Some(label) if label.path.is_empty() => self.path.clone(),
            Some(label) => join(&self.path, &label.path),
            None => {
                let name = snake_case(callee);
                let count = self.counts.entry((self.path.clone(), Arc::from(name.as_str()))).or_insert(0);
                *count += 1;
                match *count {
                    1 => join(&self.path, &name),
                    count => join(&self.path, &format!("{name}_{count}")),
                }
            }
        }
    }

    pub fn set_order(&mut self, names: Vec<Arc<str>>) {
        self.orders.insert(self.path.clone(), names);
    }

    /// Indices of the parameters in the order of a PyTorch state dict: those of a module before its buffers and before
    /// those of its children, children in the order of an `order` statement, otherwise of their first use.
    pub fn checkpoint_order(&self, graph: &Graph) -> Vec<usize> {
        let mut root = Module::default();
        for (at, parameter) in graph.parameters.iter().enumerate() {
            let mut module = &mut root;
            let mut segments = parameter.path.split('.').peekable();
            while let Some(segment) = segments.next() {
                if segments.peek().is_none() {
                    let buffer = parameter.storage == Storage::Buffer;
                    if buffer { &mut module.buffers } else { &mut module.own }.push(at);
                } else {
                    module = module.children.entry(segment).or_default();
                }
            }
        }
        let mut order = Vec::with_capacity(graph.parameters.len());
        self.collect(root, String::new(), &mut order);
        order
    }

    fn collect(&self, module: Module<'_>, path: String, order: &mut Vec<usize>) {
        order.extend(module.own);
        order.extend(module.buffers);
        let mut children: Vec<(&str, Module<'_>)> = module.children.into_iter().collect();
        if let Some(wanted) = self.orders.get(path.as_str()) {
            let place = |name: &str| wanted.iter().position(|own| **own == *name).unwrap_or(wanted.len());
            children.sort_by_key(|(name, _)| place(name));
        }
        for (name, child) in children {
            self.collect(child, join(&path, name).to_string(), order);
        }
    }
}

/// A level of a state dict.
#[derive(Default)]
struct Module<'g> {
    own: Vec<usize>,
    buffers: Vec<usize>,
    children: IndexMap<&'g str, Module<'g>>,
}

pub(super) fn join(path: &str, name: &str) -> Arc<str> {
    match (path, name) {
        ("", name) => Arc::from(name),
        (path, "") => Arc::from(path),
        (path, name) => Arc::from(format!("{path}.{name}")),
    }
}

/// `DiTBlock` to `dit_block`: a capital starts a word where a small letter follows it.
fn snake_case(name: &str) -> String {
    let mut result = String::with_capacity(name.len() + 4);
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        let starts_word = c.is_ascii_uppercase() && chars.peek().is_some_and(char::is_ascii_lowercase);
        if starts_word && !result.is_empty() && !result.ends_with('_') {
            result.push('_');
        }
        result.push(c.to_ascii_lowercase());
    }
    result
}

impl Elaborator<'_> {
    /// `@blocks.{i}.attn` with `i` in place.
    pub(super) fn label(&mut self, label: &ParameterPath) -> Option<LabelValue> {
        let mut path = String::new();
        for (at, segment) in label.segments.iter().enumerate() {
            if at > 0 {
                path.push('.');
            }
            for part in segment {
                match part {
                    PathPart::Text(text) => path.push_str(text),
                    PathPart::Expr(expr) => {
                        let value = self.eval(expr);
                        match &value {
                            Value::Int(value) => path.push_str(&value.to_string()),
                            Value::Text(text) => path.push_str(text),
                            Value::Poison => return None,
                            other => {
                                let problem = Diagnostic::error("label/part", "a part of a path is a number or a text")
                                    .label(expr.span, format!("this is {}", other.describe()));
                                self.report(problem);
                                return None;
                            }
                        }
                    }
                }
            }
        }
        self.valid_path(&path, label).then(|| LabelValue { path: Arc::from(path), span: label.span })
    }

    fn valid_path(&mut self, path: &str, label: &ParameterPath) -> bool {
        let fits =
            |segment: &str| !segment.is_empty() && segment.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if label.segments.is_empty() || path.split('.').all(fits) {
            return true;
        }
        let message = match path {
            "" => "an empty text is no parameter path".to_owned(),
            path => format!("`{path}` is not a parameter path"),
        };
        self.error("label/part", message, label.span, "letters, digits and `_`, with dots between");
        false
    }

    /// Reports a second owner of a name.
    pub(super) fn duplicate_name(&mut self, path: &str, span: Span, first: Span) {
        let problem = Diagnostic::error("name/duplicate-parameter", format!("two parameters are named `{path}`"))
            .label(span, "named here again")
            .label(first, "first here")
            .help("give each call a label of its own; in a loop use the index, `@blocks.{i}`");
        self.report(problem);
    }
}

#[cfg(test)]
mod tests {
    use super::snake_case;

    #[test]
    fn names_are_made_as_python_would_write_them() {
        assert_eq!(snake_case("DiTBlock"), "dit_block");
        assert_eq!(snake_case("ResBlock"), "res_block");
        assert_eq!(snake_case("MLP"), "mlp");
        assert_eq!(snake_case("SelfAttention2d"), "self_attention2d");
        assert_eq!(snake_case("linear"), "linear");
    }
}
