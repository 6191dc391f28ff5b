//! Attributes of operators: what may stand behind a name in a call, and how it becomes a Rust value.

use crate::dim::Dim;
use crate::types::Type;
use crate::words::short;
use serde::{Serialize, Serializer};
use std::sync::Arc;

/// A compile-time value, as the elaborator hands it to an operator.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeValue {
    Int(i64),
    Float(f64),
    Bool(bool),
    Text(Arc<str>),
    Dim(Dim),
    Type(Type),
    List(Vec<AttributeValue>),
}

/// Whole numbers of operators stay below this, so that products of two do not overflow.
pub const MAX_WHOLE: u64 = 1 << 31;

/// A Rust type that an attribute may have.
pub trait Attribute: Sized {
    /// What is expected, for messages and the reference: `a whole number above zero`.
    const EXPECTED: &'static str;

    fn read(value: &AttributeValue) -> Option<Self>;

    /// As it would be written in a spec.
    fn show(&self) -> Shown;
}

/// An attribute for printing and for documents.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    Int(u64),
    Float(f64),
    Bool(bool),
    Text(String),
    List(Vec<Shown>),
}

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Shown::Int(value) => write!(f, "{value}"),
            Shown::Float(value) => write!(f, "{}", short(*value)),
            Shown::Bool(value) => write!(f, "{value}"),
            Shown::Text(value) => write!(f, "{value}"),
            Shown::List(items) => {
                let items: Vec<String> = items.iter().map(Shown::to_string).collect();
                write!(f, "[{}]", items.join(", "))
            }
        }
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Shown::Int(value) => serializer.serialize_u64(*value),
            Shown::Float(value) => serializer.serialize_f64(*value),
            Shown::Bool(value) => serializer.serialize_bool(*value),
            Shown::Text(value) => serializer.serialize_str(value),
            Shown::List(items) => serializer.collect_seq(items),
        }
    }
}

impl Attribute for u64 {
    const EXPECTED: &'static str = "a whole number above zero";

    fn read(value: &AttributeValue) -> Option<Self> {
        let whole = match value {
            AttributeValue::Int(value) => u64::try_from(*value).ok()?,
            AttributeValue::Dim(dim) => dim.known()?,
            AttributeValue::Float(value) if value.fract() == 0.0 && (1.0..=9.0e15).contains(value) => *value as u64,
            AttributeValue::Float(_)
            | AttributeValue::Bool(_)
            | AttributeValue::Text(_)
            | AttributeValue::Type(_)
            | AttributeValue::List(_) => return None,
        };
        (1..=MAX_WHOLE).contains(&whole).then_some(whole)
    }

    fn show(&self) -> Shown {
        Shown::Int(*self)
    }
}

/// A whole number that may be zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub u64);

impl Attribute for Count {
    const EXPECTED: &'static str = "a whole number";

    fn read(value: &AttributeValue) -> Option<Self> {
        match value {
            AttributeValue::Int(0) => Some(Count(0)),
            other => u64::read(other).map(Count),
        }
    }

    fn show(&self) -> Shown {
        Shown::Int(self.0)
    }
}

impl Attribute for f64 {
    const EXPECTED: &'static str = "a number";

    fn read(value: &AttributeValue) -> Option<Self> {
        match value {
            AttributeValue::Int(value) => Some(*value as f64),
            AttributeValue::Float(value) => Some(*value),
            AttributeValue::Dim(dim) => dim.known().map(|size| size as f64),
            AttributeValue::Bool(_) | AttributeValue::Text(_) | AttributeValue::Type(_) | AttributeValue::List(_) => {
                None
            }
        }
    }

    fn show(&self) -> Shown {
        Shown::Float(*self)
    }
}

/// A probability below one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate(pub f64);

impl Attribute for Rate {
    const EXPECTED: &'static str = "a probability, at least 0 and below 1";

    fn read(value: &AttributeValue) -> Option<Self> {
        f64::read(value).filter(|rate| (0.0..1.0).contains(rate)).map(Rate)
    }

    fn show(&self) -> Shown {
        Shown::Float(self.0)
    }
}

impl Attribute for bool {
    const EXPECTED: &'static str = "`true` or `false`";

    fn read(value: &AttributeValue) -> Option<Self> {
        if let AttributeValue::Bool(value) = value { Some(*value) } else { None }
    }

    fn show(&self) -> Shown {
        Shown::Bool(*self)
    }
}

impl Attribute for Dim {
    const EXPECTED: &'static str = "a size";

    fn read(value: &AttributeValue) -> Option<Self> {
        match value {
            AttributeValue::Dim(dim) => Some(dim.clone()),
            AttributeValue::Int(size) => u64::try_from(*size).ok().filter(|size| *size > 0).map(Dim::Known),
            other => u64::read(other).map(Dim::Known),
        }
    }

    fn show(&self) -> Shown {
        match self {
            Dim::Known(size) => Shown::Int(*size),
            Dim::Open(_) => Shown::Text(self.to_string()),
        }
    }
}

/// A size that may be zero: where a part starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offset(pub Dim);

impl Attribute for Offset {
    const EXPECTED: &'static str = "a size, or zero";

    fn read(value: &AttributeValue) -> Option<Self> {
        match value {
            AttributeValue::Int(0) | AttributeValue::Dim(Dim::Known(0)) => Some(Offset(Dim::Known(0))),
            other => Dim::read(other).map(Offset),
        }
    }

    fn show(&self) -> Shown {
        self.0.show()
    }
}

/// Sizes of axes, of a tensor as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape(pub Vec<u64>);

impl Attribute for Shape {
    const EXPECTED: &'static str = "a list of sizes, `[6, 1152]`";

    fn read(value: &AttributeValue) -> Option<Self> {
        let AttributeValue::List(items) = value else { return None };
        items.iter().map(u64::read).collect::<Option<Vec<u64>>>().map(Shape)
    }

    fn show(&self) -> Shown {
        Shown::List(self.0.iter().copied().map(Shown::Int).collect())
    }
}

impl Attribute for Type {
    const EXPECTED: &'static str = "a type, `tokens[N, D]`";

    fn read(value: &AttributeValue) -> Option<Self> {
        if let AttributeValue::Type(value) = value { Some(value.clone()) } else { None }
    }

    fn show(&self) -> Shown {
        Shown::Text(self.to_string())
    }
}

impl<T: Attribute> Attribute for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn read(value: &AttributeValue) -> Option<Self> {
        T::read(value).map(Some)
    }

    fn show(&self) -> Shown {
        self.as_ref().map_or(Shown::Text("auto".to_owned()), Attribute::show)
    }
}

/// Weights along one axis of a separable filter.
#[derive(Clone, Debug, PartialEq)]
pub struct Taps(pub Vec<f64>);

/// Longest filter.
const MAX_TAPS: usize = 64;

impl Attribute for Taps {
    const EXPECTED: &'static str = "a list of up to 64 numbers whose sum is not zero, `[1, 3, 3, 1]`";

    fn read(value: &AttributeValue) -> Option<Self> {
        let AttributeValue::List(items) = value else { return None };
        let taps: Vec<f64> = items.iter().map(f64::read).collect::<Option<_>>()?;
        let sum: f64 = taps.iter().sum();
        ((1..=MAX_TAPS).contains(&taps.len()) && sum.is_finite() && sum != 0.0).then_some(Taps(taps))
    }

    fn show(&self) -> Shown {
        Shown::List(self.0.iter().map(f64::show).collect())
    }
}

/// Height and width of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    pub height: u64,
    pub width: u64,
}

impl Pair {
    pub const fn both(size: u64) -> Self {
        Pair { height: size, width: size }
    }
}

impl Attribute for Pair {
    const EXPECTED: &'static str = "a whole number above zero, or `[height, width]`";

    fn read(value: &AttributeValue) -> Option<Self> {
        match value {
            AttributeValue::List(items) => match items.as_slice() {
                [height, width] => Some(Pair { height: u64::read(height)?, width: u64::read(width)? }),
                _ => None,
            },
            other => u64::read(other).map(Pair::both),
        }
    }

    fn show(&self) -> Shown {
        if self.height == self.width {
            return Shown::Int(self.height);
        }
        Shown::List(vec![Shown::Int(self.height), Shown::Int(self.width)])
    }
}

/// Zeros added around an image before a window slides over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// As many as keep the size at stride 1: `(kernel - 1) / 2` on every side.
    Same,
    Explicit {
        top: u64,
        left: u64,
        bottom: u64,
        right: u64,
    },
}

impl Padding {
    /// `(top, left, bottom, right)` for a kernel.
    pub fn for_kernel(self, kernel: Pair) -> (u64, u64, u64, u64) {
        match self {
            Padding::Same => {
                let (vertical, horizontal) = ((kernel.height - 1) / 2, (kernel.width - 1) / 2);
                (vertical, horizontal, vertical, horizontal)
            }
            Padding::Explicit { top, left, bottom, right } => (top, left, bottom, right),
        }
    }
}

impl Attribute for Padding {
    const EXPECTED: &'static str = "`same`, a whole number, `[vertical, horizontal]` or `[top, left, bottom, right]`";

    fn read(value: &AttributeValue) -> Option<Self> {
        let count = |value: &AttributeValue| Count::read(value).map(|count| count.0);
        match value {
            AttributeValue::Text(word) if &**word == "same" => Some(Padding::Same),
            AttributeValue::List(items) => match items.as_slice() {
                [vertical, horizontal] => {
                    let (vertical, horizontal) = (count(vertical)?, count(horizontal)?);
                    Some(Padding::Explicit { top: vertical, left: horizontal, bottom: vertical, right: horizontal })
                }
                [top, left, bottom, right] => Some(Padding::Explicit {
                    top: count(top)?,
                    left: count(left)?,
                    bottom: count(bottom)?,
                    right: count(right)?,
                }),
                _ => None,
            },
            other => {
                let all = count(other)?;
                Some(Padding::Explicit { top: all, left: all, bottom: all, right: all })
            }
        }
    }

    fn show(&self) -> Shown {
        match *self {
            Padding::Same => Shown::Text("same".to_owned()),
            Padding::Explicit { top, left, bottom, right } => {
                if [left, bottom, right] == [top; 3] {
                    return Shown::Int(top);
                }
                Shown::List([top, left, bottom, right].map(Shown::Int).to_vec())
            }
        }
    }
}

/// Frames, height and width of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Triple(pub [u64; 3]);

impl Triple {
    pub const fn all(size: u64) -> Self {
        Triple([size; 3])
    }
}

impl Attribute for Triple {
    const EXPECTED: &'static str = "a whole number above zero, or `[frames, height, width]`";

    fn read(value: &AttributeValue) -> Option<Self> {
        match value {
            AttributeValue::List(items) => match items.as_slice() {
                [frames, height, width] => Some(Triple([u64::read(frames)?, u64::read(height)?, u64::read(width)?])),
                _ => None,
            },
            other => u64::read(other).map(Triple::all),
        }
    }

    fn show(&self) -> Shown {
        let [frames, height, width] = self.0;
        if [height, width] == [frames; 2] {
            return Shown::Int(frames);
        }
        Shown::List(self.0.map(Shown::Int).to_vec())
    }
}

/// Zeros added around a video before a window slides over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding3 {
    /// As many as keep the size at stride 1: `(kernel - 1) / 2` on every side.
    Same,
    /// Before and behind, for frames, height and width.
    Explicit([(u64, u64); 3]),
}

impl Padding3 {
    /// Zeros before and behind, for frames, height and width.
    pub fn for_kernel(self, kernel: Triple) -> [(u64, u64); 3] {
        match self {
            Padding3::Same => kernel.0.map(|size| ((size - 1) / 2, (size - 1) / 2)),
            Padding3::Explicit(sides) => sides,
        }
    }
}

impl Attribute for Padding3 {
    const EXPECTED: &'static str =
        "`same`, a whole number, `[frames, vertical, horizontal]` or `[before, top, left, behind, bottom, right]`";

    fn read(value: &AttributeValue) -> Option<Self> {
        let count = |value: &AttributeValue| Count::read(value).map(|count| count.0);
        Some(Padding3::Explicit(match value {
            AttributeValue::Text(word) if &**word == "same" => return Some(Padding3::Same),
            AttributeValue::List(items) => match items.as_slice() {
                [frames, vertical, horizontal] => {
                    [count(frames)?, count(vertical)?, count(horizontal)?].map(|size| (size, size))
                }
                [before, top, left, behind, bottom, right] => {
                    [(count(before)?, count(behind)?), (count(top)?, count(bottom)?), (count(left)?, count(right)?)]
                }
                _ => return None,
            },
            other => [(count(other)?, count(other)?); 3],
        }))
    }

    fn show(&self) -> Shown {
        let Padding3::Explicit(sides) = *self else { return Shown::Text("same".to_owned()) };
        let (before, behind) = (sides.map(|(before, _)| before), sides.map(|(_, behind)| behind));
        match before {
            [all, ..] if sides == [(all, all); 3] => Shown::Int(all),
            _ if before == behind => Shown::List(before.map(Shown::Int).to_vec()),
            _ => Shown::List(before.into_iter().chain(behind).map(Shown::Int).collect()),
        }
    }
}

/// Declares an attribute that is one of a few words.
#[macro_export]
macro_rules! choice {
    ($(#[doc = $doc:literal])* $vis:vis enum $Name:ident { $($(#[doc = $vdoc:literal])* $Variant:ident = $word:literal),* $(,)? }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $Name { $($(#[doc = $vdoc])* $Variant),* }

        impl $crate::ops::attribute::Attribute for $Name {
            const EXPECTED: &'static str = $crate::choice!(@list $($word),*);

            fn read(value: &$crate::ops::attribute::AttributeValue) -> Option<Self> {
                let $crate::ops::attribute::AttributeValue::Text(word) = value else { return None };
                match &**word {
                    $($word => Some($Name::$Variant),)*
                    _ => None,
                }
            }

            fn show(&self) -> $crate::ops::attribute::Shown {
                $crate::ops::attribute::Shown::Text(match self { $($Name::$Variant => $word.to_owned()),* })
            }
        }
    };
    (@list $first:literal $(, $rest:literal)*) => { concat!("`", $first, "`" $(, " or `", $rest, "`")*) };
}
