//! What a class of networks knows of its configuration: a table of keys.

use super::config::Config;
use super::preset::Preset;
use serde_json::Value;

/// A class of diffusers or transformers.
pub(super) struct Class {
    /// What `_class_name` or `architectures` says.
    pub name: &'static str,
    /// The file in `std.models` that describes it, and the model in that file.
    pub family: (&'static str, &'static str),
    pub keys: &'static [Key],
    /// Keys with nothing to say about the network, besides those of all classes.
    pub inert: &'static [&'static str],
    /// What the table cannot say: keys that belong together, and what the configuration leaves open.
    pub translate: fn(&mut Config<'_>, &mut Preset),
}

/// A key that shapes the network.
#[derive(Clone, Copy)]
pub(super) struct Key {
    pub name: &'static str,
    /// What the class takes where the key is not given, as JSON.
    pub default: &'static str,
    pub kind: Kind,
    pub may_be_null: bool,
    pub role: Role,
}

/// What becomes of a value.
#[derive(Clone, Copy)]
pub(super) enum Role {
    /// It is this hyperparameter of the family.
    Is(&'static str),
    /// The family knows these values, as JSON.
    Only(&'static [&'static str]),
    /// The function of the class reads it.
    Read,
}

/// What a value looks like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A whole number above zero.
    Size,
    /// A whole number from zero.
    Index,
    Number,
    Flag,
    Word,
    Words,
    /// Sizes, one for each level.
    Sizes,
    /// Whole numbers from zero: indices.
    Indices,
    /// One size for all levels, or one for each.
    SizeOrSizes,
    /// One size for all levels, or for each of them a size or a list of sizes.
    Depths,
    /// A flag for all levels, or one for each.
    FlagOrFlags,
    /// Anything; what is taken is listed.
    Any,
}

impl Kind {
    pub fn expected(self) -> &'static str {
        match self {
            Kind::Size => "a whole number above zero",
            Kind::Index => "a whole number",
            Kind::Number => "a number",
            Kind::Flag => "`true` or `false`",
            Kind::Word => "a text",
            Kind::Words => "a list of texts",
            Kind::Sizes => "a list of whole numbers above zero",
            Kind::Indices => "a list of whole numbers",
            Kind::SizeOrSizes => "a whole number above zero, or a list of them",
            Kind::Depths => "a whole number above zero, or a list of them and of lists of them",
            Kind::FlagOrFlags => "`true` or `false`, or a list of them",
            Kind::Any => "anything",
        }
    }

    pub fn fits(self, value: &Value) -> bool {
        let all = |fits: fn(&Value) -> bool| value.as_array().is_some_and(|items| items.iter().all(fits));
        let is_size = |value: &Value| value.as_u64().is_some_and(|size| size > 0);
        match self {
            Kind::Size => is_size(value),
            Kind::Index => value.is_u64(),
            Kind::Number => value.is_number(),
            Kind::Flag => value.is_boolean(),
            Kind::Word => value.is_string(),
            Kind::Words => all(Value::is_string) && value.as_array().is_some_and(|items| !items.is_empty()),
            Kind::Sizes => all(is_size) && value.as_array().is_some_and(|items| !items.is_empty()),
            Kind::Indices => all(Value::is_u64),
            Kind::SizeOrSizes => is_size(value) || Kind::Sizes.fits(value),
            Kind::Depths => Kind::SizeOrSizes.fits(value) || all(|own| Kind::SizeOrSizes.fits(own)),
            Kind::FlagOrFlags => value.is_boolean() || all(Value::is_boolean),
            Kind::Any => true,
        }
    }
}

/// A key that the function of the class reads.
pub(super) const fn key(name: &'static str, kind: Kind, default: &'static str) -> Key {
    Key { name, default, kind, may_be_null: false, role: Role::Read }
}

/// A key of which the family knows only some values; the first is the default of the class.
pub(super) const fn only(name: &'static str, values: &'static [&'static str]) -> Key {
    let default = match values {
        [first, ..] => first,
        [] => "null",
    };
    Key { name, default, kind: Kind::Any, may_be_null: true, role: Role::Only(values) }
}

impl Key {
    /// Which hyperparameter it is.
    pub const fn is(self, hyperparameter: &'static str) -> Key {
        Key { role: Role::Is(hyperparameter), ..self }
    }

    pub const fn or_null(self) -> Key {
        Key { may_be_null: true, ..self }
    }

    pub fn default_value(&self) -> Value {
        serde_json::from_str(self.default).unwrap_or(Value::Null)
    }
}

/// Keys of any class that say nothing about the network: where a file comes from, and how an average of weights was
/// kept in training.
pub(super) const INERT: &[&str] = &[
    "_class_name",
    "_commit_hash",
    "_diffusers_version",
    "_name_or_path",
    "_use_default_values",
    "decay",
    "inv_gamma",
    "min_decay",
    "optimization_step",
    "power",
    "update_after_step",
    "use_ema_warmup",
];
