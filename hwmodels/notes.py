"""What a reader of the numbers should know, in words: what a device gives nothing for, what does not fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwmodels.accelerator import Accelerator
from hwmodels.arrays import BoolArray
from hwmodels.layer import LayerArrays
from hwmodels.memory import WEIGHT_FORMATS, StoredWeights
from hwmodels.traffic import DramTraffic


def network_notes(
    names: Sequence[str],
    layers: LayerArrays,
    accelerator: Accelerator,
    stored: StoredWeights,
    dram: DramTraffic,
    peak_bytes: int,
) -> tuple[str, ...]:
    """Return the notes on one network (arrays of shape `layers`); empty if there is nothing to say."""
    return (
        *_width_notes(names, layers, accelerator),
        *_density_notes(names, layers, accelerator),
        *_format_notes(names, accelerator, stored),
        *_fit_notes(names, accelerator, dram, peak_bytes),
    )


def _width_notes(names: Sequence[str], layers: LayerArrays, accelerator: Accelerator) -> list[str]:
    """Say which widths run as wider ones."""
    notes = []
    for operand, bits, supported in (
        ("weights", layers.weight_bits, accelerator.weight_bits),
        ("inputs", layers.input_bits, accelerator.input_bits),
    ):
        held = np.array(supported)[np.searchsorted(supported, bits)]
        for width in np.unique(bits[held > bits]).tolist():
            runs_as = next(candidate for candidate in supported if candidate > width)
            notes.append(
                f"{width}-bit {operand} run as {runs_as}-bit {operand} on {accelerator.name}: they save "
                f"storage and DRAM traffic, but bring no MAC or SRAM gain over {runs_as} bits "
                f"({_which(names, bits == width)})"
            )
    return notes


def _density_notes(names: Sequence[str], layers: LayerArrays, accelerator: Accelerator) -> list[str]:
    """Say that zeros are not skipped."""
    sparse = layers.density < 1.0
    if not sparse.any():
        return []
    return [f"{accelerator.name} does not skip zeros: they save neither MACs nor time ({_which(names, sparse)})"]


def _format_notes(names: Sequence[str], accelerator: Accelerator, stored: StoredWeights) -> list[str]:
    """Say which formats count for storage only."""
    notes = []
    for index, weight_format in enumerate(WEIGHT_FORMATS):
        chosen = stored.smallest_format == index
        if weight_format not in accelerator.weight_formats and chosen.any():
            notes.append(
                f"{accelerator.name} cannot read {weight_format} weights: they count for storage, and DRAM "
                f"traffic is that of {' or '.join(accelerator.weight_formats)} ({_which(names, chosen)})"
            )
    return notes


def _fit_notes(names: Sequence[str], accelerator: Accelerator, dram: DramTraffic, peak_bytes: int) -> list[str]:
    """Say what exceeds its buffer and is therefore fetched again, or kept off the chip."""
    notes = []
    for operand, passes in (("weights", dram.weight_passes), ("inputs", dram.input_passes)):
        if (passes > 1).any():
            size = accelerator.buffer_of(operand).size_bytes
            notes.append(
                f"{operand} exceed their buffer ({size} bytes) and are fetched up to {passes.max()} times "
                f"({_which(names, passes > 1)})"
            )
    on_chip = {accelerator.buffer_of(operand) for operand in ("inputs", "outputs")}
    size = sum(buffer.size_bytes for buffer in on_chip)
    if peak_bytes > size:
        notes.append(
            f"the activation peak of {peak_bytes} bytes exceeds the {size} bytes of {accelerator.name}'s "
            "input and output buffers: activations live in DRAM"
        )
    return notes


def _which(names: Sequence[str], chosen: BoolArray) -> str:
    """Return the chosen layers' names, at most three of them, or that it is all."""
    picked = [name for name, flag in zip(names, chosen.tolist(), strict=True) if flag]
    if len(picked) == len(names):
        return "all layers"
    listed = ", ".join(picked[:3])
    return listed if len(picked) <= 3 else f"{listed} and {len(picked) - 3} more"
