//! Numbers that count.

use super::{Alignments, Flow, Gradients, Misuse, Obligations, Operator, Parameters, Passage, Sent};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Moments, Unknown};
use super::signals::{Response, Signals};
use crate::dim::Dim;
use crate::operator;
use crate::types::{Axis, Batch, Kind, Type};
use smallvec::smallvec;

operator! {
    /// The numbers 0, 1, 2, .. as tokens of one channel: `tokens[count, 1]`, the same for all samples.
    ///
    /// Behind `sinusoid` they are position codes that exist for any number of tokens.
    "indices"()
    pub struct Indices {
        /// How many.
        count: Dim,
    }
}

impl Operator for Indices {
    fn infer(&self, _: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        Ok(Type::new(Kind::Tokens, [self.count.clone(), Dim::Known(1)]).with_batch(Batch::shared()))
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    fn signal(&self, at: &Signals<'_>) -> Result<Response, Unknown> {
        let count = at.size_in_result(Axis::Token);
        let last = count - 1.0;
        let (mean, square) = (last / 2.0, last * (2.0 * last + 1.0) / 6.0);
        let mut moments = Moments::uniform(mean, square);
        let apart = if count > 1.0 { (count * mean * mean - square) / last } else { square };
        for (lag, second) in moments.second.iter_mut().enumerate().skip(1) {
            // The mean of i (i + lag) over all i for which there is such a pair.
            let (lag, end) = (lag as f64, last - lag as f64);
            *second = if end > 0.0 { end * (2.0 * end + 1.0) / 6.0 + lag * end / 2.0 } else { apart };
        }
        if let Some(far) = moments.second.last_mut() {
            *far = apart;
        }
        Ok(Response::fresh(moments.similar(1.0)))
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
        // The first position is zero; alone it is nothing.
        let single = self.count == Dim::Known(1);
        Grid::filled(at.rows, at.columns, Facts::GENERIC.when(!single))
    }

    fn flow_back(&self, _: &Flow<'_>, _: &Grid) -> Gradients {
        Gradients { operands: smallvec![], parameters: smallvec![] }
    }
}
