//! Numbers as Rust.

use crate::emit::number::{Fields, Number, field};
use crate::emit::structure::Hyperparameter;
use crate::ops::attribute::Shown;
use archc_grammar::ast::Operator;
use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};

pub(super) fn whole(value: u64) -> TokenStream {
    let literal = Literal::u64_unsuffixed(value);
    quote!(#literal)
}

/// Numbers that Rust has a name for.
const CONSTANTS: [(f64, &str); 8] = [
    (std::f64::consts::TAU, "TAU"),
    (std::f64::consts::PI, "PI"),
    (std::f64::consts::FRAC_PI_2, "FRAC_PI_2"),
    (std::f64::consts::SQRT_2, "SQRT_2"),
    (std::f64::consts::FRAC_1_SQRT_2, "FRAC_1_SQRT_2"),
    (std::f64::consts::E, "E"),
    (std::f64::consts::LN_2, "LN_2"),
    (std::f64::consts::LN_10, "LN_10"),
];

pub(super) fn float(value: f64) -> TokenStream {
    let negative = value.is_sign_negative() && value != 0.0;
    let size = value.abs();
    if let Some((_, name)) = CONSTANTS.iter().find(|(own, _)| (own - size).abs() < 1e-14) {
        let name = format_ident!("{name}");
        return if negative { quote!(-std::f64::consts::#name) } else { quote!(std::f64::consts::#name) };
    }
    let text = if size != 0.0 && !(1e-3..1e7).contains(&size) { format!("{size:e}") } else { format!("{size:?}") };
    let literal = text.parse::<Literal>().unwrap_or_else(|_| Literal::f64_unsuffixed(size));
    if negative { quote!(-#literal) } else { quote!(#literal) }
}

/// What a number is needed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Whole,
    Float,
}

/// Expressions over the fields of `self`.
pub(super) struct Numbers<'a> {
    pub hyperparameters: &'a [Hyperparameter],
}

impl Numbers<'_> {
    fn fields(&self) -> Vec<(std::sync::Arc<str>, Shown)> {
        self.hyperparameters.iter().map(|own| (own.source.clone(), own.value.clone())).collect()
    }

    pub fn render(&self, number: &Number, wanted: Wanted) -> TokenStream {
        let fields = self.fields();
        match number {
            Number::List(items) => {
                let items = items.iter().map(|item| {
                    let wanted = if item.is_float(&fields) { Wanted::Float } else { Wanted::Whole };
                    self.render(item, wanted)
                });
                return quote!(vec![#(#items),*]);
            }
            Number::Field(name) if matches!(field(&fields, name), Some(Shown::List(_))) => {
                let own = self.place(number, &fields);
                return quote!(#own.clone());
            }
            _ => {}
        }
        let is_float = number.is_float(&fields);
        let plain = |own: TokenStream| if matches!(number, Number::Of(..)) { quote!((#own)) } else { own };
        match (is_float, wanted) {
            (true, Wanted::Whole) => match number {
                Number::Float(value) => whole(*value as u64),
                _ => {
                    let own = plain(self.expression(number, &fields, Wanted::Float));
                    quote!(#own as usize)
                }
            },
            (_, wanted) => self.expression(number, &fields, wanted),
        }
    }

    fn expression(&self, number: &Number, fields: &Fields, wanted: Wanted) -> TokenStream {
        match number {
            Number::Int(value) if wanted == Wanted::Float => float(*value as f64),
            Number::Int(value) => whole(*value),
            Number::Float(value) => float(*value),
            Number::Field(_) | Number::Item(..) => {
                let own = self.place(number, fields);
                if wanted == Wanted::Float && !number.is_float(fields) { quote!(#own as f64) } else { own }
            }
            Number::List(_) => quote!(vec![]),
            Number::Of(operator, a, b) => {
                let strength = |operator: Operator| match operator {
                    Operator::Multiply | Operator::Divide => 2,
                    _ => 1,
                };
                let operand = |own: &Number, right: bool| {
                    let tokens = self.expression(own, fields, wanted);
                    let weak = match own {
                        Number::Of(inner, ..) => {
                            strength(*inner) < strength(*operator) || right && strength(*inner) <= strength(*operator)
                        }
                        Number::Field(_) | Number::Item(..) => {
                            wanted == Wanted::Float && !own.is_float(fields) && *operator == Operator::Less
                        }
                        _ => false,
                    };
                    if weak { quote!((#tokens)) } else { tokens }
                };
                let (a, b) = (operand(a, false), operand(b, true));
                match operator {
                    Operator::Subtract => quote!(#a - #b),
                    Operator::Multiply => quote!(#a * #b),
                    Operator::Divide => quote!(#a / #b),
                    _ => quote!(#a + #b),
                }
            }
        }
    }

    fn place(&self, number: &Number, _: &Fields) -> TokenStream {
        let name = |source: &str| {
            let own = self.hyperparameters.iter().find(|own| *own.source == *source);
            super::ident(own.map_or(source, |own| &own.name))
        };
        match number {
            Number::Item(source, at) => {
                let (name, at) = (name(source), whole(*at as u64));
                quote!(self.#name[#at])
            }
            Number::Field(source) => {
                let name = name(source);
                quote!(self.#name)
            }
            _ => {
                let name = format_ident!("unknown");
                quote!(self.#name)
            }
        }
    }
}
