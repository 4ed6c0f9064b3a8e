"""The integers of a compressed network, as files hold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.arrays import Float32Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackedLayer:
    """One layer: `codes` (int8, out_channels x ...), `scales` (float32, out_channels), `biases` (int32) or None."""

    name: str
    codes: NDArray[np.int8]
    scales: Float32Array
    biases: NDArray[np.int32] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedQuantizer:
    """One activation quantiser; `scale` is a float32 number."""

    name: str
    bits: int
    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackedNetwork:
    """The integers of a whole network; `others` are what is neither a layer's nor a quantiser's, by name."""

    layers: tuple[PackedLayer, ...]
    quantizers: tuple[PackedQuantizer, ...]
    others: tuple[tuple[str, NDArray[Any]], ...] = ()
