//! Values of compile-time code.

use super::extent::Extent;
use crate::dim::Dim;
use crate::init::Init;
use crate::ir::{Direction, NodeId};
use crate::ops::attribute::{AttributeValue, Shown};
use crate::ops::signature::Signature;
use crate::program::{DefinitionRef, ModuleId};
use crate::types::Type;
use crate::words::short;
use archc_grammar::Span;
use archc_grammar::ast::StageBody;
use smallvec::SmallVec;
use std::sync::Arc;

/// An input that is not there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Absent {
    pub name: Arc<str>,
    pub ty: Type,
}

/// What an expression evaluates to.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Int(i64),
    Float(f64),
    Bool(bool),
    Text(Arc<str>),
    /// A size that is known when the model runs. Known sizes are `Int`.
    Dim(Dim),
    /// `H % 8`, for assertions about sizes.
    Residue(Dim, u64),
    /// `H % 8 == 0`.
    Divisible(Dim, u64),
    List(Arc<List>),
    Range(i64, i64),
    Type(Type),
    Init(InitValue),
    Tensor(NodeId),
    /// An input that the hyperparameters leave out: an axis of its type has the size zero.
    Absent(Arc<Absent>),
    /// `none`: a tensor that is not there.
    None,
    Stage(Arc<Stage>),
    /// A skip, by its index among those of the model.
    Skip(usize),
    Unit,
    /// Something went wrong and has been reported; whatever touches it stays silent.
    Poison,
}

#[derive(Clone, Debug)]
pub(super) struct List {
    pub items: Vec<Value>,
    /// Whether it came from `reversed`: items keep the index they had.
    pub reversed: bool,
    pub extent: Extent,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum InitValue {
    Given(Init),
    /// Whatever an `init` statement or the framework says.
    Default,
}

/// A call that still lacks the tensor it applies to.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub kind: StageKind,
    pub span: Span,
    /// Parameter path, already evaluated.
    pub label: Option<LabelValue>,
    pub extent: Extent,
}

#[derive(Clone, Debug)]
pub(super) enum StageKind {
    Operator {
        signature: &'static Signature,
        arguments: Bound,
    },
    Block {
        definition: DefinitionRef,
        arguments: Bound,
    },
    Chunk {
        parts: u64,
        groups: u64,
    },
    Learned {
        value: f64,
        per_channel: bool,
    },
    Claim {
        within: Option<(f64, f64)>,
        along: Option<(Direction, NodeId)>,
    },
    Join {
        skip: usize,
    },
    Residual {
        options: Box<ResidualOptions>,
        body: Arc<Stage>,
    },
    /// `a -> b -> c` without its head.
    Chain(Vec<Arc<Stage>>),
    /// Code written in place, with the variables it saw.
    Body {
        body: Arc<StageBody>,
        captured: Arc<Captured>,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Captured {
    pub module: ModuleId,
    pub variables: Vec<(Arc<str>, Value)>,
}

/// Arguments by parameter: the value and where it stands.
pub(super) type Bound = SmallVec<[Option<(Value, Span)>; 6]>;

#[derive(Clone, Debug, Default)]
pub(super) struct ResidualOptions {
    pub scale: Option<(Value, Span)>,
    pub gate: Option<(Value, Span)>,
    pub shortcut: Option<(Value, Span)>,
    pub after: Option<(Value, Span)>,
    pub drop: Option<(Value, Span)>,
}

/// A parameter path with its expressions evaluated.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LabelValue {
    /// Empty for `@.`.
    pub path: Arc<str>,
    pub span: Span,
}

impl Value {
    /// A size as a value.
    pub fn size(dim: &Dim) -> Value {
        match dim {
            Dim::Known(size) => i64::try_from(*size).map_or(Value::Poison, Value::Int),
            Dim::Open(_) => Value::Dim(dim.clone()),
        }
    }

    pub fn is_poison(&self) -> bool {
        matches!(self, Value::Poison)
    }

    /// Whether it is a tensor that is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Value::None | Value::Absent(_))
    }

    /// What it is, with an article, for messages.
    pub fn describe(&self) -> String {
        match self {
            Value::Int(value) => format!("the number {value}"),
            Value::Float(value) => format!("the number {}", short(*value)),
            Value::Bool(value) => format!("`{value}`"),
            Value::Text(text) => format!("the text \"{text}\""),
            Value::Dim(dim) => format!("the size {dim}"),
            Value::Residue(dim, modulus) => format!("the remainder {dim} % {modulus}"),
            Value::Divisible(dim, modulus) => format!("the condition {dim} % {modulus} == 0"),
            Value::List(list) => format!("a list of {}", list.items.len()),
            Value::Range(start, end) => format!("the range {start}..{end}"),
            Value::Type(ty) => format!("the type {ty}"),
            Value::Init(_) => "an initialiser".to_owned(),
            Value::Tensor(_) => "a tensor".to_owned(),
            Value::Absent(absent) => format!("the input `{}`, which is left out as {}", absent.name, absent.ty),
            Value::None => "`none`".to_owned(),
            Value::Stage(_) => "a stage, which lacks its tensor".to_owned(),
            Value::Skip(_) => "a skip".to_owned(),
            Value::Unit => "nothing".to_owned(),
            Value::Poison => "an error".to_owned(),
        }
    }

    /// As an attribute of an operator, if it can be one.
    pub fn attribute(&self) -> Option<AttributeValue> {
        Some(match self {
            Value::Int(value) => AttributeValue::Int(*value),
            Value::Float(value) => AttributeValue::Float(*value),
            Value::Bool(value) => AttributeValue::Bool(*value),
            Value::Text(text) => AttributeValue::Text(text.clone()),
            Value::Dim(dim) => AttributeValue::Dim(dim.clone()),
            Value::Type(ty) => AttributeValue::Type(ty.clone()),
            Value::List(list) => AttributeValue::List(list.items.iter().map(Value::attribute).collect::<Option<_>>()?),
            Value::Residue(..)
            | Value::Divisible(..)
            | Value::Range(..)
            | Value::Init(_)
            | Value::Tensor(_)
            | Value::Absent(_)
            | Value::None
            | Value::Stage(_)
            | Value::Skip(_)
            | Value::Unit
            | Value::Poison => return None,
        })
    }

    /// For the list of hyperparameters in force.
    pub fn shown(&self) -> Shown {
        match self {
            Value::Int(value) => u64::try_from(*value).map_or(Shown::Float(*value as f64), Shown::Int),
            Value::Float(value) => Shown::Float(*value),
            Value::Bool(value) => Shown::Bool(*value),
            Value::Text(text) => Shown::Text(text.to_string()),
            Value::Dim(dim) => Shown::Text(dim.to_string()),
            Value::List(list) => Shown::List(list.items.iter().map(Value::shown).collect()),
            Value::Range(start, end) => Shown::Text(format!("{start}..{end}")),
            Value::Type(ty) => Shown::Text(ty.to_string()),
            Value::Init(InitValue::Given(init)) => Shown::Text(init.to_string()),
            Value::Init(InitValue::Default) => Shown::Text("default".to_owned()),
            Value::Stage(stage) => Shown::Text(stage.name()),
            Value::Residue(..)
            | Value::Divisible(..)
            | Value::Tensor(_)
            | Value::Absent(_)
            | Value::None
            | Value::Skip(_)
            | Value::Unit
            | Value::Poison => Shown::Text(self.describe()),
        }
    }

    /// A whole number, also where it was computed as a float.
    pub fn whole(&self) -> Option<i64> {
        match self {
            Value::Int(value) => Some(*value),
            Value::Float(value) if value.fract() == 0.0 && value.abs() <= 9.0e15 => Some(*value as i64),
            _ => None,
        }
    }

    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Int(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// A size, known or not.
    pub fn dim(&self) -> Option<Dim> {
        match self {
            Value::Dim(dim) => Some(dim.clone()),
            _ => self.whole().and_then(|whole| u64::try_from(whole).ok()).map(Dim::Known),
        }
    }
}

impl Stage {
    /// The word that made it.
    pub fn name(&self) -> String {
        match &self.kind {
            StageKind::Operator { signature, .. } => signature.name.to_owned(),
            StageKind::Block { definition, .. } => definition.definition.name.text.to_string(),
            StageKind::Chunk { .. } => "chunk".to_owned(),
            StageKind::Learned { .. } => "learned".to_owned(),
            StageKind::Claim { .. } => "claim".to_owned(),
            StageKind::Join { .. } => "join".to_owned(),
            StageKind::Residual { .. } => "residual".to_owned(),
            StageKind::Chain(stages) if stages.is_empty() => "identity".to_owned(),
            StageKind::Chain(stages) => stages.iter().map(|stage| stage.name()).collect::<Vec<_>>().join(" -> "),
            StageKind::Body { .. } => "{ .. }".to_owned(),
        }
    }
}
