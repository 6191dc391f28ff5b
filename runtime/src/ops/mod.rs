//! The Burn half of every operator, under the name of its other half, joined by one exhaustive match.

#![deny(clippy::wildcard_enum_match_arm, clippy::match_wildcard_for_single_variants)]

use crate::kernels::Kernels;
use crate::kernels::broadcast::{Binary, Spread};
use crate::kernels::norm::Affine;
use crate::value::Value;
use archc_compiler::dim::Sizes;
use archc_compiler::ops::Op;
use archc_compiler::types::{Axis, Type};
use burn::tensor::backend::Backend;
use burn::tensor::{Shape, Tensor};
use rand_chacha::ChaCha8Rng;
use smallvec::SmallVec;

mod along;

pub(crate) use mp_linear::normal_rows;
pub(crate) use pixel_norm::SMALLEST_SQUARE;

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
    /// What a norm computes as well; nothing for other operators.
    pub tail: Tail<B>,
}

/// What follows a norm and is computed with it: `norm(x) * factor + shift`, then SiLU.
pub(crate) struct Tail<B: Backend> {
    /// `[samples, channels]` or, the same for all samples, `[1, channels]`.
    pub factor: Option<Tensor<B, 2>>,
    pub shift: Option<Tensor<B, 2>>,
    pub silu: bool,
}

impl<B: Backend> Default for Tail<B> {
    fn default() -> Self {
        Self { factor: None, shift: None, silu: false }
    }
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

    /// Takes weight and bias of a norm, and joins the factor and shift behind it to them:
    /// `(n * weight + bias) * factor + shift = n * (weight * factor) + (bias * factor + shift)`.
    pub fn affine(&mut self) -> Option<Affine<B>> {
        let (weight, bias): (Option<Tensor<B, 1>>, Option<Tensor<B, 1>>) = (self.parameter(), self.parameter());
        let (factor, shift) = (self.tail.factor.take(), self.tail.shift.take());
        if factor.is_none() && shift.is_none() {
            let weight = weight?;
            let bias = bias.unwrap_or_else(|| weight.zeros_like());
            return Some((primitive(weight), primitive(bias)));
        }
        let row = |x: Option<Tensor<B, 1>>| x.map(|x| x.unsqueeze::<2>());
        let bias = match (row(bias), &factor) {
            (Some(bias), Some(factor)) => Some(bias * factor.clone()),
            (bias, _) => bias,
        };
        let (weight, bias) = (joined(row(weight), factor, Tensor::mul), joined(bias, shift, Tensor::add));
        let (weight, bias) = match (weight, bias) {
            (None, bias) => (bias.as_ref()?.ones_like(), bias?),
            (Some(weight), bias) => (weight.clone(), bias.unwrap_or_else(|| weight.zeros_like())),
        };
        let size = if weight.dims() > bias.dims() { weight.dims() } else { bias.dims() };
        Some((primitive(weight.expand(size)), primitive(bias.expand(size))))
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
    fn run<B: Kernels>(&self, call: Call<'_, B>) -> Value<B>;
}

macro_rules! lower {
    ($($Name:ident => $module:ident),* $(,)?) => {
        $(mod $module;)*

        /// Runs an operator.
        pub(crate) fn run<B: Kernels>(op: &Op, call: Call<'_, B>) -> Value<B> {
            match op { $(Op::$Name(op) => op.run(call)),* }
        }
    };
}
archc_compiler::for_each_operator!(lower);

fn primitive<B: Backend, const D: usize>(x: Tensor<B, D>) -> B::FloatTensorPrimitive {
    x.into_primitive().tensor()
}

/// What `join` makes of both, or the one that is there.
fn joined<T>(a: Option<T>, b: Option<T>, join: impl Fn(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(join(a, b)),
        (a, b) => a.or(b),
    }
}

/// `x + gate * branch` of the operands `x`, `branch` and `gate`. The gate may lack axes, the others do not.
pub(crate) fn gated_sum<B: Kernels>(mut call: Call<'_, B>) -> Value<B> {
    let shape = call.shape.clone();
    let (x, branch, gate) = (call.operand().primitive(), call.operand().primitive(), call.operand());
    let own = call.types.last().map(|ty| placed(&gate.shape(), ty, call.result)).unwrap_or_default();
    let gate = gate.primitive();
    match Spread::of(&shape, &own) {
        Some(spread) => Value::Float(B::gated_sum(spread, x, branch, gate)),
        None => {
            let gate = expanded::<B>(gate, &own, &shape);
            Value::Float(B::float_add(x, B::float_mul(branch, gate)))
        }
    }
}

/// A sum or product of two operands whose axes are aligned by meaning, not by place: one of the two has all axes of the
/// result, the other may lack some.
pub(crate) fn elementwise<B: Kernels>(mut call: Call<'_, B>, op: Binary) -> Value<B> {
    let result = call.result;
    let shape = call.shape.clone();
    let types = std::mem::take(&mut call.types);
    let mut operands: SmallVec<[(B::FloatTensorPrimitive, Vec<usize>); 2]> = SmallVec::new();
    for ty in &types {
        let operand = call.operand();
        let placed = placed(&operand.shape(), ty, result);
        operands.push((operand.primitive(), placed));
    }
    let (Some((mut b, mut b_shape)), Some((mut a, mut a_shape))) = (operands.pop(), operands.pop()) else {
        return call.operand();
    };
    if a_shape != shape {
        std::mem::swap(&mut a, &mut b);
        std::mem::swap(&mut a_shape, &mut b_shape);
    }
    if a_shape != shape {
        a = expanded::<B>(a, &a_shape, &shape);
    }
    let spread = Spread::of(&shape, &b_shape).or_else(|| {
        b = expanded::<B>(b.clone(), &b_shape, &shape);
        Spread::of(&shape, &shape)
    });
    let a = B::float_reshape(a, Shape::from(shape));
    match spread {
        Some(spread) => Value::Float(B::broadcast(op, spread, a, b)),
        None => Value::Float(a),
    }
}

/// The shape of an operand with its axes where the result has them, and ones for those it lacks.
fn placed(own: &[usize], ty: &Type, result: &Type) -> Vec<usize> {
    let mut placed = vec![1; result.kind.axes().len() + 1];
    if let (Some(slot), Some(batch)) = (placed.first_mut(), own.first()) {
        *slot = *batch;
    }
    for (axis, size) in ty.kind.axes().iter().zip(own.iter().skip(1)) {
        if let Some(slot) = axis_place(result, *axis).and_then(|at| placed.get_mut(at)) {
            *slot = *size;
        }
    }
    placed
}

/// Repeats an operand over the axes that it lacks.
fn expanded<B: Backend>(x: B::FloatTensorPrimitive, own: &[usize], shape: &[usize]) -> B::FloatTensorPrimitive {
    B::float_expand(B::float_reshape(x, Shape::from(own.to_vec())), Shape::from(shape.to_vec()))
}

/// The place of an axis in a shape with the batch in front.
fn axis_place(ty: &Type, axis: Axis) -> Option<usize> {
    ty.axis(axis).map(|at| at + 1)
}
