"""One pass over an ONNX graph: its layers, the tensors in memory meanwhile, how wide they are, what is left out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hwmodels.errors import HardwareModelError, NetworkError
from hwmodels.workload.layer import MAXIMUM_BITS, LayerShape
from hwmodels.workload.onnx_graph import OnnxGraph, OnnxNode
from hwmodels.workload.onnx_operators import (
    ACROSS_ELEMENTS,
    KEEPS_CODES,
    MAX_POOLS,
    MOVEMENTS,
    PARTS,
    PRODUCTS,
    QONNX_WIDTHS,
    QUANTIZERS,
    SAME_TENSOR,
    VIEWS,
    WIDTHS_ONLY,
    Site,
    explain_skip,
    read_layer_shape,
)
from hwmodels.workload.onnx_records import MemoryTensor, OnnxLayer


def walk_graph(graph: OnnxGraph) -> OnnxWalk:
    """Return what is found on the way through a graph.

    Raises:
        NetworkError: a product whose shape is not known, a node that reads what no node before it gives, or has
            inputs or attributes that ONNX does not know, or no layer at all.
    """
    found = OnnxWalk(graph)
    for node in graph.nodes:
        try:
            found.visit(node)
        except HardwareModelError:
            raise
        except (ArithmeticError, LookupError, StopIteration, TypeError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise NetworkError(
                f"{graph.path}: node {node.name!r} ({node.operator}) is not as ONNX defines it ({reason}); "
                "run onnx.checker.check_model on the file, and export it anew"
            ) from error
    found.finish()
    return found


class OnnxWalk:
    """What is found on the way; `layers`, `tensors` and `skipped` are in the order of the file."""

    def __init__(self, graph: OnnxGraph) -> None:
        """Start with the inputs of the graph in memory."""
        self.graph = graph
        self.layers: list[OnnxLayer] = []
        self.tensors: list[MemoryTensor] = []
        self.skipped: list[tuple[str, str]] = []
        self.widths = {name: graph.value(name).bits for name in (*graph.tensors, *graph.inputs)}
        self.producers: dict[str, OnnxNode] = {}
        self._constants = set(graph.tensors)
        self._readers = Counter([*graph.outputs, *(name for node in graph.nodes for name in node.inputs)])
        self._tensor_of: dict[str, MemoryTensor] = {}
        self._index_of: dict[str, int] = {}
        shapes = (graph.value(name).shape or () for name in graph.inputs)
        self._batch = next((shape[0] for shape in shapes if shape), 1)
        for name in graph.inputs:
            self._store(name).external = True

    def visit(self, node: OnnxNode) -> None:
        """Take in the next node."""
        for name in node.inputs:
            if name and name not in self.widths:
                raise NetworkError(
                    f"{self.graph.path}: node {node.name!r} ({node.operator}) reads {name!r}, which no input and "
                    "no node before it gives; run onnx.checker.check_model on the file, and export it anew"
                )
        for name in node.outputs:
            self.producers[name] = node
            self.widths[name] = self._width(node, name)
        inputs = [name for name in node.inputs if name]
        if inputs and (self._constants.issuperset(inputs) or node.operator in {"Shape", "Size"}):
            self._constants.update(node.outputs)
        elif node.operator in VIEWS or self._is_clip_of_codes(node):
            self._view(node, explain_skip(node.operator))
        elif (step := self._biased(node)) is not None:
            self.layers[step].shape = replace(self.layers[step].shape, bias=True)
            self._view(node, f"it is counted as the bias of {self.layers[step].shape.name!r}")
        else:
            self._compute(node)

    def _compute(self, node: OnnxNode) -> None:
        """Note a node that gives new values; one without products whose shape is not known is no layer."""
        try:
            shape = read_layer_shape(Site(self.graph, node, self._constants, self._batch, self._unpadded))
        except NetworkError as error:
            if node.operator in PRODUCTS:
                raise
            self._copy(node, f"it is not counted: {' '.join(error.problems)}")
            return
        if shape is None:
            self._copy(node, explain_skip(node.operator))
        else:
            self._layer(node, shape)

    def _width(self, node: OnnxNode, output: str) -> int:
        """Return the bits that a value's elements need: fewer than those of its type where it was quantised."""
        stated = self.graph.value(output).bits
        inputs = [name for name in node.inputs if name]
        if not inputs or node.operator in QUANTIZERS:
            return stated
        if node.operator in QONNX_WIDTHS:
            return min(stated, self._stated_bits(node))
        if self._is_clip_of_codes(node):
            return min(self.widths[inputs[0]], self._clipped_bits(node))
        if node.operator == "Concat":
            return min(stated, max(self.widths[name] for name in inputs))
        keeps = node.operator in {*VIEWS, *MOVEMENTS, *KEEPS_CODES}
        return min(stated, self.widths[inputs[0]]) if keeps else stated

    def _stated_bits(self, node: OnnxNode) -> int:
        """Return the bits that a quantiser of QONNX states, of several the most; 32 where they are not constant."""
        places = QONNX_WIDTHS[node.operator]
        stated = next((node.inputs[place] for place in places if place < len(node.inputs)), "")
        array = self.graph.array(stated) if places else np.ones(1)
        bits = np.zeros(1) if array is None or not array.size else array.astype(np.float64)
        return math.ceil(bits.max()) if np.all((bits > 0) & (bits <= MAXIMUM_BITS)) else MAXIMUM_BITS

    def _is_clip_of_codes(self, node: OnnxNode) -> bool:
        """Tell a Clip that narrows integer codes from one that bounds an activation."""
        return node.operator == "Clip" and bool(node.inputs) and self.graph.value(node.inputs[0]).is_integer

    def _clipped_bits(self, node: OnnxNode) -> int:
        """Return the bits of integers between the bounds of a Clip (Pappalardo et al., 2022: QCDQ)."""
        full = self.graph.value(node.inputs[0]).bits
        arrays = [self.graph.array(name) for name in (*node.inputs, "", "")[1:3]]
        known = [array for array in arrays if array is not None]
        if not known or any(array.size != 1 or array.dtype.kind == "f" for array in known):
            return full
        unsigned = known[0].dtype.name.startswith("u")
        extremes = (0, 2**full - 1) if unsigned else (-(2 ** (full - 1)), 2 ** (full - 1) - 1)
        low, high = (
            extreme if array is None else int(array.reshape(-1)[0])
            for array, extreme in zip(arrays, extremes, strict=True)
        )
        return integer_bits(low, high)

    def _view(self, node: OnnxNode, reason: str) -> None:
        """Let a node's results be where its first input is."""
        self.skipped.append((node.name, reason))
        source = next(name for name in node.inputs if name and name not in self._constants)
        self._tensor_of |= dict.fromkeys(node.outputs, self._tensor_of[source])

    def _biased(self, node: OnnxNode) -> int | None:
        """Return the step whose bias an addition of constants is; only a product without one has room for it."""
        data = [name for name in node.inputs if name and name not in self._constants]
        constants = [name for name in node.inputs if name in self._constants]
        if node.operator != "Add" or len(data) != 1 or len(constants) != 1 or self._readers[data[0]] != 1:
            return None
        step = self._index_of.get(data[0])
        if step is None or self.producers[data[0]].operator not in {*PRODUCTS} - {"ConvTranspose"}:
            return None
        shape = self.layers[step].shape
        fits = self.graph.value(constants[0]).elements == shape.out_channels and shape.kind != "matmul"
        return step if fits and not shape.bias else None

    def _layer(self, node: OnnxNode, shape: LayerShape) -> None:
        """Note a layer; a function of a tensor that nothing else reads runs in place, as runtimes fuse it."""
        step = len(self.layers)
        names = [name for name in node.inputs if name and name not in self._constants]
        read = [(self.widths[name], self._tensor_of[name]) for name in names]
        in_place = shape.kind == "activation" and node.operator not in ACROSS_ELEMENTS and self._is_fused(names[0])
        output = read[0][1] if in_place else self._store(node.outputs[0])
        weights = second = None
        if node.operator in PRODUCTS:
            operands = PRODUCTS[node.operator]
            pair = (node.inputs[operands.data], node.inputs[operands.weights])
            weights = next((name for name in pair[::-1] if name in self._constants), None)
            if weights is None:
                second = (self.widths[pair[1]], self._tensor_of[pair[1]])
                second[1].second_readers.append(step)
        unchanged = node.operator in MAX_POOLS
        self._read(names, step, output if unchanged else None, counts=not in_place)
        large = [name for name in names if self.graph.value(name).elements > 1] or names
        for name in large[: shape.operands]:
            self._tensor_of[name].readers.append(step)
        output.writers.append(step)
        self._tensor_of[node.outputs[0]] = output
        for name in node.outputs[1:]:
            self._store(name)
        self._index_of[node.outputs[0]] = step
        inputs = tuple(read[:1] if second is not None else read)
        self.layers.append(OnnxLayer(shape, inputs, output, weights, second))

    def _copy(self, node: OnnxNode, reason: str) -> None:
        """Note an operation that is no layer; it runs with the layer after it, and fills tensors of its own."""
        if any(self.graph.value(name).shape is None for name in node.outputs if self._readers[name]):
            reason += ", and its result, whose size is not known, takes no memory here"
        self.skipped.append((node.name, reason))
        names = [name for name in node.inputs if name and name not in self._constants]
        written = [self._store(name) for name in node.outputs if name]
        self._read(names, len(self.layers), written[0] if node.operator in MOVEMENTS and written else None)

    def _read(self, names: Sequence[str], step: int, filled: MemoryTensor | None, *, counts: bool = True) -> None:
        """Keep tensors until a step; one that is not quantised is as wide as what is `filled` with its values."""
        for name in names:
            tensor = self._tensor_of[name]
            tensor.last_step = max(tensor.last_step, step)
            if counts:
                raw = self.widths[name] >= self.graph.value(name).bits
                tensor.reads.append(filled if filled is not None and raw else self.widths[name])

    def _store(self, name: str) -> MemoryTensor:
        """Return a new tensor for a value."""
        value, step = self.graph.value(name), len(self.layers)
        tensor = MemoryTensor(name, value.elements if self._readers[name] else 0, value.bits, step, step)
        self.tensors.append(tensor)
        self._tensor_of[name] = tensor
        return tensor

    def _is_fused(self, name: str) -> bool:
        """Tell whether a node before it fills this tensor, and nothing but one function reads the tensor."""
        while self._readers[name] == 1 and name in self.producers:
            node = self.producers[name]
            if node.operator in PARTS:
                return False
            if node.operator not in SAME_TENSOR and not self._is_clip_of_codes(node):
                return True
            name = node.inputs[0]
        return False

    def _unpadded(self, name: str) -> str:
        """Return the value that a Pad before `name` reads, or `name` where there is none."""
        stored, value = name, name
        while value in self.producers and self.producers[value].operator in {*WIDTHS_ONLY, "Identity", "Pad"}:
            node = self.producers[value]
            value = node.inputs[0]
            stored = value if node.operator == "Pad" else stored
        return stored if self.graph.value(stored).shape is not None else name

    def finish(self) -> None:
        """Keep the results to the end, and settle how wide each tensor is; NetworkError where there is no layer."""
        if not self.layers:
            raise NetworkError(
                f"{self.graph.path}: none of its {len(self.graph.nodes)} operations is a layer that can be costed"
            )
        last = len(self.layers) - 1
        for name in self.graph.outputs:
            if name in self._tensor_of:
                self._read([name], last, None)
                self._tensor_of[name].external = True
        for tensor in reversed(self.tensors):
            tensor.first_step, tensor.last_step = min(tensor.first_step, last), min(tensor.last_step, last)
            if tensor.reads:
                tensor.bits = max(read if isinstance(read, int) else read.bits for read in tensor.reads)


def integer_bits(low: int, high: int) -> int:
    """Return the bits of an integer from `low` to `high`, in two's complement where it may be negative."""
    if low >= 0:
        return max(1, high.bit_length())
    return 1 + max((-low - 1).bit_length(), max(high, 0).bit_length())
