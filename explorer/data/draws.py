"""Draws of images that a seed fixes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def permutation(count: int, seed: int, purpose: str) -> NDArray[np.intp]:
    """Return a shuffle of 0..count-1, of its own for every purpose."""
    return np.random.default_rng([seed, *purpose.encode(errors="surrogateescape")]).permutation(count)
