"""What is run: shapes of layers, widths of their operands, and the activations that are alive meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal

import numpy as np

from hwmodels.arrays import BoolArray, FloatArray, IntArray
from hwmodels.checks import choice, number, text, whole_number
from hwmodels.errors import LayerError

MAXIMUM_BITS = 32
"""Widest operand that can be stated: float32."""

LAYER_KINDS = ("conv", "linear")
_SHAPE_FIELDS = (
    *("in_channels", "out_channels", "kernel_h", "kernel_w"),
    *("in_h", "in_w", "out_h", "out_w", "groups"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShape:
    """One convolution or fully connected layer, for one image.

    A linear layer that is applied to several positions has in_h*in_w = out_h*out_w positions. A batch of
    convolutions is stated by stacking the images along the height (in_h and out_h times the batch).

    Raises:
        LayerError: a field is out of range; all of them are reported at once.
    """

    name: str
    kind: Literal["conv", "linear"]
    in_channels: int
    out_channels: int
    kernel_h: int = 1
    kernel_w: int = 1
    in_h: int = 1
    in_w: int = 1
    out_h: int = 1
    out_w: int = 1
    groups: int = 1
    bias: bool = True

    def __post_init__(self) -> None:
        problems = [*text("name", self.name), *choice("kind", self.kind, LAYER_KINDS)]
        for field in _SHAPE_FIELDS:
            problems += whole_number(field, getattr(self, field), 1)
        if not isinstance(self.bias, bool):
            problems.append(f"`bias` must be true or false, but got {self.bias!r}")
        if not problems:
            problems = _shape_conflicts(self)
        if problems:
            raise LayerError([f"layer {self.name!r}: {problem}" for problem in problems])

    @property
    def m(self) -> int:
        """Output positions: rows of the input matrix of the layer's matrix product."""
        return self.out_h * self.out_w

    @property
    def k(self) -> int:
        """Length of one dot product (per group)."""
        return self.kernel_h * self.kernel_w * self.in_channels // self.groups

    @property
    def n(self) -> int:
        """Output channels per group: columns of the weight matrix."""
        return self.out_channels // self.groups

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations for one image."""
        return self.m * self.k * self.out_channels

    @property
    def weights(self) -> int:
        """Number of weights, biases aside."""
        return self.k * self.out_channels

    @property
    def inputs(self) -> int:
        """Number of input elements, padding aside."""
        return self.in_h * self.in_w * self.in_channels

    @property
    def outputs(self) -> int:
        """Number of output elements."""
        return self.out_h * self.out_w * self.out_channels


def _shape_conflicts(shape: LayerShape) -> list[str]:
    """Return what is wrong between fields that are each in range."""
    problems = []
    for field in ("in_channels", "out_channels"):
        if getattr(shape, field) % shape.groups:
            problems.append(
                f"`{field} % groups == 0` must hold, but got {field}={getattr(shape, field)}, groups={shape.groups}"
            )
    if shape.kind == "linear":
        if (shape.kernel_h, shape.kernel_w, shape.groups) != (1, 1, 1):
            problems.append(
                "a linear layer has kernel_h=kernel_w=groups=1, but got "
                f"kernel_h={shape.kernel_h}, kernel_w={shape.kernel_w}, groups={shape.groups}"
            )
        if shape.in_h * shape.in_w != shape.out_h * shape.out_w:
            problems.append(
                "`in_h*in_w == out_h*out_w` must hold for a linear layer (one output per position), but got "
                f"{shape.in_h}*{shape.in_w} and {shape.out_h}*{shape.out_w}"
            )
    return problems


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerJob:
    """A layer with the widths of its operands in bits, and what is known of its weights.

    `density` is the share of weights that are not zero; `codebook_size` the number of distinct values that
    they share, or None.

    `stored_input_bits` is the width at which memory holds the input, where that is wider than what this layer reads,
    since another reader needs more; None is `input_bits`.

    Raises:
        LayerError: a field is out of range; all of them are reported at once.
    """

    shape: LayerShape
    weight_bits: int = 8
    input_bits: int = 8
    output_bits: int = 8
    density: float = 1.0
    codebook_size: int | None = None
    stored_input_bits: int | None = None

    def __post_init__(self) -> None:
        problems = []
        for field in ("weight_bits", "input_bits", "output_bits"):
            problems += whole_number(field, getattr(self, field), 1, MAXIMUM_BITS)
        problems += number("density", self.density, 0.0, maximum=1.0)
        if self.stored_input_bits is not None:
            problems += whole_number("stored_input_bits", self.stored_input_bits, 1, MAXIMUM_BITS)
            if not problems and self.stored_input_bits < self.input_bits:
                problems.append(
                    "`input_bits <= stored_input_bits` must hold (a layer cannot read more than is stored), but got "
                    f"(input_bits={self.input_bits}, stored_input_bits={self.stored_input_bits})"
                )
        if self.codebook_size is not None:
            problems += whole_number("codebook_size", self.codebook_size, 1)
        if problems:
            raise LayerError([f"layer {self.shape.name!r}: {problem}" for problem in problems])

    @property
    def memory_input_bits(self) -> int:
        """Width at which an input element is fetched."""
        return self.input_bits if self.stored_input_bits is None else self.stored_input_bits


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationTensor:
    """An activation buffer and the inclusive range of layer steps during which it must be kept.

    Raises:
        LayerError: a field is out of range; all of them are reported at once.
    """

    name: str
    elements: int
    bits: int
    first_step: int
    last_step: int

    def __post_init__(self) -> None:
        problems = [
            *text("name", self.name),
            *whole_number("elements", self.elements, 0),
            *whole_number("bits", self.bits, 1, MAXIMUM_BITS),
            *whole_number("first_step", self.first_step, 0),
            *whole_number("last_step", self.last_step, 0),
        ]
        if not problems and self.last_step < self.first_step:
            problems.append(
                "`first_step <= last_step` must hold, but got "
                f"(first_step={self.first_step}, last_step={self.last_step})"
            )
        if problems:
            raise LayerError([f"activation {self.name!r}: {problem}" for problem in problems])


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerArrays:
    """The same facts as a sequence of jobs, as arrays of one common shape `... x layers`.

    The last axis is the layer; leading axes, if any, are candidates. Counts `m`, `k` and `n` are per group;
    `codebook_size` is 0 where weights are not shared.
    """

    m: IntArray
    k: IntArray
    n: IntArray
    groups: IntArray
    in_channels: IntArray
    kernel_h: IntArray
    in_h: IntArray
    in_w: IntArray
    out_h: IntArray
    out_w: IntArray
    bias: BoolArray
    weight_bits: IntArray
    input_bits: IntArray
    memory_input_bits: IntArray
    output_bits: IntArray
    density: FloatArray
    codebook_size: IntArray

    @property
    def macs(self) -> IntArray:
        """Multiply-accumulate operations, `... x layers`."""
        return self.m * self.k * self.n * self.groups

    @property
    def inputs(self) -> IntArray:
        """Input elements without padding, `... x layers`."""
        return self.in_h * self.in_w * self.in_channels

    @property
    def outputs(self) -> IntArray:
        """Output elements, `... x layers`."""
        return self.m * self.n * self.groups


_job_row = attrgetter(
    *(f"shape.{field}" for field in _SHAPE_FIELDS),
    "shape.bias",
    "weight_bits",
    "input_bits",
    "memory_input_bits",
    "output_bits",
)


def layer_arrays(jobs: Sequence[LayerJob]) -> LayerArrays:
    """Return the jobs as arrays of shape `layers` (stack several with numpy for candidates x layers).

    Raises:
        LayerError: there is no job.
    """
    if not jobs:
        raise LayerError("at least one layer is needed, but got no jobs: check that the network was traced")
    rows = np.array([_job_row(job) for job in jobs], dtype=np.int64)
    ic, oc, kh, kw, in_h, in_w, out_h, out_w, groups, bias, weight_bits, input_bits, memory_input_bits, output_bits = (
        rows.T.copy()
    )
    return LayerArrays(
        m=out_h * out_w,
        k=kh * kw * ic // groups,
        n=oc // groups,
        groups=groups,
        in_channels=ic,
        kernel_h=kh,
        in_h=in_h,
        in_w=in_w,
        out_h=out_h,
        out_w=out_w,
        bias=bias.astype(np.bool_),
        weight_bits=weight_bits,
        input_bits=input_bits,
        memory_input_bits=memory_input_bits,
        output_bits=output_bits,
        density=np.array([job.density for job in jobs], dtype=np.float64),
        codebook_size=np.array([job.codebook_size or 0 for job in jobs], dtype=np.int64),
    )
