"""Records what PyTorch gives for the models of `cases.arch`: inputs, parameters, outputs, gradients of mean(out^2).

    python tests/reference/mechanisms/record.py

Needs torch, diffusers and safetensors. Each function below is written from the paper or the public code it names, with
PyTorch's own layers, and knows nothing of archc. Numbers are computed in f64 and kept in f32.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers.utils.torch_utils import apply_freeu
from safetensors.torch import save_file

CASES = {}


def case(inputs, **parameters):
    """`inputs`: kinds of what goes in; `parameters`: shapes by name, with dots written as two underscores."""

    def add(f):
        CASES[f.__name__] = (inputs, {name.replace("__", "."): shape for name, shape in parameters.items()}, f)
        return f

    return add


def linear(w, name, x):
    return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def conv(w, name, x):
    weight = w[f"{name}.weight"]
    return F.conv2d(x, weight, w.get(f"{name}.bias"), padding=weight.shape[-1] // 2)


def group_norm(w, name, x, groups):
    return F.group_norm(x, groups, w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)


def layer_norm(w, name, x, eps=1e-5):
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], eps)


def over_positions(v):
    return v[:, :, None, None]


def heads_of(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def attend(q, k, v, heads, norms=(None, None)):
    q, k, v = (heads_of(t, heads) for t in (q, k, v))
    q, k = (t if n is None else F.rms_norm(t, t.shape[-1:], n, 1e-6) for t, n in zip((q, k), norms))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def mlp(w, name, x):
    return linear(w, f"{name}.fc2", F.gelu(linear(w, f"{name}.fc1", x)))


def tokens(x):
    return x.flatten(2).transpose(1, 2)


def image(t, like):
    return t.transpose(1, 2).unflatten(2, like.shape[2:])


MLP = dict(mlp__fc1__weight=(12, 8), mlp__fc1__bias=(12,), mlp__fc2__weight=(8, 12), mlp__fc2__bias=(8,))
INNER_MLP = {f"m__{name}": shape for name, shape in MLP.items()}
NORM = dict(m__norm__weight=(8,), m__norm__bias=(8,))
IMAGE6, IMAGE4, TOKENS = dict(x="image 6"), dict(x="image 4"), dict(x="tokens 8")


@case(dict(x="image 6", c="vector 5"), m__projection__weight=(6, 5), m__projection__bias=(6,))
def add_condition(w, x, c):
    return x + over_positions(linear(w, "m.projection", F.silu(c)))


@case(dict(x="image 6", c="vector 5"), m__projection__weight=(12, 5), m__projection__bias=(12,))
def film(w, x, c):
    scale, shift = over_positions(linear(w, "m.projection", c)).chunk(2, dim=1)
    return (1 + scale) * x + shift


@case(
    dict(x="image 6", c="vector 5"),
    m__norm__weight=(6,), m__norm__bias=(6,), m__projection__weight=(12, 5), m__projection__bias=(12,),
)
def ada_gn(w, x, c):
    # openai/guided-diffusion, ResBlock with use_scale_shift_norm.
    scale, shift = over_positions(linear(w, "m.projection", F.silu(c))).chunk(2, dim=1)
    return group_norm(w, "m.norm", x, 2) * (1 + scale) + shift


@case(dict(x="tokens 8", c="vector 5"), m__modulation__weight=(16, 5), m__modulation__bias=(16,))
def ada_ln(w, x, c):
    # facebookresearch/DiT, FinalLayer.
    shift, scale = linear(w, "m.modulation", F.silu(c)).chunk(2, dim=1)
    return F.layer_norm(x, (8,), eps=1e-6) * (1 + scale[:, None]) + shift[:, None]


@case(dict(x="tokens 8", c="vector 5"), m__modulation__weight=(24, 5), m__modulation__bias=(24,), **INNER_MLP)
def ada_ln_zero(w, x, c):
    # facebookresearch/DiT, DiTBlock.
    shift, scale, gate = linear(w, "m.modulation", F.silu(c))[:, None].chunk(3, dim=2)
    return x + gate * mlp(w, "m.mlp", F.layer_norm(x, (8,), eps=1e-6) * (1 + scale) + shift)


@case(
    dict(x="tokens 8", y="context 6"),
    m__to_q__weight=(8, 8), m__to_q__bias=(8,), m__to_k__weight=(8, 6), m__to_k__bias=(8,),
    m__to_v__weight=(8, 6), m__to_v__bias=(8,), m__to_out__0__weight=(8, 8), m__to_out__0__bias=(8,),
)
def cross_attention(w, x, y):
    q, k, v = linear(w, "m.to_q", x), linear(w, "m.to_k", y), linear(w, "m.to_v", y)
    return linear(w, "m.to_out.0", attend(q, k, v, 2))


@case(
    TOKENS,
    m__qkv__weight=(24, 8), m__qkv__bias=(24,), m__q_norm__weight=(4,), m__k_norm__weight=(4,),
    m__proj__weight=(8, 8), m__proj__bias=(8,),
)
def qk_norm(w, x):
    q, k, v = linear(w, "m.qkv", x).chunk(3, dim=-1)
    norms = (w["m.q_norm.weight"], w["m.k_norm.weight"])
    return linear(w, "m.proj", attend(q, k, v, 2, norms))


JOINT = {
    f"m__{name}__{part}": shape
    for name in ("to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj", "to_out__0", "to_add_out")
    for part, shape in (("weight", (8, 8)), ("bias", (8,)))
}
JOINT_NORMS = {f"m__{name}__weight": (4,) for name in ("norm_q", "norm_k", "norm_added_q", "norm_added_k")}


@case(dict(x="tokens 8", y="context 8"), **JOINT, **JOINT_NORMS)
def joint_attention(w, x, y):
    # Esser et al. 2024, figure 2b; keys, queries and values of both streams in one sequence.
    def normal(name, t):
        parts = heads_of(t, 2)
        return F.rms_norm(parts, (4,), w[f"m.{name}.weight"], 1e-6).transpose(1, 2).flatten(2)

    q = torch.cat([normal("norm_q", linear(w, "m.to_q", x)), normal("norm_added_q", linear(w, "m.add_q_proj", y))], 1)
    k = torch.cat([normal("norm_k", linear(w, "m.to_k", x)), normal("norm_added_k", linear(w, "m.add_k_proj", y))], 1)
    v = torch.cat([linear(w, "m.to_v", x), linear(w, "m.add_v_proj", y)], 1)
    mixed = attend(q, k, v, 2)
    own, other = mixed[:, : x.shape[1]], mixed[:, x.shape[1] :]
    return torch.cat([linear(w, "m.to_out.0", own), linear(w, "m.to_add_out", other)], 1)


@case(
    dict(x="tokens 8", y="context 8"),
    m__attn__qkv__weight=(24, 8), m__attn__qkv__bias=(24,), m__attn__proj__weight=(8, 8), m__attn__proj__bias=(8,),
)
def in_sequence(w, x, y):
    q, k, v = linear(w, "m.attn.qkv", torch.cat([y, x], 1)).chunk(3, dim=-1)
    return linear(w, "m.attn.proj", attend(q, k, v, 2))[:, y.shape[1] :]


@case(
    dict(x="vector 3", y="vector 5"),
    m__linear_1__weight=(7, 17), m__linear_1__bias=(7,), m__linear_2__weight=(7, 7), m__linear_2__bias=(7,),
)
def micro_conditioning(w, x, y):
    # diffusers, UNet2DConditionModel.get_aug_embed for `text_time`: Timesteps(flip_sin_to_cos=True) of each number.
    frequencies = torch.exp(-torch.log(torch.tensor(10000.0, dtype=x.dtype)) * torch.arange(2, dtype=x.dtype) / 2)
    angles = x[:, :, None] * frequencies
    sines = torch.cat([angles.cos(), angles.sin()], -1).flatten(1)
    return linear(w, "m.linear_2", F.silu(linear(w, "m.linear_1", torch.cat([y, sines], 1))))


PAIR = dict(x="image 6", y="image 6")
GN = dict(norm__weight=(6,), norm__bias=(6,))


@case(PAIR, **GN)
def skip_fixed(w, x, y):
    return (x + 0.7 * group_norm(w, "norm", y, 3)) / (1 + 0.7**2) ** 0.5


@case(PAIR, **GN, alpha=())
def skip_learned(w, x, y):
    return (x + w["alpha"] * group_norm(w, "norm", y, 3)) / (1 + w["alpha"] ** 2).sqrt()


@case(PAIR, **GN, alpha=(6,))
def skip_correlated(w, x, y):
    alpha = w["alpha"][:, None, None]
    variance = 1.5 + alpha**2 * 1.2 + 2 * alpha * 0.4 * (1.5 * 1.2) ** 0.5
    return (x + alpha * group_norm(w, "norm", y, 3)) / variance.sqrt()


@case(PAIR, map__weight=(6, 6, 1, 1), map__bias=(6,))
def skip_measured(w, x, y):
    # The mean square of what is normalised is constant; behind a map it is not.
    total = x + 0.7 * y
    return conv(w, "map", total / (1e-4 + total.square().mean(dim=1, keepdim=True).sqrt()))


@case(PAIR, **GN, gate__squeeze__weight=(4, 12), gate__squeeze__bias=(4,), gate__excite__weight=(6, 4), gate__excite__bias=(6,))
def skip_gated(w, x, y):
    # Hu et al. 2018, of both features; the gate sees the skip as it is scaled.
    skip = 0.8 * group_norm(w, "norm", y, 3)
    pooled = torch.cat([x.mean(dim=(2, 3)), skip.mean(dim=(2, 3))], 1)
    gate = over_positions(torch.sigmoid(linear(w, "gate.excite", F.relu(linear(w, "gate.squeeze", pooled)))))
    return (x + gate * skip) / (1 + (0.8 * gate) ** 2).sqrt()


@case(dict(x="image 6", y="image 6", level="scalar"), gate__slope=(6,), gate__bias=(6,))
def skip_by_noise(w, x, y, level):
    gate = over_positions(torch.sigmoid(F.softplus(w["gate.slope"]) * level[:, None] + w["gate.bias"]))
    return (x + gate * y) / (1 + gate**2).sqrt()


@case(dict(x="image 6", level="scalar"), gate__slope=(1,), gate__bias=(1,))
def noise_gate(w, x, level):
    return x * over_positions(torch.sigmoid(w["gate.bias"] - F.softplus(w["gate.slope"]) * level[:, None]))


UNEQUAL = dict(x="image 4", y="image 6")


@case(UNEQUAL, gate__mask__weight=(1, 10, 3, 3), gate__mask__bias=(1,))
def spatial(w, x, y):
    return y * torch.sigmoid(conv(w, "gate.mask", torch.cat([x, y], 1)))


@case(
    UNEQUAL,
    gate__decoder__weight=(3, 4, 1, 1), gate__decoder__bias=(3,), gate__saved__weight=(3, 6, 1, 1),
    gate__mask__weight=(1, 3, 1, 1), gate__mask__bias=(1,),
)
def additive(w, x, y):
    # Oktay et al. 2018, equation 1.
    return y * torch.sigmoid(conv(w, "gate.mask", F.relu(conv(w, "gate.decoder", x) + conv(w, "gate.saved", y))))


@case(
    UNEQUAL,
    gate__norm_decoder__weight=(4,), gate__norm_decoder__bias=(4,), gate__norm_saved__weight=(6,),
    gate__norm_saved__bias=(6,), gate__to_q__weight=(6, 4), gate__to_k__weight=(6, 6), gate__to_v__weight=(6, 6),
    gate__to_out__weight=(6, 6), gate__to_out__bias=(6,),
)
def by_attention(w, x, y):
    own = layer_norm(w, "gate.norm_decoder", tokens(x), 1e-6)
    source = layer_norm(w, "gate.norm_saved", tokens(y), 1e-6)
    mixed = attend(*(linear(w, f"gate.{n}", t) for n, t in (("to_q", own), ("to_k", source), ("to_v", source))), 2)
    return y * image(torch.sigmoid(linear(w, "gate.to_out", mixed)), y)


@case(UNEQUAL, m__project__weight=(4, 10, 1, 1), m__project__bias=(4,))
def projected(w, x, y):
    return conv(w, "m.project", torch.cat([x, y], 1))


@case(dict(x="tokens 8", y="tokens 6"), m__project__weight=(8, 14), m__project__bias=(8,))
def projected_tokens(w, x, y):
    return linear(w, "m.project", torch.cat([x, y], 2))


@case(
    UNEQUAL,
    m__norm_decoder__weight=(4,), m__norm_decoder__bias=(4,), m__norm_saved__weight=(6,), m__norm_saved__bias=(6,),
    m__to_q__weight=(4, 4), m__to_k__weight=(4, 6), m__to_v__weight=(4, 6), m__to_out__weight=(4, 4), m__to_out__bias=(4,),
)
def attended(w, x, y):
    own = layer_norm(w, "m.norm_decoder", tokens(x), 1e-6)
    source = layer_norm(w, "m.norm_saved", tokens(y), 1e-6)
    mixed = attend(*(linear(w, f"m.{n}", t) for n, t in (("to_q", own), ("to_k", source), ("to_v", source))), 2)
    return x + image(linear(w, "m.to_out", mixed), x)


def masked(x, mask):
    """`mask` of frequencies as `fftfreq` numbers them."""
    spectrum = torch.fft.fft2(x)
    rows, columns = (torch.fft.fftfreq(n, 1 / n).round() for n in x.shape[-2:])
    return torch.fft.ifft2(spectrum * mask(rows[:, None], columns[None, :])).real


@case(dict(x="image 3"))
def low_and_high(w, x):
    return masked(x, lambda u, v: torch.where((u.abs() <= 1) & (v.abs() <= 1), 0.4, 1.3))


@case(dict(x="image 3"))
def shifted_band(w, x):
    low = lambda f: (f >= -2) & (f < 2)
    return masked(x, lambda u, v: torch.where(low(u) & low(v), 0.3, 1.0))


@case(dict(x="image 5", y="image 3"))
def free_u(w, x, y):
    # The public function, at its first level: `b1` and `s1`. It works in place.
    hidden, skip = apply_freeu(0, x.clone(), y, s1=0.3, s2=0.0, b1=1.4, b2=0.0)
    return torch.cat([hidden, skip], 1)


@case(TOKENS, **MLP)
def scaled_branch(w, x):
    return x + 0.3 * mlp(w, "mlp", x)


@case(TOKENS, **MLP)
def scaled_sum(w, x):
    # NVlabs/edm, UNetBlock: `skip_scale` multiplies the sum.
    return 0.5**0.5 * (x + mlp(w, "mlp", x))


@case(TOKENS, **MLP)
def kept_variance(w, x):
    return (1 - 0.5**2) ** 0.5 * x + 0.5 * mlp(w, "mlp", x)


@case(TOKENS, **MLP, gamma=(8,))
def layer_scale(w, x):
    return x + w["gamma"] * mlp(w, "mlp", x)


@case(TOKENS, **MLP, alpha=())
def skip_init(w, x):
    return x + w["alpha"] * mlp(w, "mlp", x)


@case(TOKENS, **INNER_MLP, **NORM)
def pre_norm(w, x):
    return x + 0.5 * mlp(w, "m.mlp", layer_norm(w, "m.norm", x))


@case(TOKENS, **INNER_MLP, **NORM)
def post_norm(w, x):
    return layer_norm(w, "m.norm", x + mlp(w, "m.mlp", x))


@case(TOKENS, **INNER_MLP, **NORM, m__out_norm__weight=(8,), m__out_norm__bias=(8,))
def sandwich_norm(w, x):
    return x + layer_norm(w, "m.out_norm", mlp(w, "m.mlp", layer_norm(w, "m.norm", x)))


@case(TOKENS, **INNER_MLP, **NORM)
def deep_norm(w, x):
    # microsoft/unilm DeepNet: alpha = (2 * layers)^(1/4).
    return layer_norm(w, "m.norm", (2 * 8) ** 0.25 * x + mlp(w, "m.mlp", x))


def gated(hidden, bias=True):
    shapes = dict(m__fc1__weight=(2 * hidden, 8), m__fc2__weight=(8, hidden))
    return shapes | (dict(m__fc1__bias=(2 * hidden,), m__fc2__bias=(8,)) if bias else {})


def gated_mlp(w, x, act):
    value, gate = linear(w, "m.fc1", x).chunk(2, dim=-1)
    return linear(w, "m.fc2", value * act(gate))


# 2/3 of 4 * 8, up to a multiple of 8; 2/3 of 3 * 8, up to a multiple of 4.
@case(TOKENS, **gated(24))
def glu(w, x):
    return linear(w, "m.fc2", F.glu(linear(w, "m.fc1", x)))


@case(TOKENS, **gated(24, bias=False))
def re_glu(w, x):
    return gated_mlp(w, x, F.relu)


@case(TOKENS, **gated(16))
def ge_glu(w, x):
    return gated_mlp(w, x, F.gelu)


@case(TOKENS, **gated(24))
def swi_glu(w, x):
    return gated_mlp(w, x, F.silu)


def normalized(weight):
    """NVlabs/edm2 `normalize` over all but the first axis, and the division by the root of the fan-in."""
    fan_in = weight[0].numel()
    norm = weight.flatten(1).norm(dim=1) / fan_in**0.5
    return weight / (1e-4 + norm.reshape(-1, *[1] * (weight.dim() - 1))) / fan_in**0.5


@case(UNEQUAL, conv__weight=(8, 10, 3, 3))
def magnitude(w, x, y):
    # NVlabs/edm2, training/networks_edm2.py: mp_silu, mp_cat, normalize, MPConv.
    a, b, t = F.silu(x) / 0.596, y, 0.3
    c = ((4 + 6) / ((1 - t) ** 2 + t**2)) ** 0.5
    both = torch.cat([c / 4**0.5 * (1 - t) * a, c / 6**0.5 * t * b], 1)
    normal = both / (1e-4 + both.norm(dim=1, keepdim=True) / 10**0.5)
    return F.conv2d(normal, normalized(w["conv.weight"]), padding=1)


@case(dict(x="tokens 8", y="tokens 8"), map__weight=(8, 8))
def magnitude_sum(w, x, y):
    return x.lerp(F.linear(y, normalized(w["map.weight"])), 0.3) / (0.7**2 + 0.3**2) ** 0.5


# Odd sizes; a single sample in a narrow image, and a single token.
SIZES = [dict(batch=2, image=(5, 7), tokens=5, context=3), dict(batch=1, image=(3, 1), tokens=1, context=1)]


def shape(kind, sizes):
    batch, (word, *channels) = sizes["batch"], kind.split()
    if word in ("scalar", "vector"):
        return (batch, *map(int, channels))
    if word == "image":
        return (batch, *map(int, channels), *sizes["image"])
    return (batch, sizes[word], *map(int, channels))


def record():
    torch.manual_seed(1)
    draw = lambda size: torch.randn(size).double().requires_grad_()
    kept = {}
    for name, (inputs, parameters, f) in CASES.items():
        for index, sizes in enumerate(SIZES):
            x = {own: draw(shape(kind, sizes)) for own, kind in inputs.items()}
            w = {own: draw(size) for own, size in parameters.items()}
            out = f(w, **x)
            out.square().mean().backward()
            for group, tensors in (("in", x), ("weight", w)):
                for own, tensor in tensors.items():
                    kept[f"{name}/{index}/{group}/{own}"] = tensor.detach()
                    kept[f"{name}/{index}/grad_{group}/{own}"] = tensor.grad
            kept[f"{name}/{index}/out"] = out.detach()
    path = Path(__file__).with_name("cases.safetensors")
    save_file({own: tensor.float().contiguous() for own, tensor in kept.items()}, path)
    print(f"{len(CASES)} mechanisms, {len(kept)} tensors, {path.stat().st_size} bytes")


if __name__ == "__main__":
    record()
