//! The syntax tree of a source: what was written, with places, and nothing of what it means.
//!
//! Chains of operators on one level are flat (`a + b - c` is one node), so the depth of the tree is bounded by the
//! depth of the brackets in the text, which the parser limits.

use crate::span::Span;
use std::sync::Arc;

/// A word with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    pub text: Arc<str>,
    pub span: Span,
}

/// A whole source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct File {
    /// The number after `arch` on the first line.
    pub edition: Option<(u64, Span)>,
    pub items: Vec<Item>,
}

/// `#[allow(rule, "reason")]`
#[derive(Clone, Debug, PartialEq)]
pub struct Allow {
    pub rule: Name,
    pub reason: Arc<str>,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub kind: ItemKind,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ItemKind {
    Use(Use),
    Definition(Arc<Definition>),
    Preset(Preset),
}

/// `use std.embed.{PatchEmbed, sincos_2d}`, `use "blocks/common.arch".{Stem as Head}`
#[derive(Clone, Debug, PartialEq)]
pub struct Use {
    pub source: UseSource,
    pub source_span: Span,
    pub names: Vec<UseName>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum UseSource {
    /// Dotted: `std.embed` in the standard library, otherwise a file beside this one.
    Path(Vec<Arc<str>>),
    /// A path as text, relative to the folder of the file that holds it.
    File(Arc<str>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct UseName {
    pub name: Name,
    pub alias: Option<Name>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefinitionKind {
    Block,
    Model,
    Pipeline,
}

impl DefinitionKind {
    pub fn word(self) -> &'static str {
        match self {
            DefinitionKind::Block => "block",
            DefinitionKind::Model => "model",
            DefinitionKind::Pipeline => "pipeline",
        }
    }
}

/// A `block`, a `model` or a `pipeline`.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    pub kind: DefinitionKind,
    pub allows: Vec<Allow>,
    pub name: Name,
    /// Lines of the `///` comment above it.
    pub docs: String,
    pub parameters: Vec<Parameter>,
    pub results: Option<Vec<ResultType>>,
    pub body: Body,
    /// From the keyword to the result type.
    pub header: Span,
}

/// `cond c: vector[D]`, `heads: int = 8`
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    pub role: Option<Role>,
    pub name: Name,
    pub docs: String,
    pub kind: TypeExpr,
    pub default: Option<Expr>,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Cond,
    Gate,
}

#[derive(Clone, Debug, PartialEq)]
pub enum TypeExpr {
    /// `tokens[N, D]`, `int`
    Plain { name: Name, arguments: Vec<Expr>, span: Span },
    /// `[int]`
    List { element: Box<TypeExpr>, span: Span },
}

impl TypeExpr {
    pub fn span(&self) -> Span {
        match self {
            TypeExpr::Plain { span, .. } | TypeExpr::List { span, .. } => *span,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct ResultType {
    pub name: Option<Name>,
    pub kind: TypeExpr,
}

/// `preset dit_xl_2 = DiT(depth: 28)`
#[derive(Clone, Debug, PartialEq)]
pub struct Preset {
    pub name: Name,
    pub docs: String,
    pub model: Name,
    pub arguments: Vec<Argument>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Body {
    pub statements: Vec<Statement>,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    pub allows: Vec<Allow>,
    pub kind: StatementKind,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum StatementKind {
    Let {
        pattern: Pattern,
        value: Expr,
    },
    Assign {
        name: Name,
        value: Expr,
    },
    /// `long <- h`
    Save {
        skip: Name,
        value: Expr,
    },
    /// `skip long(fuse: concat)`
    Skip {
        name: Name,
        arguments: Vec<Argument>,
    },
    Init(Vec<InitRule>),
    /// `order attentions, resnets`
    Order(Vec<Name>),
    /// `process { schedule: cosine }`; every entry has a name.
    Process(Vec<Argument>),
    For(Box<For>),
    Section(Section),
    Expr(Expr),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Pattern {
    Name(Name),
    List(Vec<Name>, Span),
}

/// `init linear = xavier_uniform`
#[derive(Clone, Debug, PartialEq)]
pub struct InitRule {
    /// `linear`, `bias` or `linear.bias`.
    pub target: Name,
    pub value: Expr,
}

/// `for ch, i in channels @down.{i} { .. }`
#[derive(Clone, Debug, PartialEq)]
pub struct For {
    pub item: Name,
    pub index: Option<Name>,
    pub iterable: Expr,
    pub label: Option<ParameterPath>,
    pub body: Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionKind {
    Encoder,
    Bottleneck,
    Decoder,
}

impl SectionKind {
    pub fn word(self) -> &'static str {
        match self {
            SectionKind::Encoder => "encoder",
            SectionKind::Bottleneck => "bottleneck",
            SectionKind::Decoder => "decoder",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    pub kind: SectionKind,
    pub label: Option<ParameterPath>,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    pub kind: ExprKind,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    Bool(bool),
    Name(Arc<str>),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    /// Operators of one level, from left to right.
    Chain {
        first: Box<Expr>,
        rest: Vec<(Operator, Expr)>,
    },
    /// Applied from right to left.
    Unary {
        operators: Vec<UnaryOperator>,
        operand: Box<Expr>,
    },
    Range {
        start: Box<Expr>,
        end: Box<Expr>,
    },
    /// `x -> f() -> g()`
    Pipe {
        head: Box<Expr>,
        stages: Vec<Expr>,
    },
    Call {
        callee: Box<Expr>,
        arguments: Vec<Argument>,
    },
    /// `widths[i]`, `tokens[N, D]`
    Index {
        base: Box<Expr>,
        indices: Vec<Expr>,
    },
    Labelled {
        inner: Box<Expr>,
        label: ParameterPath,
    },
    If(Box<If>),
    /// `residual(scale: 0.5) { .. }`
    Residual {
        arguments: Vec<Argument>,
        body: Arc<StageBody>,
    },
    /// `{ h => .. }`
    Stage(Arc<StageBody>),
    /// Stands where the text could not be parsed; the parser has reported it.
    Invalid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    LessOrEqual,
    GreaterOrEqual,
    Less,
    Greater,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Operator {
    pub fn sign(self) -> &'static str {
        match self {
            Operator::Or => "||",
            Operator::And => "&&",
            Operator::Equal => "==",
            Operator::NotEqual => "!=",
            Operator::LessOrEqual => "<=",
            Operator::GreaterOrEqual => ">=",
            Operator::Less => "<",
            Operator::Greater => ">",
            Operator::Add => "+",
            Operator::Subtract => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
            Operator::Remainder => "%",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOperator {
    Negate,
    Not,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    pub name: Option<Name>,
    pub value: Expr,
}

/// `if .. { } else if .. { } else { }`
#[derive(Clone, Debug, PartialEq)]
pub struct If {
    pub branches: Vec<(Expr, Body)>,
    pub otherwise: Option<Body>,
}

/// The body of a branch or of a stage written in place. Without a name for its input it is itself a stage.
#[derive(Clone, Debug, PartialEq)]
pub struct StageBody {
    pub input: Option<Name>,
    pub body: Body,
}

/// `@blocks.{i}.attn`: where parameters stand in a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterPath {
    /// Empty for `@.`, the place of the enclosing block itself.
    pub segments: Vec<Vec<PathPart>>,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum PathPart {
    Text(Arc<str>),
    Expr(Expr),
}
