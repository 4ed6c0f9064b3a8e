"""Bytes of weights in the code of Arm's compiler for the Ethos-U: an adaptive Golomb code near their entropy.

Vela recodes whatever weights it is given, so what counts is how often each integer occurs in a layer, not in which
width or codebook the integers were stored before. Zeros that fill up the lanes of the device are coded, too.
"""

from __future__ import annotations

import numpy as np

from hwmodels.arrays import FloatArray, IntArray, IntLike
from hwmodels.storage.sparse import round_up, whole_bytes

BITS_PER_ENTROPY_BIT = 1.06
"""What the code takes for each bit of entropy: fitted to Vela 5.2's encoded bytes of ResNet-8 and an autoencoder."""
CHANNEL_BYTES = 10
"""Bias (40 bits), scale (32 bits) and shift (6 bits) of an output channel, in whole bytes: Vela 5.2."""
LAYER_BYTES = 16
"""What padding to 16 bytes and the end of the code take, in the mean: the same networks."""


def entropy_bytes(
    weights: IntLike,
    entropy_bits: FloatArray | float,
    *,
    density: FloatArray | float = 1.0,
    coded_weights: IntLike | None = None,
) -> IntArray:
    """Return bytes for 1.06 times the entropy of all that is coded, and 16 more; biases and scales aside.

    `weights` of `entropy_bits` each, of which a share of 1 - `density` is zero, become `coded_weights` by adding zeros.
    Telling z of N values apart takes N log N - z log z - (N - z) log (N - z) bits: the entropy grows by the difference.

    Example:
        >>> import hwmodels
        >>> int(hwmodels.entropy_bytes(weights=1000, entropy_bits=2.34, density=0.2))
        327
        >>> int(hwmodels.entropy_bytes(weights=1000, entropy_bits=2.34, density=0.2, coded_weights=2000))
        355
    """
    bits = np.asarray(entropy_bits, dtype=np.float64) * weights
    if coded_weights is not None:
        bits = bits + added_bits(weights, density, coded_weights)
    return whole_bytes(round_up(bits * BITS_PER_ENTROPY_BIT)) + LAYER_BYTES


def added_bits(weights: IntLike, density: FloatArray | float, coded_weights: IntLike) -> FloatArray:
    """Return by how many bits zeros that are added to a layer raise the entropy of the whole."""
    few = np.asarray(weights, dtype=np.float64)
    many, zeros = np.asarray(coded_weights, dtype=np.float64), few * (1.0 - np.asarray(density))
    added: FloatArray = _scaled_log(many) - _scaled_log(zeros + (many - few)) - _scaled_log(few) + _scaled_log(zeros)
    return np.maximum(added, 0.0)


def _scaled_log(count: FloatArray) -> FloatArray:
    """Return count * log2(count), 0 for 0."""
    scaled: FloatArray = count * np.log2(np.maximum(count, np.finfo(np.float64).tiny))
    return scaled
