//! Operators: everything that is known of one without running it, in one file each.
//!
//! A file declares the operator (name, operands, documented attributes) and implements [`Operator`]: type of the
//! result, parameters with their initialisers, moments, cost, and how zeros pass through it forward and backward.
//! Every method is required; "not known" is a value with a reason. The one list below makes [`Op`] and the table of
//! signatures; the runtime holds the other half of each operator under the same file name and joins it by one
//! exhaustive match.
//!
//! Blocks (attention blocks, residual blocks, modulation) are no operators: they are `.arch` source in `specs/std`.

pub mod along;
pub mod attribute;
mod joint;
pub mod signals;
pub mod signature;
mod window;

use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Moments, Unknown};

use crate::dim::Dim;
use crate::init::{Fans, Init};
use crate::types::{Axis, Batch, Type};
use signals::{Response, Signals};
use signature::{ShownAttributes, Signature};
use smallvec::SmallVec;
use std::sync::LazyLock;

/// Written by `operator!`: what the language sees.
pub trait Define: Sized {
    const SIGNATURE: Signature;
    fn attributes(&self) -> ShownAttributes;
}

/// A parameter as an operator asks for it.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterSpec {
    /// Last part of its published name.
    pub name: &'static str,
    /// In PyTorch's layout: linear weights `[out, in]`, convolution weights `[out, in, height, width]`.
    pub shape: Vec<u64>,
    pub fans: Fans,
    /// PyTorch's initialisation, in force unless the spec says otherwise.
    pub default: Init,
    pub storage: Storage,
    pub cells: ParameterCells,
}

/// How a stored tensor takes part in training, and whether it counts as a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Moved by the optimiser.
    Trained,
    /// A parameter that is not moved: the position table of DiT.
    Frozen,
    /// Stored beside the parameters, but none of them (PyTorch's persistent buffer): filter taps, random frequencies.
    Buffer,
}

/// How a parameter divides where channels are cut and joined; see [`Grid`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterCells {
    /// A row for each part of the output channels, a column for each part of the input channels.
    OutputByInput,
    /// A column for each part of the output channels.
    Output,
    /// As the value itself.
    Value,
}

pub type Parameters = SmallVec<[ParameterSpec; 2]>;

/// A parameter at initialisation, for moments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ParameterMoments {
    pub mean: f64,
    pub std: f64,
    /// For tables of positions, `E[x_i x_j]` over pairs of distinct positions; nothing where elements are independent.
    pub shared: Option<f64>,
    /// For tables of positions, how alike distant ones are; see [`Moments::similarity`].
    pub similarity: Option<f64>,
}

impl ParameterMoments {
    pub fn of(init: &Init, fans: Fans) -> Self {
        let (mean, std) = init.mean_and_std(fans);
        let table = init.table_of_positions();
        Self { mean, std, shared: table.map(|table| table.shared), similarity: table.map(|table| table.similarity) }
    }

    pub fn square(self) -> f64 {
        self.mean * self.mean + self.std * self.std
    }
}

/// Moments of gradients, one for each operand.
pub type Sent = SmallVec<[Moments; 3]>;

/// What keeps operands from being taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Misuse {
    pub id: &'static str,
    pub message: String,
    /// The operand to point at, if it is one.
    pub operand: Option<usize>,
    pub help: Option<String>,
}

impl Misuse {
    pub fn new(id: &'static str, message: impl Into<String>) -> Self {
        Self { id, message: message.into(), operand: None, help: None }
    }

    #[must_use]
    pub fn at(mut self, operand: usize) -> Self {
        self.operand = Some(operand);
        self
    }

    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }
}

/// Quotients of symbolic sizes that have to be whole for the result to exist.
#[derive(Debug, Default)]
pub struct Obligations(pub Vec<Dim>);

impl Obligations {
    pub fn keep(&mut self, (dim, obligation): (Dim, Option<Dim>)) -> Dim {
        self.0.extend(obligation);
        dim
    }
}

/// What an operator does to a stream of features, for the analysis of residuals and skips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// Makes a value from nothing or from something that is no stream.
    Source,
    /// Leaves every element as it is, up to order or stochastic masks.
    Keep,
    /// Multiplies by a constant.
    Scale,
    /// Multiplies by another value.
    Gate,
    /// Brings elements to unit scale.
    Normalize,
    /// Changes the resolution, or filters over positions by fixed weights, and nothing else.
    Resample,
    /// Maps the channels at each position by itself.
    Project,
    /// Any other transformation.
    Transform,
    /// Adds values.
    Add,
    /// Joins values along an axis.
    Join,
    /// Takes a part of a value.
    Cut,
}

/// How an axis of an operand lies on the same axis of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Index by index.
    Same,
    /// The operand is the part of the result that starts here.
    PartOfResult(u64),
    /// The result is the part of the operand that starts here.
    PartOfOperand(u64),
    /// Mixed, absent or stretched.
    Unrelated,
}

/// How an operand lies on the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alignment {
    pub channels: Link,
    pub tokens: Link,
}

impl Alignment {
    pub const UNRELATED: Alignment = Alignment { channels: Link::Unrelated, tokens: Link::Unrelated };

    /// Index by index on every axis that both have at the same size.
    pub fn elementwise(operand: &Type, result: &Type) -> Self {
        let link = |axis| match (operand.dim(axis), result.dim(axis)) {
            (Some(a), Some(b)) if a == b => Link::Same,
            _ => Link::Unrelated,
        };
        Self { channels: link(Axis::Channel), tokens: link(Axis::Token) }
    }
}

pub type Alignments = SmallVec<[Alignment; 3]>;

/// A node as liveness sees it: types and facts of what goes in.
pub struct Flow<'a> {
    pub operands: SmallVec<[(&'a Type, &'a Grid); 3]>,
    pub parameters: SmallVec<[&'a Grid; 2]>,
    /// What holds of the operands with their tokens undivided, where this has them in parts.
    pub undivided: SmallVec<[&'a Grid; 3]>,
    pub result: &'a Type,
    /// Parts of the token axis and of the channel axis of the result.
    pub rows: usize,
    pub columns: usize,
    /// For a cut: how many parts of its operand lie before it. None where the operand is not divided there.
    pub cut: Option<usize>,
}

impl Flow<'_> {
    pub fn operand(&self, at: usize) -> &Grid {
        static NOTHING: LazyLock<Grid> = LazyLock::new(|| Grid::new(1, 1));
        self.operands.get(at).map_or(&NOTHING, |(_, grid)| grid)
    }

    /// What holds of all tokens of an operand together, in a part of its channels: parts that are not zero are taken to
    /// differ, unless it is known of them undivided that they do not.
    pub fn column_of(&self, at: usize, column: usize) -> Facts {
        let facts = self.operand(at).column(column);
        self.undivided.get(at).map_or(facts, |whole| facts.and(whole.column(column)))
    }

    /// The same of all channels.
    pub fn all_of(&self, at: usize) -> Facts {
        let facts = self.operand(at).all();
        self.undivided.get(at).map_or(facts, |whole| facts.and(whole.all()))
    }

    pub fn parameter(&self, at: usize) -> Option<&Grid> {
        self.parameters.get(at).copied()
    }

    /// A result in which every cell depends on the same cells of the operands.
    pub fn elementwise(&self, cell: impl Fn(&[Facts]) -> Facts) -> Grid {
        Grid::build(self.rows, self.columns, |row, column| {
            let facts: SmallVec<[Facts; 3]> = self.operands.iter().map(|(_, grid)| grid.at(row, column)).collect();
            cell(&facts)
        })
    }

    /// The gradient of an operand that may have been stretched, from the gradient of its stretched form.
    pub fn unstretched(&self, at: usize, stretched: &Grid) -> Grid {
        let Some((operand, grid)) = self.operands.get(at) else { return Grid::new(1, 1) };
        let has = |ty: &Type, axis| ty.dim(axis).is_some_and(|dim| *dim != Dim::Known(1));
        let over_positions = varies_over_positions(self.result) && !varies_over_positions(operand);
        let over_channels = has(self.result, Axis::Channel) && !has(operand, Axis::Channel);
        let mut gradient = Grid::new(grid.rows(), grid.columns());
        for row in 0..stretched.rows() {
            for column in 0..stretched.columns() {
                let mut facts = stretched.at(row, column);
                if over_positions {
                    facts = facts.sum_positions();
                }
                if over_channels {
                    facts = facts.sum_channels();
                }
                gradient.add(row.min(grid.rows() - 1), column.min(grid.columns() - 1), facts);
            }
        }
        gradient
    }
}

fn varies_over_positions(ty: &Type) -> bool {
    ty.positions().any(|dim| *dim != Dim::Known(1))
}

/// Facts about the gradients that a node sends back.
pub struct Gradients {
    pub operands: SmallVec<[Grid; 3]>,
    pub parameters: SmallVec<[Grid; 2]>,
}

impl Gradients {
    pub fn of_operands(operands: impl IntoIterator<Item = Grid>) -> Self {
        Self { operands: operands.into_iter().collect(), parameters: SmallVec::new() }
    }
}

/// What is known of an operator without running it.
pub trait Operator {
    /// The type of the result, or what keeps these operands from being taken.
    fn infer(&self, operands: &[&Type], obligations: &mut Obligations) -> Result<Type, Misuse>;

    /// Parameters in the order of a PyTorch state dict.
    fn parameters(&self, operands: &[&Type]) -> Parameters;

    /// Moments of the result at initialisation, and what of the operands is in it.
    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown>;

    /// Moments of the gradients of the operands, from those of the result's gradient.
    fn signal_back(&self, at: &Signals<'_>, gradient: &Moments) -> Result<Sent, Unknown>;

    /// Whether moments depend on what the operands share.
    fn needs_covariance(&self) -> bool {
        false
    }

    /// Floating-point operations per sample; a multiply-add counts as two. Shapes are without the batch.
    fn flops(&self, operands: &[&[u64]], result: &[u64]) -> u64;

    fn passage(&self) -> Passage;

    /// How each operand lies on the result.
    fn alignments(&self, operands: &[&Type], result: &Type) -> Alignments;

    /// Facts of the result.
    fn flow(&self, at: &Flow<'_>) -> Grid;

    /// Facts of the gradients, from those of the result's gradient.
    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients;
}

/// The one list of operators: `$apply!` receives every `Variant => module`.
#[macro_export]
macro_rules! for_each_operator {
    ($apply:ident) => {
        $apply! {
            Activation => activation,
            Add => add,
            Affine => affine,
            Attention => attention,
            Clip => clip,
            Concat => concat,
            Conv1d => conv1d,
            Conv2d => conv2d,
            Conv3d => conv3d,
            CropGrid => crop_grid,
            DropLabel => drop_label,
            Dropout => dropout,
            Embedding => embedding,
            EndToken => end_token,
            Fourier => fourier,
            GroupNorm => group_norm,
            Indices => indices,
            LayerNorm => layer_norm,
            Linear => linear,
            MpConv2d => mp_conv2d,
            MpLinear => mp_linear,
            Multiply => multiply,
            Parameter => parameter,
            PixelNorm => pixel_norm,
            Reduce => reduce,
            RelativeBuckets => relative_buckets,
            Resample => resample,
            Resize => resize,
            RmsNorm => rms_norm,
            SincosGrid => sincos_grid,
            Sinusoid => sinusoid,
            Slice => slice,
            Softmax => softmax,
            ToFrames => to_frames,
            ToImage => to_image,
            ToSequence => to_sequence,
            ToTokens => to_tokens,
            ToVector => to_vector,
            ToVideo => to_video,
            TransposeTokens => transpose_tokens,
            Unpatchify => unpatchify,
            Upsample => upsample,
        }
    };
}

macro_rules! declare {
    ($($Name:ident => $module:ident),* $(,)?) => {
        $(pub mod $module; pub use $module::$Name;)*

        /// Any operator.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Op { $($Name($Name)),* }

        $(impl From<$Name> for Op { fn from(op: $Name) -> Op { Op::$Name(op) } })*

        impl Op {
            pub fn as_operator(&self) -> &dyn Operator { match self { $(Op::$Name(op) => op),* } }

            pub fn attributes(&self) -> ShownAttributes { match self { $(Op::$Name(op) => op.attributes()),* } }

            fn declared_name(&self) -> &'static str { match self { $(Op::$Name(_) => $Name::SIGNATURE.name),* } }
        }

        const DECLARED: &[Signature] = &[$($Name::SIGNATURE),*];
    };
}
for_each_operator!(declare);

impl Op {
    /// The name by which the language calls it.
    pub fn name(&self) -> &'static str {
        if let Op::Activation(activation) = self { activation.function.name() } else { self.declared_name() }
    }
}

/// All operators that the language can call, by name. Activation functions are rows of one operator.
pub fn signatures() -> &'static [Signature] {
    static TABLE: LazyLock<Vec<Signature>> = LazyLock::new(|| {
        let mut table: Vec<Signature> =
            DECLARED.iter().filter(|signature| signature.name != Activation::SIGNATURE.name).copied().collect();
        table.extend(activation::signatures());
        table.sort_by_key(|signature| signature.name);
        table
    });
    &TABLE
}

/// The operator of that name.
pub fn signature(name: &str) -> Option<&'static Signature> {
    let table = signatures();
    table.binary_search_by_key(&name, |signature| signature.name).ok().and_then(|at| table.get(at))
}

/// The channel count of an operand, or what to say where it has none.
pub(crate) fn channels_of(operands: &[&Type], at: usize, who: &str) -> Result<u64, Misuse> {
    let operand = operands.get(at).copied();
    operand.and_then(Type::channels).ok_or_else(|| {
        let found = operand.map_or("nothing".to_owned(), Type::to_string);
        Misuse::new("type/kind", format!("`{who}` needs a tensor with channels, found {found}")).at(at)
    })
}

/// The batch of a combination of operands.
pub(crate) fn joint_batch(operands: &[&Type]) -> Result<Batch, Misuse> {
    let mut operands = operands.iter().enumerate();
    let Some((_, first)) = operands.next() else { return Ok(Batch::shared()) };
    operands.try_fold(first.batch.clone(), |batch, (at, operand)| {
        batch.with(&operand.batch).ok_or_else(|| {
            let message = format!("{first} and {operand} do not belong to the same parts of a sample");
            Misuse::new("shape/mismatch", message).at(at)
        })
    })
}

/// The operand of a family of operators that take any tensor of numbers.
pub(crate) fn number_operand<'a>(operands: &[&'a Type], at: usize, who: &str) -> Result<&'a Type, Misuse> {
    match operands.get(at) {
        Some(ty) if !ty.kind.is_index() => Ok(ty),
        Some(ty) => Err(Misuse::new("type/kind", format!("`{who}` needs numbers, found {ty}"))
            .at(at)
            .help("turn class labels into vectors first: `y -> embedding(dim)`")),
        None => Err(Misuse::new("type/kind", format!("`{who}` lacks an operand"))),
    }
}
