"""Sizes of tensors as an ONNX file states them, and the open batch set to 1."""

from __future__ import annotations

from pathlib import Path

import onnx

from hwmodels.errors import NetworkError


def fix_batch(graph: onnx.GraphProto, path: Path) -> None:
    """Set open batch dimensions to 1, and drop noted shapes that depend on other open dimensions.

    Raises:
        NetworkError: an input is no tensor of known shape, or has an open dimension other than the first.
    """
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [entry for entry in graph.input if entry.name not in constants]
    problems, batch = [], set()
    for entry in inputs:
        if not entry.type.tensor_type.HasField("shape"):
            what = "expected a tensor of known shape, received another; export the model so"
            problems.append(f"{path}: input {entry.name!r}: {what}")
            continue
        dimensions = entry.type.tensor_type.shape.dim
        if dimensions and is_open(dimensions[0]):
            batch.add(dimensions[0].dim_param)
            dimensions[0].dim_value = 1
    for entry in [*inputs, *graph.value_info, *graph.output]:
        for dimension in entry.type.tensor_type.shape.dim if entry.type.HasField("tensor_type") else ():
            if dimension.dim_param and dimension.dim_param in batch:
                dimension.dim_value = 1
    problems += [
        f"{path}: input {entry.name!r}: dimension {index} is {dimension.dim_param or 'open'!r} and not a number "
        "(only the first may be open: it is the batch, and counts as 1); export the model with fixed sizes, or set "
        "them with onnx.tools.update_model_dims"
        for entry in inputs
        for index, dimension in enumerate(entry.type.tensor_type.shape.dim)
        if is_open(dimension)
    ]
    if problems:
        raise NetworkError(problems)
    for entry in [*graph.value_info, *graph.output]:
        if entry.type.HasField("tensor_type") and any(map(is_open, entry.type.tensor_type.shape.dim)):
            entry.type.tensor_type.ClearField("shape")


def is_open(dimension: onnx.TensorShapeProto.Dimension) -> bool:
    """Tell a dimension without a size."""
    return not dimension.HasField("dim_value") or dimension.dim_value < 0


def known_shape(kind: onnx.TypeProto | None) -> tuple[int, ...] | None:
    """Return the shape of a tensor whose every size is known; None for any other type."""
    if kind is None or not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return None
    dimensions = kind.tensor_type.shape.dim
    return None if any(map(is_open, dimensions)) else tuple(dimension.dim_value for dimension in dimensions)
