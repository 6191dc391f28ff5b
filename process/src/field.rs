//! What samplers compute with.

/// A value that noise is added to and taken from: a number, a vector, a tensor. All operations are element by element.
pub trait Field: Clone {
    /// `a · x + b · y`.
    #[must_use]
    fn combine(a: f64, x: &Self, b: f64, y: &Self) -> Self;

    /// `scale · self + offset`.
    #[must_use]
    fn affine(&self, scale: f64, offset: f64) -> Self;

    /// `self · other`.
    #[must_use]
    fn times(&self, other: &Self) -> Self;

    /// The exponential.
    #[must_use]
    fn exp(&self) -> Self;

    /// Limited to `[low, high]`.
    #[must_use]
    fn clamped(&self, low: f64, high: f64) -> Self;

    /// `scale · self`.
    #[must_use]
    fn scaled(&self, scale: f64) -> Self {
        self.affine(scale, 0.0)
    }

    /// `self + scale · other`.
    #[must_use]
    fn plus(&self, scale: f64, other: &Self) -> Self {
        Self::combine(1.0, self, scale, other)
    }
}

/// A field whose standard deviation can be matched to that of another.
pub trait Deviation: Field {
    /// `self · deviation(other) / deviation(self)`, the deviations taken within each element of a batch; `self` where
    /// it is constant.
    #[must_use]
    fn with_deviation_of(&self, other: &Self) -> Self;
}

impl Field for f64 {
    fn combine(a: f64, x: &Self, b: f64, y: &Self) -> Self {
        a * x + b * y
    }

    fn affine(&self, scale: f64, offset: f64) -> Self {
        scale * self + offset
    }

    fn times(&self, other: &Self) -> Self {
        self * other
    }

    fn exp(&self) -> Self {
        libm::exp(*self)
    }

    fn clamped(&self, low: f64, high: f64) -> Self {
        self.max(low).min(high)
    }
}

/// Vectors compute in f64 and round once per operation; both operands have the same length.
macro_rules! vectors {
    ($number:ty) => {
        impl Field for Vec<$number> {
            fn combine(a: f64, x: &Self, b: f64, y: &Self) -> Self {
                x.iter().zip(y).map(|(x, y)| (a * f64::from(*x) + b * f64::from(*y)) as $number).collect()
            }

            fn affine(&self, scale: f64, offset: f64) -> Self {
                self.iter().map(|x| (scale * f64::from(*x) + offset) as $number).collect()
            }

            fn times(&self, other: &Self) -> Self {
                self.iter().zip(other).map(|(x, y)| x * y).collect()
            }

            fn exp(&self) -> Self {
                self.iter().map(|x| libm::exp(f64::from(*x)) as $number).collect()
            }

            fn clamped(&self, low: f64, high: f64) -> Self {
                self.iter().map(|x| f64::from(*x).max(low).min(high) as $number).collect()
            }
        }

        impl Deviation for Vec<$number> {
            fn with_deviation_of(&self, other: &Self) -> Self {
                let (own, wanted) =
                    (deviation(self.iter().map(|x| f64::from(*x))), deviation(other.iter().map(|x| f64::from(*x))));
                if own > 0.0 { self.scaled(wanted / own) } else { self.clone() }
            }
        }
    };
}

vectors!(f32);
vectors!(f64);

/// Standard deviation of a sample: the sum of squares is divided by one less than the number of elements.
fn deviation(values: impl ExactSizeIterator<Item = f64> + Clone) -> f64 {
    let count = values.len() as f64;
    if count < 2.0 {
        return 0.0;
    }
    let mean = values.clone().sum::<f64>() / count;
    (values.map(|x| (x - mean) * (x - mean)).sum::<f64>() / (count - 1.0)).sqrt()
}
