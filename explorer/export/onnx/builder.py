"""Nodes and initializers of an ONNX graph that is being written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import fx

from explorer.errors import ExportError
from explorer.graph.lines import locate_node
from explorer.graph.names import Names


class OnnxBuilder:
    """Collects nodes in order of computation; `values` names the ONNX value of every fx node so far.

    `inputs` and `outputs` are the names by which the network is called, `own` those of the values of its fx nodes:
    as the nodes, but where inputs and outputs are called so. What belongs to a value is called as it is, a slash, and
    what it is; a value of a taken name is refused.
    """

    def __init__(self, inputs: Sequence[str], outputs: Sequence[str], nodes: Iterable[fx.Node] = ()) -> None:
        interface = [*inputs, *outputs]
        owners = Names({name.partition("/")[0] for name in interface})
        self.own = {node: owners.free(node.name) for node in nodes}
        self.names = Names(inputs)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.values: dict[fx.Node, str] = {}

    def name(self, node: fx.Node) -> str:
        """Return what the value of a node is called."""
        return self.own[node]

    def source(self, node: fx.Node) -> str:
        """Return ONNX name of the first tensor that a node reads."""
        return self.values[node.all_input_nodes[0]]

    def node(self, operator: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Append a node whose one result is called as the node itself; returns that name."""
        self.names.take(name)
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name: str, values: ArrayLike, dtype: type[np.generic] = np.float32) -> str:
        """Add an initializer of any shape; returns its name."""
        self.initializers.append(numpy_helper.from_array(np.asarray(values, dtype=dtype), self.names.take(name)))
        return name

    def codes(self, name: str, codes: NDArray[np.int8]) -> str:
        """Add signed integer codes as INT4 where all fit into -8..7, else as INT8; returns the name.

        Three-valued codes are INT4 as well: INT2 needs opset 25, and a default onnxruntime 1.32 session
        refuses it where it fuses the layer into an integer kernel ("Type 'tensor(int2)' ... QGemm").
        """
        four_bits = codes.size > 0 and int(codes.min()) >= -8 and int(codes.max()) <= 7
        kind, data = (TensorProto.INT4, pack_int4(codes)) if four_bits else (TensorProto.INT8, codes.tobytes())
        self.initializers.append(helper.make_tensor(self.names.take(name), kind, codes.shape, data, raw=True))
        return name

    def zero_points(self, name: str, like: str, count: int) -> str:
        """Add `count` zeros of the type of the initializer `like`; returns the name."""
        kind = next(entry.data_type for entry in self.initializers if entry.name == like)
        length = (count + 1) // 2 if kind == TensorProto.INT4 else count
        self.initializers.append(helper.make_tensor(self.names.take(name), kind, (count,), bytes(length), raw=True))
        return name


def pack_int4(codes: NDArray[np.int8]) -> bytes:
    """Return two codes to a byte, the first in the low half, as the ONNX specification packs INT4."""
    halves = codes.reshape(-1).view(np.uint8) & 0xF
    halves = np.append(halves, np.zeros(halves.size % 2, dtype=np.uint8))
    return (halves[::2] | (halves[1::2] << 4)).astype(np.uint8).tobytes()


def refuse(node: fx.Node, what: str, remedy: str) -> ExportError:
    """Return the error for a node that cannot be written: which, where in the model, why, and what to do."""
    return ExportError(f"export: {locate_node(node)} cannot be written as ONNX: {what}; {remedy}")
