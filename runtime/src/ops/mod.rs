//! The Burn half of every operator, under the name of its other half, joined by one exhaustive match.

#![deny(clippy::wildcard_enum_match_arm, clippy::match_wildcard_for_single_variants)]

use crate::value::Value;
use archc_compiler::dim::Sizes;
use archc_compiler::ops::Op;
use archc_compiler::types::{Axis, Kind, Type};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use rand_chacha::ChaCha8Rng;
use smallvec::SmallVec;

pub(crate) use mp_linear::normal_rows;

/// What a node is given to run.
pub(crate) struct Call<'a, B: Backend> {
    /// Operands in order; a value that nothing else needs is given away.
    pub operands: SmallVec<[Value<B>; 3]>,
    pub types: SmallVec<[&'a Type; 3]>,
    pub parameters: SmallVec<[B::FloatTensorPrimitive; 2]>,
    pub result: &'a Type,
    /// Shape of the result, batch first.
    pub shape: Vec<usize>,
    /// Values of the sizes that are known only when the model runs.
    pub sizes: &'a Sizes,
    pub device: &'a B::Device,
    /// Where random masks come from; none in evaluation.
    pub masks: Option<ChaCha8Rng>,
}

impl<B: Backend> Call<'_, B> {
    /// Takes the next operand. Elaboration has checked that there is one.
    pub fn operand(&mut self) -> Value<B> {
        if self.operands.is_empty() {
            return Value::of(Tensor::<B, 1>::zeros([1], self.device));
        }
        self.operands.remove(0)
    }

    /// Takes the next parameter, if the operator has one more.
    pub fn parameter<const D: usize>(&mut self) -> Option<Tensor<B, D>> {
        if self.parameters.is_empty() {
            return None;
        }
        Some(Value::<B>::Float(self.parameters.remove(0)).tensor())
    }

    /// Shape of the result with its rank.
    pub fn shape<const D: usize>(&self) -> [usize; D] {
        let mut shape = [1; D];
        for (slot, size) in shape.iter_mut().zip(&self.shape) {
            *slot = *size;
        }
        shape
    }
}

/// The half of an operator that needs Burn.
pub(crate) trait Lower {
    fn run<B: Backend>(&self, call: Call<'_, B>) -> Value<B>;
}

macro_rules! lower {
    ($($Name:ident => $module:ident),* $(,)?) => {
        $(mod $module;)*

        /// Runs an operator.
        pub(crate) fn run<B: Backend>(op: &Op, call: Call<'_, B>) -> Value<B> {
            match op { $(Op::$Name(op) => op.run(call)),* }
        }
    };
}
archc_compiler::for_each_operator!(lower);

/// An element-wise operation on operands whose axes are aligned by meaning, not by place.
///
/// Burn's CPU backend vectorises operands of equal shape and a column against a matrix; everything else goes through
/// an index iterator. Images are therefore brought to `[batch * channels, pixels]` against `[batch * channels, 1]`, and
/// vectors are repeated over tokens first.
pub(crate) fn elementwise<B: Backend>(
    mut call: Call<'_, B>,
    f: impl Fn(Tensor<B, 2>, Tensor<B, 2>) -> Tensor<B, 2>,
) -> Value<B> {
    let result = call.result;
    let shape = call.shape.clone();
    let types = std::mem::take(&mut call.types);
    let mut operands: SmallVec<[Tensor<B, 2>; 2]> = SmallVec::new();
    let columns = columns(result, &shape);
    for ty in &types {
        let operand = call.operand();
        operands.push(aligned(operand, ty, result, &shape, columns));
    }
    let mut operands = operands.into_iter();
    match (operands.next(), operands.next()) {
        (Some(a), Some(b)) => {
            let primitive = f(a, b).into_primitive().tensor();
            Value::Float(B::float_reshape(primitive, burn::tensor::Shape::from(shape)))
        }
        _ => call.operand(),
    }
}

/// How many elements of a value share a factor per sample and channel: the trailing axes of the matrix form.
fn columns(result: &Type, shape: &[usize]) -> usize {
    let keep = match result.kind {
        // [batch * channels, height * width]
        Kind::Image => 2,
        // [batch * frames * channels, height * width]
        Kind::Video => 3,
        // [batch * tokens, channels]
        Kind::Tokens => 2,
        // [batch * channels, tokens]
        Kind::Sequence => 2,
        Kind::Vector | Kind::Mask => 1,
        Kind::Scalar | Kind::Timestep | Kind::Sigma | Kind::Label | Kind::Ids => 1,
    };
    shape.iter().skip(keep).product()
}

/// An operand in the matrix form of the result: of its full size, or with a single column.
fn aligned<B: Backend>(operand: Value<B>, ty: &Type, result: &Type, shape: &[usize], columns: usize) -> Tensor<B, 2> {
    let rows = shape.iter().product::<usize>() / columns.max(1);
    let own = operand.shape();
    if own == shape {
        return operand.reshape([rows, columns]);
    }
    // Put every axis of the operand where the result has it, with ones for those it lacks.
    let mut placed = vec![1; shape.len()];
    if let (Some(slot), Some(batch)) = (placed.first_mut(), own.first()) {
        *slot = *batch;
    }
    for (axis, size) in ty.kind.axes().iter().zip(own.iter().skip(1)) {
        if let Some(slot) = axis_place(result, *axis).and_then(|at| placed.get_mut(at)) {
            *slot = *size;
        }
    }
    // An operand without positions needs one column only, where positions are the columns.
    let trailing: usize = placed.iter().skip(shape.len() - trailing_axes(result)).product();
    let one_column = trailing == 1 && columns > 1;
    let mut target: Vec<usize> = shape.to_vec();
    if one_column {
        let start = target.len() - trailing_axes(result);
        target.iter_mut().skip(start).for_each(|size| *size = 1);
    }
    let primitive = match operand {
        Value::Float(primitive) => primitive,
        labels @ Value::Int(_) => labels.labels().float().into_primitive().tensor(),
    };
    let primitive = B::float_reshape(primitive, burn::tensor::Shape::from(placed));
    let primitive = B::float_expand(primitive, burn::tensor::Shape::from(target));
    Value::<B>::Float(primitive).reshape([rows, if one_column { 1 } else { columns }])
}

/// How many axes of a shape make the columns.
fn trailing_axes(result: &Type) -> usize {
    match result.kind {
        Kind::Image | Kind::Video => 2,
        Kind::Tokens | Kind::Sequence | Kind::Vector | Kind::Mask => 1,
        Kind::Scalar | Kind::Timestep | Kind::Sigma | Kind::Label | Kind::Ids => 0,
    }
}

/// The place of an axis in a shape with the batch in front.
fn axis_place(ty: &Type, axis: Axis) -> Option<usize> {
    ty.axis(axis).map(|at| at + 1)
}
