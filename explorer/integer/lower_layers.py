"""How layers and poolings of a compressed network become integer operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import fx, nn

from explorer.arrays import Float64Array
from explorer.compress.weights import has_codes
from explorer.errors import ExportError
from explorer.graph.modules import TransposedConv2d
from explorer.integer.builder import ProgramBuilder, refuse
from explorer.integer.operations import Conv, Dilate, HeightWidth, Linear, MaxPool, Sides, SumPool
from explorer.integer.program import Integers
from explorer.integer.values import Affine, Concatenated, PendingPool, ScaledTensor, make_sum

Value = Affine | Concatenated


@dataclass(frozen=True, slots=True)
class Walk:
    """The network, its program so far, and what the nodes so far stand for."""

    model: fx.GraphModule
    builder: ProgramBuilder
    values: dict[fx.Node, Value]

    def name(self, node: fx.Node) -> str:
        """Return what the tensor that a node gives is called."""
        return self.builder.own[node]

    def value(self, node: fx.Node) -> Value:
        """Return what the first operand of a node stands for."""
        return self.values[node.all_input_nodes[0]]

    def real(self, node: fx.Node, operand: fx.Node | None = None) -> Affine:
        """Return the same, or that of another operand, where it must be one tensor.

        Raises:
            ExportError: For parts on several grids.
        """
        value = self.values[operand or node.all_input_nodes[0]]
        if isinstance(value, Concatenated):
            raise refuse(node, "it reads parts on several grids", "quantise what torch.cat gives")
        return value

    def codes(self, node: fx.Node, operand: fx.Node | None = None) -> ScaledTensor:
        """Return the codes that a node reads.

        Raises:
            ExportError: Where its operand is not quantised.
        """
        term = self.real(node, operand).codes
        if term is None:
            raise refuse(node, "its operand is not quantised", "let only layers, clips and max poolings lie between")
        return term


def get_shape(node: fx.Node) -> tuple[int, ...]:
    """Return the shape of what a node gives, the batch axis left out."""
    shape: tuple[int, ...] = node.meta["shape"][1:]
    return shape


def convolve(walk: Walk, node: fx.Node, module: Any) -> Affine:
    """Lower a convolution: sums of codes times codes."""
    if module.padding_mode != "zeros":
        raise refuse(node, f"its padding mode is {module.padding_mode!r}", "use padding_mode='zeros'")
    totals = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
    if module.padding == "same":  # the odd row or column at the end, as torch does
        starts = [total // 2 for total in totals]
        sides = (*starts, *(total - start for total, start in zip(totals, starts, strict=True)))
    else:
        pads = (0, 0) if module.padding == "valid" else module.padding
        sides = (*pads, *pads)
    return _convolved(walk, node, module, walk.codes(node), _weight(node, module), module.stride, sides)


def convolve_transposed(walk: Walk, node: fx.Node, module: TransposedConv2d) -> Affine:
    """Lower a transposed convolution: one with the turned kernel, on the input with zeros between its entries."""
    term = walk.codes(node)
    strides = _pair(module.stride)
    if strides != (1, 1):
        height, width = (
            (size - 1) * by + 1 for size, by in zip(get_shape(node.all_input_nodes[0])[-2:], strides, strict=True)
        )
        step = Dilate(
            input=term.tensor,
            output=walk.builder.names.free(f"{walk.name(node)}_spread"),
            steps=strides,
            value=term.zero_point,
        )
        channels = get_shape(node.all_input_nodes[0])[0]
        term = walk.builder.moved(step, term, (channels, height, width)).terms[0]
    reach = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
    assert not isinstance(module.padding, str)
    starts = [total - pad for total, pad in zip(reach, module.padding, strict=True)]
    ends = [start + more for start, more in zip(starts, module.output_padding, strict=True)]
    if min(starts + ends) < 0:
        raise refuse(node, "its padding is larger than its kernel reaches", "use a smaller padding")
    weight = _weight(node, module)[:, :, ::-1, ::-1]
    return _convolved(walk, node, module, term, weight, (1, 1), (*starts, *ends))


def connect(walk: Walk, node: fx.Node, module: Any) -> Affine:
    """Lower a fully connected layer, on the last axis."""
    weight, term = _weight(node, module), walk.codes(node)
    step = Linear(
        input=term.tensor,
        output=walk.name(node),
        weight=walk.builder.array(f"{walk.name(node)}.weight", weight, np.int8),
        bias=_bias(walk, node, module),
        zero_point=term.zero_point,
    )
    low, high = _bounds(walk, node, term, weight, step.bias)
    walk.builder.add(step, get_shape(node), low, high)
    return make_sum(
        ScaledTensor(tensor=walk.name(node), zero_point=0, gain=term.gain * _scales(module)), shape=get_shape(node)
    )


def _convolved(
    walk: Walk,
    node: fx.Node,
    module: nn.Conv2d,
    term: ScaledTensor,
    weight: Integers,
    stride: Sequence[int],
    sides: Sequence[int],
) -> Affine:
    top, left, bottom, right = sides
    step = Conv(
        input=term.tensor,
        output=walk.name(node),
        weight=walk.builder.array(f"{walk.name(node)}.weight", weight, np.int8),
        bias=_bias(walk, node, module),
        zero_point=term.zero_point,
        stride=_pair(stride),
        padding=(top, left, bottom, right),
        dilation=_pair(module.dilation),
        groups=module.groups,
    )
    low, high = _bounds(walk, node, term, weight, step.bias)
    walk.builder.add(step, get_shape(node), low, high)
    gain = term.gain * _scales(module)[:, None, None]
    return make_sum(ScaledTensor(tensor=walk.name(node), zero_point=0, gain=gain), shape=get_shape(node))


def _weight(node: fx.Node, module: nn.Conv2d | nn.Linear) -> Integers:
    if not has_codes(module):
        raise refuse(
            node, "its weights stay in float, as those of linear layers of sequences do", "use a 1 x 1 convolution"
        )
    codes: Integers = module.get_buffer("weight_codes").cpu().numpy()
    return codes


def _scales(module: nn.Module) -> Any:
    return module.get_buffer("weight_scale").cpu().numpy().astype(np.float64)


def _bias(walk: Walk, node: fx.Node, module: nn.Conv2d | nn.Linear) -> str | None:
    if module.bias is None:
        return None
    return walk.builder.array(f"{walk.name(node)}.bias", module.get_buffer("bias_codes").cpu().numpy(), np.int32)


def _bounds(
    walk: Walk, node: fx.Node, term: ScaledTensor, weight: Integers, bias: str | None
) -> tuple[Float64Array, Float64Array]:
    """Return what the sums of each filter can reach; ExportError where a partial sum can leave 32 bits."""
    tensor = walk.builder.tensors[term.tensor]
    low, high = min(0, tensor.low - term.zero_point), max(0, tensor.high - term.zero_point)
    rows = weight.reshape(len(weight), -1).astype(np.int64)
    biases = np.zeros(len(rows), dtype=np.int64) if bias is None else walk.builder.arrays[bias].astype(np.int64)
    positive, negative = np.maximum(rows, 0).sum(1), np.minimum(rows, 0).sum(1)
    magnitude = int((np.abs(rows).sum(1) * max(-low, high) + np.abs(biases)).max())
    if magnitude >= 2**31:
        raise ExportError(
            f"integer: layer {node.target!r} can sum up to {magnitude:,}, more than 32 bits hold; give it fewer weight "
            "or activation bits, or fewer inputs"
        )
    least, largest = positive * low + negative * high + biases, positive * high + negative * low + biases
    axes = (len(rows), *(1,) * (weight.ndim - 2))
    return least.reshape(axes).astype(np.float64), largest.reshape(axes).astype(np.float64)


def pool_max(walk: Walk, node: fx.Node, module: Any) -> Value:
    """Lower a max pooling of codes; one of sums waits until these are codes."""
    shape, before = get_shape(node), get_shape(node.all_input_nodes[0])
    if module.return_indices or len(shape) != 3:
        raise refuse(node, "it returns indices, or reads no images", "use return_indices=False, on N x C x H x W")
    kernel, stride, padding, dilation = _pool(node, module, before[-2:], shape[-2:])
    ends = []
    for axis in range(2):  # what ceil_mode adds becomes padding at the end
        reach = (shape[1 + axis] - 1) * stride[axis] + dilation[axis] * (kernel[axis] - 1) + 1
        ends.append(max(0, reach - before[1 + axis] - padding[axis]))
    sides: Sides = (*padding, *ends)  # type: ignore[assignment]
    window = PendingPool(kernel=kernel, stride=stride, padding=sides, dilation=dilation, shape=shape)
    value = walk.value(node)
    if isinstance(value, Concatenated):
        parts = tuple(
            replace(
                part,
                pools=(*part.pools, replace(window, shape=(part.shape[0], *shape[1:]))),
                shape=(part.shape[0], *shape[1:]),
            )
            for part in value.parts
        )
        return Concatenated(parts=parts, shape=shape)
    if value.codes is None:
        return replace(value, pools=(*value.pools, window), shape=shape)
    term = value.codes
    step = MaxPool(
        input=term.tensor, output=walk.name(node), kernel=kernel, stride=stride, padding=sides, dilation=dilation
    )
    return walk.builder.moved(step, term, shape)


def _pool(
    node: fx.Node, module: Any, before: tuple[int, ...], after: tuple[int, ...]
) -> tuple[HeightWidth, HeightWidth, HeightWidth, HeightWidth]:
    """Return kernel, stride, padding and dilation; of an adaptive pooling those of its windows, where equal."""
    if isinstance(module, nn.MaxPool2d):
        return _pair(module.kernel_size), _pair(module.stride), _pair(module.padding), _pair(module.dilation)
    if any(size % count for size, count in zip(before, after, strict=True)):
        raise refuse(
            node, "its windows differ in size", f"choose an output size that divides {before[0]} x {before[1]}"
        )
    window = (before[0] // after[0], before[1] // after[1])
    return window, window, (0, 0), (1, 1)


def pool_average(walk: Walk, node: fx.Node, module: nn.AvgPool2d) -> Affine:
    """Lower an average pooling: sums, which are divided where they are requantised."""
    before, after = get_shape(node.all_input_nodes[0])[-2:], get_shape(node)[-2:]
    kernel, stride, padding = _pair(module.kernel_size), _pair(module.stride), _pair(module.padding)
    windows, counts = [], []
    for axis in range(2):
        starts = [i * stride[axis] - padding[axis] for i in range(after[axis])]
        stops = [min(start + kernel[axis], before[axis] + padding[axis]) for start in starts]
        inside = tuple((max(start, 0), min(stop, before[axis])) for start, stop in zip(starts, stops, strict=True))
        counted = zip(starts, stops, strict=True) if module.count_include_pad else inside
        windows.append(inside)
        counts.append([stop - start for start, stop in counted])
    divisor = (
        np.outer(counts[0], counts[1]) if module.divisor_override is None else np.full(after, module.divisor_override)
    )
    return sum_windows(walk, node, windows[0], windows[1], divisor)


def pool_adaptive_average(walk: Walk, node: fx.Node, module: nn.AdaptiveAvgPool2d) -> Affine:
    """Lower an adaptive average pooling, whose windows may overlap and differ in size."""
    del module  # the sizes say it all
    before, after = get_shape(node.all_input_nodes[0])[-2:], get_shape(node)[-2:]
    windows = [
        tuple((i * size // count, -(-(i + 1) * size // count)) for i in range(count))
        for size, count in zip(before, after, strict=True)
    ]
    counts = [[stop - start for start, stop in axis] for axis in windows]
    return sum_windows(walk, node, windows[0], windows[1], np.outer(counts[0], counts[1]))


def sum_windows(
    walk: Walk, node: fx.Node, rows: Sequence[HeightWidth], columns: Sequence[HeightWidth], divisor: Integers
) -> Affine:
    """Return sums over the windows of codes, whose gains hold the divisor (rows x columns)."""
    term = walk.codes(node)
    tensor = walk.builder.tensors[term.tensor]
    if len(tensor.shape) != 3:
        raise refuse(node, "it averages no images", "average N x C x H x W over height and width")
    step = SumPool(
        input=term.tensor, output=walk.name(node), zero_point=term.zero_point, rows=tuple(rows), columns=tuple(columns)
    )
    count = max(stop - start for start, stop in rows) * max(stop - start for start, stop in columns)
    low, high = (count * end for end in (min(0, tensor.low - term.zero_point), max(0, tensor.high - term.zero_point)))
    walk.builder.add(step, get_shape(node), low, high)
    divisors = divisor.astype(np.float64)[None]
    gain = term.gain / (divisors if len(np.unique(divisors)) > 1 else divisors.reshape(-1)[0])
    return make_sum(ScaledTensor(tensor=walk.name(node), zero_point=0, gain=np.asarray(gain)), shape=get_shape(node))


def _pair(value: int | Sequence[int]) -> HeightWidth:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[-1]))
