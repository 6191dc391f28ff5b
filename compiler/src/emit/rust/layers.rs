//! Layers that keep the parameters of an operator: their types, and how they are made.

use super::burn::{self, Padding};
use super::numbers::{Numbers, Wanted, float, whole};
use super::{Context, ident};
use crate::emit::EmitError;
use crate::emit::number::Number;
use crate::emit::structure::{Module, Numbers as Given};
use crate::init::{Fans, GivenFans, Init};
use crate::ir::{NodeId, Parameter};
use crate::ops::attribute::Padding as PaddingOf;
use crate::ops::{Op, Storage};
use proc_macro2::TokenStream;
use quote::quote;

/// A layer as a field.
pub(super) struct Layer {
    /// With its backend.
    pub ty: TokenStream,
    pub init: TokenStream,
}

pub(super) fn taps(taps: &[f64]) -> TokenStream {
    let taps = taps.iter().map(|tap| float(*tap));
    quote!([#(#taps),*])
}

/// The layer of an operator with parameters.
pub(super) fn layer(
    context: &mut Context<'_>,
    numbers: &Numbers<'_>,
    node: NodeId,
    given: &Given,
) -> Result<Layer, EmitError> {
    let graph = context.graph;
    let node = graph.node(node);
    let parameters: Vec<&Parameter> = node.parameters.iter().map(|id| graph.parameter(*id)).collect();
    let nothing = || EmitError(format!("`{}` has no layer in Burn", node.op().map_or("an input", Op::name)));
    let op = node.op().ok_or_else(nothing)?;
    let first = *parameters.first().ok_or_else(nothing)?;
    let number = |name: &str, wanted| {
        let found = Module::number(given, name).cloned().unwrap_or(Number::Int(0));
        numbers.render(&found, wanted)
    };
    let count = |name: &str| number(name, Wanted::Whole);
    let inputs = count("in");
    let has_bias = parameters.len() > 1;
    let without_bias = if has_bias { quote!() } else { quote!(.with_bias(false)) };
    Ok(match op {
        Op::Linear(_) => {
            let features = count("features");
            let config = quote!(LinearConfig::new(#inputs, #features)#without_bias);
            started(context, "Linear", "new_linear", &config, &parameters)
        }
        Op::Conv1d(conv) => {
            let (features, kernel) = (count("features"), count("kernel"));
            let stride = match conv.stride {
                1 => quote!(),
                stride => {
                    let stride = whole(stride);
                    quote!(.with_stride(#stride))
                }
            };
            let padding = match conv.zeros() {
                0 => quote!(),
                zeros => {
                    context.import("PaddingConfig1d");
                    let padding = burn::padding_1d(zeros);
                    quote!(.with_padding(#padding))
                }
            };
            let config = quote!(Conv1dConfig::new(#inputs, #features, #kernel)#stride #padding #without_bias);
            started(context, "Conv1d", "new_conv1d", &config, &parameters)
        }
        Op::Conv2d(conv) => {
            let features = count("features");
            let literal = [whole(conv.kernel.height), whole(conv.kernel.width)];
            // A kernel that is a hyperparameter is square.
            let [height, width] = match Module::number(given, "kernel") {
                Some(kernel) if !kernel.is_literal() => [count("kernel"), count("kernel")],
                _ => literal,
            };
            let stride = match Module::number(given, "stride") {
                Some(stride) if !stride.is_literal() => {
                    let stride = count("stride");
                    quote!(.with_stride([#stride, #stride]))
                }
                _ if (conv.stride.height, conv.stride.width) == (1, 1) => quote!(),
                _ => {
                    let (height, width) = (whole(conv.stride.height), whole(conv.stride.width));
                    quote!(.with_stride([#height, #width]))
                }
            };
            let pads = conv.padding.for_kernel(conv.kernel);
            let is_open = Module::number(given, "kernel").is_some_and(|kernel| !kernel.is_literal());
            let padding = if is_open && conv.padding == PaddingOf::Same {
                context.import("PaddingConfig2d");
                let pad = quote!((#height - 1) / 2);
                quote!(.with_padding(PaddingConfig2d::Explicit(#pad, #pad, #pad, #pad)))
            } else if pads == (0, 0, 0, 0) {
                quote!()
            } else {
                context.import("PaddingConfig2d");
                let padding = burn::padding_2d(pads);
                quote!(.with_padding(#padding))
            };
            let config =
                quote!(Conv2dConfig::new([#inputs, #features], [#height, #width])#stride #padding #without_bias);
            started(context, "Conv2d", "new_conv2d", &config, &parameters)
        }
        Op::Conv3d(conv) => {
            let features = count("features");
            let kernel = conv.kernel.0.map(whole);
            let stride = match conv.stride.0 {
                [1, 1, 1] => quote!(),
                stride => {
                    let stride = stride.map(whole);
                    quote!(.with_stride([#(#stride),*]))
                }
            };
            let padding = match burn::padding_3d(conv.padding.for_kernel(conv.kernel)) {
                Padding::Layer(padding) if conv.padding.for_kernel(conv.kernel) != [(0, 0); 3] => {
                    context.import("PaddingConfig3d");
                    quote!(.with_padding(#padding))
                }
                Padding::Layer(_) | Padding::Before(_) => quote!(),
            };
            let config = quote!(Conv3dConfig::new([#inputs, #features], [#(#kernel),*])#stride #padding #without_bias);
            started(context, "Conv3d", "new_conv3d", &config, &parameters)
        }
        Op::LayerNorm(_) => {
            let eps = number("eps", Wanted::Float);
            norm(context, "LayerNorm", &quote!(LayerNormConfig::new(#inputs).with_epsilon(#eps)), &parameters)
        }
        Op::GroupNorm(_) => {
            let (groups, eps) = (count("groups"), number("eps", Wanted::Float));
            let config = quote!(GroupNormConfig::new(#groups, #inputs).with_epsilon(#eps));
            norm(context, "GroupNorm", &config, &parameters)
        }
        Op::RmsNorm(own) => {
            let eps = number("eps", Wanted::Float);
            let heads = count("heads");
            let width = if own.heads == 1 { inputs } else { quote!(#inputs / #heads) };
            norm(context, "RmsNorm", &quote!(RmsNormConfig::new(#width).with_epsilon(#eps)), &parameters)
        }
        Op::Embedding(_) => {
            context.imports(&["Embedding", "EmbeddingConfig"]);
            let (classes, features) = (count("classes"), count("features"));
            let start = match &first.init {
                Init::Normal { mean, std } if (*mean, *std) == (0.0, 1.0) => quote!(),
                init => {
                    let start = initializer(context, init, first.fans);
                    quote!(.with_initializer(#start))
                }
            };
            Layer {
                ty: quote!(Embedding<B>),
                init: quote!(EmbeddingConfig::new(#classes, #features)#start.init(device)),
            }
        }
        Op::MpLinear(_) => {
            let (features, eps) = (count("features"), number("eps", Wanted::Float));
            let start = initializer(context, &first.init, first.fans);
            context.helper("mp_linear", &quote!());
            context.own_type("MpLinear");
            Layer { ty: quote!(MpLinear<B>), init: quote!(MpLinear::new([#inputs, #features], #eps, #start, device)) }
        }
        Op::MpConv2d(conv) => {
            let (features, eps) = (count("features"), number("eps", Wanted::Float));
            let (height, width) = (whole(conv.kernel.height), whole(conv.kernel.width));
            let start = initializer(context, &first.init, first.fans);
            context.helper("mp_conv2d", &quote!());
            context.own_type("MpConv2d");
            Layer {
                ty: quote!(MpConv2d<B>),
                init: quote!(MpConv2d::new([#inputs, #features], [#height, #width], #eps, #start, device)),
            }
        }
        Op::Parameter(_) | Op::Resample(_) => raw(context, numbers, op, first, given),
        _ => return Err(nothing()),
    })
}

/// A parameter by itself.
fn raw(context: &mut Context<'_>, numbers: &Numbers<'_>, op: &Op, own: &Parameter, given: &Given) -> Layer {
    context.import("Param");
    let rank = whole(own.shape.len().max(1) as u64);
    let dims: Vec<u64> = context.graph.node(own.node).ty.dims.iter().filter_map(|dim| dim.known()).collect();
    // The shape of the value, where it is stored as it is, has expressions for its sizes.
    let sizes: Vec<TokenStream> = if own.shape.is_empty() {
        vec![whole(1)]
    } else {
        let lead = own.shape.len().saturating_sub(dims.len());
        let plain = matches!(op, Op::Parameter(_)) && own.shape.get(lead..) == Some(&dims[..]);
        let size = |(at, size): (usize, &u64)| match at.checked_sub(lead) {
            Some(at) if plain => match Module::number(given, &format!("size{at}")) {
                Some(number) => numbers.render(number, Wanted::Whole),
                None => whole(*size),
            },
            _ => whole(*size),
        };
        own.shape.iter().enumerate().map(size).collect()
    };
    let ty = quote!(Param<Tensor<B, #rank>>);
    let values = match &own.init {
        Init::SinCos2d(grid) => {
            let size = |name: &str| {
                let found = Module::number(given, name).cloned().unwrap_or(Number::Int(1));
                numbers.render(&found, Wanted::Whole)
            };
            let (height, width, channels) = (size("rows"), size("columns"), size("size1"));
            let base = grid.base.map_or(quote!(None), |base| {
                let base = float(base);
                quote!(Some(#base))
            });
            let scale = float(grid.scale);
            Some(context.helper("sincos_values", &quote!(#height, #width, #channels, #base, #scale)))
        }
        Init::Filter { taps } => {
            let taps = self::taps(taps);
            Some(context.helper("filter_values", &quote!(&#taps)))
        }
        Init::Values(values) => {
            let values = taps(values);
            Some(quote!(#values.to_vec()))
        }
        _ => None,
    };
    let init = match values {
        Some(values) => context.helper("table", &quote!(#values, [#(#sizes),*], device)),
        None => {
            let start = initializer(context, &own.init, own.fans);
            let (fan_in, fan_out) = (whole(own.fans.fan_in), whole(own.fans.fan_out));
            match own.init {
                Init::XavierUniform { .. }
                | Init::XavierNormal { .. }
                | Init::KaimingUniform { .. }
                | Init::KaimingNormal { .. } => {
                    quote!(#start.init_with([#(#sizes),*], Some(#fan_in), Some(#fan_out), device))
                }
                _ => quote!(#start.init([#(#sizes),*], device)),
            }
        }
    };
    let fixed = if own.storage == Storage::Trained { quote!() } else { quote!(.set_require_grad(false)) };
    Layer { ty, init: quote!(#init #fixed) }
}

/// A layer with a weight and maybe a bias.
fn started(
    context: &mut Context<'_>,
    name: &str,
    helper: &'static str,
    config: &TokenStream,
    parameters: &[&Parameter],
) -> Layer {
    let config_name = format!("{name}Config");
    context.import_owned(name);
    context.import_owned(&config_name);
    let ty = ident(name);
    let default = Init::framework_default();
    let init = if parameters.iter().all(|own| own.init == default) {
        quote!(#config.init(device))
    } else {
        let mut starts = parameters.iter().map(|own| initializer(context, &own.init, own.fans)).collect::<Vec<_>>();
        match starts.as_slice() {
            // Without fans of their own, what starts alike is what Burn does with one initialiser.
            [only] => quote!(#config.with_initializer(#only).init(device)),
            [weight, bias] if weight.to_string() == bias.to_string() => {
                quote!(#config.with_initializer(#weight).init(device))
            }
            _ => {
                let bias = starts.pop().unwrap_or_default();
                let weight = starts.pop().unwrap_or_default();
                context.helper(helper, &quote!(#config, #weight, #bias, device))
            }
        }
    };
    Layer { ty: quote!(#ty<B>), init }
}

/// A norm with a weight that starts at one and maybe a bias that starts at zero, or else as given.
fn norm(context: &mut Context<'_>, name: &str, config: &TokenStream, parameters: &[&Parameter]) -> Layer {
    context.import_owned(name);
    context.import_owned(&format!("{name}Config"));
    let ty = ident(name);
    let usual = [Init::ONE, Init::ZERO];
    let mut changes = vec![];
    for (own, usual) in parameters.iter().zip(&usual) {
        if own.init != *usual {
            let start = initializer(context, &own.init, own.fans);
            let size = whole(own.elements());
            let made = quote!(#start.init([#size], device));
            changes.push(match (own.name, name) {
                ("bias", _) => quote!(norm.beta = Some(#made);),
                (_, "GroupNorm") => quote!(norm.gamma = Some(#made);),
                _ => quote!(norm.gamma = #made;),
            });
        }
    }
    let init = quote!(#config.init(device));
    let init = if changes.is_empty() {
        init
    } else {
        quote!({
            let mut norm: #ty<B> = #init;
            #(#changes)*
            norm
        })
    };
    Layer { ty: quote!(#ty<B>), init }
}

/// How a parameter starts, in the words of Burn.
fn initializer(context: &mut Context<'_>, init: &Init, fans: Fans) -> TokenStream {
    context.import("Initializer");
    let own_fans = |given: &GivenFans| *given == GivenFans::default();
    match init {
        Init::Constant(value) if *value == 0.0 => quote!(Initializer::Zeros),
        Init::Constant(value) if *value == 1.0 => quote!(Initializer::Ones),
        Init::Constant(value) => {
            let value = float(*value);
            quote!(Initializer::Constant { value: #value })
        }
        Init::Uniform { low, high } => {
            let (low, high) = (float(*low), float(*high));
            quote!(Initializer::Uniform { min: #low, max: #high })
        }
        Init::Normal { mean, std } => {
            let (mean, std) = (float(*mean), float(*std));
            quote!(Initializer::Normal { mean: #mean, std: #std })
        }
        Init::XavierUniform { gain, fans } if own_fans(fans) => {
            let gain = float(*gain);
            quote!(Initializer::XavierUniform { gain: #gain })
        }
        Init::XavierNormal { gain, fans } if own_fans(fans) => {
            let gain = float(*gain);
            quote!(Initializer::XavierNormal { gain: #gain })
        }
        // Burn's bound is sqrt(3) times the gain over the root of the fan, as ours.
        Init::KaimingUniform { gain, fans } if own_fans(fans) => {
            let gain = float(*gain);
            quote!(Initializer::KaimingUniform { gain: #gain, fan_out_only: false })
        }
        Init::KaimingNormal { gain, fans } if own_fans(fans) => {
            let gain = float(*gain);
            quote!(Initializer::KaimingNormal { gain: #gain, fan_out_only: false })
        }
        // With fans that the spec gives, as the numbers they come to.
        Init::XavierUniform { .. } | Init::KaimingUniform { .. } => {
            let bound = init.bound(fans).unwrap_or(0.0);
            let (low, high) = (float(-bound), float(bound));
            quote!(Initializer::Uniform { min: #low, max: #high })
        }
        Init::XavierNormal { .. } | Init::KaimingNormal { .. } => {
            let std = float(init.mean_and_std(fans).1);
            quote!(Initializer::Normal { mean: 0.0, std: #std })
        }
        // Only raw parameters start as tables.
        Init::SinCos2d(_) | Init::Filter { .. } | Init::Values(_) => quote!(Initializer::Zeros),
    }
}
