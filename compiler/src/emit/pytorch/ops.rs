//! How each operator is called in PyTorch.

use super::forward::Call;
use super::layers;
use super::numbers::float;
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

/// A call of an operator on values.
pub(super) fn call(op: &Op, at: &mut Call<'_, '_, '_>) -> Result<String, EmitError> {
    let x = at.operand(0);
    Ok(match op {
        Op::Activation(activation) => function(activation.function, &x, at),
        Op::Add(_) => format!("{} + {}", at.aligned(0), at.aligned(1)),
        Op::Affine(affine) => match (affine.scale == 1.0, affine.shift == 0.0) {
            (true, true) => x,
            (true, false) => format!("{x} + {}", at.number("shift")),
            (false, true) => format!("{x} * {}", at.number("scale")),
            (false, false) => format!("{x} * {} + {}", at.number("scale"), at.number("shift")),
        },
        Op::Attention(attention) => {
            let bias = match (at.count(), at.operand_kind(3)) {
                // A mask has one number for each key, whatever the head and the query.
                (4, Kind::Mask) => format!(", bias={}[:, None, None]", at.operand(3)),
                (4, _) => format!(", bias={}", at.operand(3)),
                _ => String::new(),
            };
            let causal = if attention.causal { ", causal=True" } else { "" };
            let arguments = format!("{x}, {}, {}, {}{bias}{causal}", at.operand(1), at.operand(2), at.number("heads"));
            at.helper("attention", &arguments)
        }
        Op::Clip(clip) => format!("{x}.clamp({}, {})", float(clip.low), float(clip.high)),
        Op::Concat(concat) => {
            let parts = (0..at.count()).map(|part| at.operand(part)).collect::<Vec<_>>().join(", ");
            format!("torch.cat(({parts}), dim={})", at.axis(concat.along.axis()))
        }
        Op::Conv1d(_) => format!("{}({x}.transpose(1, 2)).transpose(1, 2)", at.layer()?),
        Op::Conv2d(conv) => {
            let (top, left, bottom, right) = conv.padding.for_kernel(conv.kernel);
            let even = (top, left) == (bottom, right);
            let x = if even { x } else { format!("F.pad({x}, ({left}, {right}, {top}, {bottom}))") };
            format!("{}({x})", at.layer()?)
        }
        Op::Conv3d(conv) => {
            let sides = conv.padding.for_kernel(conv.kernel);
            let even = sides.iter().all(|(before, behind)| before == behind);
            // The last axis comes first.
            let pads = sides.iter().rev().map(|(before, behind)| format!("{before}, {behind}"));
            let pads = pads.collect::<Vec<_>>().join(", ");
            let x = format!("{x}.transpose(1, 2)");
            let x = if even { x } else { format!("F.pad({x}, ({pads}))") };
            format!("{}({x}).transpose(1, 2)", at.layer()?)
        }
        Op::CropGrid(_) => at.sized_helper("crop_grid", &x, &["height", "width"]),
        Op::DropLabel(_) if !at.masks() => x,
        Op::DropLabel(_) => {
            let arguments = format!("{x}, {}, {}, {}", at.number("rate"), at.number("null"), at.training());
            at.helper("drop_label", &arguments)
        }
        Op::Dropout(dropout) => masks(dropout, x, at),
        Op::Embedding(_) | Op::Linear(_) | Op::MpConv2d(_) | Op::MpLinear(_) => format!("{}({x})", at.layer()?),
        Op::EndToken(end) => {
            let id = end.id.map_or(String::new(), |id| format!(", {}", id.0));
            let arguments = format!("{x}, {}{id}", at.operand(1));
            at.helper("end_token", &arguments)
        }
        Op::Fourier(fourier) => {
            let half_open = if fourier.band == Band::HalfOpen { "True" } else { "False" };
            let (radius, low, high) = (at.number("radius"), at.number("low"), at.number("high"));
            at.helper("fourier", &format!("{x}, {radius}, {low}, {high}, half_open={half_open}"))
        }
        Op::GroupNorm(norm) => {
            let swapped = matches!(at.operand_kind(0), Kind::Tokens | Kind::Video);
            let x = if swapped { format!("{x}.transpose(1, 2)") } else { x };
            let y = match norm.affine {
                true => format!("{}({x})", at.layer()?),
                false => format!("F.group_norm({x}, {}, eps={})", at.number("groups"), at.number("eps")),
            };
            if swapped { format!("{y}.transpose(1, 2)") } else { y }
        }
        Op::Indices(_) => {
            let arguments = format!("{}, {}", at.size("count"), at.device());
            at.helper("indices", &arguments)
        }
        Op::LayerNorm(norm) if norm.affine => format!("{}({x})", at.layer()?),
        Op::LayerNorm(_) => format!("F.layer_norm({x}, {x}.shape[-1:], eps={})", at.number("eps")),
        Op::Multiply(_) => format!("{} * {}", at.aligned(0), at.aligned(1)),
        Op::Parameter(_) => {
            let own = at.layer()?;
            match stored(&at.stored_shape(), at.result()) {
                // A number alone has no axis; the value has that of the batch.
                Stored::AsItIs if at.stored_shape().is_empty() => format!("{own}.reshape(1)"),
                Stored::AsItIs => own,
                Stored::WithoutBatch => format!("{own}[None]"),
                Stored::Reshaped => {
                    let sizes: Vec<String> = at.sizes().into_iter().map(|size| at.number(size)).collect();
                    format!("{own}.view(1, {})", sizes.join(", "))
                }
            }
        }
        Op::PixelNorm(_) => {
            let (axis, groups, eps) = (at.axis(Axis::Channel), at.number("groups"), at.number("eps"));
            at.helper("pixel_norm", &format!("{x}, {axis}, {groups}, {eps}"))
        }
        Op::Reduce(reduce) => self::reduce(reduce, &x, at),
        Op::RelativeBuckets(_) => {
            let (count, device) = (at.size("count"), at.device());
            let (buckets, max_distance) = (at.number("buckets"), at.number("max_distance"));
            at.helper("relative_buckets", &format!("{count}, {buckets}, {max_distance}, {device}"))
        }
        Op::Resample(own) => resample(own, &x, at)?,
        Op::Resize(_) => at.sized_helper("resize", &x, &["height", "width"]),
        Op::RmsNorm(norm) if norm.affine && norm.heads == 1 => format!("{}({x})", at.layer()?),
        Op::RmsNorm(norm) if norm.affine => {
            let (layer, heads) = (at.layer()?, at.number("heads"));
            at.helper("rms_norm", &format!("{x}, {heads}, {layer}.eps, {layer}.weight"))
        }
        Op::RmsNorm(_) => {
            let (heads, eps) = (at.number("heads"), at.number("eps"));
            at.helper("rms_norm", &format!("{x}, {heads}, {eps}"))
        }
        Op::SincosGrid(grid) => {
            let base = if grid.base.is_some() { at.number("base") } else { "None".to_owned() };
            let (features, scale, device) = (at.number("features"), at.number("scale"), at.device());
            let (height, width) = (at.size("height"), at.size("width"));
            at.helper("sincos_grid", &format!("{height}, {width}, {features}, {base}, {scale}, {device}"))
        }
        Op::Sinusoid(sinusoid) => {
            let first = if sinusoid.order == SinusoidOrder::SinFirst { ", sin_first=True" } else { "" };
            let (features, period, shift) = (at.number("features"), at.number("max_period"), at.number("shift"));
            // Of tokens, the only channel becomes the features.
            let x = if at.operand_kind(0) == Kind::Tokens { format!("{x}.squeeze(-1)") } else { x };
            at.helper("sinusoid", &format!("{x}, {features}, {period}, {shift}{first}"))
        }
        Op::Slice(slice) => {
            let axis = at.axis(slice.along.axis());
            if slice.along.axis() == Axis::Token {
                return Ok(format!("{x}.narrow({axis}, {}, {})", at.size("start"), at.size("size")));
            }
            let (start, size) = (at.number("start"), at.number("size"));
            if slice.groups == 1 {
                format!("{x}.narrow({axis}, {start}, {size})")
            } else {
                let groups = at.number("groups");
                at.helper("slice_groups", &format!("{x}, {axis}, {groups}, {start}, {size}"))
            }
        }
        Op::Softmax(own) => softmax(own, &x, at),
        Op::ToFrames(_) => format!("{x}.flatten(0, 1)"),
        Op::ToImage(_) => format!("{x}.transpose(1, 2).unflatten(2, ({}, {}))", at.size("height"), at.size("width")),
        Op::ToSequence(_) => format!("{x}.transpose(1, 2)"),
        Op::ToTokens(_) => match at.operand_kind(0) {
            Kind::Vector => format!("{x}[:, None]"),
            Kind::Sequence => format!("{x}.transpose(1, 2)"),
            _ => format!("{x}.flatten(2).transpose(1, 2)"),
        },
        Op::ToVector(_) => format!("{x}.flatten(1)"),
        Op::ToVideo(_) => format!("{x}.unflatten(0, (-1, {}))", at.size("frames")),
        Op::TransposeTokens(_) => at.sized_helper("transpose_tokens", &x, &["folds"]),
        Op::Unpatchify(_) => {
            let x = format!("{x}, {}", at.number("patch"));
            at.sized_helper("unpatchify", &x, &["height", "width"])
        }
        Op::Upsample(_) => format!("F.interpolate({x}, scale_factor={}, mode=\"nearest\")", at.number("factor")),
    })
}

/// A function of one value.
fn function(function: Function, x: &str, at: &mut Call<'_, '_, '_>) -> String {
    match function {
        Function::Cos => format!("{x}.cos()"),
        Function::Exp => format!("{x}.exp()"),
        Function::Gelu => format!("F.gelu({x})"),
        Function::GeluTanh => format!("F.gelu({x}, approximate=\"tanh\")"),
        Function::Log => format!("{x}.log()"),
        Function::QuickGelu => at.helper("quick_gelu", x),
        Function::Relu => format!("F.relu({x})"),
        Function::Rsqrt => format!("{x}.rsqrt()"),
        Function::Sigmoid => format!("{x}.sigmoid()"),
        Function::Silu => format!("F.silu({x})"),
        Function::Sin => format!("{x}.sin()"),
        Function::Softplus => format!("F.softplus({x})"),
        Function::Tanh => format!("{x}.tanh()"),
    }
}

fn masks(dropout: &Dropout, x: String, at: &mut Call<'_, '_, '_>) -> String {
    if !at.masks() {
        return x;
    }
    let arguments = format!("{x}, {}, {}", at.number("rate"), at.training());
    match (dropout.per, dropout.rescale) {
        (MaskUnit::Element, true) => format!("F.dropout({arguments})"),
        (MaskUnit::Element, false) => at.helper("drop_elements", &arguments),
        (MaskUnit::Sample, true) => at.helper("drop_path", &arguments),
        (MaskUnit::Sample, false) => at.helper("drop_samples", &arguments),
    }
}

fn reduce(reduce: &Reduce, x: &str, at: &Call<'_, '_, '_>) -> String {
    let by = match reduce.by {
        Reduction::Sum => "sum",
        Reduction::Mean => "mean",
    };
    let kind = at.operand_kind(0);
    match reduce.over {
        ReducedAxes::All => format!("{x}.flatten(1).{by}(1)"),
        ReducedAxes::Channels if kind == Kind::Vector => format!("{x}.{by}(1)"),
        ReducedAxes::Channels => format!("{x}.{by}({}, keepdim=True)", at.operand_axis(0, Axis::Channel)),
        ReducedAxes::Positions => match kind {
            Kind::Tokens => format!("{x}.{by}(1)"),
            Kind::Sequence => format!("{x}.{by}(2)"),
            Kind::Video => format!("{x}.{by}((1, 3, 4))"),
            _ => format!("{x}.{by}((2, 3))"),
        },
    }
}

fn softmax(softmax: &Softmax, x: &str, at: &mut Call<'_, '_, '_>) -> String {
    match (softmax.over, at.operand_kind(0)) {
        (SoftmaxAxis::Channels, _) => format!("{x}.softmax({})", at.operand_axis(0, Axis::Channel)),
        (SoftmaxAxis::Positions, Kind::Tokens) => format!("{x}.softmax(1)"),
        (SoftmaxAxis::Positions, Kind::Video) => {
            let y = at.helper("softmax_positions", &format!("{x}.transpose(1, 2), 2"));
            format!("{y}.transpose(1, 2)")
        }
        (SoftmaxAxis::Positions, _) => at.helper("softmax_positions", &format!("{x}, 2")),
    }
}

fn resample(resample: &Resample, x: &str, at: &mut Call<'_, '_, '_>) -> Result<String, EmitError> {
    let factor = resample.factor();
    if !resample.stored && resample.is_box() {
        return Ok(match resample.up {
            1 => format!("F.avg_pool2d({x}, {factor})"),
            _ => format!("F.interpolate({x}, scale_factor={factor}, mode=\"nearest\")"),
        });
    }
    let filter = if resample.stored {
        at.layer()?
    } else {
        let values = at.helper("filter_values", &layers::taps(&resample.taps()));
        format!("{values}.to({})", at.device())
    };
    let name = if resample.up > 1 { "resample_up" } else { "resample" };
    Ok(at.helper(name, &format!("{x}, {filter}, {factor}, {}", resample.zeros())))
}
