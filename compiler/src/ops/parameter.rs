//! A parameter that is a value by itself.

use super::attribute::Shape;
use super::{
    Alignments, Flow, Gradients, Misuse, Obligations, Operator, ParameterCells, Sent, ParameterSpec,
    Parameters, Passage, Storage,
};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Moments, Unknown};
use super::signals::{Response, Signals};
use crate::dim::Dim;
use crate::init::{Fans, Init};
use crate::operator;
use crate::types::{Axis, Batch, Kind, Type};
use smallvec::smallvec;

operator! {
    /// A learned value that is the same for all samples: a position table, a gain, a register token.
    ///
    /// Its label is its whole name (`parameter(vector[8]) @layer.gamma`). Tables of tokens and images are stored
    /// with a leading axis of 1, as published checkpoints do, unless `stored` says otherwise.
    "parameter"()
    pub struct Parameter {
        /// Type of the value, `vector[8]`, `tokens[256, 384]` or `scalar`; all sizes have to be known.
        of: Type,
        /// A frozen parameter is stored but not trained.
        frozen: bool = false,
        /// A buffer is stored, not trained, and no parameter: it is in no count of them. PyTorch's
        /// `register_buffer`.
        buffer: bool = false,
        /// Shape in the checkpoint: the same elements in the same order.
        stored: Option<Shape> = None,
    }
}

impl Operator for Parameter {
    fn infer(&self, _: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        let open = self.of.dims.iter().find(|dim| dim.known().is_none());
        if let Some(open) = open {
            let message = format!("a parameter needs known sizes; {open} is known only when the model runs");
            return Err(Misuse::new("type/open-size", message));
        }
        let size = |dims: &[u64]| dims.iter().try_fold(1_u64, |size, dim| size.checked_mul(*dim));
        let own: Vec<u64> = self.of.dims.iter().filter_map(Dim::known).collect();
        if let Some(Shape(stored)) = &self.stored
            && size(stored) != size(&own)
        {
            let shape: Vec<String> = stored.iter().map(u64::to_string).collect();
            let message = format!("{} does not have the elements of {}", shape.join(" x "), self.of);
            return Err(Misuse::new("shape/mismatch", message));
        }
        match self.of.kind {
            Kind::Label | Kind::Ids | Kind::Mask | Kind::Timestep | Kind::Sigma => {
                Err(Misuse::new("type/kind", format!("a parameter cannot be a {}", self.of.kind.name())))
            }
            Kind::Image | Kind::Video | Kind::Tokens | Kind::Sequence | Kind::Vector | Kind::Scalar => {
                Ok(self.of.clone().with_batch(Batch::shared()))
            }
        }
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        let mut shape: Vec<u64> = self.of.dims.iter().filter_map(Dim::known).collect();
        if self.of.kind.has_positions() {
            shape.insert(0, 1);
        }
        let size = shape.iter().product();
        if let Some(Shape(stored)) = &self.stored {
            shape.clone_from(stored);
        }
        smallvec![ParameterSpec {
            name: "",
            shape,
            fans: Fans { fan_in: size, fan_out: size },
            default: Init::ZERO,
            storage: match (self.buffer, self.frozen) {
                (true, _) => Storage::Buffer,
                (false, true) => Storage::Frozen,
                (false, false) => Storage::Trained,
            },
            cells: ParameterCells::Value,
        }]
    }

    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let value = at.parameter(0).ok_or(Unknown::because("the parameter is missing"))?;
        let mut moments = Moments::independent(value.mean, value.square());
        if !at.result.kind.has_positions() {
            moments = Moments::uniform(value.mean, value.square());
        } else if let Some(shared) = value.shared {
            moments = moments.map(value.mean, |_| shared);
            if let Some(own) = moments.second.first_mut() {
                *own = value.square();
            }
        }
        let similarity = value.similarity.unwrap_or(1.0 / at.size_in_result(Axis::Channel));
        Ok(Response::fresh(moments.similar(similarity)))
    }

    fn signal_back(&self, _: &Signals<'_>, _: &Moments) -> Result<Sent, Unknown> {
        Ok(smallvec![])
    }

    fn flops(&self, _: &[&[u64]], _: &[u64]) -> u64 {
        0
    }

    fn passage(&self) -> Passage {
        Passage::Source
    }

    fn alignments(&self, _: &[&Type], _: &Type) -> Alignments {
        Alignments::new()
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        Grid::build(at.rows, at.columns, |row, column| {
            at.parameter(0).map_or(Facts::ZERO, |value| value.at(row, column))
        })
    }

    fn flow_back(&self, _: &Flow<'_>, gradient: &Grid) -> Gradients {
        Gradients { operands: smallvec![], parameters: smallvec![gradient.clone()] }
    }
}
