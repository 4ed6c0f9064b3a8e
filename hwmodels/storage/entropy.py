"""Bytes of weights in the code of Arm's compiler for the Ethos-U: an adaptive Golomb code near their entropy.

Vela recodes whatever weights it is given, so what counts is how often each integer occurs in a layer, not in which
width or codebook the integers were stored before.
"""

from __future__ import annotations

import numpy as np

from hwmodels.arrays import FloatArray, IntArray, IntLike
from hwmodels.storage.sparse import round_up, whole_bytes

BITS_PER_ENTROPY_BIT = 1.05
"""What the code takes for each bit of order-0 entropy: the encoded bytes of four networks by Vela 5.2."""
CHANNEL_BYTES = 10
"""Bias (40 bits), scale (32 bits) and shift (6 bits) of an output channel, in whole bytes: Vela 5.2."""
LAYER_BYTES = 16
"""What padding to 16 bytes and the end of the code take, in the mean: the same networks."""


def entropy_bytes(weights: IntLike, entropy_bits: FloatArray | float, channels: IntLike) -> IntArray:
    """Return bytes for weights * entropy_bits * 1.05 bits, 10 bytes for each channel and 16 for the layer.

    Example:
        >>> import hwmodels
        >>> int(hwmodels.entropy_bytes(weights=1000, entropy_bits=2.34, channels=10))
        424
    """
    coded = round_up(np.asarray(entropy_bits, dtype=np.float64) * weights * BITS_PER_ENTROPY_BIT)
    size: IntArray = whole_bytes(coded) + np.asarray(channels) * CHANNEL_BYTES + LAYER_BYTES
    return size
