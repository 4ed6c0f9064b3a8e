"""How modules that move data are written as ONNX: selections, reshapes, pixel shuffle, resizing, borders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import fx, nn

from explorer.export.onnx.builder import OnnxBuilder, refuse
from explorer.graph.modules import SelectChannels
from explorer.graph.traced import get_shape

KEPT = 0
"""In a shape of ONNX's Reshape: as long as that axis was."""
REST = -1
"""In a shape of Reshape: what is left over."""
_BORDERS = {nn.ReflectionPad2d: "reflect", nn.ReplicationPad2d: "edge", nn.CircularPad2d: "wrap"}


def write_selection(module: SelectChannels, builder: OnnxBuilder, node: fx.Node) -> str:
    """Write a selection of channels as a Gather on axis 1."""
    index = builder.constant(f"{builder.name(node)}/index", module.index.cpu().numpy(), np.int64)
    return builder.node("Gather", (builder.source(node), index), builder.name(node), axis=1)


def write_flatten(module: nn.Flatten, builder: OnnxBuilder, node: fx.Node) -> str:
    """Write a flattening of all axes but the batch, or of all positions.

    Raises:
        ExportError: For any other.
    """
    if len(get_shape(node)) == 2 and module.start_dim == 1:
        return builder.node("Flatten", (builder.source(node),), builder.name(node), axis=1)
    if len(get_shape(node)) == 3 and module.start_dim == 2:
        return _reshape(builder, node, (KEPT, KEPT, REST))
    raise refuse(node, "it does not flatten everything behind the batch axis", "use nn.Flatten(1)")


def write_unflatten(module: nn.Unflatten, builder: OnnxBuilder, node: fx.Node) -> str:
    """Write features as channels with positions.

    Raises:
        ExportError: For another axis.
    """
    if module.dim != 1 or len(get_shape(node)) != 4:
        raise refuse(node, "it does not unflatten features into an image", "use nn.Unflatten(1, (C, H, W))")
    return _reshape(builder, node, (KEPT, REST, *get_shape(node)[2:]))


def write_pixel_shuffle(module: nn.PixelShuffle, builder: OnnxBuilder, node: fx.Node) -> str:
    """Write channels as positions."""
    return builder.node(
        "DepthToSpace", (builder.source(node),), builder.name(node), blocksize=module.upscale_factor, mode="CRD"
    )


def write_resize(module: nn.Upsample, builder: OnnxBuilder, node: fx.Node) -> str:
    """Write a resizing by the nearest pixel or bilinear.

    Raises:
        ExportError: For other ways.
    """
    if module.mode not in {"nearest", "bilinear"}:
        raise refuse(node, f"it resizes {module.mode!r}", "use mode='nearest' or mode='bilinear'")
    before, after = get_shape(node.all_input_nodes[0])[2:], get_shape(node)[2:]
    scales = builder.constant(
        f"{builder.name(node)}/scales", [1.0, 1.0, *(b / a for a, b in zip(before, after, strict=True))]
    )
    way = (
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        if module.mode == "nearest"
        else {
            "mode": "linear",
            "coordinate_transformation_mode": "align_corners" if module.align_corners else "half_pixel",
        }
    )
    return builder.node("Resize", (builder.source(node), "", scales), builder.name(node), **way)


def write_border(
    module: nn.ReflectionPad2d | nn.ReplicationPad2d | nn.CircularPad2d, builder: OnnxBuilder, node: fx.Node
) -> str:
    """Write a border of copied pixels."""
    left, right, top, bottom = module.padding
    pads = builder.constant(f"{builder.name(node)}/pads", [0, 0, top, left, 0, 0, bottom, right], np.int64)
    return builder.node("Pad", (builder.source(node), pads), builder.name(node), mode=_BORDERS[type(module)])


def _reshape(builder: OnnxBuilder, node: fx.Node, shape: Sequence[int]) -> str:
    name = builder.constant(f"{builder.name(node)}/shape", list(shape), np.int64)
    return builder.node("Reshape", (builder.source(node), name), builder.name(node))
