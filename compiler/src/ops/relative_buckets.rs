//! Classes of distances between tokens.

use super::{Alignments, Flow, Gradients, Misuse, Obligations, Operator, Parameters, Passage, Sent};
use crate::analysis::liveness::facts::{Facts, Grid};
use crate::analysis::moments::{Moments, Unknown};
use super::signals::{Response, Signals};
use crate::dim::Dim;
use crate::operator;
use crate::types::{Batch, Kind, Type};
use smallvec::smallvec;

operator! {
    /// How far each token is from each other one, as a class: `ids[count * count, buckets]`, the same for all samples, query
    /// by query.
    ///
    /// The first half of the buckets is for keys at and before the query, the second for those behind it. Half of each
    /// are for one distance each; the others grow by a constant factor up to `max_distance`, and the last of them takes
    /// everything beyond. Raffel et al. 2020 (T5), huggingface/transformers `modeling_t5.py`.
    ///
    /// A number for each bucket and head makes a bias of attention of them: `relative_buckets(N) -> embedding(heads) ->
    /// to_image(N, N)`.
    "relative_buckets"()
    pub struct RelativeBuckets {
        /// Tokens.
        count: Dim,
        /// Classes; a multiple of four.
        buckets: u64 = 32,
        /// The distance from which on all are of one class.
        max_distance: u64 = 128,
    }
}

impl RelativeBuckets {
    /// The class of each pair of `count` tokens, query by query.
    pub fn classes(&self, count: u64) -> impl Iterator<Item = u64> + use<'_> {
        (0..count).flat_map(move |query| (0..count).map(move |key| self.class(query, key)))
    }

    fn class(&self, query: u64, key: u64) -> u64 {
        let side = self.buckets / 2;
        let exact = side / 2;
        let distance = query.abs_diff(key);
        let first = if key > query { side } else { 0 };
        if distance < exact {
            return first + distance;
        }
        let ratio = |distance: u64| libm::log(distance as f64 / exact as f64);
        let step = ratio(distance) / ratio(self.max_distance) * (side - exact) as f64;
        first + (exact + step as u64).min(side - 1)
    }
}

impl Operator for RelativeBuckets {
    fn infer(&self, _: &[&Type], _: &mut Obligations) -> Result<Type, Misuse> {
        let Self { buckets, max_distance, .. } = self;
        if *buckets == 0 || !buckets.is_multiple_of(4) {
            let message = format!("buckets of distances come in fours; {buckets} do not");
            return Err(Misuse::new("shape/remainder", message));
        }
        if *max_distance <= buckets / 4 {
            let message = format!("{buckets} buckets tell all distances below {} apart", buckets / 4);
            return Err(Misuse::new("shape/range", message).help("`max_distance` has to be above that"));
        }
        let pairs = self.count.times(&self.count).map_err(|_| Misuse::new("shape/size", "too many tokens"))?;
        Ok(Type::new(Kind::Ids, [pairs, Dim::Known(*buckets)]).with_batch(Batch::shared()))
    }

    fn parameters(&self, _: &[&Type]) -> Parameters {
        Parameters::new()
    }

    fn signal(&self, _: &Signals<'_>) -> Result<Response, Unknown> {
        Err(Unknown::because("buckets are classes, not numbers"))
    }

    fn signal_back(&self, _: &Signals<'_>, _: &Moments) -> Result<Sent, Unknown> {
        Ok(smallvec![])
    }

    fn flops(&self, _: &[&[u64]], result: &[u64]) -> u64 {
        result.iter().product()
    }

    fn passage(&self) -> Passage {
        Passage::Source
    }

    fn alignments(&self, _: &[&Type], _: &Type) -> Alignments {
        Alignments::new()
    }

    fn flow(&self, at: &Flow<'_>) -> Grid {
        Grid::filled(at.rows, at.columns, Facts::GENERIC)
    }

    fn flow_back(&self, _: &Flow<'_>, _: &Grid) -> Gradients {
        Gradients::of_operands([])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_keys_have_a_bucket_each_and_far_ones_share_them() {
        let buckets = RelativeBuckets { count: Dim::Known(1), buckets: 32, max_distance: 128 };
        // As transformers has them; 16, 32 and 64 are where a bucket starts exactly.
        let before = [(0, 0), (1, 1), (7, 7), (8, 8), (11, 8), (12, 9), (15, 9), (16, 10), (31, 11), (32, 12), (63, 13)];
        let beyond = [(64, 14), (90, 14), (91, 15), (127, 15), (128, 15), (5000, 15)];
        for (distance, bucket) in before.into_iter().chain(beyond) {
            assert_eq!(buckets.class(5000, 5000 - distance), bucket, "{distance} before");
            let behind = if distance == 0 { 0 } else { 16 + bucket };
            assert_eq!(buckets.class(0, distance), behind, "{distance} behind");
        }
        let few = RelativeBuckets { count: Dim::Known(3), buckets: 4, max_distance: 2 };
        assert_eq!(few.classes(3).collect::<Vec<_>>(), [0, 3, 3, 1, 0, 3, 1, 1, 0]);
    }
}
