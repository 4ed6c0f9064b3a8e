"""How a study's inputs become the codes that an exported file reads, and what it gives becomes numbers again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.arrays import Float32Array, Int64Array
from explorer.errors import ExportError
from explorer.export.staging import SUMMARY
from explorer.graph.inputs import Inputs, as_tuple
from explorer.integer.operations import QuantizeInput

Codes = NDArray[Any]
"""Integers, or float32 values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputCodes:
    """What an input holds, channels last: clip(round(x / scale) + zero_point, low, high), halves to even.

    `type` is that of the codes; float32 is the input itself. `shape` is C x H x W of one image.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    scale: float
    zero_point: int
    low: int
    high: int

    def tell(self) -> str:
        """Return the type in words."""
        return _tell(self.type, self.scale, self.zero_point)

    def encode(self, values: Float32Array) -> Codes:
        """Return the codes (N x ..., channels last) of an input (N x ..., channels first)."""
        if self.type != "float32":
            values = np.clip(np.rint(values / np.float32(self.scale)) + self.zero_point, self.low, self.high)
        return np.ascontiguousarray(np.moveaxis(values, 1, -1)).astype(self.type)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputCodes:
    """What an output holds, channels last: codes that stand for scale * (code - zero_point), or float32 for that."""

    name: str
    type: str
    shape: tuple[int, ...]
    scale: float
    zero_point: int

    def tell(self) -> str:
        """Return the type in words."""
        return _tell(self.type, self.scale, self.zero_point)

    def decode(self, codes: Codes) -> NDArray[np.int64]:
        """Return the integers (N x ..., channels first) of an output, less their zero point."""
        if self.type == "float32":
            codes, zero_point = np.rint(codes / np.float32(self.scale)), 0
        else:
            zero_point = self.zero_point
        whole = codes.astype(np.int64).reshape(-1, *self.shape[1:], self.shape[0])
        return np.moveaxis(whole, -1, 1) - zero_point


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """What a file reads and gives."""

    inputs: tuple[InputCodes, ...]
    output: OutputCodes

    def encode(self, images: Inputs) -> tuple[Codes, ...]:
        """Return the codes of each input, channels last."""
        return tuple(own.encode(values) for own, values in zip(self.inputs, to_arrays(images), strict=True))

    def decode(self, codes: Codes) -> Float32Array:
        """Return the numbers that an output stands for, channels first."""
        return (self.output.decode(codes) * self.output.scale).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def list_channels_last(shape: Sequence[int]) -> Int64Array:
    """Return the row-major positions of the entries of an array in an order in which the first axis comes last."""
    places = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(tuple(shape))
    return np.moveaxis(places, 0, -1).reshape(-1)


def to_codes(step: QuantizeInput, kind: str, shape: tuple[int, ...], shift: int = 0) -> InputCodes:
    """Return the codes that a step gives, `shift` added to each, as integers of a type."""
    zero_point, low, high = (number + shift for number in (step.zero_point, step.low, step.high))
    return InputCodes(
        name=step.input, type=kind, shape=shape, scale=step.scale, zero_point=zero_point, low=low, high=high
    )


def to_arrays(images: Inputs) -> tuple[Float32Array, ...]:
    """Return the tensor of each input as an array."""
    return tuple(tensor.cpu().float().numpy() for tensor in as_tuple(images))


def read_interface(folder: Path) -> Interface:
    """Return what the summary in a folder says of its file.

    Raises:
        ExportError: Where it is missing or damaged.
    """
    try:
        data = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        return Interface(
            inputs=tuple(InputCodes(**_pick(InputCodes, entry)) for entry in data["inputs"]),
            output=OutputCodes(**_pick(OutputCodes, data["output"])),
        )
    except (OSError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ExportError(
            f"{folder / SUMMARY}: does not say what the network reads and gives ({type(error).__name__}: {error}); "
            "export it once more"
        ) from error


def _tell(kind: str, scale: float, zero_point: int) -> str:
    if kind == "float32":
        return kind
    code = f"(code {'-' if zero_point > 0 else '+'} {abs(zero_point)})" if zero_point else "code"
    return f"{kind}, each {scale:.6g} x {code}"


def _pick(kind: type[InputCodes | OutputCodes], entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: entry[key] for key in kind.__slots__} | {"shape": tuple(entry["shape"])}
