"""Small networks around one spelling each of what people write: moves, reductions, norms, attention, outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Around = Callable[[Any, Tensor], Any]
"""What a network does between its first layers, which give 8 x 8 x 8, and its last one, which takes any features."""


class Spelled(nn.Module):
    """A convolution, the spelling, and a linear layer where the spelling gives one tensor."""

    order: Tensor
    shift: Tensor

    def __init__(self, spelling: Around) -> None:
        super().__init__()
        self.spelling = spelling
        self.stem, self.conv = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.sequence, self.volume = nn.Conv1d(8, 8, 3, padding=1), nn.Conv3d(1, 2, 3, padding=1)
        self.linear, self.tokens = nn.Linear(8, 8), nn.Linear(8, 8)
        self.layer_norm, self.group_norm, self.instance = nn.LayerNorm(8), nn.GroupNorm(2, 8), nn.InstanceNorm2d(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.recurrent, self.bilinear = nn.GRU(8, 8, batch_first=True), nn.Bilinear(8, 8, 4)
        self.norm, self.norm1, self.embedding = nn.BatchNorm2d(8), nn.BatchNorm1d(8), nn.Embedding(9, 8)
        self.scale, self.token = nn.Parameter(torch.rand(8, 1, 1)), nn.Parameter(torch.randn(1, 1, 8))
        self.register_buffer("order", torch.tensor([3, 1, 2, 0, 7, 6, 5, 4]))
        self.register_buffer("shift", torch.rand(1, 8, 8, 8))
        self.eval()
        with torch.no_grad():
            made = self.spelling(self, torch.rand(2, 8, 8, 8))
        self.head = nn.Linear(made.flatten(1).shape[1], 5) if isinstance(made, Tensor) else None

    def forward(self, x: Tensor) -> Any:
        made = self.spelling(self, F.relu(self.stem(x)))
        return made if self.head is None else self.head(torch.flatten(made, 1))


def tokens(x: Tensor) -> Tensor:
    """Positions behind each other, channels last."""
    return x.flatten(2).transpose(1, 2)


def _attention(m: Any, x: Tensor) -> Tensor:
    q, k, v = m.conv(x).flatten(2).transpose(1, 2), tokens(x), tokens(x)
    return torch.softmax(q @ k.transpose(-2, -1) / 8**0.5, dim=-1) @ v


def _window(m: Any, x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    return x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(-1, 4, c)[:, 0].reshape(b, -1)


def _sum_of_slices(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    return F.relu(y)[:, :, ::2, ::2] + F.relu(m.conv(x))[:, :, 1::2, 1::2]


SPELLINGS: dict[str, Around] = {
    "nothing": lambda m, x: m.conv(x),
    # moves
    "chunk": lambda m, x: torch.cat(m.conv(x).chunk(2, 1)[::-1], 1),
    "chunk of rows": lambda m, x: torch.cat(x.chunk(2, 2), 1),
    "split": lambda m, x: torch.cat(torch.split(m.conv(x), [2, 6], 1), 1),
    "split of positions": lambda m, x: sum(torch.split(x, 4, dim=3)),
    "unbind": lambda m, x: torch.stack(m.conv(x).unbind(1), 1),
    "stack": lambda m, x: torch.stack([F.relu(m.conv(x)), x], 2).flatten(1, 2),
    "permute": lambda m, x: m.conv(x).permute(0, 2, 3, 1),
    "permute and back": lambda m, x: m.conv(x.permute(0, 2, 3, 1).permute(0, 3, 1, 2)),
    "transpose": lambda m, x: m.conv(x.transpose(2, 3)),
    "mT": lambda m, x: m.conv(x.mT),
    "rearranged windows": _window,
    "flip": lambda m, x: m.conv(x.flip(3)),
    "roll": lambda m, x: m.conv(torch.roll(x, 2, 2)),
    "index": lambda m, x: m.conv(x)[:, m.order],
    "index_select": lambda m, x: torch.index_select(m.conv(x), 1, m.order),
    "gather": lambda m, x: torch.gather(x, 1, (x > 0.5).long()),
    "one position": lambda m, x: m.conv(x)[:, :, 0, 0],
    "the last row": lambda m, x: m.conv(x)[:, :, -1],
    "slices of two axes summed": _sum_of_slices,
    "slices of three axes": lambda m, x: m.conv(x)[:, 1:5, 1:-1, ::3],
    "a slice of features": lambda m, x: F.relu(m.linear(x.mean((2, 3))))[:, 2:6],
    "a new axis": lambda m, x: m.conv(x)[:, None].squeeze(1),
    "repeat": lambda m, x: m.conv(x).repeat(1, 2, 1, 1),
    "tile": lambda m, x: torch.tile(x, (1, 2, 1, 1)),
    "repeat_interleave": lambda m, x: m.conv(x).repeat_interleave(2, 1),
    "expand": lambda m, x: x.mean((2, 3), keepdim=True).expand(-1, -1, 8, 8) + m.conv(x),
    "unfold": lambda m, x: F.unfold(x, 2, stride=2),
    "tensor unfold": lambda m, x: x.unfold(2, 4, 4),
    "pixel shuffle": lambda m, x: F.pixel_shuffle(m.conv(x), 2),
    "pixel unshuffle": lambda m, x: F.pixel_unshuffle(m.conv(x), 2),
    "channel shuffle": lambda m, x: nn.functional.channel_shuffle(m.conv(x), 2),
    "nearest": lambda m, x: m.conv(F.interpolate(x, scale_factor=2)),
    "nearest-exact": lambda m, x: m.conv(F.interpolate(x, size=(5, 7), mode="nearest-exact")),
    "bilinear": lambda m, x: m.conv(F.interpolate(x, scale_factor=2, mode="bilinear")),
    "bicubic": lambda m, x: m.conv(F.interpolate(x, size=11, mode="bicubic", align_corners=True)),
    "area": lambda m, x: m.conv(F.interpolate(x, size=4, mode="area")),
    "grid sample": lambda m, x: F.grid_sample(x, x.permute(0, 2, 3, 1)[..., :2], align_corners=False),
    "zero padding": lambda m, x: m.conv(F.pad(x, (1, 2, 0, 1))),
    "padding with a number": lambda m, x: m.conv(F.pad(x, (1, 1), value=0.5)),
    "negative padding": lambda m, x: m.conv(F.pad(x, (-1, -1, -1, -1))),
    "reflected padding": lambda m, x: m.conv(F.pad(x, (1, 1, 1, 1), mode="reflect")),
    "replicated padding": lambda m, x: m.conv(nn.ReplicationPad2d(1)(x)),
    "circular padding": lambda m, x: m.conv(F.pad(x, (1, 1, 1, 1), mode="circular")),
    # poolings and reductions
    "max over channels": lambda m, x: m.conv(x).max(1)[0],
    "max over channels by name": lambda m, x: m.conv(x).max(dim=1, keepdim=True).values,
    "max over positions": lambda m, x: x.flatten(2).max(-1)[0],
    "topk": lambda m, x: x.flatten(2).topk(3)[0],
    "sort": lambda m, x: torch.sort(m.conv(x), dim=1)[0],
    "argmax": lambda m, x: m.embedding(x.argmax(1)).flatten(1),
    "amax": lambda m, x: m.conv(x).amax((2, 3)),
    "amin": lambda m, x: m.conv(x).amin((2, 3), keepdim=True),
    "sum": lambda m, x: m.conv(x).sum((2, 3)),
    "sum of all": lambda m, x: x.sum(dim=(1, 2, 3), keepdim=True),
    "prod": lambda m, x: m.conv(x).mean((2, 3)).prod(1, keepdim=True),
    "mean of rows": lambda m, x: m.conv(x).mean(2),
    "mean of channels": lambda m, x: m.conv(x).mean(1, keepdim=True),
    "mean of all": lambda m, x: m.conv(x) - x.mean(),
    "std": lambda m, x: m.conv(x).std((2, 3)),
    "var_mean": lambda m, x: torch.var_mean(x, dim=(2, 3))[0],
    "norm": lambda m, x: F.normalize(m.conv(x), dim=1),
    "cumsum": lambda m, x: m.conv(x).cumsum(1),
    "logsumexp": lambda m, x: m.conv(x).logsumexp((2, 3)),
    "adaptive average": lambda m, x: m.conv(F.adaptive_avg_pool2d(x, (3, 5))),
    "adaptive max": lambda m, x: m.conv(F.adaptive_max_pool2d(x, 3)),
    "adaptive max of a divisor": lambda m, x: m.conv(nn.AdaptiveMaxPool2d((4, 2))(x)),
    "max pool with indices": lambda m, x: F.max_pool2d(x, 2, return_indices=True)[0],
    "lp pool": lambda m, x: m.conv(F.lp_pool2d(x, 2, 2)),
    "average pool with another divisor": lambda m, x: m.conv(F.avg_pool2d(x, 2, divisor_override=3)),
    "average pool in three axes": lambda m, x: F.avg_pool3d(x.unsqueeze(1), 2),
    "fold of max": lambda m, x: torch.maximum(m.conv(x), x),
    # arithmetic, types, constants
    "a buffer": lambda m, x: m.conv(x) + m.shift,
    "a buffer for each position": lambda m, x: m.conv(x) * m.shift[:, :1],
    "a parameter for each channel": lambda m, x: m.conv(x) * m.scale,
    "a constant tensor": lambda m, x: m.conv(x) + torch.ones(1, 8, 1, 1),
    "ones_like": lambda m, x: m.conv(x) + torch.ones_like(x),
    "zeros_like": lambda m, x: torch.cat((m.conv(x), torch.zeros_like(x)), 1),
    "new_zeros": lambda m, x: torch.cat((m.conv(x), x.new_zeros(x.shape[0], 2, 8, 8)), 1),
    "arange": lambda m, x: m.conv(x) * torch.arange(8.0),
    "float": lambda m, x: m.conv(x.float()),
    "double and back": lambda m, x: m.conv(x.double().float()),
    "to": lambda m, x: m.conv(x.to(torch.float32)),
    "type_as": lambda m, x: m.conv(x).type_as(x),
    "where": lambda m, x: torch.where(m.conv(x) > 0, x, -x),
    "a mask": lambda m, x: m.conv(x) * (x > 0.5),
    "masked_fill": lambda m, x: m.conv(x).masked_fill(x > 0.5, 0.0),
    "pow": lambda m, x: m.conv(x) ** 2,
    "sqrt": lambda m, x: x.sqrt(),
    "abs": lambda m, x: m.conv(x).abs(),
    "neg": lambda m, x: -m.conv(x),
    "exp": lambda m, x: torch.exp(-m.conv(x)),
    "rsub": lambda m, x: 1 - m.conv(x),
    "rdiv": lambda m, x: 1 / (1 + x),
    "floor division": lambda m, x: x // 2,
    "division by another": lambda m, x: m.conv(x) / (1 + x.mean((2, 3), keepdim=True)),
    "add with alpha": lambda m, x: torch.add(m.conv(x), x, alpha=2),
    "addcmul": lambda m, x: torch.addcmul(m.conv(x), x, x),
    "lerp": lambda m, x: torch.lerp(m.conv(x), x, 0.3),
    "clamp by a tensor": lambda m, x: torch.clamp(m.conv(x), max=x.mean()),
    "a sum of three": lambda m, x: sum([m.conv(x), x, x]),
    "a weighted sum": lambda m, x: 0.3 * m.conv(x) + 0.7 * x,
    "in place": lambda m, x: m.conv(x).mul_(0.5).add_(x),
    # activations
    "hardswish": lambda m, x: F.hardswish(m.conv(x)),
    "gelu": lambda m, x: F.gelu(m.conv(x), approximate="tanh"),
    "softmax": lambda m, x: F.softmax(m.conv(x), dim=1),
    "softmax at the end": lambda m, x: m.linear(x.mean((2, 3))).softmax(-1),
    "log_softmax": lambda m, x: F.log_softmax(m.linear(x.mean((2, 3))), dim=1),
    "selu": lambda m, x: F.selu(m.conv(x)),
    "celu": lambda m, x: F.celu(m.conv(x)),
    "logsigmoid": lambda m, x: F.logsigmoid(m.conv(x)),
    "softsign": lambda m, x: F.softsign(m.conv(x)),
    "tanhshrink": lambda m, x: nn.Tanhshrink()(m.conv(x)),
    "prelu": lambda m, x: F.prelu(m.conv(x), m.scale.flatten()),
    "rrelu": lambda m, x: F.rrelu(m.conv(x)),
    "glu": lambda m, x: F.glu(m.conv(x), 1),
    "swish by hand": lambda m, x: (y := m.conv(x)) * torch.sigmoid(y),
    "hard sigmoid by hand": lambda m, x: F.relu6(m.conv(x) + 3) / 6,
    "threshold": lambda m, x: F.threshold(m.conv(x), 0.1, 0.0),
    # layers and norms
    "conv1d": lambda m, x: m.sequence(x.flatten(2)),
    "conv3d": lambda m, x: m.volume(x.unsqueeze(1)),
    "linear on channels last": lambda m, x: m.linear(x.permute(0, 2, 3, 1)),
    "linear on tokens": lambda m, x: m.tokens(tokens(x)),
    "linear on one token": lambda m, x: m.tokens(F.relu(m.linear(x.mean((2, 3)).unsqueeze(1)))).squeeze(1),
    "layer norm": lambda m, x: m.layer_norm(x.permute(0, 2, 3, 1)),
    "layer norm of features": lambda m, x: m.layer_norm(x.mean((2, 3))),
    "group norm": lambda m, x: m.group_norm(m.conv(x)),
    "instance norm": lambda m, x: m.instance(m.conv(x)),
    "batch norm of tokens": lambda m, x: m.norm1(x.flatten(2)),
    "batch norm twice": lambda m, x: m.norm(F.relu(m.norm(m.conv(x)))),
    "local response norm": lambda m, x: F.local_response_norm(m.conv(x), 2),
    "attention by hand": _attention,
    "scaled dot product": lambda m, x: F.scaled_dot_product_attention(tokens(x), tokens(m.conv(x)), tokens(x)),
    "multi-head attention": lambda m, x: m.attention(tokens(x), tokens(x), tokens(x))[0],
    "a class token": lambda m, x: torch.cat((m.token.expand(x.shape[0], -1, -1), tokens(x)), 1)[:, 0],
    "gru": lambda m, x: m.recurrent(tokens(x))[0][:, -1],
    "bilinear layer": lambda m, x: m.bilinear(x.mean((2, 3)), m.linear(x.mean((2, 3)))),
    "einsum": lambda m, x: torch.einsum("nchw,nchw->nc", m.conv(x), x),
    "einsum of weights": lambda m, x: torch.einsum("nchw,dc->ndhw", x, m.linear.weight),
    "matmul": lambda m, x: torch.matmul(m.conv(x), x.transpose(2, 3)),
    "bmm": lambda m, x: torch.bmm(x.flatten(2), tokens(x)),
    "outer product": lambda m, x: x.mean(2).unsqueeze(3) * m.conv(x).mean(3).unsqueeze(2),
    "a loop": lambda m, x: m.conv(F.relu(m.conv(F.relu(m.conv(x))))),
    "squeeze and excitation": lambda m, x: (
        x * torch.sigmoid(m.linear(F.relu(m.tokens(x.mean((2, 3))))))[..., None, None]
    ),
    "functional weights": lambda m, x: F.conv2d(x, m.conv.weight.abs(), padding=1),
    "weights from the input": lambda m, x: F.conv2d(x, x[:1, :8].mean((2, 3), keepdim=True).expand(8, 8, 1, 1)),
    # several outputs
    "a tuple": lambda m, x: (m.linear(x.mean((2, 3))), m.tokens(x.mean((2, 3)))),
    "a list": lambda m, x: [m.linear(x.mean((2, 3))), x.mean((2, 3))],
    "a dictionary": lambda m, x: {"out": m.conv(x), "aux": m.linear(x.mean((2, 3)))},
    "a nested output": lambda m, x: {"out": (m.conv(x), x.mean((2, 3)))},
    "the same twice": lambda m, x: (y := m.linear(x.mean((2, 3))), y),
    "the input": lambda m, x: (m.linear(x.mean((2, 3))), x),
    "a map for each class": lambda m, x: (m.conv(x),),
}
