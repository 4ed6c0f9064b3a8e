"""The activations of one network, or of many candidates of it, as arrays that broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hwmodels.arrays import IntArray, ceil_div
from hwmodels.errors import LayerError
from hwmodels.workload.activation import ActivationTensor
from hwmodels.workload.layer import LARGEST_EXACT


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorArrays:
    """The same facts as a sequence of activations; the last axis is the tensor, leading axes, if any, are candidates.

    All candidates have the lives, the writers and the readers of `tensors`; sizes and widths are their own.

    Attributes:
        tensors: Of one candidate.
        elements: Of all images, `... x tensors`.
        bits: Width of an element; it broadcasts against the elements.

    Example:
        >>> import hwmodels
        >>> import numpy as np
        >>> from dataclasses import replace
        >>> tensors = hwmodels.tensor_arrays(hwmodels.NETWORKS["lenet5"]().tensors)
        >>> replace(tensors, bits=np.array([[4], [8]])).peak_bytes.tolist()
        [2940, 5880]
    """

    tensors: tuple[ActivationTensor, ...]
    elements: IntArray
    bits: IntArray

    @property
    def size_bytes(self) -> IntArray:
        """Whole bytes of each activation, `... x tensors`."""
        return ceil_div(self.elements * self.bits, 8)

    @property
    def peak_bytes(self) -> IntArray:
        """The largest sum, over the steps, of the bytes of all activations alive at that step, `...`."""
        sizes = self.size_bytes
        if not self.tensors:
            return np.zeros(sizes.shape[:-1], dtype=np.int64)
        order, _ = order_changes(*zip(*((each.first_step, each.last_step) for each in self.tensors), strict=True))
        peak: IntArray = sum_changes(sizes, order).max(axis=-1)
        return peak


def order_changes(first_steps: Sequence[int], last_steps: Sequence[int]) -> tuple[IntArray, IntArray]:
    """Return the order in which activations come and go, as indices into all that come and then all that go.

    The second array holds the step of each. What goes before a step is first.
    """
    steps = np.concatenate((np.array(last_steps) + 1, np.array(first_steps)))
    order = np.argsort(steps, kind="stable")
    return (order + len(last_steps)) % len(steps), steps[order]


def sum_changes(values: IntArray, order: IntArray) -> IntArray:
    """Return the sums of what is alive behind each change, `... x changes`, of values of `... x tensors`."""
    sums: IntArray = np.concatenate((values, -values), axis=-1)[..., order].cumsum(axis=-1)
    return sums


def tensor_arrays(tensors: Sequence[ActivationTensor]) -> TensorArrays:
    """Return the activations as arrays of shape `tensors`.

    Raises:
        LayerError: the tensors together have more elements than can be counted exactly.

    Example:
        >>> import hwmodels
        >>> hwmodels.tensor_arrays(hwmodels.NETWORKS["lenet5"]().tensors).elements.tolist()[:3]
        [1024, 4704, 1176]
    """
    found = _gather(tensors, [tensors])
    return replace(found, elements=found.elements[0], bits=found.bits[0])


def stack_tensors(candidates: Sequence[Sequence[ActivationTensor]]) -> TensorArrays:
    """Return the activations of candidates of one network as arrays of `candidates x tensors`.

    Raises:
        LayerError: there is no candidate, or they differ in more than sizes and widths.

    Example:
        >>> import hwmodels
        >>> networks = [hwmodels.NETWORKS["lenet5"](batch) for batch in (1, 16)]
        >>> hwmodels.stack_tensors([network.tensors for network in networks]).elements[:, 0].tolist()
        [1024, 16384]
    """
    if not candidates:
        raise LayerError("expected at least one candidate, received none")
    tensors = tuple(candidates[0])
    shape = [replace(tensor, elements=0, bits=1) for tensor in tensors]
    for index, other in enumerate(candidates):
        if [replace(tensor, elements=0, bits=1) for tensor in other] != shape:
            raise LayerError(
                "expected candidates of one network, whose activations differ in sizes and widths only, received "
                f"others at position {index} than at 0"
            )
    return _gather(tensors, candidates)


def _gather(tensors: Sequence[ActivationTensor], candidates: Sequence[Sequence[ActivationTensor]]) -> TensorArrays:
    """Return sizes and widths of `candidates x tensors`."""
    elements, bits = (
        np.array([[getattr(tensor, field) for tensor in each] for each in candidates], dtype=np.int64)
        for field in ("elements", "bits")
    )
    most = elements.astype(np.float64).sum(axis=-1).max()
    if most > LARGEST_EXACT:
        raise LayerError(
            f"{most:.3g} elements of activations are more than can be counted exactly (2^53): correct the sizes or "
            "the batch"
        )
    return TensorArrays(tensors=tuple(tensors), elements=elements, bits=bits)
