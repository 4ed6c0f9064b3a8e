"""Quantisers as ONNX writes them: QuantizeLinear and DequantizeLinear around integers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import fx

from explorer.arrays import Float32Array
from explorer.compress.weights import has_codes
from explorer.export.bits import pack_bits
from explorer.export.onnx.builder import OnnxBuilder
from explorer.export.onnx.file import OPSET, count_stored, make_model, save_onnx
from explorer.export.onnx.graph import build_graph, name_layers
from explorer.export.stored_bytes import StoredBytes
from explorer.graph.inputs import Shapes

CODE_BITS = 8
"""Width in which activations are stored: UINT8."""
OPSET_OF_INT2 = 25
"""The first opset with INT2."""
WORTH_INT2 = 0.1
"""Share of the weights' bytes that INT2 must save: fewer runtimes read its opset (assumed)."""
KINDS = {2: TensorProto.INT2, 4: TensorProto.INT4, 8: TensorProto.INT8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Qdq:
    """The dialect of ONNX itself: weights in the narrowest of `widths` (of KINDS) that holds all codes of a layer.

    A cast to INT8 follows INT2: onnxruntime 1.32 folds it, and by default refuses a DequantizeLinear of INT2 that it
    fuses with the layer into an integer kernel ("Type 'tensor(int2)' ... QLinearConv").
    """

    widths: Collection[int] = (2, 4, 8)

    def write_activation(
        self, builder: OnnxBuilder, source: str, name: str, bits: int, scale: float, zero_point: int
    ) -> str:
        """Quantize, clip the integers, dequantize: the QCDQ form of Pappalardo et al. (2022), exact at any width.

        Clipping the codes keeps QuantizeLinear right behind the layer, which runtimes need to fuse the layer into
        an integer kernel.
        """
        scales = builder.constant(f"{name}/scale", scale)
        zero_points = builder.constant(f"{name}/zero_point", zero_point, np.uint8)
        codes = builder.node("QuantizeLinear", (source, scales, zero_points), f"{name}/codes")
        if bits < CODE_BITS:
            top = builder.constant(f"{name}/top", 2**bits - 1, np.uint8)
            codes = builder.node("Clip", (codes, "", top), f"{name}/clipped")
        return builder.node("DequantizeLinear", (codes, scales, zero_points), name)

    def write_weight(self, builder: OnnxBuilder, name: str, codes: NDArray[np.int8], scales: Float32Array) -> str:
        """Write integer codes under one scale per output channel."""
        bits = self.find_width(codes)
        stored = builder.packed(f"{name}_codes", KINDS[bits], codes.shape, pack_bits(codes, bits).tobytes())
        if bits == 2:
            stored, bits = builder.node("Cast", (stored,), f"{name}_codes/wide", to=TensorProto.INT8), 8
        scale = builder.constant(f"{name}_scale", scales)
        # Without explicit zero points onnxruntime does not fuse the layer into an integer kernel.
        zeros = pack_bits(np.zeros(len(codes), np.int8), bits).tobytes()
        zero_points = builder.packed(f"{name}_zero_point", KINDS[bits], (len(codes),), zeros)
        return builder.node("DequantizeLinear", (stored, scale, zero_points), name, axis=0)

    def write_bias(self, builder: OnnxBuilder, name: str, codes: NDArray[np.int32], scales: Float32Array) -> str:
        """Write INT32 codes on the grid of the sums."""
        stored = builder.constant(f"{name}_codes", codes, np.int32)
        scale = builder.constant(f"{name}_scale", scales)
        return builder.node("DequantizeLinear", (stored, scale), name, axis=0)

    def find_width(self, codes: NDArray[np.int8]) -> int:
        """Return the bits that codes are stored in."""
        low, high = (int(codes.min()), int(codes.max())) if codes.size else (-128, 127)
        return min(bits for bits in self.widths if -(2 ** (bits - 1)) <= low and high < 2 ** (bits - 1))


def export_onnx(
    model: fx.GraphModule, input_shape: Shapes, path: Path, *, widths: Collection[int] | None = None
) -> StoredBytes:
    """Write a canonical network to `path`; returns what the bytes written are, external data included.

    `model` is what `compress.apply` built, or a canonical float network; `input_shape` is C x H x W of one image, or a
    tuple of such shapes for several inputs. The file maps `images` (N x C x H x W, float32) to `logits` (N x classes),
    for any N; several inputs go by the names of forward()'s arguments, further outputs by their keys or as `output_1`
    and so on, with a number behind a name that is taken. Weights with codes are INT2, INT4 or INT8, the narrowest of
    `widths` (by default of `find_widths`) that holds them, with one scale per output channel; biases are INT32 on the
    grid of the sums; activations are UINT8, clipped to narrower widths.

    Raises:
        ExportError: Names a node that cannot be written; an existing file then stays as it was.
    """
    built = build_qdq(model, input_shape, widths)
    return count_stored(built, save_onnx(built, path), name_layers(model))


def find_widths(model: fx.GraphModule) -> tuple[int, ...]:
    """Return the widths that weights are stored in: 2 among them where that saves a share of WORTH_INT2 of all."""
    stored = [module.get_buffer("weight_codes").cpu().numpy() for module in model.modules() if has_codes(module)]
    narrow, wide = (
        sum(codes.size * Qdq(widths=widths).find_width(codes) for codes in stored) for widths in ((2, 4, 8), (4, 8))
    )
    return (2, 4, 8) if narrow <= (1 - WORTH_INT2) * wide and stored else (4, 8)


def build_qdq(model: fx.GraphModule, input_shape: Shapes, widths: Collection[int] | None = None) -> onnx.ModelProto:
    """Return the ONNX model of a canonical network, see `export_onnx`."""
    graph = build_graph(model, input_shape, Qdq(widths=find_widths(model) if widths is None else widths))
    has_int2 = any(tensor.data_type == TensorProto.INT2 for tensor in graph.initializer)
    return make_model(graph, (helper.make_opsetid("", OPSET_OF_INT2 if has_int2 else OPSET),))
