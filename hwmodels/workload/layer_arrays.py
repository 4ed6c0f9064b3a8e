"""The facts of many layers, of one network or of many candidates, as arrays that broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from hwmodels.arrays import BoolArray, FloatArray, IntArray
from hwmodels.checks import shown
from hwmodels.errors import LayerError
from hwmodels.workload.layer import LAYER_KINDS, MAXIMUM_BITS, PRODUCT_KINDS, SLIDING_KINDS, LayerJob
from hwmodels.workload.window import count_read_lines, measure_reach


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerArrays:
    """The same facts as a sequence of jobs; the last axis is the layer, leading axes, if any, are candidates.

    Fields need not have one shape as long as they broadcast: with widths of `candidates x layers` and sizes of
    `layers`, what depends on sizes alone is computed once. Counts `m` (positions of all images), `k` and `n` are
    per group, and 1 for a layer without products. `codebook_size` is 0 where weights are not shared,
    `index_code_bits` where indices are not coded, `entropy_bits` where the entropy is unknown.

    Example:
        >>> import hwmodels
        >>> layers = hwmodels.layer_arrays(hwmodels.NETWORKS["lenet5"]().jobs())
        >>> layers.shape, layers.macs.tolist()[:3]
        ((11,), [117600, 0, 0])
    """

    kind: IntArray
    """Index into LAYER_KINDS."""
    m: IntArray
    k: IntArray
    n: IntArray
    groups: IntArray
    batch: IntArray
    in_channels: IntArray
    out_channels: IntArray
    kernel_h: IntArray
    kernel_w: IntArray
    in_h: IntArray
    in_w: IntArray
    out_h: IntArray
    out_w: IntArray
    stride_h: IntArray
    reach_h: IntArray
    """Lines from the first to the last that a window reads."""
    bias: BoolArray
    is_product: BoolArray
    stores_weights: BoolArray
    macs: IntArray
    weights: IntArray
    """Elements of the second operand of a product, stored or not; 0 for a layer without."""
    operands: IntArray
    inputs: IntArray
    """Elements that are read of all operands."""
    outputs: IntArray
    vector_operations: IntArray
    weight_bits: IntArray
    input_bits: IntArray
    memory_input_bits: IntArray
    output_bits: IntArray
    density: FloatArray
    codebook_size: IntArray
    codebooks: IntArray
    index_code_bits: FloatArray
    entropy_bits: FloatArray
    fusible: BoolArray
    weights_elsewhere: BoolArray
    columns_per_channel: IntArray

    @property
    def shape(self) -> tuple[int, ...]:
        """The common shape, `... x layers`."""
        return np.broadcast_shapes(*set(map(np.shape, _facts(self))))


_facts = attrgetter(*(field.name for field in fields(LayerArrays)))
LEAST_ENTROPY_BITS = 1e-9
"""What stands in arrays for an entropy of 0, which would say that it is unknown."""
_SHAPE_FIELDS = (
    *("in_channels", "out_channels", "kernel_h", "kernel_w", "in_h", "in_w", "out_h", "out_w"),
    *("stride_h", "stride_w", "dilation_h", "dilation_w", "groups", "batch", "operands", "bias"),
)
_WIDTH_FIELDS = ("weight_bits", "input_bits", "memory_input_bits", "output_bits")
_whole_numbers = attrgetter(*(f"shape.{field}" for field in _SHAPE_FIELDS), *_WIDTH_FIELDS)
_KIND_INDEX = {kind: index for index, kind in enumerate(LAYER_KINDS)}
_POOL, _ADD, _ACTIVATION = (_KIND_INDEX[kind] for kind in ("pool", "add", "activation"))
_IS_PRODUCT = np.array([kind in PRODUCT_KINDS for kind in LAYER_KINDS])
_STORES_WEIGHTS = np.array([kind in ("conv", "linear") for kind in LAYER_KINDS])
_SLIDES = np.array([kind in SLIDING_KINDS for kind in LAYER_KINDS])


def layer_arrays(jobs: Sequence[LayerJob]) -> LayerArrays:
    """Return the jobs as arrays of shape `layers`.

    Raises:
        LayerError: there is no job.

    Example:
        >>> import hwmodels
        >>> layers = hwmodels.layer_arrays(hwmodels.NETWORKS["lenet5"]().jobs())
        >>> layers.weight_bits.tolist()[:3], int(layers.weights.sum())
        ([8, 8, 8], 61470)
    """
    if not jobs:
        raise LayerError("expected at least one layer, received none: check that the network was traced")
    columns = np.array([_whole_numbers(job) for job in jobs], dtype=np.int64).T.copy()
    facts = dict(zip((*_SHAPE_FIELDS, *_WIDTH_FIELDS), columns, strict=True))
    bias = facts.pop("bias").astype(np.bool_)
    kind = np.array([_KIND_INDEX[job.shape.kind] for job in jobs], dtype=np.int64)
    count = len(jobs)
    return LayerArrays(
        kind=kind,
        bias=bias,
        **_derived(kind, facts),
        **facts,
        density=np.fromiter((job.density for job in jobs), np.float64, count),
        codebook_size=np.fromiter((job.codebook_size or 0 for job in jobs), np.int64, count),
        codebooks=np.fromiter((job.codebooks for job in jobs), np.int64, count),
        fusible=np.fromiter((job.fusible for job in jobs), np.bool_, count),
        weights_elsewhere=np.fromiter((job.weights_elsewhere for job in jobs), np.bool_, count),
        columns_per_channel=np.fromiter((job.columns_per_channel for job in jobs), np.int64, count),
        index_code_bits=np.fromiter((job.index_code_bits or 0.0 for job in jobs), np.float64, count),
        entropy_bits=np.fromiter(map(_known_entropy, jobs), np.float64, count),
    )


def _known_entropy(job: LayerJob) -> float:
    """Return the entropy, 0 where it is unknown, and next to 0 where all weights are the same."""
    return 0.0 if job.entropy_bits is None else max(job.entropy_bits, LEAST_ENTROPY_BITS)


def _derived(kind: IntArray, facts: dict[str, IntArray]) -> dict[str, Any]:
    """Return what follows from the sizes, equal to the properties of LayerShape of the same names."""
    is_product = _IS_PRODUCT[kind]
    positions = facts["batch"] * facts["out_h"] * facts["out_w"]
    window = facts["kernel_h"] * facts["kernel_w"]
    depth = window * facts["in_channels"] // facts["groups"]
    outputs = positions * facts["out_channels"]
    weights = is_product * (depth * facts["out_channels"])
    moves = {"h": (facts["stride_h"], facts.pop("dilation_h")), "w": (facts.pop("stride_w"), facts.pop("dilation_w"))}
    read_h, read_w = (
        np.where(
            _SLIDES[kind],
            count_read_lines(facts[f"in_{axis}"], facts[f"out_{axis}"], facts[f"kernel_{axis}"], *moves[axis]),
            facts[f"in_{axis}"],
        )
        for axis in "hw"
    )
    operations = {_POOL: outputs * window, _ADD: outputs * (facts["operands"] - 1), _ACTIVATION: outputs}
    return {
        "m": np.where(is_product, positions, 1),
        "k": np.where(is_product, depth, 1),
        "n": np.where(is_product, facts["out_channels"] // facts["groups"], 1),
        "is_product": is_product,
        "stores_weights": _STORES_WEIGHTS[kind],
        "macs": positions * weights,
        "weights": weights,
        "inputs": facts["batch"] * read_h * read_w * facts["in_channels"] * facts["operands"],
        "outputs": outputs,
        "reach_h": measure_reach(facts["kernel_h"], moves["h"][1]),
        "vector_operations": sum((kind == index) * count for index, count in operations.items()),
        "groups": np.where(is_product, facts.pop("groups"), 1),
    }


def stack(networks: Sequence[Sequence[LayerJob]]) -> LayerArrays:
    """Return candidates of one network as arrays of `candidates x layers`.

    Raises:
        LayerError: there is no candidate, or they differ in their number of layers.

    Example:
        >>> import hwmodels
        >>> network = hwmodels.NETWORKS["lenet5"]()
        >>> layers = hwmodels.stack([network.jobs(weight_bits=bits) for bits in (2, 4, 8)])
        >>> layers.shape, hwmodels.evaluate(layers, hwmodels.load("bitfusion")).weight_bytes.tolist()
        ((3, 11), [17268, 32626, 63358])
    """
    if not networks:
        raise LayerError("expected at least one candidate, received none")
    lengths = sorted({len(jobs) for jobs in networks})
    if len(lengths) > 1:
        raise LayerError(f"expected candidates of the same number of layers, received {lengths[0]} and {lengths[-1]}")
    flat = layer_arrays([job for jobs in networks for job in jobs])
    shape = (len(networks), lengths[0])
    return replace(flat, **{field.name: getattr(flat, field.name).reshape(shape) for field in fields(flat)})


def with_widths(
    layers: LayerArrays,
    *,
    weight_bits: npt.ArrayLike | None = None,
    input_bits: npt.ArrayLike | None = None,
    output_bits: npt.ArrayLike | None = None,
) -> LayerArrays:
    """Return the layers with other widths, such as `candidates x layers` beside sizes of `layers`.

    Inputs are fetched from memory at their own width then.

    Raises:
        LayerError: a width is not from 1 to 32, or does not broadcast against the layers.

    Example:
        >>> import hwmodels
        >>> layers = hwmodels.layer_arrays(hwmodels.NETWORKS["lenet5"]().jobs())
        >>> hwmodels.with_widths(layers, weight_bits=[[2], [8]]).shape
        (2, 11)
    """
    changes: dict[str, Any] = {}
    for field, given in (("weight_bits", weight_bits), ("input_bits", input_bits), ("output_bits", output_bits)):
        if given is None:
            continue
        bits = _read_widths(field, given)
        if bits.size and not 1 <= bits.min() <= bits.max() <= MAXIMUM_BITS:
            raise LayerError(
                f"expected 1 <= {field} <= {MAXIMUM_BITS}, received values from {bits.min()} to {bits.max()}"
            )
        try:
            np.broadcast_shapes(bits.shape, layers.shape)
        except ValueError:
            raise LayerError(
                f"{field}: expected a shape that broadcasts with the layers' {layers.shape}, received {bits.shape}"
            ) from None
        changes[field] = bits
    if "input_bits" in changes:
        changes["memory_input_bits"] = changes["input_bits"]
    return replace(layers, **changes)


def with_channels(
    layers: LayerArrays, in_channels: IntArray, out_channels: IntArray, groups: IntArray | None = None
) -> LayerArrays:
    """Return the layers with other channels, such as `candidates x layers` beside sizes of `layers`.

    Args:
        groups: Those of products; as they are where none are given.

    Example:
        >>> import hwmodels
        >>> layers = hwmodels.layer_arrays(hwmodels.NETWORKS["lenet5"]().jobs())
        >>> half = hwmodels.with_channels(layers, layers.in_channels, layers.out_channels // 2)
        >>> layers.macs.tolist()[0], half.macs.tolist()[0]
        (117600, 58800)
    """
    groups = layers.groups if groups is None else np.where(layers.is_product, groups, 1)
    depth = layers.kernel_h * layers.kernel_w * in_channels // groups
    weights = layers.is_product * (depth * out_channels)
    outputs = layers.outputs // layers.out_channels * out_channels
    return replace(
        layers,
        in_channels=in_channels,
        out_channels=out_channels,
        groups=groups,
        k=np.where(layers.is_product, depth, 1),
        n=np.where(layers.is_product, out_channels // groups, 1),
        macs=layers.m * weights,
        weights=weights,
        inputs=layers.inputs // layers.in_channels * in_channels,
        outputs=outputs,
        vector_operations=layers.vector_operations // layers.outputs * outputs,
    )


def _read_widths(field: str, given: npt.ArrayLike) -> IntArray:
    """Return widths as whole numbers."""
    try:
        found = np.asarray(given)
    except ValueError:
        raise LayerError(f"{field}: expected an array of whole numbers, received rows of different lengths") from None
    is_real = found.dtype.kind == "f" and bool(np.isfinite(found).all())
    if found.dtype.kind not in "iu" and not (is_real and (found % 1 == 0).all()):
        raise LayerError(f"{field}: expected an array of whole numbers, received {shown(found.tolist())}")
    bits: IntArray = found.astype(np.int64)
    return bits
