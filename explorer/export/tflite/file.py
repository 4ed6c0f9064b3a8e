"""Collect tensors and operators of a TensorFlow Lite file, by the schema's classes that ai-edge-litert comes with."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

import explorer
from explorer.arrays import Float64Array
from explorer.errors import ExportError
from explorer.integer.program import Integers

IDENTIFIER = b"TFL3"
"""Bytes 4 to 8 of every such file."""
SIGNATURE = "serving_default"
"""What runtimes call the only signature of a file."""
VERSIONS = {
    "ADD": 2,
    "CONCATENATION": 2,
    "CONV_2D": 3,
    "DEPTH_TO_SPACE": 1,
    "DEPTHWISE_CONV_2D": 3,
    "DEQUANTIZE": 2,
    "FULLY_CONNECTED": 4,
    "GATHER": 2,
    "MAXIMUM": 2,
    "MAX_POOL_2D": 2,
    "MINIMUM": 2,
    "MUL": 2,
    "PAD": 2,
    "PADV2": 2,
    "QUANTIZE": 2,
    "RESHAPE": 1,
    "RESIZE_NEAREST_NEIGHBOR": 2,
    "SOFTMAX": 2,
    "STRIDED_SLICE": 2,
    "SUB": 2,
    "TRANSPOSE_CONV": 3,
}
"""The first version of each operator that takes int8."""
WIDE_VERSIONS = {"CONCATENATION": 3, "CONV_2D": 4, "DEPTHWISE_CONV_2D": 5, "DEQUANTIZE": 3, "SOFTMAX": 3}
"""The same of those that take int16."""
PACKED_VERSIONS = {"CONV_2D": 7, "DEPTHWISE_CONV_2D": 7, "FULLY_CONNECTED": 10}
"""The same of those that take packed weights of 4 bits."""
GROUPED_VERSION = 6
"""The same of a CONV_2D with groups."""
FUSED_VERSIONS = {"TRANSPOSE_CONV": 4}
"""The same of those that clip what they give only since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileGrid:
    """What codes of a type stand for: scale * (code - zero_point)."""

    scale: float
    zero_point: int
    type: str = "int8"


def load_litert(module: str) -> ModuleType:
    """Return a module of ai-edge-litert.

    Raises:
        ExportError: Where the package cannot be imported.
    """
    try:
        return importlib.import_module(f"ai_edge_litert.{module}")
    except ImportError as error:
        raise ExportError(
            f"export: the format tflite takes ai-edge-litert, which cannot be imported ({error}); "
            "install it with: pip install ai-edge-litert"
        ) from error


class FileBuilder:
    """Tensors and operators so far; a tensor is known by its number."""

    def __init__(self) -> None:
        self.schema: Any = load_litert("schema_py_generated")
        self.tensors: list[Any] = []
        self.operators: list[Any] = []
        self.codes: list[Any] = []
        self.buffers: list[Any] = [self.schema.BufferT()]  # the first one is empty: of tensors that are computed

    def add_activation(self, name: str, shape: Sequence[int], grid: FileGrid | None) -> int:
        """Add a tensor of codes (1 x ...) that an operator writes, or that is given; without a grid it holds floats."""
        quantization = None if grid is None else self._quantization([grid.scale], [grid.zero_point], 0)
        return self._add(name, shape, "FLOAT32" if grid is None else grid.type.upper(), 0, quantization)

    def add_weights(self, name: str, values: Integers, scales: Float64Array, axis: int, *, packed: bool = False) -> int:
        """Add int8 weights, two to a byte where they are `packed`, or int32 or int64 biases, scaled along `axis`."""
        kind = "INT4" if packed else str(values.dtype).upper()
        quantization = self._quantization([float(scale) for scale in scales], [0] * len(scales), axis)
        return self._add(name, values.shape, kind, self._buffer(_pack(values) if packed else values), quantization)

    def add_codes(self, name: str, value: int, grid: FileGrid) -> int:
        """Add one constant code of a grid."""
        quantization = self._quantization([grid.scale], [grid.zero_point], 0)
        return self._add(name, (1,), "INT8", self._buffer(np.array([value], np.int8)), quantization)

    def add_numbers(self, name: str, values: Sequence[int] | Sequence[Sequence[int]]) -> int:
        """Add a constant of int32, such as a shape."""
        array: NDArray[np.int32] = np.array(values, dtype=np.int32)
        return self._add(name, array.shape, "INT32", self._buffer(array), None)

    def rename(self, number: int, name: str) -> None:
        """Give a tensor another name."""
        self.tensors[number].name = name

    def add_operator(
        self, name: str, inputs: Sequence[int], output: int, options: str, *, first: bool = False, **fields: Any
    ) -> None:
        """Add an operator, whose options are of the schema's class `options`, before all others if `first`."""
        version = self._find_version(name, inputs, fields)
        made = getattr(self.schema, f"{options}T")()
        for key, value in fields.items():
            setattr(made, key, value)
        operator = self.schema.OperatorT()
        operator.opcodeIndex = self._code(name, version)
        operator.inputs, operator.outputs = list(inputs), [output]
        operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, options)
        operator.builtinOptions = made
        self.operators.insert(0 if first else len(self.operators), operator)

    def to_bytes(self, inputs: Mapping[str, int], output: Mapping[str, int]) -> bytes:
        """Return the file of a network with these inputs and this output, by the names in its signature."""
        flatbuffers = importlib.import_module("flatbuffers")
        graph = self.schema.SubGraphT()
        graph.tensors, graph.operators, graph.name = self.tensors, self.operators, "main"
        graph.inputs, graph.outputs = list(inputs.values()), list(output.values())
        signature = self.schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = SIGNATURE, 0
        signature.inputs, signature.outputs = self._mapped(inputs), self._mapped(output)
        model = self.schema.ModelT()
        model.version, model.description = 3, f"explorer {explorer.__version__}"
        model.operatorCodes, model.subgraphs, model.buffers = self.codes, [graph], self.buffers
        model.signatureDefs = [signature]
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())

    def _mapped(self, tensors: Mapping[str, int]) -> list[Any]:
        made = []
        for name, number in tensors.items():
            entry = self.schema.TensorMapT()
            entry.name, entry.tensorIndex = name, number
            made.append(entry)
        return made

    def _add(self, name: str, shape: Sequence[int], kind: str, buffer: int, quantization: Any) -> int:
        tensor = self.schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, [int(size) for size in shape], buffer
        tensor.type, tensor.quantization = getattr(self.schema.TensorType, kind), quantization
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def _quantization(self, scales: list[float], zero_points: list[int], axis: int) -> Any:
        found = self.schema.QuantizationParametersT()
        found.scale, found.zeroPoint, found.quantizedDimension = scales, zero_points, axis
        return found

    def _buffer(self, values: Integers) -> int:
        buffer = self.schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), dtype=np.uint8)
        self.buffers.append(buffer)
        return len(self.buffers) - 1

    def _find_version(self, name: str, inputs: Sequence[int], fields: dict[str, Any]) -> int:
        if name in PACKED_VERSIONS and self.tensors[inputs[1]].type == self.schema.TensorType.INT4:
            return PACKED_VERSIONS[name]
        if name == "CONV_2D" and self.tensors[inputs[0]].shape[3] != self.tensors[inputs[1]].shape[3]:
            return GROUPED_VERSION
        if name in WIDE_VERSIONS and self.tensors[inputs[0]].type == self.schema.TensorType.INT16:
            return WIDE_VERSIONS[name]
        return FUSED_VERSIONS.get(name, VERSIONS[name]) if fields.get("fusedActivationFunction") else VERSIONS[name]

    def _code(self, name: str, version: int) -> int:
        number = getattr(self.schema.BuiltinOperator, name)
        for index, code in enumerate(self.codes):
            if (code.builtinCode, code.version) == (number, version):
                return index
        code = self.schema.OperatorCodeT()
        code.builtinCode, code.version = number, version
        code.deprecatedBuiltinCode = min(number, 127)
        self.codes.append(code)
        return len(self.codes) - 1


def list_constants(model: Any) -> Iterator[tuple[str, int]]:
    """Yield name and bytes of each constant tensor of a file's ModelT, and of the grid of each tensor."""
    for tensor in model.subgraphs[0].tensors:
        name, data, grid = tensor.name.decode(), model.buffers[tensor.buffer].data, tensor.quantization
        if data is not None:
            yield name, len(data)
        if grid is not None and grid.scale is not None:  # float32 and int64
            yield f"{name}.scale", 4 * len(grid.scale) + 8 * len(grid.zeroPoint)


def _pack(values: Integers) -> Integers:
    """Return codes of 4 bits two to a byte, the first one in the lower half."""
    nibbles = np.append(values.reshape(-1), np.zeros(values.size % 2, np.int8)).astype(np.int8) & 0xF
    return (nibbles[::2] | nibbles[1::2] << 4).astype(np.uint8)
