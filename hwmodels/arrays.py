"""Array types and exact whole-number division, used by every family of cost functions."""

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]
IntLike = IntArray | int
"""Whole numbers of any shape; every public function of this package lets them broadcast."""


def ceil_div(numerator: IntLike, denominator: IntLike) -> IntArray:
    """Return numerator / denominator rounded up, in whole numbers; the denominator must be positive."""
    quotient: IntArray = np.asarray(-(-np.asarray(numerator) // np.asarray(denominator)), dtype=np.int64)
    return quotient
