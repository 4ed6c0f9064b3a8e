"""Scores of single images as text, short enough to be stored with every network: a bit each for right and wrong."""

from __future__ import annotations

import base64
import math
import zlib

import numpy as np

from explorer.arrays import Float64Array
from explorer.evaluate.mean_score import is_right_or_wrong

BITS, FLOATS = "bits", "floats"


def pack_scores(scores: Float64Array) -> str:
    """Return scores (N), each in [0, 1], as text: right and wrong exactly, others as float32."""
    if is_right_or_wrong(scores):
        kind, data = BITS, np.packbits(scores.astype(np.uint8)).tobytes()
    else:
        kind, data = FLOATS, scores.astype("<f4").tobytes()
    return f"{kind}:{len(scores)}:{base64.b64encode(zlib.compress(data, 9)).decode()}"


def unpack_scores(text: str) -> Float64Array:
    """Return the scores (N) that `pack_scores` packed.

    Raises:
        ValueError: It is not such a text.
    """
    try:
        kind, count, packed = text.split(":")
        data, size = zlib.decompress(base64.b64decode(packed, validate=True)), int(count)
        if kind not in (BITS, FLOATS) or len(data) != (math.ceil(size / 8) if kind == BITS else 4 * size):
            raise ValueError
    except (ValueError, zlib.error) as error:
        raise ValueError(f"expected packed scores of images, received {text[:40]!r}") from error
    if kind == FLOATS:
        return np.frombuffer(data, "<f4").astype(np.float64)
    return np.unpackbits(np.frombuffer(data, np.uint8), count=size).astype(np.float64)
