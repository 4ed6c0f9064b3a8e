"""How a formula names the parts of a device, and where their values are from."""

from __future__ import annotations

import re

from hwmodels.device.accelerator import Accelerator
from hwmodels.device.parts import Buffer, Memory


def name_place(place: Buffer | Memory) -> str:
    """Return an identifier for a buffer or memory, whose name may hold any characters."""
    table = "buffers" if isinstance(place, Buffer) else "memories"
    return f"{table}_{re.sub(r'[^0-9A-Za-z_]', lambda odd: f'_{ord(odd[0]):x}_', place.name)}"


def cite(key: str, device: Accelerator) -> str:
    """Return a dotted profile key with the id of its reference, or what stands for that."""
    missing = "not in the profile, the default" if device.sources else "stated without a source"
    return f"{key}: {device.sources.get(key, missing)}"


def name_units(device: Accelerator) -> str:
    """Return the number of multiply-accumulate units as a product of names."""
    if device.has_rows:
        return "rows * columns"
    return " * ".join(f"unroll_{loop}" for loop in ("out_h", "out_w", "out_channels", "in_channels", "kernel"))
