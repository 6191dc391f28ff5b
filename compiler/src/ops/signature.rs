//! The declaration of an operator, as data: argument checking, suggestions and the reference page all read it.

use super::Op;
use super::attribute::{AttributeValue, Shown};

/// What an operator is called with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operands {
    /// One tensor for each name.
    Fixed(&'static [&'static str]),
    /// The first `required` have to be given; the others may be, by name.
    Optional { names: &'static [&'static str], required: usize },
    /// Two tensors or more.
    Variadic(&'static str),
}

impl Operands {
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Operands::Fixed(names) | Operands::Optional { names, .. } => names,
            Operands::Variadic(_) => &[],
        }
    }

    /// How many of the named ones have to be given.
    pub fn required(self) -> usize {
        match self {
            Operands::Fixed(names) => names.len(),
            Operands::Optional { required, .. } => required,
            Operands::Variadic(_) => 0,
        }
    }
}

/// One attribute of an operator.
#[derive(Clone, Copy, Debug)]
pub struct AttributeInfo {
    pub name: &'static str,
    /// What its value may be.
    pub expected: &'static str,
    /// The default as it would be written, if there is one.
    pub default: Option<fn() -> String>,
    pub doc: &'static str,
}

impl AttributeInfo {
    /// The words that the attribute may be.
    pub fn choices(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        let is_word = |text: &&str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let quoted = self.expected.split('`').skip(1).step_by(2);
        quoted.filter(is_word).filter(|word| !matches!(*word, "true" | "false"))
    }
}

/// What the language knows of an operator.
#[derive(Clone, Copy, Debug)]
pub struct Signature {
    pub name: &'static str,
    /// Markdown; the first line is the summary.
    pub doc: &'static str,
    pub operands: Operands,
    pub attributes: &'static [AttributeInfo],
    /// Builds the operator from one value per attribute; `None` stands for the default.
    pub build: fn(&[Option<AttributeValue>]) -> Result<Op, WrongAttribute>,
}

impl Signature {
    /// Whether the word is a choice of some attribute.
    pub fn has_choice(&self, word: &str) -> bool {
        self.attributes.iter().any(|attribute| attribute.choices().any(|choice| choice == word))
    }
}

/// An attribute whose value is missing or of the wrong kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongAttribute {
    /// Index into [`Signature::attributes`].
    pub index: usize,
}

/// Named attributes of an operator in force, for printing.
pub type ShownAttributes = Vec<(&'static str, Shown)>;

/// Declares an operator: its struct, its documented attributes, and how a call becomes the struct. Operands behind a
/// semicolon, `"attention"(q, k, v; bias)`, may be left out.
///
/// ```text
/// operator! {
///     /// Affine map of the channels.
///     "linear"(x)
///     pub struct Linear {
///         /// Channels of the result.
///         features: u64,
///         /// Whether a bias is added.
///         bias: bool = true,
///     }
/// }
/// ```
#[macro_export]
macro_rules! operator {
    (
        $(#[doc = $doc:literal])*
        $call:literal ( $($operands:tt)* )
        $vis:vis struct $Name:ident {
            $( $(#[doc = $adoc:literal])* $attribute:ident : $ty:ty $(= $default:expr)? ),* $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq)]
        $vis struct $Name { $( $(#[doc = $adoc])* pub $attribute: $ty ),* }

        impl $crate::ops::Define for $Name {
            const SIGNATURE: $crate::ops::signature::Signature = $crate::ops::signature::Signature {
                name: $call,
                doc: concat!($($doc, "\n"),*),
                operands: $crate::operator!(@operands $($operands)*),
                attributes: &[$(
                    $crate::ops::signature::AttributeInfo {
                        name: stringify!($attribute),
                        expected: <$ty as $crate::ops::attribute::Attribute>::EXPECTED,
                        default: $crate::operator!(@default $ty $(, $default)?),
                        doc: concat!($($adoc, "\n"),*),
                    }
                ),*],
                build: |values| {
                    #[allow(unused_mut, unused_variables)]
                    let mut values = values.iter().enumerate();
                    $(
                        let $attribute: $ty = {
                            let (index, given) = values.next().unwrap_or((0, &None));
                            let default: Option<fn() -> $ty> = $crate::operator!(@value $ty $(, $default)?);
                            match (given, default) {
                                (Some(value), _) => <$ty as $crate::ops::attribute::Attribute>::read(value),
                                (None, Some(default)) => Some(default()),
                                (None, None) => None,
                            }
                            .ok_or($crate::ops::signature::WrongAttribute { index })?
                        };
                    )*
                    Ok($crate::ops::Op::from($Name { $($attribute),* }))
                },
            };

            fn attributes(&self) -> $crate::ops::signature::ShownAttributes {
                vec![$((stringify!($attribute), $crate::ops::attribute::Attribute::show(&self.$attribute))),*]
            }
        }
    };
    (@operands $name:ident...) => { $crate::ops::signature::Operands::Variadic(stringify!($name)) };
    (@operands $($name:ident),*; $($optional:ident),*) => {
        $crate::ops::signature::Operands::Optional {
            names: &[$(stringify!($name),)* $(stringify!($optional)),*],
            required: [$(stringify!($name)),*].len(),
        }
    };
    (@operands $($name:ident),*) => { $crate::ops::signature::Operands::Fixed(&[$(stringify!($name)),*]) };
    (@default $ty:ty) => { None };
    (@default $ty:ty, $default:expr) => {
        Some(|| {
            let default: $ty = $default;
            $crate::ops::attribute::Attribute::show(&default).to_string()
        })
    };
    (@value $ty:ty) => { None };
    (@value $ty:ty, $default:expr) => { Some(|| $default) };
}
