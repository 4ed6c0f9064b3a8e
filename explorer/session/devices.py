"""Devices as they are named in Python."""

from __future__ import annotations

from pathlib import Path

from explorer.errors import ExplorerError
from hwmodels import Accelerator, HardwareModelError, load

Device = str | Path | Accelerator
"""A device's name, the path of its file, or the device itself."""


def find_device(device: Device) -> Accelerator:
    """Return a device.

    Raises:
        ExplorerError: Where there is none of that name, with a suggestion.
    """
    if isinstance(device, Accelerator):
        return device
    if not isinstance(device, str | Path):
        raise ExplorerError(f"device: expected a name, a path or a device, received {type(device).__name__}")
    try:
        return load(device)
    except HardwareModelError as error:
        raise ExplorerError(*(f"device: {problem}" for problem in error.problems)) from None
