//! The parts of a module, in the places that the checkpoint gives them.
//!
//! PyTorch names a parameter after the attributes that lead to it. Published names become such attributes: `blocks.0.fc1`
//! is an entry of a `ModuleList`, `up.64x64` one of a `ModuleDict`.

use super::numbers::{Numbers, Wanted};
use super::text::{ident, is_attribute};
use super::{Context, layers};
use crate::emit::EmitError;
use crate::emit::names::unique;
use crate::emit::number::Number;
use crate::emit::structure::{Element, Module, Part, Place};
use crate::ops::attribute::Shown;
use crate::ops::{Op, Storage};
use indexmap::IndexMap;

/// Where the parts of a module are found, and how they are made.
pub(super) struct Places {
    /// An expression for each element of each field.
    access: Vec<Vec<String>>,
    /// An expression for each field that is a container by itself.
    lists: Vec<Option<String>>,
    /// Attributes of the module.
    names: Vec<String>,
    /// Statements of the constructor.
    pub made: Vec<String>,
    /// Attributes that names in the checkpoint leave out.
    pub inlined: Vec<String>,
}

impl Places {
    pub fn part(&self, place: Place) -> Result<String, EmitError> {
        let found = self.access.get(place.field).and_then(|field| field.get(place.index.unwrap_or(0)));
        found.cloned().ok_or_else(|| EmitError("a part of a module has no place".to_owned()))
    }

    /// Something to iterate over.
    pub fn list(&self, field: usize) -> Result<String, EmitError> {
        match (self.lists.get(field), self.access.get(field)) {
            (Some(Some(list)), _) => Ok(list.clone()),
            (_, Some(all)) => Ok(format!("({},)", all.join(", "))),
            _ => Err(EmitError("a list of a module has no place".to_owned())),
        }
    }

    pub fn names(&self) -> Vec<String> {
        self.names.clone()
    }
}

/// What stands under a name: a part, and what stands under further names.
#[derive(Default)]
struct Tree {
    part: Option<Made>,
    children: IndexMap<String, Tree>,
    /// The field and the element, of a part; the field, where all of it and nothing else stands here.
    element: Option<(usize, usize)>,
    list: Option<usize>,
}

enum Made {
    Module(String),
    Tensor(String, Storage),
}

impl Tree {
    fn at(&mut self, path: &[&str]) -> &mut Tree {
        path.iter().fold(self, |tree, name| tree.children.entry((*name).to_owned()).or_default())
    }

    /// Whether it is made of modules alone, so that PyTorch's containers can hold it.
    fn is_modular(&self) -> bool {
        let own = match &self.part {
            Some(Made::Module(_)) => self.children.is_empty(),
            Some(Made::Tensor(..)) => false,
            None => !self.children.is_empty(),
        };
        own && self.children.values().all(Tree::is_modular)
    }

    fn is_list(&self) -> bool {
        self.is_modular() && self.children.keys().enumerate().all(|(at, name)| *name == at.to_string())
    }

    /// The expression of something that is made of modules alone.
    fn expression(&self) -> String {
        if let Some(Made::Module(made)) = &self.part {
            return made.clone();
        }
        if self.is_list() {
            let items: Vec<String> = self.children.values().map(Tree::expression).collect();
            return format!("nn.ModuleList([{}])", items.join(", "));
        }
        let items: Vec<String> =
            self.children.iter().map(|(name, tree)| format!("\"{name}\": {}", tree.expression())).collect();
        format!("nn.ModuleDict({{{}}})", items.join(", "))
    }
}

/// Names that PyTorch has for something else.
const TAKEN: &[&str] = &[
    "add_module",
    "apply",
    "bfloat16",
    "buffers",
    "children",
    "clear",
    "compile",
    "cpu",
    "cuda",
    "double",
    "eval",
    "extra_repr",
    "float",
    "forward",
    "get_buffer",
    "get_parameter",
    "get_submodule",
    "half",
    "items",
    "keys",
    "load_state_dict",
    "modules",
    "named_buffers",
    "named_children",
    "named_modules",
    "named_parameters",
    "parameters",
    "pop",
    "register_buffer",
    "register_module",
    "register_parameter",
    "requires_grad_",
    "set_submodule",
    "share_memory",
    "state_dict",
    "to",
    "to_empty",
    "train",
    "training",
    "type",
    "update",
    "values",
    "zero_grad",
];

/// Finds a place for each part of a module.
pub(super) fn places(context: &mut Context<'_>, module: &Module) -> Result<Places, EmitError> {
    let numbers = Numbers { hyperparameters: &module.hyperparameters };
    let mut tree = Tree::default();
    let mut hidden: Vec<((usize, usize), Made)> = vec![];
    for (field, own) in module.fields.iter().enumerate() {
        for (index, element) in own.elements.iter().enumerate() {
            let made = part(context, module, &numbers, element)?;
            match path(context, module, element, &made)? {
                Some(path) => {
                    let at = tree.at(&path.split('.').collect::<Vec<_>>());
                    at.part = Some(made);
                    at.element = Some((field, index));
                }
                None => hidden.push(((field, index), made)),
            }
        }
    }
    // What is a list shows when all is in its place.
    for (field, own) in module.fields.iter().enumerate() {
        if let (Some((prefix, _)), true) = (own.elements.first().and_then(|own| own.path.rsplit_once('.')), own.is_list)
        {
            let at = tree.at(&prefix.split('.').collect::<Vec<_>>());
            let whole = at.is_list() && at.children.len() == own.elements.len();
            at.list = whole.then_some(field);
            if let (Some(count), true) = (&own.count, whole)
                && let Some(first) = at.children.values().next().map(Tree::expression)
            {
                let count = numbers.render(count, Wanted::Whole);
                at.part = Some(Made::Module(format!("nn.ModuleList({first} for _ in range({count}))")));
            }
        }
    }
    let mut names: Vec<String> = tree.children.keys().cloned().collect();
    let mut access: Vec<Vec<String>> =
        module.fields.iter().map(|field| vec![String::new(); field.elements.len()]).collect();
    let mut lists = vec![None; module.fields.len()];
    let mut made = vec![];
    for (name, child) in &tree.children {
        attach(child, "self", name, &mut made)?;
        find(child, &reached("self", name, child), &mut access, &mut lists);
    }
    let mut inlined = vec![];
    for ((field, index), part) in hidden {
        let name = module.fields.get(field).map_or("part", |field| &field.name);
        let name = unique(ident(name), &mut names);
        made.push(match part {
            Made::Module(module) => format!("self.{name} = {module}"),
            Made::Tensor(tensor, storage) => layers::stored("self", &name, &tensor, storage),
        });
        if let Some(own) = access.get_mut(field).and_then(|field| field.get_mut(index)) {
            *own = format!("self.{name}");
        }
        inlined.push(name);
    }
    Ok(Places { access, lists, names, made, inlined })
}

/// How something is reached under a name of a module.
fn reached(owner: &str, name: &str, child: &Tree) -> String {
    match (is_attribute(name), &child.part) {
        (true, _) => format!("{owner}.{name}"),
        (false, Some(Made::Tensor(_, Storage::Buffer))) => format!("{owner}.get_buffer(\"{name}\")"),
        (false, Some(Made::Tensor(..))) => format!("{owner}.get_parameter(\"{name}\")"),
        (false, _) => format!("{owner}.get_submodule(\"{name}\")"),
    }
}

/// Statements that put something under a name of a module.
fn attach(tree: &Tree, owner: &str, name: &str, made: &mut Vec<String>) -> Result<(), EmitError> {
    if TAKEN.contains(&name) {
        return Err(EmitError(format!("a part of a module of PyTorch cannot be called `{name}`")));
    }
    let put = |module: &str| match is_attribute(name) {
        true => format!("{owner}.{name} = {module}"),
        false => format!("{owner}.register_module(\"{name}\", {module})"),
    };
    match &tree.part {
        _ if tree.is_modular() => {
            made.push(put(&tree.expression()));
            return Ok(());
        }
        Some(Made::Tensor(tensor, storage)) => made.push(layers::stored(owner, name, tensor, *storage)),
        Some(Made::Module(module)) => made.push(put(module)),
        None => made.push(put("nn.Module()")),
    }
    if matches!(&tree.part, Some(Made::Module(module)) if module.starts_with("nn.ModuleList(")) {
        return Ok(());
    }
    let own = reached(owner, name, tree);
    tree.children.iter().try_for_each(|(name, child)| attach(child, &own, name, made))
}

/// Notes where the parts under a name are found.
fn find(tree: &Tree, own: &str, access: &mut [Vec<String>], lists: &mut [Option<String>]) {
    if let Some((field, index)) = tree.element
        && let Some(place) = access.get_mut(field).and_then(|field| field.get_mut(index))
    {
        *place = own.to_owned();
    }
    if let Some(list) = tree.list.and_then(|field| lists.get_mut(field)) {
        *list = Some(own.to_owned());
    }
    // A list that is made by its count has its elements under it as well.
    let counted = tree.list.is_some() && tree.part.is_some();
    let (is_list, is_dict) =
        (counted || tree.part.is_none() && tree.is_list(), tree.part.is_none() && tree.is_modular());
    for (name, child) in &tree.children {
        let inner = match (is_list, is_dict) {
            (true, _) => format!("{own}[{name}]"),
            (false, true) => format!("{own}[\"{name}\"]"),
            (false, false) => reached(own, name, child),
        };
        find(child, &inner, access, lists);
    }
}

/// The place of a part in the checkpoint, from that of the module; none for what shares it.
fn path(context: &Context<'_>, module: &Module, element: &Element, made: &Made) -> Result<Option<String>, EmitError> {
    let Part::Layer { node, .. } = &element.part else {
        return Ok((!element.path.starts_with('@')).then(|| element.path.clone()));
    };
    let graph = context.graph;
    let scope = &graph.scope(module.scope).path;
    let mut prefix = None;
    for id in &graph.node(*node).parameters {
        let parameter = graph.parameter(*id);
        let own = parameter.path.strip_prefix(&**scope).unwrap_or(&parameter.path).trim_start_matches('.');
        if matches!(made, Made::Tensor(..)) {
            // A table that has the name of its block has none of its own.
            return Ok((!own.is_empty()).then(|| own.to_owned()));
        }
        let (place, name) = own.rsplit_once('.').unwrap_or(("", own));
        if name != parameter.name || prefix.is_some_and(|prefix| prefix != place) {
            return Err(EmitError(format!("no layer of PyTorch calls a parameter `{own}`")));
        }
        prefix = Some(place);
    }
    Ok(prefix.filter(|prefix| !prefix.is_empty()).map(str::to_owned))
}

fn part(
    context: &mut Context<'_>,
    module: &Module,
    numbers: &Numbers<'_>,
    element: &Element,
) -> Result<Made, EmitError> {
    match &element.part {
        Part::Layer { node, numbers: given } => {
            let graph = context.graph;
            let own = graph.node(*node);
            if let (Some(op @ (Op::Parameter(_) | Op::Resample(_))), Some(id)) = (own.op(), own.parameters.first()) {
                let parameter = graph.parameter(*id);
                return Ok(Made::Tensor(layers::raw(context, numbers, op, parameter, given), parameter.storage));
            }
            Ok(Made::Module(layers::layer(context, numbers, *node, given)?))
        }
        Part::Module { module: id, arguments } => {
            let callee = context.module(*id)?;
            let mut given = vec![];
            for own in &callee.hyperparameters {
                let Some((_, number)) = arguments.iter().find(|(name, _)| *name == own.source) else { continue };
                if own.default.as_ref().and_then(Number::literal).as_ref() == Some(number) {
                    continue;
                }
                let wanted = if matches!(own.value, Shown::Float(_)) { Wanted::Float } else { Wanted::Whole };
                given.push(format!("{}={}", ident(&own.name), numbers.render(number, wanted)));
            }
            debug_assert!(callee.name != module.name, "a module is no part of itself");
            Ok(Made::Module(format!("{}({})", callee.name, given.join(", "))))
        }
    }
}
