"""Energy of the same circuit in another technology node."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hwmodels.errors import DeviceError

ENERGY_RELATIVE_TO_45_NM: Mapping[int, float] = MappingProxyType(
    {130: 3.17, 90: 1.95, 65: 1.25, 45: 1.0, 32: 0.64, 20: 0.24, 16: 0.19, 14: 0.15, 10: 0.13, 7: 0.10}
)
"""Energy of one operation by node in nm, relative to 45 nm at 0.9 V (Stillmaker and Baas, Integration 58, 2017)."""
NODES_NM = tuple(ENERGY_RELATIVE_TO_45_NM)


def energy_ratio(from_nm: int, to_nm: int) -> float:
    """Return the energy of an operation at `to_nm` relative to the same one at `from_nm`, both at 0.9 V.

    Raises:
        DeviceError: a node is not one of NODES_NM.

    Example:
        >>> import hwmodels
        >>> hwmodels.energy_ratio(45, 16)
        0.19
    """
    for node in (from_nm, to_nm):
        if node not in ENERGY_RELATIVE_TO_45_NM:
            known = ", ".join(map(str, NODES_NM))
            raise DeviceError(f"expected a node of {known} nm, received {node!r} nm: choose the nearest of these")
    return ENERGY_RELATIVE_TO_45_NM[to_nm] / ENERGY_RELATIVE_TO_45_NM[from_nm]
