"""Nodes and initializers of an ONNX graph that is being written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import helper, numpy_helper
from torch import fx

from explorer.arrays import Float32Array
from explorer.errors import ExportError
from explorer.graph.lines import locate_node
from explorer.graph.names import Names


class Dialect(Protocol):
    """How quantised tensors are written: each rule returns the name of the real numbers that it stands for."""

    def write_activation(
        self, builder: OnnxBuilder, source: str, name: str, bits: int, scale: float, zero_point: int
    ) -> str:
        """Write codes of 0..2^bits - 1 for the tensor `source`."""
        ...

    def write_weight(self, builder: OnnxBuilder, name: str, codes: NDArray[np.int8], scales: Float32Array) -> str:
        """Write codes (output channels x ...) with a scale for each output channel."""
        ...

    def write_bias(self, builder: OnnxBuilder, name: str, codes: NDArray[np.int32], scales: Float32Array) -> str:
        """Write codes (output channels) with a scale for each."""
        ...


class OnnxBuilder:
    """Collects nodes in order of computation; `values` names the ONNX value of every fx node so far.

    `inputs` and `outputs` are the names by which the network is called, `own` those of the values of its fx nodes:
    as the nodes, but where inputs and outputs are called so. What belongs to a value is called as it is, a slash, and
    what it is; a value of a taken name is refused.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        outputs: Sequence[str],
        nodes: Iterable[fx.Node] = (),
        dialect: Dialect | None = None,
    ) -> None:
        interface = [*inputs, *outputs]
        owners = Names({name.partition("/")[0] for name in interface})
        self.own = {node: owners.free(node.name) for node in nodes}
        self.names = Names(inputs)
        self._dialect = dialect
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.values: dict[fx.Node, str] = {}

    @property
    def dialect(self) -> Dialect:
        """How quantised tensors are written, by whoever writes the nodes of a network."""
        assert self._dialect is not None
        return self._dialect

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

    def packed(self, name: str, kind: int, shape: tuple[int, ...], content: bytes) -> str:
        """Add integers of a kind of TensorProto, packed as ONNX does; returns the name."""
        self.initializers.append(helper.make_tensor(self.names.take(name), kind, shape, content, raw=True))
        return name


def refuse(node: fx.Node, what: str, remedy: str) -> ExportError:
    """Return the error for a node that cannot be written: which, where in the model, why, and what to do."""
    return ExportError(f"export: {locate_node(node)} cannot be written as ONNX: {what}; {remedy}")
