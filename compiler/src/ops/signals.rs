//! What an operator is told of signal, and what it answers.

use super::ParameterMoments;
use crate::analysis::gaussian::Expansions;
use crate::analysis::moments::{Class, Estimate, Lags, Moments, Unknown};
use crate::dim::{Dim, Sizes};
use crate::sincos::SinCosGrid;
use crate::types::{Axis, Type};
use smallvec::{SmallVec, smallvec};

/// Sizes that a spec leaves open stand for this many.
const OPEN_SIZE: f64 = 64.0;

/// Two streams of tokens side by side.
pub type Joined<'a> = [(&'a Type, &'a Estimate); 2];

/// A node as the analysis of signal sees it: types and moments of what goes in.
pub struct Signals<'a> {
    pub operands: SmallVec<[(&'a Type, &'a Estimate); 3]>,
    pub parameters: SmallVec<[ParameterMoments; 2]>,
    /// The first operand, where it is a table of positions as it was initialised.
    pub table: Option<&'a SinCosGrid>,
    /// For each operand that puts two streams of tokens side by side: both, with their lengths.
    pub joined: SmallVec<[Option<Joined<'a>>; 3]>,
    pub result: &'a Type,
    /// Covariance of the first two operands.
    pub covariance: Lags,
    pub expansions: &'a Expansions,
    pub sizes: &'a Sizes,
}

impl Signals<'_> {
    pub fn operand(&self, at: usize) -> Estimate {
        match self.operands.get(at) {
            Some((_, Ok(moments))) => Ok(*moments),
            Some((_, Err(reason))) => Err(reason.clone()),
            None => Err(Unknown::because("an operand is missing")),
        }
    }

    /// Lengths and moments of the two streams of tokens that an operand puts side by side.
    pub fn joined(&self, at: usize) -> Option<[(f64, Estimate); 2]> {
        let parts = self.joined.get(at).copied().flatten()?;
        Some(parts.map(|(ty, moments)| (sizes_of(ty, self.sizes).iter().product(), moments.clone())))
    }

    pub fn parameter(&self, at: usize) -> Option<ParameterMoments> {
        self.parameters.get(at).copied()
    }

    fn size_of(&self, dim: &Dim) -> f64 {
        size_of(dim, self.sizes)
    }

    /// Sizes of the axes of an operand that carry positions.
    pub fn axes(&self, at: usize) -> SmallVec<[f64; 3]> {
        self.operands.get(at).map_or(smallvec![], |(ty, _)| self.axes_of(ty))
    }

    pub fn axes_of(&self, ty: &Type) -> SmallVec<[f64; 3]> {
        sizes_of(ty, self.sizes)
    }

    pub fn positions(&self, at: usize) -> f64 {
        self.axes(at).iter().product()
    }

    pub fn channels(&self, at: usize) -> f64 {
        self.axis(at, Axis::Channel)
    }

    pub fn axis(&self, at: usize, axis: Axis) -> f64 {
        self.operands.get(at).and_then(|(ty, _)| ty.dim(axis)).map_or(1.0, |dim| self.size_of(dim))
    }

    pub fn size_in_result(&self, axis: Axis) -> f64 {
        self.result.dim(axis).map_or(1.0, |dim| self.size_of(dim))
    }

    /// Gradient of an operand that is the same for parts of a sample, from that for one of them: the gradients of the
    /// parts are taken to be independent.
    pub fn unfolded(&self, at: usize, gradient: Moments) -> Moments {
        let own = self.operands.get(at).map_or(0, |(ty, _)| ty.batch.folds.len());
        let parts: f64 = self.result.batch.folds.iter().skip(own).map(|dim| self.size_of(dim)).product();
        let changes = self.operands.len() < 2;
        if changes || parts <= 1.0 {
            return gradient;
        }
        gradient.map(parts * gradient.mean, |second| parts * second).at_most(Class::Factor2)
    }

    /// Gradient of an operand that may have been stretched over positions, from the gradient of its stretched form.
    pub fn unstretched(&self, at: usize, gradient: Moments) -> Moments {
        let (own, all) = (self.positions(at), self.axes_of(self.result));
        if own == 1.0 && all.iter().product::<f64>() > 1.0 {
            return Moments::uniform(0.0, gradient.summed(&all)).at_most(gradient.class);
        }
        gradient
    }
}

fn size_of(dim: &Dim, sizes: &Sizes) -> f64 {
    dim.at(sizes).map_or(OPEN_SIZE, |size| size as f64)
}

/// Sizes of the axes that carry positions.
pub(crate) fn sizes_of(ty: &Type, sizes: &Sizes) -> SmallVec<[f64; 3]> {
    ty.positions().map(|dim| size_of(dim, sizes)).collect()
}

/// Moments of a result, and what of its operands is in it.
#[derive(Clone, Debug)]
pub struct Response {
    pub moments: Moments,
    /// For each operand `x`, the mean of `dy/dx`, element by element; nothing where positions or channels mix.
    pub carries: SmallVec<[f64; 3]>,
}

impl Response {
    /// A value that is uncorrelated with its operands.
    pub fn fresh(moments: Moments) -> Self {
        Self { moments, carries: smallvec![] }
    }

    /// A value that is as its operand is.
    pub fn same(moments: Moments) -> Self {
        Self { moments, carries: smallvec![1.0] }
    }
}
