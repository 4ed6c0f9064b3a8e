"""Modules that a canonical network has beside those of torch.nn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d


def layer_module(model: nn.Module, name: str) -> nn.Conv2d | nn.Linear:
    """Return the convolution or linear module of a layer."""
    module = model.get_submodule(name)
    assert isinstance(module, nn.Conv2d | nn.Linear)
    return module


def get_attribute(root: nn.Module, path: str) -> Any:
    """Return what a get_attr node stands for."""
    owner, _, name = path.rpartition(".")
    return getattr(root.get_submodule(owner), name)


class SelectChannels(nn.Module):
    """Channel i of the result is channel `index[i]` of the operand: a shuffle, a slice or a repetition of channels.

    Acts on axis 1 of tensors of any rank; on features of N x F it is any rearrangement of them.
    """

    index: Tensor

    def __init__(self, index: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("index", torch.tensor(list(index), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        """Return `n x len(index) x ...` from `n x channels x ...`."""
        return x.index_select(1, self.index)

    def extra_repr(self) -> str:
        """Return the number of channels of the result, and the first of their indices."""
        return f"{len(self.index)} of {self.index[:8].tolist()}..."


class TransposedConv2d(nn.Conv2d):
    """A transposed convolution whose weight has its output channels first: out x in/groups x height x width.

    With output channels in front, as those of every other layer, pruning, scales and codes need no second rule.
    """

    @classmethod
    def of(cls, module: nn.ConvTranspose2d) -> TransposedConv2d:
        """Return the same function with the same weights."""
        padding = module.padding
        assert not isinstance(padding, str)
        made = cls(
            module.in_channels,
            module.out_channels,
            module.kernel_size,  # type: ignore[arg-type]
            module.stride,  # type: ignore[arg-type]
            padding,  # type: ignore[arg-type]
            module.dilation,  # type: ignore[arg-type]
            module.groups,
            module.bias is not None,
            device=module.weight.device,
            dtype=module.weight.dtype,
        )
        made.output_padding = tuple(module.output_padding)
        made.weight = nn.Parameter(outputs_first(module.weight.data, module.groups))
        made.bias = module.bias
        return made

    def forward(self, input: Tensor) -> Tensor:
        """Return `n x out_channels x ...` from `n x in_channels x height x width`."""
        return F.conv_transpose2d(
            input,
            inputs_first(self.weight, self.groups),
            self.bias,
            self.stride,
            self.padding,  # type: ignore[arg-type]
            self.output_padding,
            self.groups,
            self.dilation,
        )


def outputs_first(weight: Tensor, groups: int) -> Tensor:
    """Turn torch's in x out/groups x ... into out x in/groups x ...; groups stay in their order."""
    inputs, outputs = weight.shape[0] // groups, weight.shape[1]
    split = weight.reshape(groups, inputs, outputs, *weight.shape[2:]).transpose(1, 2)
    return split.reshape(groups * outputs, inputs, *weight.shape[2:]).contiguous()


def inputs_first(weight: Tensor, groups: int) -> Tensor:
    """Return the inverse of `outputs_first`."""
    outputs, inputs = weight.shape[0] // groups, weight.shape[1]
    split = weight.reshape(groups, outputs, inputs, *weight.shape[2:]).transpose(1, 2)
    return split.reshape(groups * inputs, outputs, *weight.shape[2:]).contiguous()
