//! Table lookup.

use super::{
    Alignment, Alignments, Flow, Gradients, Misuse, Obligations, Operator, ParameterCells, Sent,
    ParameterSpec, Parameters, Passage, Storage,
};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Moments, Unknown};
use super::signals::{Response, Signals};
use crate::dim::Dim;
use crate::init::{Fans, Init};
use crate::operator;
use crate::types::{Axis, Kind, Type};
use smallvec::smallvec;

operator! {
    /// A learned vector for each class: `label[K] -> vector[features]`, `ids[N, K] -> tokens[N, features]`. Parameter:
    /// `weight [K, features]`, drawn from N(0, 1) as PyTorch does unless the spec says otherwise.
    "embedding"(y)
    pub struct Embedding {
        /// Channels of the result.
        features: u64,
    }
}

impl Operator for Embedding {
    fn infer(&self, operands: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        match operands {
            [y] if y.kind == Kind::Label => Ok(Type::vector(self.features).with_batch(y.batch.clone())),
            [y] if y.kind == Kind::Ids => {
                let dims = y.dim(Axis::Token).cloned().into_iter().chain([Dim::Known(self.features)]);
                Ok(Type::new(Kind::Tokens, dims).with_batch(y.batch.clone()))
            }
            _ => {
                let found = operands.first().map_or_else(String::new, |y| y.to_string());
                Err(Misuse::new("type/kind", format!("`embedding` needs class labels or ids, found {found}")).at(0))
            }
        }
    }

    fn parameters(&self, operands: &[&Type]) -> Parameters {
        let rows = operands.first().and_then(|y| y.dim(Axis::Class)).and_then(Dim::known).unwrap_or(0);
        smallvec![ParameterSpec {
            name: "weight",
            shape: vec![rows, self.features],
            // PyTorch's fans of a table, [out, in] as for a linear map.
            fans: Fans { fan_in: self.features, fan_out: rows },
            default: Init::Normal { mean: 0.0, std: 1.0 },
            storage: Storage::Trained,
            cells: ParameterCells::Output,
        }]
    }

    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let table = at.parameter(0).ok_or(Unknown::because("the table is missing"))?;
        let moments = if at.result.kind.has_positions() {
            Moments::independent(table.mean, table.square())
        } else {
            Moments::uniform(table.mean, table.square())
        };
        Ok(Response::fresh(moments.similar(1.0 / at.size_in_result(Axis::Channel))))
    }

    /// Labels have no gradient.
    fn signal_back(&self, _: &Signals<'_>, _: &Moments) -> Result<Sent, Unknown> {
        Ok(smallvec![Moments::ZERO])
    }

    fn flops(&self, _: &[&[u64]], _: &[u64]) -> u64 {
        0
    }

    fn passage(&self) -> Passage {
        Passage::Source
    }

    fn alignments(&self, _: &[&Type], _: &Type) -> Alignments {
        smallvec![Alignment::UNRELATED]
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        // Different ids have different rows, unless all rows are equal.
        let varies = at.result.kind == Kind::Tokens;
        Grid::build(at.rows, at.columns, |_, column| {
            let table = at.parameter(0).map_or(Facts::ZERO, |table| table.at(0, column));
            let facts = table.with(Facts::POSITIONS, varies && table.has(Facts::CHANNELS));
            facts.with(Facts::MEAN_ALL, facts.has(Facts::MEAN_CHANNELS))
        })
    }

    fn flow_back(&self, at: &Flow<'_>, gradient: &Grid) -> Gradients {
        // Labels have no gradient; each row of the table collects that of its samples and tokens, which differ.
        let table = Grid::build(1, gradient.columns(), |_, column| {
            let facts = gradient.column(column);
            let own = Facts::NONZERO
                .with(Facts::CHANNELS, facts.has(Facts::CHANNELS))
                .with(Facts::MEAN_CHANNELS, facts.has(Facts::MEAN_CHANNELS))
                .when(facts.nonzero())
                .closed();
            if at.result.kind == Kind::Tokens { own } else { facts.sum_positions() }
        });
        let ids = at.operand(0);
        Gradients { operands: smallvec![Grid::new(ids.rows(), ids.columns())], parameters: smallvec![table] }
    }
}
