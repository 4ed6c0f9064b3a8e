"""Devices that keep nothing on chip between layers."""

from __future__ import annotations

from dataclasses import replace

from hwmodels import Accelerator


def keep_nothing(device: Accelerator) -> Accelerator:
    """The device with every activation passing memory."""
    return replace(device, buffers=tuple(replace(buffer, keeps=()) for buffer in device.buffers))
