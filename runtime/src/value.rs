//! Values on a device, with their rank erased.

use crate::host::{HostData, HostTensor};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Int, Shape, Slice, Tensor, TensorData, TensorMetadata, TensorPrimitive};
use std::ops::Range;

/// A tensor of any rank. The batch is its first axis; parameters and tables have a batch of one.
#[derive(Clone, Debug)]
pub enum Value<B: Backend> {
    Float(B::FloatTensorPrimitive),
    /// Class indices.
    Int(B::IntTensorPrimitive),
}

impl<B: Backend> Value<B> {
    /// Erases the rank of a tensor.
    pub fn of<const D: usize>(tensor: Tensor<B, D>) -> Self {
        Value::Float(tensor.into_primitive().tensor())
    }

    /// The tensor with its rank. The plan guarantees that it has this rank.
    pub fn tensor<const D: usize>(self) -> Tensor<B, D> {
        match self {
            Value::Float(primitive) => Tensor::from_primitive(TensorPrimitive::Float(primitive)),
            labels @ Value::Int(_) => {
                let mut shape = [1; D];
                for (slot, size) in shape.iter_mut().zip(labels.shape()) {
                    *slot = size;
                }
                labels.reshape(shape)
            }
        }
    }

    /// The tensor as the backend has it; class indices become numbers.
    pub fn primitive(self) -> B::FloatTensorPrimitive {
        match self {
            Value::Float(primitive) => primitive,
            Value::Int(labels) => B::int_into_float(labels, burn::tensor::FloatDType::F32),
        }
    }

    /// Class indices of one rank.
    pub fn indices<const D: usize>(tensor: Tensor<B, D, Int>) -> Self {
        Value::Int(tensor.into_primitive())
    }

    /// Class indices, flat.
    pub fn labels(self) -> Tensor<B, 1, Int> {
        match self {
            Value::Int(labels) => {
                let count = labels.shape().num_elements();
                Tensor::from_primitive(B::int_reshape(labels, Shape::from([count])))
            }
            Value::Float(primitive) => {
                let count = primitive.shape().num_elements();
                let flat: Tensor<B, 1> = reshaped(primitive, [count]);
                flat.int()
            }
        }
    }

    pub fn shape(&self) -> Vec<usize> {
        match self {
            Value::Float(primitive) => primitive.shape().to_vec(),
            Value::Int(labels) => labels.shape().to_vec(),
        }
    }

    /// The same elements in another shape.
    pub fn reshape<const D: usize>(self, shape: [usize; D]) -> Tensor<B, D> {
        match self {
            Value::Float(primitive) => reshaped(primitive, shape),
            labels @ Value::Int(_) => labels.labels().float().reshape(shape),
        }
    }

    /// Some of the rows along the first axis.
    pub(crate) fn sliced(&self, rows: &Range<usize>) -> Self {
        let shape = self.shape();
        let axis = |(at, size): (usize, &usize)| Slice::from(if at == 0 { rows.clone() } else { 0..*size });
        let ranges: Vec<Slice> = shape.iter().enumerate().map(axis).collect();
        match self {
            Value::Float(primitive) => Value::Float(B::float_slice(primitive.clone(), &ranges)),
            Value::Int(primitive) => Value::Int(B::int_slice(primitive.clone(), &ranges)),
        }
    }

    /// All rows, so many times one behind the other.
    pub(crate) fn repeated(&self, times: usize) -> Self {
        match self {
            Value::Float(primitive) => Value::Float(B::float_repeat_dim(primitive.clone(), 0, times)),
            Value::Int(primitive) => Value::Int(B::int_repeat_dim(primitive.clone(), 0, times)),
        }
    }

    /// The rows in so many groups, each of them so many times behind itself.
    pub(crate) fn each_repeated(&self, groups: usize, times: usize) -> Self {
        let shape = self.shape();
        let count: usize = shape.iter().product();
        let apart = Shape::from([groups, count / groups.max(1)]);
        let rows = shape.first().copied().unwrap_or(1) * times;
        let grown = Shape::from(std::iter::once(rows).chain(shape.iter().skip(1).copied()).collect::<Vec<_>>());
        match self {
            Value::Float(primitive) => {
                let repeated = B::float_repeat_dim(B::float_reshape(primitive.clone(), apart), 1, times);
                Value::Float(B::float_reshape(repeated, grown))
            }
            Value::Int(primitive) => {
                let repeated = B::int_repeat_dim(B::int_reshape(primitive.clone(), apart), 1, times);
                Value::Int(B::int_reshape(repeated, grown))
            }
        }
    }

    /// Copies a tensor to a device. Scalars get an axis of one, since tensors on devices have at least one axis.
    pub fn from_host(tensor: &HostTensor, device: &B::Device) -> Self {
        let mut shape = tensor.shape.clone();
        if shape.is_empty() {
            shape.push(1);
        }
        match &tensor.data {
            HostData::I64(labels) => {
                let flat: Tensor<B, 1, Int> =
                    Tensor::from_data(TensorData::new(labels.clone(), [labels.len()]), device);
                Value::Int(B::int_reshape(flat.into_primitive(), Shape::from(shape)))
            }
            HostData::F32(values) => {
                // `Tensor::from_data` brings the elements to the default dtype of the device.
                let flat: Tensor<B, 1> = Tensor::from_data(TensorData::new(values.clone(), [values.len()]), device);
                let primitive = flat.into_primitive().tensor();
                Value::Float(B::float_reshape(primitive, Shape::from(shape)))
            }
        }
    }

    /// Copies the elements to the host.
    pub fn to_host(&self) -> HostTensor {
        match self {
            Value::Float(primitive) => {
                let shape = primitive.shape().to_vec();
                let count = shape.iter().product();
                let flat: Tensor<B, 1> = reshaped(primitive.clone(), [count]);
                let data = flat.into_data().convert_dtype(DType::F32);
                HostTensor::f32(shape, data.to_vec::<f32>().unwrap_or_default())
            }
            labels @ Value::Int(_) => {
                let data = labels.clone().labels().into_data().convert_dtype(DType::I64);
                HostTensor::i64(labels.shape(), data.to_vec::<i64>().unwrap_or_default())
            }
        }
    }
}

fn reshaped<B: Backend, const D: usize>(primitive: B::FloatTensorPrimitive, shape: [usize; D]) -> Tensor<B, D> {
    let primitive = B::float_reshape(primitive, Shape::from(shape));
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}
