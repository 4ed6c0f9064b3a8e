"""Quantisers as QONNX writes them: one node that rounds real numbers to a grid of any width.

Source: Pappalardo et al. (2022), "QONNX: representing arbitrary-precision quantized neural networks".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from onnx import helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.infer_shapes import InferShapes

from explorer.export.onnx.file import OPSET, QONNX, make_model
from explorer.export.onnx.graph import build_graph

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray
    from torch import fx

    from explorer.arrays import Float32Array
    from explorer.export.onnx.builder import OnnxBuilder
    from explorer.graph.inputs import Shapes

BIAS_BITS = 32
"""Of biases, as of the sums that they are added to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantNode:
    """What a node Quant rounds to: whole numbers of `bits` from -2^(bits-1), one more where `narrow`, or from 0."""

    bits: int
    scale: np.float32 | Float32Array
    zero_point: int = 0
    signed: bool = True
    narrow: bool = False

    def write(self, builder: OnnxBuilder, source: str, name: str, prefix: str) -> str:
        """Write the node that rounds `source`; what it reads is called `prefix` and what it is."""
        read = {"scale": self.scale, "zero_point": self.zero_point, "bits": self.bits}
        constants = [builder.constant(f"{prefix}{key}", value) for key, value in read.items()]
        attributes = {"signed": int(self.signed), "narrow": int(self.narrow), "rounding_mode": "ROUND"}
        return builder.node("Quant", (source, *constants), name, domain=QONNX, **attributes)


class Qonnx:
    """The dialect of QONNX: weights are real numbers on their grid, in the fewest bits that hold all codes of a layer.

    A node Quant divides by the scale, adds the zero point and rounds then, where ours adds it to what is rounded: the
    two differ where a quotient is exactly between two integers and the zero point is odd. Codes around the middle of
    their range are written as signed ones with zero point 0, which is the only one for which tools see integers.
    """

    def write_activation(
        self, builder: OnnxBuilder, source: str, name: str, bits: int, scale: float, zero_point: int
    ) -> str:
        """Write a Quant of exact width."""
        middle = 2 ** (bits - 1)
        signed = bits > 1 and zero_point == middle  # of 1 bit, signed codes are -1 and 1
        zero = zero_point - middle if signed else zero_point
        return QuantNode(bits=bits, scale=np.float32(scale), zero_point=zero, signed=signed).write(
            builder, source, name, f"{name}/"
        )

    def write_weight(self, builder: OnnxBuilder, name: str, codes: NDArray[np.int8], scales: Float32Array) -> str:
        """Write codes of -1 and 1 alone as a BipolarQuant, others as a Quant."""
        scale = scales.reshape(-1, *(1,) * (codes.ndim - 1))
        values = builder.constant(f"{name}_values", codes * scale)
        if codes.size and bool((np.abs(codes) == 1).all()):
            read = builder.constant(f"{name}_scale", scale)
            return builder.node("BipolarQuant", (values, read), name, domain=QONNX)
        low, high = (int(codes.min()), int(codes.max())) if codes.size else (0, 0)
        bits = max(2, high.bit_length() + 1, (-low - 1).bit_length() + 1)
        narrow = low > -(2 ** (bits - 1))
        return QuantNode(bits=bits, scale=scale, narrow=narrow).write(builder, values, name, f"{name}_")

    def write_bias(self, builder: OnnxBuilder, name: str, codes: NDArray[np.int32], scales: Float32Array) -> str:
        """Write a Quant on the grid of the sums."""
        values = builder.constant(f"{name}_values", (codes * scales.astype(np.float64)).astype(np.float32))
        return QuantNode(bits=BIAS_BITS, scale=scales).write(builder, values, name, f"{name}_")


def build_qonnx(model: fx.GraphModule, shapes: Shapes) -> onnx.ModelProto:
    """Return the QONNX model of a canonical network, for one image at a time, with the shapes of all its tensors.

    Raises:
        ExportError: Names a node that cannot be written.
    """
    graph = build_graph(model, shapes, Qonnx(), num_images=1)
    built = make_model(graph, (helper.make_opsetid("", OPSET), helper.make_opsetid(QONNX, 1)))
    shaped: onnx.ModelProto = ModelWrapper(built).transform(InferShapes()).model
    return shaped
