//! Sizes of axes: whole numbers, or polynomials over sizes that are known only when the model runs.
//!
//! A symbolic size is kept exactly, as a polynomial with rational coefficients (`H/8`, `H*W/4`). Dividing one by a
//! number is allowed and leaves an obligation behind: that the quotient is whole. Obligations are collected as
//! [`Constraint`]s of the model and checked when sizes are bound, so that after elaboration every equation between
//! sizes holds for every size the model accepts.

use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A size that is known when the model runs: the name a model gave to a dimension of its inputs.
pub type Symbol = Arc<str>;

/// Concrete sizes for symbols.
pub type Sizes = BTreeMap<Symbol, u64>;

/// The size of an axis.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dim {
    Known(u64),
    Open(Arc<Polynomial>),
}

/// Powers of symbols, sorted by symbol.
type Monomial = Vec<(Symbol, u32)>;

/// Sizes of real models have a handful of terms; products of sums in a loop have any number.
const MAX_TERMS: usize = 32;
const MAX_DEGREE: u32 = 8;

/// A sum of monomials with non-zero rational coefficients, sorted. Never a constant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Polynomial {
    terms: Vec<(Monomial, Ratio)>,
}

/// A reduced fraction with a positive denominator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Ratio {
    numerator: i128,
    denominator: i128,
}

impl Ratio {
    fn new(numerator: i128, denominator: i128) -> Self {
        let divisor = gcd(numerator.unsigned_abs(), denominator.unsigned_abs()).max(1) as i128;
        Self { numerator: numerator / divisor, denominator: denominator / divisor }
    }

    fn whole(value: i128) -> Self {
        Self { numerator: value, denominator: 1 }
    }

    fn plus(self, other: Self) -> Option<Self> {
        let numerator = self
            .numerator
            .checked_mul(other.denominator)?
            .checked_add(other.numerator.checked_mul(self.denominator)?)?;
        Some(Self::new(numerator, self.denominator.checked_mul(other.denominator)?))
    }

    fn times(self, other: Self) -> Option<Self> {
        Some(Self::new(self.numerator.checked_mul(other.numerator)?, self.denominator.checked_mul(other.denominator)?))
    }
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Why two sizes could not be combined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DimError {
    /// The result is below zero or does not fit into 64 bits.
    OutOfRange,
    /// `dividend / divisor` leaves a remainder.
    Remainder { dividend: u64, divisor: u64 },
}

impl Dim {
    /// A size that is bound when the model runs.
    pub fn symbol(name: &Symbol) -> Self {
        let terms = vec![(vec![(name.clone(), 1)], Ratio::whole(1))];
        Dim::Open(Arc::new(Polynomial { terms }))
    }

    pub fn known(&self) -> Option<u64> {
        match self {
            Dim::Known(size) => Some(*size),
            Dim::Open(_) => None,
        }
    }

    fn terms(&self) -> BTreeMap<Monomial, Ratio> {
        match self {
            Dim::Known(0) => BTreeMap::new(),
            Dim::Known(size) => BTreeMap::from([(vec![], Ratio::whole(i128::from(*size)))]),
            Dim::Open(polynomial) => polynomial.terms.iter().cloned().collect(),
        }
    }

    fn from_terms(mut terms: BTreeMap<Monomial, Ratio>) -> Result<Self, DimError> {
        terms.retain(|_, ratio| ratio.numerator != 0);
        let constant = terms.get(&vec![] as &Monomial).copied();
        match (terms.len(), constant) {
            (0, _) => Ok(Dim::Known(0)),
            (1, Some(ratio)) if ratio.denominator == 1 => {
                u64::try_from(ratio.numerator).map(Dim::Known).map_err(|_| DimError::OutOfRange)
            }
            _ => {
                let degree = |monomial: &Monomial| monomial.iter().map(|(_, power)| *power).sum::<u32>();
                if terms.len() > MAX_TERMS || terms.keys().any(|monomial| degree(monomial) > MAX_DEGREE) {
                    return Err(DimError::OutOfRange);
                }
                Ok(Dim::Open(Arc::new(Polynomial { terms: terms.into_iter().collect() })))
            }
        }
    }

    pub fn plus(&self, other: &Dim) -> Result<Dim, DimError> {
        if let (Dim::Known(a), Dim::Known(b)) = (self, other) {
            return a.checked_add(*b).map(Dim::Known).ok_or(DimError::OutOfRange);
        }
        let mut terms = self.terms();
        for (monomial, ratio) in other.terms() {
            let sum = terms.entry(monomial).or_insert(Ratio::whole(0));
            *sum = sum.plus(ratio).ok_or(DimError::OutOfRange)?;
        }
        Self::from_terms(terms)
    }

    pub fn minus(&self, other: &Dim) -> Result<Dim, DimError> {
        if let (Dim::Known(a), Dim::Known(b)) = (self, other) {
            return a.checked_sub(*b).map(Dim::Known).ok_or(DimError::OutOfRange);
        }
        let mut terms = self.terms();
        for (monomial, ratio) in other.terms() {
            let difference = terms.entry(monomial).or_insert(Ratio::whole(0));
            let negative = Ratio { numerator: -ratio.numerator, ..ratio };
            *difference = difference.plus(negative).ok_or(DimError::OutOfRange)?;
        }
        Self::from_terms(terms)
    }

    pub fn times(&self, other: &Dim) -> Result<Dim, DimError> {
        if let (Dim::Known(a), Dim::Known(b)) = (self, other) {
            return a.checked_mul(*b).map(Dim::Known).ok_or(DimError::OutOfRange);
        }
        let mut product: BTreeMap<Monomial, Ratio> = BTreeMap::new();
        for (left, left_ratio) in self.terms() {
            for (right, right_ratio) in other.terms() {
                let monomial = multiply(&left, &right);
                let ratio = left_ratio.times(right_ratio).ok_or(DimError::OutOfRange)?;
                let sum = product.entry(monomial).or_insert(Ratio::whole(0));
                *sum = sum.plus(ratio).ok_or(DimError::OutOfRange)?;
            }
        }
        Self::from_terms(product)
    }

    /// The exact quotient by a number. A symbolic quotient comes with the obligation that it is whole.
    pub fn over(&self, divisor: u64) -> Result<(Dim, Option<Dim>), DimError> {
        if divisor == 0 {
            return Err(DimError::OutOfRange);
        }
        if let Dim::Known(dividend) = self {
            if dividend % divisor != 0 {
                return Err(DimError::Remainder { dividend: *dividend, divisor });
            }
            return Ok((Dim::Known(dividend / divisor), None));
        }
        let quotient = self.scaled(1, divisor)?;
        let obligation = if quotient.is_whole_for_all() { None } else { Some(quotient.clone()) };
        Ok((quotient, obligation))
    }

    fn scaled(&self, numerator: u64, denominator: u64) -> Result<Dim, DimError> {
        let ratio = Ratio::new(i128::from(numerator), i128::from(denominator));
        let mut terms = BTreeMap::new();
        for (monomial, coefficient) in self.terms() {
            terms.insert(monomial, coefficient.times(ratio).ok_or(DimError::OutOfRange)?);
        }
        Self::from_terms(terms)
    }

    /// Output size of a window that slides over this axis: `floor((size + padding - kernel) / stride) + 1`.
    /// For a symbolic size its symbolic part has to be a multiple of the stride.
    pub fn windowed(&self, kernel: u64, stride: u64, padding: u64) -> Result<(Dim, Option<Dim>), DimError> {
        let stride = stride.max(1);
        if let Dim::Known(size) = self {
            let padded = size.checked_add(padding).ok_or(DimError::OutOfRange)?;
            let room = padded.checked_sub(kernel).ok_or(DimError::OutOfRange)?;
            return Ok((Dim::Known(room / stride + 1), None));
        }
        let mut symbolic = self.terms();
        let constant = symbolic.remove(&vec![] as &Monomial).unwrap_or(Ratio::whole(0));
        if constant.denominator != 1 {
            return Err(DimError::OutOfRange);
        }
        let room = constant.numerator + i128::from(padding) - i128::from(kernel);
        let steps = room.div_euclid(i128::from(stride)) + 1;
        let (quotient, obligation) = Self::from_terms(symbolic)?.over(stride)?;
        let mut terms = quotient.terms();
        let sum = terms.entry(vec![]).or_insert(Ratio::whole(0));
        *sum = sum.plus(Ratio::whole(steps)).ok_or(DimError::OutOfRange)?;
        Ok((Self::from_terms(terms)?, obligation))
    }

    /// Whether every coefficient is whole, so that the value is whole for all sizes.
    fn is_whole_for_all(&self) -> bool {
        match self {
            Dim::Known(_) => true,
            Dim::Open(polynomial) => polynomial.terms.iter().all(|(_, ratio)| ratio.denominator == 1),
        }
    }

    /// The value for concrete sizes; `None` if a symbol is unbound or the value is no whole number.
    pub fn at(&self, sizes: &Sizes) -> Option<u64> {
        let polynomial = match self {
            Dim::Known(size) => return Some(*size),
            Dim::Open(polynomial) => polynomial,
        };
        let mut sum = Ratio::whole(0);
        for (monomial, ratio) in &polynomial.terms {
            let mut value = *ratio;
            for (symbol, power) in monomial {
                let size = Ratio::whole(i128::from(*sizes.get(symbol)?));
                for _ in 0..*power {
                    value = value.times(size)?;
                }
            }
            sum = sum.plus(value)?;
        }
        (sum.denominator == 1).then_some(sum.numerator).and_then(|value| u64::try_from(value).ok())
    }

    /// `(symbol, modulus)` where this value is whole exactly if the symbol is divisible by the modulus.
    pub fn divisibility(&self) -> Option<(Symbol, u64)> {
        let Dim::Open(polynomial) = self else { return None };
        let mut found: Option<(Symbol, u64)> = None;
        for (monomial, ratio) in &polynomial.terms {
            if ratio.denominator == 1 {
                continue;
            }
            match (monomial.as_slice(), &found) {
                ([(symbol, 1)], None) => {
                    found = Some((symbol.clone(), u64::try_from(ratio.denominator).ok()?));
                }
                _ => return None,
            }
        }
        found
    }

    /// The symbols that occur in it.
    pub fn symbols(&self) -> Vec<Symbol> {
        let Dim::Open(polynomial) = self else { return vec![] };
        let mut symbols: Vec<Symbol> =
            polynomial.terms.iter().flat_map(|(monomial, _)| monomial.iter().map(|(s, _)| s.clone())).collect();
        symbols.sort();
        symbols.dedup();
        symbols
    }
}

fn multiply(left: &Monomial, right: &Monomial) -> Monomial {
    let mut powers: BTreeMap<Symbol, u32> = left.iter().cloned().collect();
    for (symbol, power) in right {
        *powers.entry(symbol.clone()).or_insert(0) += power;
    }
    powers.into_iter().collect()
}

impl From<u64> for Dim {
    fn from(size: u64) -> Self {
        Dim::Known(size)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let polynomial = match self {
            Dim::Known(size) => return write!(f, "{size}"),
            Dim::Open(polynomial) => polynomial,
        };
        // Symbols before the constant: `H/2 + 1`.
        let (constants, symbolic): (Vec<_>, Vec<_>) =
            polynomial.terms.iter().partition(|(monomial, _)| monomial.is_empty());
        for (at, (monomial, ratio)) in symbolic.into_iter().chain(constants).enumerate() {
            let sign = if ratio.numerator < 0 { "-" } else { "+" };
            match (at, sign) {
                (0, "-") => write!(f, "-")?,
                (0, _) => {}
                _ => write!(f, " {sign} ")?,
            }
            write_term(f, monomial, ratio.numerator.unsigned_abs(), ratio.denominator)?;
        }
        Ok(())
    }
}

fn write_term(f: &mut fmt::Formatter<'_>, monomial: &Monomial, numerator: u128, denominator: i128) -> fmt::Result {
    let mut factors: Vec<String> = vec![];
    if numerator != 1 || monomial.is_empty() {
        factors.push(numerator.to_string());
    }
    for (symbol, power) in monomial {
        factors.extend(std::iter::repeat_n(symbol.to_string(), *power as usize));
    }
    write!(f, "{}", factors.join("*"))?;
    if denominator != 1 {
        write!(f, "/{denominator}")?;
    }
    Ok(())
}

impl Serialize for Dim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Dim::Known(size) => serializer.serialize_u64(*size),
            Dim::Open(_) => serializer.collect_str(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn h() -> Dim {
        Dim::symbol(&Arc::from("H"))
    }

    fn sizes(height: u64) -> Sizes {
        Sizes::from([(Arc::from("H"), height)])
    }

    #[test]
    fn halving_and_doubling_returns_the_same_size() {
        let (half, obligation) = h().windowed(3, 2, 2).expect("in range");
        assert_eq!(half.to_string(), "H/2");
        assert_eq!(obligation.and_then(|o| o.divisibility()), Some((Arc::from("H"), 2)));
        assert_eq!(half.times(&Dim::Known(2)), Ok(h()));
    }

    #[test]
    fn obligations_accumulate_in_the_denominator() {
        let (half, _) = h().over(2).expect("in range");
        let (eighth, obligation) = half.over(4).expect("in range");
        assert_eq!(eighth.to_string(), "H/8");
        assert_eq!(obligation.and_then(|o| o.divisibility()), Some((Arc::from("H"), 8)));
        assert_eq!(eighth.at(&sizes(32)), Some(4));
        assert_eq!(eighth.at(&sizes(30)), None);
    }

    #[test]
    fn products_and_sums_have_one_form() {
        let w = Dim::symbol(&Arc::from("W"));
        let a = h().times(&w).and_then(|p| p.plus(&Dim::Known(1))).expect("in range");
        let b = w.times(&h()).and_then(|p| Dim::Known(1).plus(&p)).expect("in range");
        assert_eq!(a, b);
        assert_eq!(a.to_string(), "H*W + 1");
        assert_eq!(a.minus(&a), Ok(Dim::Known(0)));
    }

    #[test]
    fn known_sizes_follow_the_convolution_formula() {
        assert_eq!(Dim::Known(15).windowed(3, 2, 2), Ok((Dim::Known(8), None)));
        assert_eq!(Dim::Known(2).windowed(5, 1, 0), Err(DimError::OutOfRange));
        assert_eq!(Dim::Known(30).over(4), Err(DimError::Remainder { dividend: 30, divisor: 4 }));
    }
}
