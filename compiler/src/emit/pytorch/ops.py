"""What PyTorch lacks."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def zeros(tensor, fan_in, fan_out):
    """All zero."""
    nn.init.zeros_(tensor)


def ones(tensor, fan_in, fan_out):
    """All one."""
    nn.init.ones_(tensor)


def constant(value):
    """All of one value."""
    return lambda tensor, fan_in, fan_out: nn.init.constant_(tensor, value)


def uniform(low, high):
    """Uniform between two numbers."""
    return lambda tensor, fan_in, fan_out: nn.init.uniform_(tensor, low, high)


def normal(std, mean=0.0):
    """Normal."""
    return lambda tensor, fan_in, fan_out: nn.init.normal_(tensor, mean, std)


def xavier_uniform(gain=1.0):
    """Uniform up to `gain * sqrt(6 / (fan_in + fan_out))`, the fans being those of the weight."""

    def start(tensor, fan_in, fan_out):
        bound = gain * math.sqrt(6 / (fan_in + fan_out))
        nn.init.uniform_(tensor, -bound, bound)

    return start


def xavier_normal(gain=1.0):
    """Normal with deviation `gain * sqrt(2 / (fan_in + fan_out))`, the fans being those of the weight."""
    return lambda tensor, fan_in, fan_out: nn.init.normal_(tensor, std=gain * math.sqrt(2 / (fan_in + fan_out)))


def kaiming_uniform(gain=1.0):
    """Uniform up to `gain * sqrt(3 / fan_in)`, the fan being that of the weight."""

    def start(tensor, fan_in, fan_out):
        bound = gain * math.sqrt(3 / fan_in)
        nn.init.uniform_(tensor, -bound, bound)

    return start


def kaiming_normal(gain=1.0):
    """Normal with deviation `gain / sqrt(fan_in)`, the fan being that of the weight."""
    return lambda tensor, fan_in, fan_out: nn.init.normal_(tensor, std=gain / math.sqrt(fan_in))


def started(layer, weight=None, bias=None):
    """The layer with its weight and its bias drawn anew; what is not given stays as PyTorch draws it."""
    shape = layer.weight.shape
    fan_in, fan_out = math.prod(shape[1:]), shape[0] * math.prod(shape[2:])
    with torch.no_grad():
        for tensor, start in ((layer.weight, weight), (getattr(layer, "bias", None), bias)):
            if start is not None:
                start(tensor, fan_in, fan_out)
    return layer


def drawn(start, *shape):
    """A tensor that starts like that."""
    tensor = torch.empty(shape)
    start(tensor, 1, 1)
    return tensor


def published_names(model: nn.Module) -> dict[str, str]:
    """Names in the checkpoint by the names that PyTorch gives: parts that `INLINE` lists are left out of them."""
    names = {}

    def walk(module, place, outer):
        hidden = getattr(module, "INLINE", ())
        own = {**module._parameters, **module._buffers}
        for name in (name for name, tensor in own.items() if tensor is not None):
            names[place + name] = outer.rstrip(".") if name in hidden else outer + name
        for name, child in module.named_children():
            walk(child, f"{place}{name}.", outer if name in hidden else f"{outer}{name}.")

    walk(model, "", "")
    return {place: name for place, name in names.items() if place != name}


def publish(model: nn.Module):
    """Lets the state of a model have the names of the checkpoint."""
    names = published_names(model)

    def saved(module, state, prefix, *_):
        for place, name in names.items():
            state[prefix + name] = state.pop(prefix + place)

    def loaded(module, state, prefix, *_):
        for place, name in names.items():
            if prefix + name in state:
                state[prefix + place] = state.pop(prefix + name)

    model.register_state_dict_post_hook(saved)
    model.register_load_state_dict_pre_hook(loaded)


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int, bias: Tensor | None = None, causal: bool = False) -> Tensor:
    """Multi-head attention of `[batch, tokens, channels]`, the channels of a head side by side.

    `bias [batch, heads, queries, keys]` is added to the scores. Its axes but the last may be one.
    """
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    if causal and bias is not None:
        places = torch.arange(k.shape[2], device=k.device)
        bias, causal = bias.masked_fill(places > places[:, None], -math.inf), False
    return F.scaled_dot_product_attention(q, k, v, bias, is_causal=causal).transpose(1, 2).flatten(2)


def quick_gelu(x: Tensor) -> Tensor:
    """`x * sigmoid(1.702 x)`"""
    return x * torch.sigmoid(1.702 * x)


def rms_norm(x: Tensor, heads: int, eps: float, weight: Tensor | None = None) -> Tensor:
    """Brings the channels of each head to unit root mean square; one weight serves all heads."""
    x = x.unflatten(-1, (heads, -1))
    return F.rms_norm(x, x.shape[-1:], weight, eps).flatten(-2)


def magnitude(x: Tensor, axis: int, eps: float) -> Tensor:
    """`eps` plus the root mean square along an axis. The tiny summand keeps the slope of the root finite at zero."""
    return (x.square().mean(axis, keepdim=True) + 1e-30).sqrt() + eps


def pixel_norm(x: Tensor, axis: int, groups: int, eps: float) -> Tensor:
    """Divides each group of channels, at each position by itself, by `eps` plus its root mean square."""
    x = x.unflatten(axis, (groups, -1))
    return (x / magnitude(x, axis + 1, eps)).flatten(axis, axis + 1)


def unit_rows(weight: Tensor, eps: float) -> Tensor:
    """Weights of unit length for each output, up to `eps`."""
    rows = weight.flatten(1)
    return (rows / magnitude(rows, 1, eps) / math.sqrt(rows.shape[1])).view_as(weight)


class MpLinear(nn.Module):
    """A linear map whose rows are brought to unit length at each use. Karras et al. 2024."""

    def __init__(self, inputs: int, features: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features, inputs))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, unit_rows(self.weight, self.eps))


class MpConv2d(nn.Module):
    """A convolution whose filters are brought to unit length at each use. Karras et al. 2024."""

    def __init__(self, inputs: int, features: int, kernel: tuple[int, int], eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features, inputs, *kernel))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, unit_rows(self.weight, self.eps), padding="same")


def waves(t: Tensor, features: int, max_period: float, shift: float) -> tuple[Tensor, Tensor]:
    """Frequency `i` of `half = features / 2` is `max_period ** (-i / (half - shift))`."""
    half = features // 2
    places = torch.arange(half, dtype=torch.float32, device=t.device)
    angles = t.float().unsqueeze(-1) * torch.exp(-math.log(max_period) * places / (half - shift))
    return angles.cos(), angles.sin()


def sinusoid(t: Tensor, features: int, max_period: float, shift: float, sin_first: bool = False) -> Tensor:
    """Cosines, then sines, of numbers at geometrically spaced frequencies, along a new last axis."""
    cosines, sines = waves(t, features, max_period, shift)
    return torch.cat((sines, cosines) if sin_first else (cosines, sines), dim=-1)


def indices(count: int, device: torch.device) -> Tensor:
    """The numbers 0, 1, .. as one token each."""
    return torch.arange(count, dtype=torch.float32, device=device).view(1, count, 1)


def relative_buckets(count: int, buckets: int, max_distance: int, device: torch.device) -> Tensor:
    """How far each token is from each other one, as a class, query by query.

    Half of the buckets are for keys at and before the query, half for those behind it; half of each are for one
    distance, the others grow up to `max_distance`.
    """
    side, exact = buckets // 2, buckets // 4
    places = torch.arange(count, device=device)
    offsets = places[None] - places[:, None]
    distances = offsets.abs()
    steps = (distances.clamp(min=exact).double() / exact).log() / math.log(max_distance / exact) * (side - exact)
    far = (exact + steps.long()).clamp(max=side - 1)
    return (torch.where(distances < exact, distances, far) + side * (offsets > 0)).view(1, -1)


def sincos_values(height: int, width: int, channels: int, base: float | None, scale: float) -> Tensor:
    """Sine-cosine positions of a grid, token by token, row by row. The first half of the channels encodes the column.

    Positions are `index * base / size`, or indices without a `base`, divided by `scale`.
    """

    def encoded(size):
        step = 1.0 if base is None else size / base
        places = (torch.arange(size, dtype=torch.float32) / step / scale).double()
        quarter = max(channels // 4, 1)
        angles = places[:, None] / 10000 ** (torch.arange(quarter, dtype=torch.float64) / quarter)
        return torch.cat((angles.sin(), angles.cos()), dim=1)

    columns = encoded(width)[None].expand(height, -1, -1)
    rows = encoded(height)[:, None].expand(-1, width, -1)
    return torch.cat((columns, rows), dim=2).flatten(0, 1).float()


def sincos_grid(
    height: int, width: int, channels: int, base: float | None, scale: float, device: torch.device
) -> Tensor:
    """Sine-cosine positions of a grid as one token for each cell."""
    return sincos_values(height, width, channels, base, scale).to(device)[None]


def crop_grid(x: Tensor, height: int, width: int) -> Tensor:
    """The middle `height` x `width` of the tokens of a square grid."""
    side = math.isqrt(x.shape[1])
    top, left = (side - height) // 2, (side - width) // 2
    x = x.unflatten(1, (side, side))[:, top : top + height, left : left + width]
    return x.flatten(1, 2)


def transpose_tokens(x: Tensor, folds: int) -> Tensor:
    """`[batch * folds, tokens, channels]` to `[batch * tokens, folds, channels]`."""
    return x.unflatten(0, (-1, folds)).transpose(1, 2).flatten(0, 1)


def unpatchify(x: Tensor, patch: int, height: int, width: int) -> Tensor:
    """Tokens of `patch * patch * channels` numbers to an image. Within a token: row, column, channel."""
    x = x.view(x.shape[0], height // patch, width // patch, patch, patch, -1)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(x.shape[0], -1, height, width)


def filter_values(taps: list[float]) -> Tensor:
    """The square filter made of taps, `[1, 1, taps, taps]`: their outer product, divided by its sum."""
    taps = torch.tensor(taps, dtype=torch.float64)
    return (taps.outer(taps) / taps.sum() ** 2).float()[None, None]


def resample(x: Tensor, filter: Tensor, factor: int, padding: int) -> Tensor:
    """Filters every channel by itself, and keeps every `factor`-th pixel."""
    channels = x.shape[1]
    filter = filter.to(x.dtype).expand(channels, -1, -1, -1)
    return F.conv2d(x, filter, stride=factor, padding=padding, groups=channels)


def resample_up(x: Tensor, filter: Tensor, factor: int, padding: int) -> Tensor:
    """Spreads pixels by `factor`, and filters every channel by itself."""
    channels = x.shape[1]
    filter = (filter * factor**2).to(x.dtype).expand(channels, -1, -1, -1)
    return F.conv_transpose2d(x, filter, stride=factor, padding=padding, groups=channels)


def gaussian(size: int, smaller: int, like: Tensor) -> Tensor:
    """What smooths an axis before it shrinks, `[taps]`; one tap where it does not."""
    deviation = max((size / smaller - 1) / 2, 1e-3)
    reach = int(max(4 * deviation, 3)) // 2 if deviation > 1e-3 else 0
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=like.device) / deviation) ** 2)
    return (taps / taps.sum()).to(like.dtype)


def resize(x: Tensor, height: int, width: int) -> Tensor:
    """Bicubic resizing, corners on corners; an axis that shrinks is smoothed by a Gaussian first."""
    channels = x.shape[1]
    rows, columns = gaussian(x.shape[2], height, x), gaussian(x.shape[3], width, x)
    x = F.pad(x, (columns.numel() // 2,) * 2 + (rows.numel() // 2,) * 2, mode="reflect")
    x = F.conv2d(x, columns.expand(channels, 1, 1, -1), groups=channels)
    x = F.conv2d(x, rows[:, None].expand(channels, 1, -1, 1), groups=channels)
    return F.interpolate(x, (height, width), mode="bicubic", align_corners=True)


def low_frequencies(size: int, radius: int, half_open: bool, like: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary part of the matrix that keeps the low frequencies of an axis."""
    half = size // 2
    last = radius - 1 if half_open else radius
    kept = torch.arange(max(-half, -radius), min(size - half - 1, last) + 1)
    places = torch.arange(size)
    turns = (kept * (places[:, None] - places)[..., None]) % size
    angles = 2 * math.pi * turns.double() / size
    return tuple((wave.sum(-1) / size).to(like) for wave in (angles.cos(), angles.sin()))


def fourier(x: Tensor, radius: int, low: float, high: float, half_open: bool) -> Tensor:
    """Multiplies frequencies of an image below a radius along both axes by `low`, all others by `high`.

    Those are the frequencies from `-radius` to `radius`, or, half open, to `radius - 1`.
    """
    rows, row_turns = low_frequencies(x.shape[2], radius, half_open, x)
    columns, column_turns = low_frequencies(x.shape[3], radius, half_open, x)
    # The real part of `(A + iB) x (C + iD)^T` is `A x C^T - B x D^T`, and `D^T` is `-D`.
    kept = rows @ x @ columns + row_turns @ x @ column_turns
    return x * high + kept * (low - high)


def slice_groups(x: Tensor, axis: int, groups: int, start: int, size: int) -> Tensor:
    """The same part of each of several groups that an axis consists of."""
    return x.unflatten(axis, (groups, -1)).narrow(axis + 1, start, size).flatten(axis, axis + 1)


def chunk_groups(x: Tensor, count: int, axis: int, groups: int) -> tuple[Tensor, ...]:
    """The equal parts of each of several groups of an axis, the first parts side by side, then the second ones."""
    parts = x.unflatten(axis, (groups, -1)).chunk(count, dim=axis + 1)
    return tuple(part.flatten(axis, axis + 1) for part in parts)


def softmax_positions(x: Tensor, axis: int) -> Tensor:
    """Softmax over all axes from `axis` on."""
    return x.flatten(axis).softmax(-1).view_as(x)


def repeat_each(x: Tensor, batch: int) -> Tensor:
    """Every entry of the batch as often as makes it `batch` long, in place."""
    return x.repeat_interleave(batch // x.shape[0], dim=0)


def repeat_all(x: Tensor, batch: int) -> Tensor:
    """All entries of the batch, one after the other, as often as makes it `batch` long."""
    return x.repeat(batch // x.shape[0], *[1] * (x.dim() - 1))


def drop_label(y: Tensor, rate: float, null: int, training: bool) -> Tensor:
    """In training, replaces labels by the null class with probability `rate`."""
    if not training:
        return y
    return torch.where(torch.rand(y.shape, device=y.device) < rate, null, y)


def drop_elements(x: Tensor, rate: float, training: bool) -> Tensor:
    """In training, sets elements to zero with probability `rate`."""
    return F.dropout(x, rate, training) * (1 - rate) if training else x


def drop_path(x: Tensor, rate: float, training: bool) -> Tensor:
    """In training, sets whole samples to zero with probability `rate` and divides the others by `1 - rate`."""
    return x * F.dropout(x.new_ones(x.shape[0], *[1] * (x.dim() - 1)), rate, training)


def drop_samples(x: Tensor, rate: float, training: bool) -> Tensor:
    """In training, sets whole samples to zero with probability `rate`."""
    return drop_path(x, rate, training) * (1 - rate) if training else x


def first_token(x: Tensor, marked: Tensor) -> Tensor:
    """The token at the first place that is marked."""
    return x[torch.arange(x.shape[0], device=x.device), marked.int().argmax(1)]


def end_token(x: Tensor, ids: Tensor, id: int | None = None) -> Tensor:
    """The token of each text at the first of its ids that is `id`, or at the first of its largest ids."""
    return first_token(x, ids == (ids.amax(1, keepdim=True) if id is None else id))
