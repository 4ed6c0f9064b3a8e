"""Constants of an ONNX graph, wherever they stand: initializers, sparse ones, Constant nodes in any spelling, files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx.checker
import onnx.helper
import onnx.numpy_helper
from numpy.typing import NDArray

LARGEST_SPARSE = 2**28
"""Elements of a sparse constant that are written out: its few bytes in the file may state any size."""
_UNREADABLE = (OSError, ValueError, TypeError, KeyError, IndexError, MemoryError, onnx.checker.ValidationError)
_NUMBERS: dict[str, type[np.generic]] = {"value_float": np.float32, "value_int": np.int64}

Constant = onnx.TensorProto | onnx.SparseTensorProto


def constants(graph: onnx.GraphProto) -> dict[str, Constant]:
    """Return the constants of a graph by name; texts are left out, since no layer reads them."""
    found: dict[str, Constant] = {tensor.values.name: tensor for tensor in graph.sparse_initializer}
    found |= {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        found |= read_node(node)
    return found


def read_node(node: onnx.NodeProto) -> dict[str, Constant]:
    """Return what a Constant node holds, by the name of its result; nothing for another node."""
    if node.op_type != "Constant" or node.domain not in {"", "ai.onnx"}:
        return {}
    return dict(zip(node.output, (tensor for entry in node.attribute for tensor in _stated(entry)), strict=False))


def _stated(attribute: onnx.AttributeProto) -> Iterator[Constant]:
    """Return the tensor of an attribute of a Constant node, if it is one of numbers."""
    if attribute.name == "value":
        yield attribute.t
    elif attribute.name == "sparse_value":
        yield attribute.sparse_tensor
    elif attribute.name.removesuffix("s") in _NUMBERS:
        stated = onnx.helper.get_attribute_value(attribute)
        yield onnx.numpy_helper.from_array(np.asarray(stated, dtype=_NUMBERS[attribute.name.removesuffix("s")]))


def read_shape(tensor: Constant) -> tuple[int, ...] | None:
    """Return the shape of a constant; None for one that no tensor has."""
    return tuple(tensor.dims) if all(size >= 0 for size in tensor.dims) else None


def read_type(tensor: Constant) -> int:
    """Return the ONNX number of the type of a constant's elements."""
    return tensor.values.data_type if isinstance(tensor, onnx.SparseTensorProto) else tensor.data_type


def read_array(tensor: Constant, folder: Path) -> NDArray[np.generic] | None:
    """Return the elements of a constant of numbers; None where they cannot be read, such as from a missing file."""
    try:
        array = _written_out(tensor, folder) if isinstance(tensor, onnx.SparseTensorProto) else _read(tensor, folder)
    except _UNREADABLE:
        return None
    return None if array is None or array.dtype.kind in "OSU" else array


def _read(tensor: onnx.TensorProto, folder: Path) -> NDArray[np.generic]:
    array: NDArray[np.generic] = onnx.numpy_helper.to_array(tensor, str(folder))
    return array


def _written_out(tensor: onnx.SparseTensorProto, folder: Path) -> NDArray[np.generic] | None:
    """Return a sparse tensor with its zeros; indices are positions in row-major order, or one for each axis."""
    values, indices = _read(tensor.values, folder), _read(tensor.indices, folder).astype(np.int64)
    shape = read_shape(tensor)
    if shape is None or math.prod(shape) > LARGEST_SPARSE:
        return None
    positions = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), shape)
    array = np.zeros(math.prod(shape), dtype=values.dtype)
    array[positions] = values
    return array.reshape(shape)
