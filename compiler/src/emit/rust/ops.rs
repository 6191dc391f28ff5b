//! How each operator is written with Burn: the layer that keeps its parameters, and the call.

use super::burn::{self, Padding};
use super::forward::Call;
use super::numbers::{float, whole};
use super::{Context, layers};
use crate::emit::EmitError;
use crate::emit::values::{Stored, stored};
use crate::ops::activation::Function;
use crate::ops::dropout::MaskUnit;
use crate::ops::fourier::Band;
use crate::ops::reduce::{ReducedAxes, Reduction};
use crate::ops::sinusoid::SinusoidOrder;
use crate::ops::softmax::SoftmaxAxis;
use crate::ops::{Dropout, Op, Reduce, Resample, Softmax};
use crate::types::{Axis, Kind};
use proc_macro2::TokenStream;
use quote::quote;

/// A call of an operator on values.
pub(super) fn call(op: &Op, at: &mut Call<'_, '_>) -> Result<TokenStream, EmitError> {
    let x = at.operand(0);
    Ok(match op {
        Op::Activation(activation) => function(activation.function, &x, at.context),
        Op::Add(_) => {
            let (a, b) = (at.aligned(0), at.aligned(1));
            match at.smaller() {
                Some(0) => at.helper("add", quote!(#b, #a)),
                Some(_) => at.helper("add", quote!(#a, #b)),
                None => quote!(#a + #b),
            }
        }
        Op::Affine(affine) => {
            let (scale, shift) = (at.number("scale"), at.number("shift"));
            match (affine.scale == 1.0, affine.shift == 0.0) {
                (true, true) => x,
                (true, false) => quote!(#x + #shift),
                (false, true) => quote!(#x * #scale),
                (false, false) => quote!(#x * #scale + #shift),
            }
        }
        Op::Attention(attention) => {
            let (k, v, heads) = (at.operand(1), at.operand(2), at.number("heads"));
            let causal = attention.causal;
            match (causal, at.count()) {
                (_, 4) => {
                    let bias = at.operand(3);
                    // A mask has one number for each key, whatever the head and the query.
                    let bias = match at.operand_kind(3) {
                        Kind::Mask => quote!(#bias.unsqueeze_dims(&[1, 2])),
                        _ => bias,
                    };
                    at.helper("biased_attention", quote!(#x, #k, #v, #bias, #heads, #causal))
                }
                (true, _) => at.helper("causal_attention", quote!(#x, #k, #v, #heads)),
                (false, _) => at.helper("attention", quote!(#x, #k, #v, #heads)),
            }
        }
        Op::Clip(clip) => {
            let (low, high) = (float(clip.low), float(clip.high));
            quote!(#x.clamp(#low, #high))
        }
        Op::Concat(concat) => {
            let parts = (0..at.count()).map(|part| at.operand(part)).collect::<Vec<_>>();
            let axis = at.axis(concat.along.axis());
            quote!(Tensor::cat(vec![#(#parts),*], #axis))
        }
        Op::Conv1d(_) => {
            let layer = at.layer()?;
            quote!(#layer.forward(#x.swap_dims(1, 2)).swap_dims(1, 2))
        }
        Op::Conv2d(_) if at.has_kernels() => {
            let layer = at.layer()?;
            at.helper("conv2d", quote!(&#layer, #x))
        }
        Op::Conv2d(_) | Op::MpConv2d(_) | Op::MpLinear(_) => {
            let layer = at.layer()?;
            quote!(#layer.forward(#x))
        }
        Op::Conv3d(conv) => {
            let layer = at.layer()?;
            let x = quote!(#x.swap_dims(1, 2));
            let x = match burn::padding_3d(conv.padding.for_kernel(conv.kernel)) {
                Padding::Layer(_) => x,
                Padding::Before(pads) => quote!(#x.pad(#pads, burn::tensor::ops::PadMode::Constant(0.0))),
            };
            quote!(#layer.forward(#x).swap_dims(1, 2))
        }
        Op::CropGrid(_) => {
            let (height, width) = (at.size("height"), at.size("width"));
            at.helper("crop_grid", quote!(#x, #height, #width))
        }
        Op::DropLabel(_) => {
            if !at.context.options.masks {
                return Ok(x);
            }
            let (rate, null) = (at.number("rate"), at.number("null"));
            at.helper("drop_label", quote!(#x, #rate, #null))
        }
        Op::Dropout(dropout) => masks(dropout, &x, at),
        Op::Embedding(_) => {
            let layer = at.layer()?;
            match at.operand_kind(0) {
                Kind::Label => quote!(#layer.forward(#x.unsqueeze_dim(1)).squeeze_dim(1)),
                _ => quote!(#layer.forward(#x)),
            }
        }
        Op::EndToken(end) => {
            let ids = at.operand(1);
            match end.id {
                Some(id) => {
                    let id = whole(id.0);
                    at.helper("end_token_of", quote!(#x, #ids, #id))
                }
                None => at.helper("end_token", quote!(#x, #ids)),
            }
        }
        Op::Fourier(fourier) => {
            let (radius, low, high) = (at.number("radius"), at.number("low"), at.number("high"));
            let half_open = fourier.band == Band::HalfOpen;
            at.helper("fourier", quote!(#x, #radius, #low, #high, #half_open))
        }
        Op::GroupNorm(norm) => {
            let swapped = matches!(at.operand_kind(0), Kind::Tokens | Kind::Video);
            let x = if swapped { quote!(#x.swap_dims(1, 2)) } else { x };
            let y = if norm.affine {
                let layer = at.layer()?;
                match at.has_kernels() {
                    true => at.helper("affine_group_norm", quote!(&#layer, #x)),
                    false => quote!(#layer.forward(#x)),
                }
            } else {
                let (groups, eps) = (at.number("groups"), at.number("eps"));
                at.helper("group_norm", quote!(#x, #groups, #eps))
            };
            if swapped { quote!(#y.swap_dims(1, 2)) } else { y }
        }
        Op::Indices(_) => {
            let count = at.size("count");
            let device = at.device();
            at.helper("indices", quote!(#count, #device))
        }
        Op::LayerNorm(norm) => {
            if norm.affine && at.has_kernels() {
                let (layer, eps) = (at.layer()?, at.number("eps"));
                at.helper("affine_layer_norm", quote!(&#layer, #x, #eps))
            } else if norm.affine {
                let layer = at.layer()?;
                quote!(#layer.forward(#x))
            } else {
                let eps = at.number("eps");
                at.helper("layer_norm", quote!(#x, #eps))
            }
        }
        Op::Linear(_) => {
            let layer = at.layer()?;
            match at.operand_kind(0) {
                Kind::Vector if !at.has_kernels() => quote!(#layer.forward(#x)),
                _ => at.helper("linear", quote!(&#layer, #x)),
            }
        }
        Op::Multiply(_) => {
            let (a, b) = (at.aligned(0), at.aligned(1));
            match at.smaller() {
                Some(0) => at.helper("multiply", quote!(#b, #a)),
                Some(_) => at.helper("multiply", quote!(#a, #b)),
                None => quote!(#a * #b),
            }
        }
        Op::Parameter(_) => {
            let layer = at.layer()?;
            match stored(&at.stored_shape(), at.result()) {
                Stored::AsItIs => quote!(#layer.val()),
                Stored::WithoutBatch => quote!(#layer.val().unsqueeze()),
                Stored::Reshaped => {
                    let sizes: Vec<TokenStream> = at.sizes().into_iter().map(|size| at.number(size)).collect();
                    quote!(#layer.val().reshape([1, #(#sizes),*]))
                }
            }
        }
        Op::PixelNorm(_) => {
            let (axis, groups, eps) = (at.axis(Axis::Channel), at.number("groups"), at.number("eps"));
            at.helper("pixel_norm", quote!(#x, #axis, #groups, #eps))
        }
        Op::Reduce(reduce) => self::reduce(reduce, &x, at),
        Op::RelativeBuckets(_) => {
            let (count, device) = (at.size("count"), at.device());
            let (buckets, max_distance) = (at.number("buckets"), at.number("max_distance"));
            at.helper("relative_buckets", quote!(#count, #buckets, #max_distance, #device))
        }
        Op::Resample(own) => resample(own, &x, at)?,
        Op::Resize(_) => {
            let (height, width) = (at.size("height"), at.size("width"));
            at.helper("resize", quote!(#x, #height, #width))
        }
        Op::RmsNorm(norm) => {
            if norm.affine && norm.heads == 1 {
                let layer = at.layer()?;
                return Ok(quote!(#layer.forward(#x)));
            }
            let heads = at.number("heads");
            if norm.affine {
                let layer = at.layer()?;
                at.helper("head_norm", quote!(&#layer, #x, #heads))
            } else {
                let eps = at.number("eps");
                at.helper("rms_norm", quote!(#x, #heads, #eps))
            }
        }
        Op::SincosGrid(grid) => {
            let (height, width, features) = (at.size("height"), at.size("width"), at.number("features"));
            let base = match grid.base {
                Some(_) => {
                    let base = at.number("base");
                    quote!(Some(#base))
                }
                None => quote!(None),
            };
            let (scale, device) = (at.number("scale"), at.device());
            at.helper("sincos_grid", quote!([#height, #width], #features, #base, #scale, #device))
        }
        Op::Sinusoid(sinusoid) => {
            let (features, period, shift) = (at.number("features"), at.number("max_period"), at.number("shift"));
            let arguments = quote!(#x, #features, #period, #shift);
            match sinusoid.order {
                SinusoidOrder::CosFirst => at.helper("sinusoid", arguments),
                SinusoidOrder::SinFirst => at.helper("sinusoid_sin_first", arguments),
            }
        }
        Op::Slice(slice) => {
            let axis = at.axis(slice.along.axis());
            if slice.along.axis() == Axis::Token {
                let (start, size) = (at.size("start"), at.size("size"));
                return Ok(quote!(#x.narrow(#axis, #start, #size)));
            }
            let (start, size) = (at.number("start"), at.number("size"));
            if slice.groups == 1 {
                quote!(#x.narrow(#axis, #start, #size))
            } else {
                let groups = at.number("groups");
                at.helper("slice_groups", quote!(#x, #axis, #groups, [#start, #size]))
            }
        }
        Op::Softmax(own) => softmax(own, &x, at),
        Op::ToFrames(_) => quote!(#x.flatten::<4>(0, 1)),
        Op::ToImage(_) => {
            let (height, width) = (at.size("height"), at.size("width"));
            at.helper("to_image", quote!(#x, #height, #width))
        }
        Op::ToSequence(_) => quote!(#x.swap_dims(1, 2)),
        Op::ToTokens(_) => match at.operand_kind(0) {
            Kind::Vector => quote!(#x.unsqueeze_dim::<3>(1)),
            Kind::Sequence => quote!(#x.swap_dims(1, 2)),
            _ => quote!(#x.flatten::<3>(2, 3).swap_dims(1, 2)),
        },
        Op::ToVector(_) => quote!(#x.flatten::<2>(1, 2)),
        Op::ToVideo(_) => {
            let frames = at.size("frames");
            at.helper("to_video", quote!(#x, #frames))
        }
        Op::TransposeTokens(_) => {
            let folds = at.size("folds");
            at.helper("transpose_tokens", quote!(#x, #folds))
        }
        Op::Unpatchify(_) => {
            let (patch, height, width) = (at.number("patch"), at.size("height"), at.size("width"));
            at.helper("unpatchify", quote!(#x, #patch, #height, #width))
        }
        Op::Upsample(_) => {
            let factor = at.number("factor");
            at.helper("upsample", quote!(#x, #factor))
        }
    })
}

/// A function of one value.
fn function(function: Function, x: &TokenStream, context: &mut Context<'_>) -> TokenStream {
    if context.options.kernels {
        let name = quote::format_ident!("{function:?}");
        return context.helper("activation", &quote!(#x, Function::#name));
    }
    let activation = |name: &str| {
        let name = quote::format_ident!("{name}");
        quote!(activation::#name(#x))
    };
    match function {
        Function::Cos => quote!(#x.cos()),
        Function::Exp => quote!(#x.exp()),
        Function::Gelu => activation("gelu"),
        Function::GeluTanh => context.helper("gelu_tanh", &quote!(#x)),
        Function::Log => quote!(#x.log()),
        Function::QuickGelu => context.helper("quick_gelu", &quote!(#x)),
        Function::Relu => activation("relu"),
        Function::Rsqrt => quote!(#x.sqrt().recip()),
        Function::Sigmoid => activation("sigmoid"),
        Function::Silu => activation("silu"),
        Function::Sin => quote!(#x.sin()),
        Function::Softplus => quote!(activation::softplus(#x, 1.0)),
        Function::Tanh => activation("tanh"),
    }
}

fn masks(dropout: &Dropout, x: &TokenStream, at: &mut Call<'_, '_>) -> TokenStream {
    if !at.context.options.masks {
        return x.clone();
    }
    let rate = at.number("rate");
    let name = match (dropout.per, dropout.rescale) {
        (MaskUnit::Element, true) => "dropout",
        (MaskUnit::Element, false) => "drop_elements",
        (MaskUnit::Sample, true) => "drop_path",
        (MaskUnit::Sample, false) => "drop_samples",
    };
    at.helper(name, quote!(#x, #rate))
}

fn reduce(reduce: &Reduce, x: &TokenStream, at: &mut Call<'_, '_>) -> TokenStream {
    let by = match reduce.by {
        Reduction::Sum => quote!(sum_dim),
        Reduction::Mean => quote!(mean_dim),
    };
    let kind = at.operand_kind(0);
    let rank = 1 + kind.axes().len();
    let last = whole(rank as u64 - 1);
    match reduce.over {
        ReducedAxes::All if rank == 2 => quote!(#x.#by(1).squeeze_dim::<1>(1)),
        ReducedAxes::All => quote!(#x.flatten::<2>(1, #last).#by(1).squeeze_dim::<1>(1)),
        ReducedAxes::Channels if kind == Kind::Vector => quote!(#x.#by(1).squeeze_dim::<1>(1)),
        ReducedAxes::Channels => {
            let axis = at.operand_axis(0, Axis::Channel);
            quote!(#x.#by(#axis))
        }
        ReducedAxes::Positions => match kind {
            Kind::Tokens => quote!(#x.#by(1).squeeze_dim::<2>(1)),
            Kind::Sequence => quote!(#x.#by(2).squeeze_dim::<2>(2)),
            Kind::Video => quote!(#x.swap_dims(1, 2).flatten::<3>(2, 4).#by(2).squeeze_dim::<2>(2)),
            _ => quote!(#x.flatten::<3>(2, 3).#by(2).squeeze_dim::<2>(2)),
        },
    }
}

fn softmax(softmax: &Softmax, x: &TokenStream, at: &mut Call<'_, '_>) -> TokenStream {
    let kind = at.operand_kind(0);
    match (softmax.over, kind) {
        (SoftmaxAxis::Channels, _) => {
            let axis = at.operand_axis(0, Axis::Channel);
            quote!(activation::softmax(#x, #axis))
        }
        (SoftmaxAxis::Positions, Kind::Tokens) => quote!(activation::softmax(#x, 1)),
        (SoftmaxAxis::Positions, Kind::Video) => {
            let y = at.helper("softmax_positions", quote!(#x.swap_dims(1, 2), 2));
            quote!(#y.swap_dims(1, 2))
        }
        (SoftmaxAxis::Positions, _) => at.helper("softmax_positions", quote!(#x, 2)),
    }
}

fn resample(resample: &Resample, x: &TokenStream, at: &mut Call<'_, '_>) -> Result<TokenStream, EmitError> {
    let factor = whole(resample.factor());
    if !resample.stored && resample.is_box() {
        let name = if resample.up > 1 { "upsample" } else { "average_pool" };
        return Ok(at.helper(name, quote!(#x, #factor)));
    }
    let filter = if resample.stored {
        let layer = at.layer()?;
        quote!(#layer.val())
    } else {
        let taps = layers::taps(&resample.taps());
        let device = at.device();
        at.helper("filter", quote!(&#taps, #device))
    };
    let padding = whole(resample.zeros());
    let name = if resample.up > 1 { "resample_up" } else { "resample" };
    Ok(at.helper(name, quote!(#x, #filter, #factor, #padding)))
}
