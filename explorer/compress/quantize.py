"""Integer quantisers: symmetric weights per output channel, asymmetric activations per tensor."""

from __future__ import annotations

import math

import torch
from torch import nn

from explorer.settings.values import MAXIMUM_BITS

EXACT_BITS = 5
"""Up to this width the scale of least error is found exactly; above, the error is flat around its least."""
SCALE_FRACTIONS = 64
"""Clipping points tried for wide codes, and as many again around the best of them (assumed)."""
WIDE_CLIPPING = (0.5, 1.0)
"""Range of these clipping points, as fractions of the largest magnitude."""
VALUES_AT_ONCE = 2**22
"""Places sorted together in the exact search: 100 MB."""
VALUES_TRIED_AT_ONCE = 2**15
"""Weights times clipping points that are looked at together: a small layer takes the time of its arithmetic then."""
CLIPPED_POWERS = 5
"""Powers of two that are tried for an activation's scale, from that down which clips nothing."""
RANGE_FRACTIONS = 48
"""Clipping points tried for an activation, once for all candidates."""
SMALLEST_SCALE = 1e-30
"""Of a weight: times the scale of its input it is still a normal float32 number."""
SCALE_SIGNIFICAND = 8
"""Significant bits of the scales that a layer with a step has once its batch norm is folded: an error of at most 0.2 %
of a filter's output, far below that of its weights, saves two bytes for each filter of a coded file."""
SMALLEST_RANGE = 1e-30
"""An activation of a smaller range counts as zero: its scale would not be a normal float32 number."""


class ActivationQuantizer(nn.Module):
    """Round a tensor to `bits`-bit unsigned integers: x is replaced by scale * (q - zero_point).

    q = clip(round(x / scale) + zero_point, 0, 2^bits - 1) with halves rounded to even, as ONNX QuantizeLinear.
    """

    scale: torch.Tensor

    def __init__(self, bits: int, scale: float, zero_point: int) -> None:
        super().__init__()
        self.bits, self.zero_point = bits, zero_point
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Quantise and dequantise `x`, of any shape."""
        codes = torch.round(x / self.scale).add_(self.zero_point).clamp_(0, 2**self.bits - 1)
        return codes.sub_(self.zero_point).mul_(self.scale)

    def extra_repr(self) -> str:
        """Return width, scale and zero point."""
        return f"bits={self.bits}, scale={float(self.scale):.6g}, zero_point={self.zero_point}"


def find_weight_scales(weight: torch.Tensor, bits: int, per: str = "channel") -> torch.Tensor:
    """Return the scale (positive, one per output channel) that minimises the squared error of symmetric quantisation.

    Codes lie in -(2^(bits-1) - 1)..2^(bits-1) - 1; of 1 bit they are -1 and 1, and the scale is mean |w| (Rastegari et
    al., 2016). Up to EXACT_BITS the scale is the global optimum, above the best of a fine search. A channel of zeros
    gets scale 1, at 1 bit, where its codes are not 0, SMALLEST_SCALE.

    Args:
        weight: Of shape out_channels x ....
        per: "tensor" gives all channels the one scale that is best for all of them.
    """
    rows = weight.detach().flatten(1)
    if per == "tensor":
        return find_weight_scales(weight.detach().reshape(1, -1), bits).expand(len(rows)).contiguous()
    peak = rows.abs().amax(1)
    silent = peak == 0
    if bits == 1:
        scale = rows.abs().mean(1)
    elif bits <= EXACT_BITS:
        scale = _exact_scales(rows, code_limit(bits))
    else:
        scale = _searched_scales(rows, torch.where(silent, torch.ones_like(peak), peak), code_limit(bits))
    return torch.where(silent, torch.full_like(scale, SMALLEST_SCALE if bits == 1 else 1.0), scale)


def find_power_of_two_scales(
    weight: torch.Tensor, bits: int, per: str = "channel", gain: torch.Tensor | None = None
) -> torch.Tensor:
    """Return scales as `find_weight_scales` does that are powers of two once they are multiplied with a gain.

    Of the two around the best scale of any value, each channel, or with `per` "tensor" all, get that of the smaller
    squared error of weight times gain.

    Args:
        gain: What the batch norm behind the layer multiplies each output channel with; its sign does not matter.
    """
    gain = torch.ones_like(weight[:, :1].flatten(1)[:, 0]) if gain is None else gain.to(weight).abs()
    gain = torch.where(gain > 0, gain, 1.0)
    folded = weight.detach() * gain.view(-1, *(1,) * (weight.ndim - 1))
    lower = torch.ldexp(torch.ones_like(gain), torch.frexp(find_weight_scales(folded, bits, per))[1] - 1)
    errors = []
    for scale in (lower, 2 * lower):
        codes = quantize_weight(folded, scale, bits).flatten(1)
        error = (codes * scale[:, None] - folded.flatten(1)).square().sum(1)
        errors.append(error.sum().expand_as(error) if per == "tensor" else error)
    return torch.where(errors[1] < errors[0], 2 * lower, lower) / gain


def fit_step(weight: torch.Tensor, step: float) -> torch.Tensor:
    """Return the one scale (repeated for each output channel) that codes of 8 bits have at a step.

    It is the step wherever 127 of them reach the largest weight, and that weight at most, so that no layer is lost
    whole, whatever its relevance is.
    """
    peak = float(weight.detach().abs().max())
    scale = min(max(step, peak / code_limit(MAXIMUM_BITS)), peak) if peak > 0 else 1.0
    return torch.full_like(weight.detach().flatten(1)[:, 0], scale)


def round_significand(values: torch.Tensor) -> torch.Tensor:
    """Return positive numbers rounded to SCALE_SIGNIFICAND significant bits."""
    parts, exponents = torch.frexp(values)
    return torch.ldexp(torch.round(parts * 2**SCALE_SIGNIFICAND) * 2.0**-SCALE_SIGNIFICAND, exponents)


def round_to_power_of_two(values: torch.Tensor) -> torch.Tensor:
    """Return the power of two that is nearest, as a ratio, to each of some positive numbers; 0 for 0."""
    parts, exponents = torch.frexp(values)
    return torch.ldexp(torch.where(parts < math.sqrt(0.5), 0.5, 1.0) * (values > 0), exponents)


def raise_to_power_of_two(values: torch.Tensor) -> torch.Tensor:
    """Return the least power of two that is no less than each of some positive numbers; 0 for 0."""
    parts, exponents = torch.frexp(values)
    return torch.ldexp(torch.where(parts == 0.5, 0.5, 1.0) * (values > 0), exponents)


def code_limit(bits: int) -> int:
    """Return the largest magnitude of a symmetric `bits`-bit code; 1 for 1 bit, whose codes are -1 and 1."""
    return max(1, (1 << (bits - 1)) - 1)


def quantize_weight(weight: torch.Tensor, scale: torch.Tensor, bits: int) -> torch.Tensor:
    """Return integer codes (float tensor of `weight`'s shape) under one scale per output channel; at 1 bit 0 is 1."""
    return find_nearest_codes(weight.flatten(1) / scale[:, None], bits).view_as(weight)


def find_nearest_codes(real: torch.Tensor, bits: int) -> torch.Tensor:
    """Return real-valued codes (weight / scale, of any shape) rounded to the nearest that `bits` bits hold."""
    if bits == 1:
        return torch.where(real < 0, -torch.ones_like(real), torch.ones_like(real))
    limit = code_limit(bits)
    return torch.round(real).clamp_(-limit, limit)


def find_activation_range(values: torch.Tensor, bits: int) -> tuple[float, int]:
    """Return (scale, zero point) that minimise the squared error on sampled `values` (one dimension, any order).

    The range always holds zero exactly, as padding needs. The clipping point is searched over fractions of the sampled
    range; all-zero samples give (1, 0).

    Raises:
        ValueError: For NaN or infinite values.
    """
    low, high = _ends(values)
    if high - low < SMALLEST_RANGE:
        return 1.0, 0
    best = (float("inf"), 1.0, 0)
    top = 2**bits - 1
    lowest = 0.1 if bits <= 4 else 0.4
    for fraction in torch.linspace(lowest, 1.0, RANGE_FRACTIONS).tolist():
        scale = (high - low) * fraction / top
        zero_point = round(-low * fraction / scale)
        codes = torch.round(values / scale).add_(zero_point).clamp_(0, top).sub_(zero_point)
        error = float((codes.mul_(scale) - values).square().mean())
        if error < best[0]:
            best = (error, scale, zero_point)
    return float(torch.tensor(best[1], dtype=torch.float32)), best[2]


def find_power_of_two_range(values: torch.Tensor, bits: int) -> tuple[float, int]:
    """Return (scale, zero point) of least squared error on sampled `values` whose scale is a power of two.

    The zero point is 0 where no value is negative, else the middle of the codes; all-zero samples give (1, 0).

    Raises:
        ValueError: For NaN or infinite values.
    """
    low, high = _ends(values)
    if high - low < SMALLEST_RANGE:
        return 1.0, 0
    zero_point = 2 ** (bits - 1) if low < 0 else 0
    top = 2**bits - 1 - zero_point
    whole = max(high / max(top, 1), -low / max(zero_point, 1))
    exponent = math.ceil(math.log2(whole))
    scales = [2.0**tried for tried in range(exponent, exponent - CLIPPED_POWERS, -1)]
    return min(scales, key=lambda scale: _squared_error(values, scale, zero_point, top)), zero_point


def _squared_error(values: torch.Tensor, scale: float, zero_point: int, top: int) -> float:
    codes = torch.round(values / scale).clamp_(-zero_point, top)
    return float((codes.mul_(scale) - values).square().mean())


def find_percentile_range(values: torch.Tensor, bits: int, percentile: float) -> tuple[float, int]:
    """Return (scale, zero point) whose range leaves out the share 1 - percentile / 100 of sampled `values`.

    Half of it at each end, all of it at the other where zero is an end: what is zero is never left out. The range
    always holds zero exactly; all-zero samples give (1, 0).

    Raises:
        ValueError: For NaN or infinite values.
    """
    low, high = _ends(values)
    left_out = 1.0 - percentile / 100.0
    below = 0.0 if low == 0.0 else left_out if high == 0.0 else left_out / 2
    ordered, last = values.sort().values, len(values) - 1
    low = min(0.0, float(ordered[math.ceil(below * last)])) if low < 0.0 else 0.0
    high = max(0.0, float(ordered[math.floor((1.0 - left_out + below) * last)])) if high > 0.0 else 0.0
    if high - low < SMALLEST_RANGE:
        return 1.0, 0
    scale = float(torch.tensor((high - low) / (2**bits - 1), dtype=torch.float32))
    return scale, min(max(round(-low / scale), 0), 2**bits - 1)


def _ends(values: torch.Tensor) -> tuple[float, float]:
    if not bool(torch.isfinite(values).all()):
        raise ValueError("activation ranges need finite values, received NaN or infinity")
    return min(0.0, float(values.min())), max(0.0, float(values.max()))


def _exact_scales(rows: torch.Tensor, limit: int) -> torch.Tensor:
    """Return the least squared error over all scales: a falling scale lifts one code after the other by one.

    Code j of weight w is reached below the scale |w| / (j - 1/2). With the codes q between two such places the best
    scale is <w, q> / <q, q>, and what it takes off the error <w, q>^2 / <q, q>. Places below every
    good scale, more than half of those of wide codes, are not looked at.
    """
    steps = torch.arange(1, limit + 1, dtype=torch.float64, device=rows.device)
    scales = []
    at_once = max(1, VALUES_AT_ONCE // (rows.shape[1] * limit))
    for start in range(0, len(rows), at_once):
        sizes = rows[start : start + at_once].double().abs().sort(dim=1, descending=True).values
        least = _find_least_scales(sizes, limit)
        reached = (sizes[:, :, None] >= least * (steps - 0.5)).sum(1).amax(0).clamp_(min=1)
        lifted = torch.cat([sizes[:, :count] for count in reached.tolist()], dim=1)
        codes = steps.repeat_interleave(reached)
        places = lifted / (codes - 0.5)
        good = places >= least[:, 0]
        order = torch.where(good, places, 0).argsort(dim=1, descending=True, stable=True)
        product = (lifted * good).gather(1, order).cumsum(1)
        square = ((2 * codes - 1) * good).gather(1, order).cumsum(1)
        best = (product.square() / square).argmax(1, keepdim=True)
        scales.append((product.gather(1, best) / square.gather(1, best)).flatten())
    return torch.cat(scales).to(rows)


def _find_least_scales(sizes: torch.Tensor, limit: int) -> torch.Tensor:
    """Return scales (rows x 1 x 1) below which no best one lies, for weights of these sizes (rows x k).

    By clipping alone weights lose more below them than they do in all at a scale that is tried.
    """
    peak = sizes[:, :1]
    tried = [peak * fraction / limit for fraction in (0.7, 1.0)]
    errors = [(sizes - torch.round(sizes / scale).clamp_(max=limit) * scale).square_().sum(1) for scale in tried]
    least = torch.zeros_like(peak)
    for share in range(5, 16):
        end = peak * share / 16
        lost = (sizes - end).clamp_(min=0).square_().sum(1)
        least = torch.where((lost > 1.001 * torch.minimum(*errors))[:, None], end / limit, least)
    return torch.where(peak > 0, least, 1.0)[:, :, None]


def _searched_scales(rows: torch.Tensor, peak: torch.Tensor, limit: int) -> torch.Tensor:
    """Return the best of a grid of clipping points and of a finer one around it, each with its least-squares scale."""
    best_scale, best_error = peak / limit, torch.full_like(peak, float("inf"))
    at_once = max(1, VALUES_TRIED_AT_ONCE // rows.numel())
    middle, reach = torch.full_like(peak, sum(WIDE_CLIPPING) / 2), (WIDE_CLIPPING[1] - WIDE_CLIPPING[0]) / 2
    for _ in range(2):
        best_fraction = middle
        for offsets in torch.split(torch.linspace(-reach, reach, SCALE_FRACTIONS).to(rows), at_once):
            fractions = middle + offsets[:, None]
            codes = torch.round(rows / (peak * fractions / limit)[..., None]).clamp_(-limit, limit)
            # The largest weight of a channel never rounds to 0, so that <q, q> is at least 1.
            scales = (rows * codes).sum(2) / codes.square().sum(2).clamp_min(1)
            errors = (rows - codes * scales[..., None]).square().sum(2)
            error, scale, fraction = _first_least(errors, scales, fractions)
            better = error < best_error
            best_error = torch.where(better, error, best_error)
            best_scale = torch.where(better, scale, best_scale)
            best_fraction = torch.where(better, fraction, best_fraction)
        middle, reach = best_fraction, 2 * reach / (SCALE_FRACTIONS - 1)
    return best_scale


def _first_least(errors: torch.Tensor, *others: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return of each column (of tried x columns) the least error and what goes with it, the first of equal ones."""
    if len(errors) == 1:
        return errors[0], *(each[0] for each in others)
    least = torch.where(errors.isnan(), torch.inf, errors).argmin(0, keepdim=True)
    return tuple(each.gather(0, least)[0] for each in (errors, *others))
