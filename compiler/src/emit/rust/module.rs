//! A module as Rust: a struct, its config, its code.

use super::forward::{self, tensor_type};
use super::numbers::{Numbers, Wanted};
use super::{Context, docs, ident, layers};
use crate::emit::EmitError;
use crate::emit::names::field_name;
use crate::emit::number::Number;
use crate::emit::structure::{Element, Field, Hyperparameter, Module, Part};
use crate::emit::values::shapes;
use crate::ops::attribute::Shown;
use proc_macro2::TokenStream;
use quote::{format_ident, quote};

/// The items of a module.
pub(super) fn items(context: &mut Context<'_>, module: &Module) -> Result<TokenStream, EmitError> {
    if module.is_function() {
        return function(context, module);
    }
    let has_backend = context.has_backend(module);
    let body = forward::body(context, module)?;
    let (name, config) = (ident(&module.name), format_ident!("{}Config", module.name));
    let generics = if has_backend { quote!(<B: Backend>) } else { quote!() };
    let own = if has_backend { quote!(<B>) } else { quote!() };

    let numbers = Numbers { hyperparameters: &module.hyperparameters };
    let mut declared = vec![];
    let mut made = vec![];
    for field in &module.fields {
        let (ty, init) = self::field(context, module, &numbers, field)?;
        let name = ident(&field.name);
        declared.push(quote!(pub #name: #ty));
        made.push(quote!(#name: #init));
    }
    for stored in &body.stored {
        let name = ident(&stored.name);
        let ty = if stored.wanted == Wanted::Float { quote!(f64) } else { quote!(usize) };
        let value = numbers.render(&stored.number, stored.wanted);
        declared.push(quote!(pub #name: #ty));
        made.push(quote!(#name: #value));
    }
    let hyperparameters = module.hyperparameters.iter().map(hyperparameter);
    let documentation = docs(&module.docs);
    let config_docs = docs(&format!("Hyperparameters of [`{}`].", module.name));
    let init_docs = docs(&format!("A new [`{}`], initialised as the spec says.", module.name));
    let runs = context.backend();
    let device = if has_backend { quote!(, device: &B::Device) } else { quote!() };
    let derives = if has_backend { quote!(#[derive(Module, Debug)]) } else { quote!(#[derive(Module, Clone, Debug)]) };
    context.import("Config");
    context.import("Module");
    let method = if module.outputs.is_empty() {
        quote!()
    } else {
        let (signature, statements) = (signature(context, module, &quote!(&self,)), body.statements);
        let documentation = forward_docs(context, module);
        let (whole, own_backend) = match has_backend {
            true => (quote!(<B: #runs>), quote!()),
            false => (quote!(), quote!(<B: #runs>)),
        };
        quote! {
            impl #whole #name #own {
                #documentation
                pub fn forward #own_backend #signature { #statements }
            }
        }
    };
    Ok(quote! {
        #documentation
        #derives
        pub struct #name #generics {
            #(#declared),*
        }

        #config_docs
        #[derive(Config, Debug)]
        pub struct #config {
            #(#hyperparameters),*
        }

        impl #config {
            #init_docs
            pub fn init #generics (&self #device) -> #name #own {
                #name { #(#made),* }
            }
        }

        #method
    })
}

/// A module without fields.
fn function(context: &mut Context<'_>, module: &Module) -> Result<TokenStream, EmitError> {
    if module.outputs.is_empty() {
        return Ok(quote!());
    }
    let body = forward::body(context, module)?;
    let name = ident(&field_name(&module.name));
    let (signature, statements) = (signature(context, module, &quote!()), body.statements);
    let (documentation, runs) = (docs(&module.docs), context.backend());
    Ok(quote! {
        #documentation
        pub fn #name<B: #runs> #signature { #statements }
    })
}

/// Arguments and result; of a method with its receiver.
fn signature(context: &Context<'_>, module: &Module, receiver: &TokenStream) -> TokenStream {
    let graph = context.graph;
    let grouped = context.grouped(module);
    let mut arguments: Vec<TokenStream> = module
        .inputs
        .iter()
        .filter(|port| !grouped.contains(&port.node))
        .map(|port| {
            let (name, ty) = (ident(&port.name), tensor_type(graph.node(port.node).ty.kind));
            quote!(#name: #ty)
        })
        .collect();
    arguments.extend(module.sizes.iter().map(|size| {
        let size = ident(size);
        quote!(#size: usize)
    }));
    if let Some(first) = grouped.first() {
        let (ty, count) = (tensor_type(graph.node(*first).ty.kind), super::numbers::whole(grouped.len() as u64));
        arguments.push(quote!(skips: [#ty; #count]));
    }
    if context.takes_device(module) {
        arguments.push(quote!(device: &B::Device));
    }
    let outputs: Vec<TokenStream> =
        module.outputs.iter().map(|output| tensor_type(graph.node(*output).ty.kind)).collect();
    let count = super::numbers::whole(outputs.len() as u64);
    let result = match outputs.as_slice() {
        [only] => quote!(#only),
        [first, ..] if context.is_array(module) => quote!([#first; #count]),
        many => quote!((#(#many),*)),
    };
    quote!((#receiver #(#arguments),*) -> #result)
}

fn forward_docs(context: &Context<'_>, module: &Module) -> TokenStream {
    let lines = shapes(context.graph, module);
    docs(&format!("# Shapes\n\n{}", lines.join("\n")))
}

fn literal(value: &Shown) -> String {
    match value {
        Shown::List(items) => format!("vec![{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Shown::Float(value) => super::numbers::float(*value).to_string(),
        Shown::Int(_) | Shown::Bool(_) | Shown::Text(_) => value.to_string(),
    }
}

fn hyperparameter(own: &Hyperparameter) -> TokenStream {
    let name = ident(&own.name);
    let ty = match &own.value {
        Shown::Float(_) => quote!(f64),
        Shown::List(items) => match items.first() {
            Some(Shown::Float(_)) => quote!(Vec<f64>),
            Some(Shown::Bool(_)) => quote!(Vec<bool>),
            _ => quote!(Vec<usize>),
        },
        _ => quote!(usize),
    };
    let documentation = docs(&own.docs);
    let default = own.default.as_ref().map(|default| {
        let text = literal(default);
        quote!(#[config(default = #text)])
    });
    quote!(#documentation #default pub #name: #ty)
}

/// Type and initial value of a field.
fn field(
    context: &mut Context<'_>,
    module: &Module,
    numbers: &Numbers<'_>,
    field: &Field,
) -> Result<(TokenStream, TokenStream), EmitError> {
    let mut made = vec![];
    let mut ty = quote!();
    for element in &field.elements {
        let (own, init) = self::element(context, module, numbers, element)?;
        ty = own;
        made.push(init);
    }
    if !field.is_list {
        return Ok((ty, quote!(#(#made)*)));
    }
    let init = match (&field.count, made.first()) {
        (Some(count), Some(first)) => {
            let count = numbers.render(count, Wanted::Whole);
            quote!((0..#count).map(|_| #first).collect())
        }
        _ => quote!(Vec::from([#(#made),*])),
    };
    Ok((quote!(Vec<#ty>), init))
}

fn element(
    context: &mut Context<'_>,
    _: &Module,
    numbers: &Numbers<'_>,
    element: &Element,
) -> Result<(TokenStream, TokenStream), EmitError> {
    match &element.part {
        Part::Layer { node, numbers: given } => {
            let layer = layers::layer(context, numbers, *node, given)?;
            Ok((layer.ty, layer.init))
        }
        Part::Module { module, arguments } => {
            let callee = context.module(*module)?;
            let (name, config) = (ident(&callee.name), format_ident!("{}Config", callee.name));
            let given = |own: &Hyperparameter| arguments.iter().find(|(name, _)| *name == own.source).map(|(_, n)| n);
            let render = |own: &Hyperparameter, number: &Number| {
                let wanted = if matches!(own.value, Shown::Float(_)) { Wanted::Float } else { Wanted::Whole };
                numbers.render(number, wanted)
            };
            let mut required = vec![];
            let mut others = vec![];
            for own in &callee.hyperparameters {
                let Some(number) = given(own) else { continue };
                match &own.default {
                    None => required.push(render(own, number)),
                    Some(default) if Number::literal(default).as_ref() == Some(number) => {}
                    Some(_) => {
                        let (set, value) = (format_ident!("with_{}", own.name), render(own, number));
                        others.push(quote!(.#set(#value)));
                    }
                }
            }
            let (ty, device) = match context.has_backend(&callee) {
                true => (quote!(#name<B>), quote!(device)),
                false => (quote!(#name), quote!()),
            };
            Ok((ty, quote!(#config::new(#(#required),*)#(#others)*.init(#device))))
        }
    }
}
