"""Whole numbers of few bits, one behind the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pack_bits(numbers: NDArray[np.integer], bits: int) -> NDArray[np.uint8]:
    """Return the lowest `bits` (1..8) of each number, the lowest bit of each number and byte first.

    Negative numbers are stored in two's complement. Of 4 and of 2 bits, this is how ONNX packs INT4 and INT2.
    """
    planes = (numbers.reshape(-1, 1).astype(np.int64) >> np.arange(bits)) & 1
    return np.packbits(planes.astype(np.uint8), bitorder="little")
