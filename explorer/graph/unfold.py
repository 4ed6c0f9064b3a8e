"""A convolution as a product of matrices: what each of its filters is multiplied with."""

from __future__ import annotations

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.graph.modules import TransposedConv2d
from explorer.graph.torch_private import list_padding


def unfold_windows(module: nn.Conv2d, inputs: Tensor) -> Tensor:
    """Return the windows that a convolution reads: images x (channels times kernel) x positions, borders padded.

    The channels are those of `inputs`, which may be fewer than the module has.
    """
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    padded = F.pad(inputs, list_padding(module), mode=mode)
    return F.unfold(padded, module.kernel_size, module.dilation, 0, module.stride)


def unfold_inputs(module: nn.Conv2d | nn.Linear, inputs: Tensor) -> Tensor:
    """Return what filters are multiplied with at each position: groups x k x (images times positions).

    k is the number of weights of a filter, in the order of the weight's axes behind the first.
    """
    if isinstance(module, nn.Linear):
        return inputs.reshape(1, -1, inputs.shape[-1]).mT
    grouped = inputs.reshape(-1, module.in_channels // module.groups, *inputs.shape[2:])
    if isinstance(module, TransposedConv2d):
        size = prod(module.weight.shape[1:])
        every = torch.eye(size, dtype=inputs.dtype, device=inputs.device).view(size, *module.weight.shape[1:])
        sizes = module.stride, module.padding, module.output_padding
        unfolded = F.conv_transpose2d(grouped, every.transpose(0, 1), None, *sizes, 1, module.dilation).flatten(2)  # type: ignore[arg-type]
    else:
        unfolded = unfold_windows(module, grouped)
    return unfolded.view(len(inputs), module.groups, *unfolded.shape[1:]).permute(1, 2, 0, 3).flatten(2)
