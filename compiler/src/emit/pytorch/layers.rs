//! Layers that keep the parameters of an operator, and how they start.

use super::numbers::{Numbers, Wanted, float};
use super::{Context, text};
use crate::emit::EmitError;
use crate::emit::number::Number;
use crate::emit::structure::{Module, Numbers as Given};
use crate::init::{Fans, GivenFans, Init};
use crate::ir::{NodeId, Parameter};
use crate::ops::attribute::Padding;
use crate::ops::{Op, Storage};

/// `(3, 3)`, or `3` where all are the same.
fn sizes(sizes: &[u64]) -> String {
    let same = sizes.windows(2).all(|pair| pair.first() == pair.last());
    match sizes.first() {
        Some(first) if same => first.to_string(),
        _ => format!("({})", sizes.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")),
    }
}

pub(super) fn taps(taps: &[f64]) -> String {
    format!("[{}]", taps.iter().map(|tap| float(*tap)).collect::<Vec<_>>().join(", "))
}

/// The layer of an operator with parameters.
pub(super) fn layer(
    context: &mut Context<'_>,
    numbers: &Numbers<'_>,
    node: NodeId,
    given: &Given,
) -> Result<String, EmitError> {
    let graph = context.graph;
    let node = graph.node(node);
    let parameters: Vec<&Parameter> = node.parameters.iter().map(|id| graph.parameter(*id)).collect();
    let nothing = || EmitError(format!("`{}` has no layer in PyTorch", node.op().map_or("an input", Op::name)));
    let op = node.op().ok_or_else(nothing)?;
    let number = |name: &str, wanted| {
        let found = Module::number(given, name).cloned().unwrap_or(Number::Int(0));
        numbers.render(&found, wanted)
    };
    let count = |name: &str| number(name, Wanted::Whole);
    let is_open = |name: &str| Module::number(given, name).is_some_and(|own| !own.is_literal());
    let bias = if parameters.len() > 1 { "" } else { ", bias=False" };
    let (inputs, default) = (count("in"), Init::framework_default());
    let (layer, usual) = match op {
        Op::Linear(_) => (format!("nn.Linear({inputs}, {}{bias})", count("features")), [&default, &default]),
        Op::Conv1d(conv) => {
            let further = further(&sizes(&[conv.stride]), &sizes(&[conv.zeros()]));
            let layer = format!("nn.Conv1d({inputs}, {}, {}{further}{bias})", count("features"), count("kernel"));
            (layer, [&default, &default])
        }
        Op::Conv2d(conv) => {
            // A kernel or a stride that is a hyperparameter is square.
            let literal = sizes(&[conv.kernel.height, conv.kernel.width]);
            let kernel = if is_open("kernel") { count("kernel") } else { literal };
            let literal = sizes(&[conv.stride.height, conv.stride.width]);
            let stride = if is_open("stride") { count("stride") } else { literal };
            let (top, left, bottom, right) = conv.padding.for_kernel(conv.kernel);
            let padding = match conv.padding {
                Padding::Same if is_open("kernel") => format!("({kernel} - 1) // 2"),
                _ if (top, left) == (bottom, right) => sizes(&[top, left]),
                // Zeros that differ from side to side are added before the layer.
                _ => "0".to_owned(),
            };
            let further = further(&stride, &padding);
            (format!("nn.Conv2d({inputs}, {}, {kernel}{further}{bias})", count("features")), [&default, &default])
        }
        Op::Conv3d(conv) => {
            let sides = conv.padding.for_kernel(conv.kernel);
            let even = sides.iter().all(|(before, behind)| before == behind);
            let padding = if even { sizes(&sides.map(|(before, _)| before)) } else { "0".to_owned() };
            let (kernel, further) = (sizes(&conv.kernel.0), further(&sizes(&conv.stride.0), &padding));
            (format!("nn.Conv3d({inputs}, {}, {kernel}{further}{bias})", count("features")), [&default, &default])
        }
        Op::LayerNorm(_) => {
            (format!("nn.LayerNorm({inputs}, eps={})", number("eps", Wanted::Float)), [&Init::ONE, &Init::ZERO])
        }
        Op::GroupNorm(_) => (
            format!("nn.GroupNorm({}, {inputs}, eps={})", count("groups"), number("eps", Wanted::Float)),
            [&Init::ONE, &Init::ZERO],
        ),
        Op::RmsNorm(own) => {
            let heads = count("heads");
            let width = match Module::number(given, "in") {
                _ if own.heads == 1 => inputs,
                Some(Number::Of(..)) => format!("({inputs}) // {heads}"),
                _ => format!("{inputs} // {heads}"),
            };
            (format!("nn.RMSNorm({width}, eps={})", number("eps", Wanted::Float)), [&Init::ONE, &Init::ZERO])
        }
        Op::Embedding(_) => {
            let layer = format!("nn.Embedding({}, {})", count("classes"), count("features"));
            (layer, [&Init::Normal { mean: 0.0, std: 1.0 }, &Init::ZERO])
        }
        Op::MpLinear(_) => {
            let layer = format!("ops.MpLinear({inputs}, {}, {})", count("features"), number("eps", Wanted::Float));
            context.need("MpLinear");
            (layer, [&Init::Normal { mean: 0.0, std: 1.0 }, &Init::ZERO])
        }
        Op::MpConv2d(conv) => {
            let (height, width) = (conv.kernel.height, conv.kernel.width);
            let (features, eps) = (count("features"), number("eps", Wanted::Float));
            context.need("MpConv2d");
            let layer = format!("ops.MpConv2d({inputs}, {features}, ({height}, {width}), {eps})");
            (layer, [&Init::Normal { mean: 0.0, std: 1.0 }, &Init::ZERO])
        }
        _ => return Err(nothing()),
    };
    Ok(started(context, layer, &parameters, usual))
}

/// Stride and padding, where they are not what PyTorch assumes.
fn further(stride: &str, padding: &str) -> String {
    let mut text = String::new();
    if stride != "1" {
        text.push_str(&format!(", stride={stride}"));
    }
    if padding != "0" {
        text.push_str(&format!(", padding={padding}"));
    }
    text
}

/// The layer, drawn anew where the spec does not want what PyTorch does.
fn started(context: &mut Context<'_>, layer: String, parameters: &[&Parameter], usual: [&Init; 2]) -> String {
    let mut starts = String::new();
    for (own, usual) in parameters.iter().zip(usual) {
        if own.init != *usual {
            let start = initializer(context, &own.init, own.fans, false);
            starts.push_str(&format!(", {}={start}", own.name));
        }
    }
    if starts.is_empty() { layer } else { context.helper("started", &format!("{layer}{starts}")) }
}

/// A parameter by itself: the tensor that it starts as.
pub(super) fn raw(context: &mut Context<'_>, numbers: &Numbers<'_>, op: &Op, own: &Parameter, given: &Given) -> String {
    let dims: Vec<u64> = context.graph.node(own.node).ty.dims.iter().filter_map(|dim| dim.known()).collect();
    let number = |name: &str| Module::number(given, name).map(|number| numbers.render(number, Wanted::Whole));
    // The shape of the value, where it is stored as it is, has expressions for its sizes.
    let lead = own.shape.len().saturating_sub(dims.len());
    let plain = matches!(op, Op::Parameter(_)) && own.shape.get(lead..) == Some(&dims[..]);
    let size = |(at, size): (usize, &u64)| {
        let open = at.checked_sub(lead).filter(|_| plain).and_then(|at| number(&format!("size{at}")));
        open.unwrap_or_else(|| size.to_string())
    };
    let shape = own.shape.iter().enumerate().map(size).collect::<Vec<_>>().join(", ");
    match &own.init {
        Init::Constant(value) if *value == 0.0 => format!("torch.zeros({})", nonempty(&shape)),
        Init::Constant(value) if *value == 1.0 => format!("torch.ones({})", nonempty(&shape)),
        Init::Constant(value) => format!("torch.full({}, {})", tuple(&shape), float(*value)),
        Init::SinCos2d(grid) => {
            let size = |name: &str| number(name).unwrap_or_else(|| "1".to_owned());
            let base = grid.base.map_or("None".to_owned(), float);
            let arguments = [size("rows"), size("columns"), size("size1"), base, float(grid.scale)].join(", ");
            let values = context.helper("sincos_values", &arguments);
            format!("{values}.view({shape})")
        }
        Init::Filter { taps } => context.helper("filter_values", &self::taps(taps)),
        Init::Values(values) => format!("torch.tensor({}).view({})", taps(values), tuple(&shape)),
        Init::Normal { mean, std } if (*mean, *std) == (0.0, 1.0) => format!("torch.randn({})", nonempty(&shape)),
        init => {
            let start = initializer(context, init, own.fans, true);
            let further = if shape.is_empty() { String::new() } else { format!(", {shape}") };
            context.helper("drawn", &format!("{start}{further}"))
        }
    }
}

/// A shape for functions that need one argument.
fn nonempty(shape: &str) -> &str {
    if shape.is_empty() { "()" } else { shape }
}

fn tuple(shape: &str) -> String {
    match shape {
        "" => "()".to_owned(),
        shape if shape.contains(", ") => format!("({shape})"),
        shape => format!("({shape},)"),
    }
}

/// The statement that puts a tensor into a module.
pub(super) fn stored(owner: &str, name: &str, tensor: &str, storage: Storage) -> String {
    let plain = text::is_attribute(name);
    let parameter = match storage {
        Storage::Buffer => return format!("{owner}.register_buffer(\"{name}\", {tensor})"),
        Storage::Frozen => format!("nn.Parameter({tensor}, requires_grad=False)"),
        Storage::Trained => format!("nn.Parameter({tensor})"),
    };
    if plain {
        format!("{owner}.{name} = {parameter}")
    } else {
        format!("{owner}.register_parameter(\"{name}\", {parameter})")
    }
}

/// How a parameter starts, as a function of a tensor and its fans.
///
/// Where `by_itself`, no layer tells the fans, and numbers stand for what follows from them.
fn initializer(context: &mut Context<'_>, init: &Init, fans: Fans, by_itself: bool) -> String {
    let own_fans = |given: &GivenFans| *given == GivenFans::default() && !by_itself;
    let mut gained = |name: &'static str, gain: f64| {
        let gain = if gain == 1.0 { String::new() } else { float(gain) };
        context.helper(name, &gain)
    };
    match init {
        Init::XavierUniform { gain, fans } if own_fans(fans) => gained("xavier_uniform", *gain),
        Init::XavierNormal { gain, fans } if own_fans(fans) => gained("xavier_normal", *gain),
        Init::KaimingUniform { gain, fans } if own_fans(fans) => gained("kaiming_uniform", *gain),
        Init::KaimingNormal { gain, fans } if own_fans(fans) => gained("kaiming_normal", *gain),
        Init::Constant(value) if *value == 0.0 => context.named("zeros"),
        Init::Constant(value) if *value == 1.0 => context.named("ones"),
        Init::Constant(value) => context.helper("constant", &float(*value)),
        Init::Uniform { low, high } => context.helper("uniform", &format!("{}, {}", float(*low), float(*high))),
        Init::Normal { mean, std } if *mean == 0.0 => context.helper("normal", &float(*std)),
        Init::Normal { mean, std } => context.helper("normal", &format!("{}, mean={}", float(*std), float(*mean))),
        // With fans that the spec gives, as the numbers they come to.
        Init::XavierUniform { .. } | Init::KaimingUniform { .. } => {
            let bound = init.bound(fans).unwrap_or(0.0);
            context.helper("uniform", &format!("{}, {}", float(-bound), float(bound)))
        }
        Init::XavierNormal { .. } | Init::KaimingNormal { .. } => {
            context.helper("normal", &float(init.mean_and_std(fans).1))
        }
        // Only raw parameters start as tables.
        Init::SinCos2d(_) | Init::Filter { .. } | Init::Values(_) => context.named("zeros"),
    }
}
