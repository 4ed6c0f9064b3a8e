"""Integer quantisers: symmetric weights per output channel, asymmetric activations per tensor."""

from __future__ import annotations

import torch
from torch import nn

SCALE_FRACTIONS = 32
"""Clipping points tried for the weights of a channel (assumed: the error is flat around its least)."""
RANGE_FRACTIONS = 48
"""Clipping points tried for an activation, once for all candidates."""
SMALLEST_RANGE = 1e-30
"""An activation of a smaller range counts as zero: its scale would not be a normal float32 number."""
_CLIPPING = {True: (0.2, 1.0), False: (0.5, 1.0)}
"""Range of the clipping points, as fractions of the largest magnitude, for narrow (up to 4 bits) and wide codes."""


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
        """Width, scale and zero point."""
        return f"bits={self.bits}, scale={float(self.scale):.6g}, zero_point={self.zero_point}"


def weight_scales(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """Scale (positive, one per output channel) that minimises the squared error of symmetric quantisation.

    `weight` is out_channels x ...; codes lie in -(2^(bits-1) - 1)..2^(bits-1) - 1. For a grid of clipping points
    the codes are formed, and the least-squares scale for these codes, <w, q> / <q, q>, is kept where its error
    is the smallest. A channel of zeros gets scale 1.
    """
    rows = weight.detach().flatten(1)
    limit = code_limit(bits)
    peak = rows.abs().amax(1)
    silent = peak == 0
    peak = torch.where(silent, torch.ones_like(peak), peak)
    best_scale, best_error = peak / limit, torch.full_like(peak, float("inf"))
    for fraction in torch.linspace(*_CLIPPING[bits <= 4], SCALE_FRACTIONS).tolist():
        codes = _rounded(rows, peak * (fraction / limit), limit)
        # The largest weight of a channel never rounds to 0, so that <q, q> is at least 1.
        scale = (rows * codes).sum(1) / codes.square().sum(1).clamp_min(1)
        error = (rows - codes * scale[:, None]).square().sum(1)
        better = (error < best_error) & ~silent
        best_error = torch.where(better, error, best_error)
        best_scale = torch.where(better, scale, best_scale)
    return torch.where(silent, torch.ones_like(best_scale), best_scale)


def code_limit(bits: int) -> int:
    """Largest magnitude of a symmetric `bits`-bit code."""
    return (1 << (bits - 1)) - 1


def quantize_weight(weight: torch.Tensor, scale: torch.Tensor, bits: int) -> torch.Tensor:
    """Integer codes (float tensor of `weight`'s shape) under one scale per output channel."""
    return _rounded(weight.flatten(1), scale, code_limit(bits)).view_as(weight)


def activation_range(values: torch.Tensor, bits: int) -> tuple[float, int]:
    """(scale, zero point) that minimise the squared error on sampled `values` (one dimension, any order).

    The range always holds zero exactly, as padding needs. The clipping point is searched over fractions of
    the sampled range; all-zero samples give (1, 0). Raises ValueError for NaN or infinite values.
    """
    if not bool(torch.isfinite(values).all()):
        raise ValueError("activation_range needs finite values, received NaN or infinity")
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
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


def _rounded(rows: torch.Tensor, scale: torch.Tensor, limit: int) -> torch.Tensor:
    return torch.round(rows / scale[:, None]).clamp_(-limit, limit)
