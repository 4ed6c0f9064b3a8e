"""Order-0 entropy of the integers that a layer stores, the least that any code of single integers takes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hwmodels.errors import LayerError


def measure_entropy(integers: npt.ArrayLike) -> float:
    """Return the sum of -p log2 p over the shares p of the distinct integers, in bits for each; 0 where all are equal.

    What `LayerJob.entropy_bits` takes, of all weights of a layer together, in any shape.

    Source: Shannon, "A Mathematical Theory of Communication", Bell System Technical Journal 1948, theorem 2.

    Raises:
        LayerError: there is no integer, or something else.

    Example:
        >>> import hwmodels
        >>> hwmodels.measure_entropy([[0, 0, 0, 0], [5, 5, -3, 7]])
        1.75
    """
    try:
        array = np.asarray(integers)
    except ValueError:
        raise LayerError(
            "integers: expected an array, received rows of different lengths: put them side by side"
        ) from None
    if array.dtype.kind not in "iu" or not array.size:
        raise LayerError(f"integers: expected at least one integer, received {array.size} of type {array.dtype}")
    _, counts = np.unique(array, return_counts=True)
    return float((counts * np.log2(array.size / counts)).sum() / array.size)
