//! Functions of one variable that can be compared as such: quotients of polynomials, and roots of these.

/// A coefficient that is smaller than this part of the largest is rounding.
const ROUNDING: f64 = 1e-12;

/// A polynomial, by rising powers.
#[derive(Clone, Debug, PartialEq)]
struct Polynomial(Vec<f64>);

impl Polynomial {
    fn number(value: f64) -> Self {
        Self(vec![value])
    }

    fn plus(&self, other: &Self) -> Self {
        let at = |own: &Self, power: usize| own.0.get(power).copied().unwrap_or(0.0);
        let powers = self.0.len().max(other.0.len());
        Self((0..powers).map(|power| at(self, power) + at(other, power)).collect())
    }

    fn times(&self, other: &Self) -> Self {
        let mut product = vec![0.0; (self.0.len() + other.0.len()).saturating_sub(1)];
        for (i, a) in self.0.iter().enumerate() {
            for (target, b) in product.iter_mut().skip(i).zip(&other.0) {
                *target += a * b;
            }
        }
        Self(product)
    }

    fn largest(&self) -> f64 {
        self.0.iter().fold(0.0, |most, own| most.max(own.abs()))
    }

    /// Whether both are the same up to rounding.
    fn is(&self, other: &Self) -> bool {
        let difference = self.plus(&other.times(&Self::number(-1.0)));
        difference.largest() <= ROUNDING * self.largest().max(other.largest())
    }
}

/// A quotient of polynomials.
#[derive(Clone, Debug)]
pub(crate) struct Fraction {
    over: Polynomial,
    under: Polynomial,
}

impl Fraction {
    pub fn number(value: f64) -> Self {
        Self { over: Polynomial::number(value), under: Polynomial::number(1.0) }
    }

    pub fn variable() -> Self {
        Self { over: Polynomial(vec![0.0, 1.0]), under: Polynomial::number(1.0) }
    }

    pub fn plus(&self, other: &Self) -> Self {
        if self.under.is(&other.under) {
            return Self { over: self.over.plus(&other.over), under: self.under.clone() };
        }
        let over = self.over.times(&other.under).plus(&other.over.times(&self.under));
        Self { over, under: self.under.times(&other.under) }
    }

    pub fn times(&self, other: &Self) -> Self {
        Self { over: self.over.times(&other.over), under: self.under.times(&other.under) }
    }

    pub fn reciprocal(&self) -> Self {
        Self { over: self.under.clone(), under: self.over.clone() }
    }

    pub fn square(&self) -> Self {
        self.times(self)
    }

    /// Whether both are the same function up to the rounding of their coefficients.
    pub fn is(&self, other: &Self) -> bool {
        self.over.times(&other.under).is(&other.over.times(&self.under))
    }
}

/// `factor * sqrt(root)`.
#[derive(Clone, Debug)]
pub(crate) struct Radical {
    factor: Fraction,
    root: Fraction,
}

impl Radical {
    pub fn number(value: f64) -> Self {
        Self { factor: Fraction::number(value), root: Fraction::number(1.0) }
    }

    pub fn variable() -> Self {
        Self { factor: Fraction::variable(), root: Fraction::number(1.0) }
    }

    /// Where both have the same root.
    pub fn plus(&self, other: &Self) -> Option<Self> {
        let factor = self.factor.plus(&other.factor);
        self.root.is(&other.root).then(|| Self { factor, root: self.root.clone() })
    }

    pub fn times(&self, other: &Self) -> Self {
        let factor = self.factor.times(&other.factor);
        if self.root.is(&other.root) {
            return Self { factor: factor.times(&self.root), root: Fraction::number(1.0) };
        }
        Self { factor, root: self.root.times(&other.root) }
    }

    /// One by its root, where it is a quotient of polynomials.
    pub fn reciprocal_root(&self) -> Option<Self> {
        let root = self.quotient()?.reciprocal();
        Some(Self { factor: Fraction::number(1.0), root })
    }

    /// Its value, where that has no root.
    pub fn quotient(&self) -> Option<&Fraction> {
        self.root.is(&Fraction::number(1.0)).then_some(&self.factor)
    }

    pub fn square(&self) -> Fraction {
        self.factor.square().times(&self.root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `1 / sqrt(x^2 + 0.3^2)`, from parts.
    fn input() -> Radical {
        let x = Radical::variable();
        let sum = x.times(&x).plus(&Radical::number(0.3 * 0.3)).expect("no roots");
        sum.reciprocal_root().expect("no roots")
    }

    #[test]
    fn a_root_times_itself_is_a_quotient() {
        let square = input().times(&input());
        assert!(square.quotient().is_some_and(|own| own.is(&input().square())));
        assert!(input().quotient().is_none());
    }

    #[test]
    fn functions_that_differ_a_little_are_not_the_same() {
        let data = |std: f64| Fraction::variable().square().plus(&Fraction::number(std * std));
        let one = Fraction::number(1.0);
        assert!(input().square().times(&data(0.3)).is(&one));
        assert!(!input().square().times(&data(0.3 + 1e-9)).is(&one));
    }

    #[test]
    fn sums_of_different_roots_are_not_known() {
        assert!(input().plus(&Radical::variable()).is_none());
        let double = input().plus(&input()).expect("the same root");
        assert!(double.square().is(&input().square().times(&Fraction::number(4.0))));
    }
}
