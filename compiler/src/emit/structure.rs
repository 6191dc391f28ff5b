//! The modules of a network, whatever the language they are written in.
//!
//! Every instance of a block, and every section that has a place of its own in the checkpoint, is an instance of a module:
//! fields with parameters, steps from inputs to outputs, hyperparameters. Instances that read the same are the same
//! module; what differs between them is what they are given. Residual branches and unlabelled sections are part of the
//! code around them.

mod build;
mod draft;
mod loops;
mod sizes;

use super::EmitError;
use super::number::Number;
use crate::ir::{Graph, NodeId, ScopeId};
use crate::ops::attribute::Shown;
use crate::program::Program;
use std::sync::Arc;

/// Modules, those that others are made of first.
#[derive(Debug)]
pub struct Structure {
    pub modules: Vec<Module>,
    /// The model itself.
    pub root: usize,
}

#[derive(Clone, Debug)]
pub struct Module {
    /// A type name that no other module has.
    pub name: String,
    pub docs: String,
    /// One of its instances; nodes below belong to it.
    pub scope: ScopeId,
    pub hyperparameters: Vec<Hyperparameter>,
    pub fields: Vec<Field>,
    pub inputs: Vec<Port>,
    /// Sizes that no input tells.
    pub sizes: Vec<String>,
    pub outputs: Vec<NodeId>,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub struct Hyperparameter {
    /// As the source calls it.
    pub source: Arc<str>,
    /// As a field is called.
    pub name: String,
    pub docs: String,
    /// Its value in the instance at hand.
    pub value: Shown,
    pub default: Option<Shown>,
}

#[derive(Clone, Debug)]
pub struct Port {
    pub name: String,
    pub node: NodeId,
}

/// One part, or a list of parts of one type.
#[derive(Clone, Debug)]
pub struct Field {
    pub name: String,
    pub elements: Vec<Element>,
    pub is_list: bool,
    /// How many there are, where hyperparameters say so and all are alike.
    pub count: Option<Number>,
}

#[derive(Clone, Debug)]
pub struct Element {
    /// Place in the checkpoint, from that of the module.
    pub path: String,
    pub part: Part,
}

#[derive(Clone, Debug)]
pub enum Part {
    /// The parameters of an operator.
    Layer {
        node: NodeId,
        numbers: Numbers,
    },
    Module {
        module: usize,
        arguments: Vec<(Arc<str>, Number)>,
    },
}

/// Numbers of an operator by the name of the attribute; `in` for the channels it is given, `classes` for the classes.
pub type Numbers = Vec<(String, Number)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub field: usize,
    pub index: Option<usize>,
}

#[derive(Clone, Debug)]
pub enum Step {
    Op(OpStep),
    /// All equal parts of a value, along its channels.
    ///
    /// With `groups`, those of each group of channels side by side.
    Chunk {
        operand: NodeId,
        parts: Vec<Option<NodeId>>,
        count: usize,
        groups: Number,
    },
    Call(CallStep),
    /// A list of modules, one after the other.
    Loop(LoopStep),
}

#[derive(Clone, Debug)]
pub struct OpStep {
    pub node: NodeId,
    pub place: Option<Place>,
    pub operands: Vec<NodeId>,
    pub numbers: Numbers,
    /// Sizes that are known when the model runs, by the name of the attribute.
    pub sizes: Vec<(&'static str, Size)>,
    pub spreads: Vec<Option<Spread>>,
}

#[derive(Clone, Debug)]
pub struct CallStep {
    /// None for modules without fields.
    pub place: Option<Place>,
    pub module: usize,
    pub operands: Vec<NodeId>,
    pub sizes: Vec<Size>,
    pub results: Vec<NodeId>,
}

#[derive(Clone, Debug)]
pub struct LoopStep {
    pub field: usize,
    pub module: usize,
    /// For each operand, its value in the first round and, where it changes, which result it is from then on.
    pub operands: Vec<(NodeId, Option<usize>)>,
    pub sizes: Vec<Size>,
    /// Results of the last round.
    pub results: Vec<NodeId>,
}

/// A size in the code of a module.
#[derive(Clone, Debug, PartialEq)]
pub enum Size {
    Known(u64),
    /// An axis of an input, the batch being the first.
    Axis {
        input: usize,
        axis: usize,
    },
    /// A further argument.
    Given(usize),
    Product(Vec<Size>),
    Quotient(Box<Size>, u64),
}

/// How a value that is the same for several entries of the batch is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Each entry in place, as for the frames of a sample, or all entries one after the other.
    pub each: bool,
    /// The operand that has the whole batch.
    pub like: usize,
}

impl Structure {
    pub fn of(graph: &Graph, program: &Program) -> Result<Self, EmitError> {
        build::Builder::new(graph, program).structure()
    }

    pub fn module(&self, id: usize) -> Option<&Module> {
        self.modules.get(id)
    }
}

impl Module {
    /// Whether it is plain code: nothing of it has to be kept.
    pub fn is_function(&self) -> bool {
        self.fields.is_empty() && self.hyperparameters.is_empty()
    }

    pub fn number<'a>(numbers: &'a Numbers, name: &str) -> Option<&'a Number> {
        numbers.iter().find(|(own, _)| own == name).map(|(_, number)| number)
    }
}
