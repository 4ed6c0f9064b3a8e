"""The graph of an ONNX file as plain records: nodes in order of computation, shapes and widths of values, constants."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from hwmodels.workload.onnx_constants import Constant

WIDEST_BITS = 32
"""Of an element; the cost models know no wider ones."""


class OnnxValue(NamedTuple):
    """What the file says of a value: its shape (None where it cannot be inferred) and its type."""

    shape: tuple[int, ...] | None
    bits: int
    is_integer: bool

    @property
    def elements(self) -> int:
        """Number of elements; 0 where the shape is not known."""
        return 0 if self.shape is None else math.prod(self.shape)


UNKNOWN = OnnxValue(None, WIDEST_BITS, False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxNode:
    """One operation; `operator` has its domain in front, unless that is ONNX's own.

    `inputs` may hold empty names, for inputs that are left out; names that a body of a loop or branch reads
    from outside stand at the end. `attributes` holds numbers, texts and lists of these.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxGraph:
    """The graph of a file, with functions inlined and the batch fixed."""

    path: Path
    producer: str
    properties: Mapping[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[OnnxNode, ...]
    values: Mapping[str, OnnxValue]
    tensors: Mapping[str, Constant]
    arrays: Mapping[str, NDArray[np.generic]]
    """Small values that are known before a run: constants, and what is computed from shapes."""

    def value(self, name: str) -> OnnxValue:
        """Return what is known of a value."""
        return self.values.get(name, UNKNOWN)

    def array(self, name: str) -> NDArray[np.generic] | None:
        """Return the constant of that name, of any type of numbers; None where there is none, or it cannot be read."""
        if name in self.arrays or name not in self.tensors:
            return self.arrays.get(name)
        from hwmodels.workload.onnx_constants import read_array  # noqa: PLC0415

        return read_array(self.tensors[name], self.path.parent)
