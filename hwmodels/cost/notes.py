"""What a reader of the numbers should know, in words: what a device gives nothing for, what does not fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwmodels.arrays import BoolArray, IntArray
from hwmodels.cost.fit import MemoryFit
from hwmodels.cost.keep import KeptMaps
from hwmodels.cost.latency import BOUNDS, memory_bits
from hwmodels.cost.mapping import DATAFLOW_MODELS
from hwmodels.cost.terms import LayerTerms
from hwmodels.cost.traffic import DramTraffic, find_fused
from hwmodels.device.accelerator import ASSUMED, Accelerator
from hwmodels.storage.memory import WEIGHT_FORMATS, StoredWeights
from hwmodels.workload.activation import ActivationTensor
from hwmodels.workload.layer_arrays import LayerArrays
from hwmodels.workload.widths import note_widths

_AS_LONG_WITH_ZEROS = {"dense", "codebook"}
"""Formats in which a weight takes as many bits where it is 0."""
_MOST = 0.5
"""Share of the energy of which a reader should know that it rests on an assumption."""


def write_notes(
    names: Sequence[str],
    layers: LayerArrays,
    accelerator: Accelerator,
    terms: LayerTerms,
    fits: Sequence[MemoryFit],
    tensors: Sequence[ActivationTensor],
) -> tuple[str, ...]:
    """Return the notes on one network (arrays of shape `layers`); empty if there is nothing to say."""
    return (
        *_width_notes(names, layers, accelerator, terms),
        *_density_notes(names, layers, accelerator),
        *_format_notes(names, accelerator, terms.stored),
        *_pass_notes(names, accelerator, terms.dram),
        *_fit_notes(accelerator, fits),
        *_residency_notes(accelerator, terms.kept, tensors),
        *_fused_notes(names, layers, accelerator),
        *_decoder_notes(names, accelerator, terms),
        *_guess_notes(layers, accelerator, terms),
        *_unpriced_notes(accelerator),
        *note_widths(names, layers, tensors),
    )


def _width_notes(names: Sequence[str], layers: LayerArrays, accelerator: Accelerator, terms: LayerTerms) -> list[str]:
    """Say which widths run as wider ones."""
    notes = []
    for operand, bits, supported in (
        ("weights", layers.weight_bits, accelerator.weight_bits),
        ("inputs", layers.input_bits, accelerator.input_bits),
    ):
        products = np.where(layers.is_product, bits, supported[0])  # other layers may be wider than any product
        narrower = np.array(supported)[np.searchsorted(supported, products)] > products
        for width in np.unique(bits[narrower]).tolist():
            runs_as = next(candidate for candidate in supported if candidate > width)
            where = _which(names, layers.is_product & (bits == width))
            notes.append(
                f"{width}-bit {operand} run as {runs_as}-bit {operand} on {accelerator.name}: "
                f"{_describe_gain(operand, accelerator)} over {runs_as} bits ({where})"
            )
        notes += _law_notes(operand, bits, layers, accelerator, terms)
    return [*notes, *_time_notes(names, layers, accelerator)]


def _describe_gain(operand: str, accelerator: Accelerator) -> str:
    """Return what an operand saves whose width the units do not know."""
    if ("weights" if operand == "weights" else "activations") in accelerator.packed:
        return "they save storage and DRAM traffic, but bring no MAC or SRAM gain"
    if operand == "weights" and "entropy" in accelerator.weight_formats:
        return "they save what their lower entropy does when they are coded, and nothing else"
    return "memories hold them as wide, and they save nothing"


def _law_notes(
    operand: str, bits: IntArray, layers: LayerArrays, accelerator: Accelerator, terms: LayerTerms
) -> list[str]:
    """Say which widths a device supports, but for which its units neither run faster nor take less energy."""
    notes = []
    supported = accelerator.weight_bits if operand == "weights" else accelerator.input_bits
    native, energy_pj = accelerator.native_bits, accelerator.mac_energy_pj
    for width in np.unique(bits[layers.is_product]).tolist():
        if width not in supported or width >= native or native not in supported:
            continue
        # A law may give nothing at one width of the other operand, and much at another.
        others = terms.widths.inputs if operand == "weights" else terms.widths.weights
        others = np.unique(np.broadcast_to(others, layers.shape)[layers.is_product & (bits == width)])
        narrow, wide = (
            accelerator.law(each, others, native, energy_pj)
            if operand == "weights"
            else accelerator.law(others, each, native, energy_pj)
            for each in (width, native)
        )
        if np.array_equal(narrow.energy_pj, wide.energy_pj) and np.array_equal(
            narrow.macs_per_unit_cycle, wide.macs_per_unit_cycle
        ):
            notes.append(
                f"{width}-bit {operand} take the MAC energy and time of {native}-bit {operand} on {accelerator.name}: "
                "they save storage and traffic only"
            )
    return notes


def _time_notes(names: Sequence[str], layers: LayerArrays, accelerator: Accelerator) -> list[str]:
    """Say which layers with narrow weights take the time of wide ones, though the law is quicker."""
    same = DATAFLOW_MODELS[accelerator.dataflow].keep_time(layers) & (layers.weight_bits < accelerator.native_bits)
    return [
        f"{width}-bit weights take the time of {accelerator.native_bits}-bit weights on {accelerator.name} in "
        f"layers with one weight for each pair of channels ({_which(names, same & (layers.weight_bits == width))})"
        for width in np.unique(layers.weight_bits[same]).tolist()
    ]


def _density_notes(names: Sequence[str], layers: LayerArrays, accelerator: Accelerator) -> list[str]:
    """Say that zeros are not skipped."""
    sparse = layers.density < 1.0
    if not sparse.any():
        return []
    smaller = set(accelerator.weight_formats) - _AS_LONG_WITH_ZEROS
    saved = "no MACs, and time only where reading weights takes it" if smaller else "neither MACs nor time"
    return [f"{accelerator.name} does not skip zeros: they save {saved} ({_which(names, sparse)})"]


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


def _pass_notes(names: Sequence[str], accelerator: Accelerator, dram: DramTraffic) -> list[str]:
    """Say what exceeds its buffer and is therefore fetched again."""
    notes = []
    for operand, passes in (("weights", dram.weight_passes), ("inputs", dram.input_passes)):
        again = np.broadcast_to(passes > 1, (len(names),))
        if again.any():
            size = accelerator.find_buffer(operand).size_bytes
            notes.append(
                f"{operand} exceed their buffer ({size} bytes) and are fetched up to {passes.max()} times "
                f"({_which(names, again)})"
            )
    return notes


def _fit_notes(accelerator: Accelerator, fits: Sequence[MemoryFit]) -> list[str]:
    """Say what does not fit."""
    notes = []
    for fit in fits:
        if fit.fits:
            continue
        if fit.required:
            held = " and ".join(fit.holds)
            notes.append(
                f"{held} need {fit.needed_bytes} bytes, {-fit.spare_bytes} more than the {fit.size_bytes} bytes of "
                f"{fit.place} on {accelerator.name}: the network does not fit the device"
            )
        elif fit.place.startswith("memories."):
            notes.append(
                f"weights need {fit.needed_bytes} bytes, {-fit.spare_bytes} more than the {fit.size_bytes} bytes of "
                f"{fit.place} on {accelerator.name}: the rest comes more slowly, for every run"
            )
        elif accelerator.map_buffer is None:
            notes.append(
                f"the activation peak of {fit.needed_bytes} bytes exceeds the {fit.size_bytes} bytes of "
                f"{accelerator.name}'s input and output buffers: activations live in DRAM"
            )
    return notes


def _residency_notes(accelerator: Accelerator, kept: KeptMaps, tensors: Sequence[ActivationTensor]) -> list[str]:
    """Say which activations stay on chip, and which do not."""
    buffer = accelerator.map_buffer
    if buffer is None:
        return []
    if kept.is_given:
        return [f"what stays in {buffer.name} is given, and not what there would be room for"]
    if not tensors:
        return [f"activations pass memory: which of them could stay in {buffer.name} is not known without their lives"]
    stays = kept.stays.tolist()
    inside = [(tensor.name, stay) for tensor, stay in zip(tensors, stays, strict=True) if not tensor.external]
    passing = [name for name, stay in inside if not stay]
    notes = []
    if len(passing) < len(inside):
        peak = -(-int(kept.peak_bits) // 8)
        notes.append(
            f"{len(inside) - len(passing)} of {len(inside)} activations stay in {buffer.name} between layers: at most "
            f"{peak} bytes are alive beside a tile of weights, of {buffer.size_bytes}"
        )
    if passing:
        listed = _list_names(passing)
        notes.append(f"{buffer.name} has no room for {listed} beside what else is alive: memory is written and read")
    runs = kept.runs.item()
    if runs > 1:
        buffer_name = accelerator.find_buffer("weights").name
        finds = (
            f"the weights of all layers stay in {buffer_name}, and only the first fetches them"
            if kept.weights_stay.item()
            else f"each fetches the weights, which {buffer_name} does not keep"
        )
        notes.append(f"the batch runs in {runs} parts, for whose activations {buffer.name} has more room: {finds}")
    return notes


def _decoder_notes(names: Sequence[str], accelerator: Accelerator, terms: LayerTerms) -> list[str]:
    """Say which layers take the time in which their weights leave the decoder."""
    waits = np.broadcast_to(terms.latency.bound == BOUNDS.index("decoder"), (len(names),))
    if not waits.any():
        return []
    return [
        f"{accelerator.name} decodes {accelerator.blocks.weights_per_cycle:g} weights in a cycle, zeros too: that "
        f"takes longer than products and memory ({_which(names, waits)})"
    ]


def _guess_notes(layers: LayerArrays, accelerator: Accelerator, terms: LayerTerms) -> list[str]:
    """Say where most of the energy is that of a memory whose energy nobody published."""
    notes = []
    for memory in accelerator.memories:
        guessed = accelerator.sources.get(f"memories.{memory.name}.energy_pj_per_bit") == ASSUMED
        moved, _ = memory_bits(layers, memory, terms.dram)
        spent = float(moved.sum()) * memory.energy_pj_per_bit * accelerator.energy_factor
        whole = float(np.broadcast_to(terms.energy.total_pj, layers.shape).sum())
        if guessed and spent >= _MOST * whole > 0:
            notes.append(
                f"{100 * spent / whole:.0f} % of the energy is that of memories.{memory.name} on {accelerator.name}, "
                f"whose {memory.energy_pj_per_bit:g} pJ a bit are assumed: state your own before you trust an energy"
            )
    return notes


def _fused_notes(names: Sequence[str], layers: LayerArrays, accelerator: Accelerator) -> list[str]:
    """Say which layers take no time because they are part of the one before."""
    flags = find_fused(layers, accelerator) & ~layers.is_product
    if not flags.any():
        return []
    return [
        f"{' and '.join(accelerator.vector.fused)} layers work on results as they leave {accelerator.name}'s array: "
        f"they take energy, but no time or memory traffic of their own ({_which(names, flags)})"
    ]


def _unpriced_notes(accelerator: Accelerator) -> list[str]:
    """Say what takes nothing since nobody published it."""
    if not accelerator.unpriced:
        return []
    told = tell_unpriced(accelerator.name, accelerator.unpriced)
    return [f"{told}; `explorer devices show` and `Accelerator.unpriced` name them"]


def tell_unpriced(device: str, keys: Sequence[str]) -> str:
    """Return in words how many values of a device's profile are taken as 0, since nobody published them.

    `keys` are those of `Accelerator.unpriced`.

    Example:
        >>> import hwmodels
        >>> hwmodels.tell_unpriced("gpu", ["mac.energy_pj", "buffers.dram.bandwidth"])
        'assumed 0 on gpu: 2 values, one of a bandwidth that limits nothing then'
    """
    values, bandwidths = len(keys), sum("bandwidth" in key for key in keys)
    told = f"assumed 0 on {device}: {values} value{'s' * (values != 1)}"
    if bandwidths == 0:
        return told
    which = "one of a bandwidth that limits" if bandwidths == 1 else f"{bandwidths} of bandwidths that limit"
    return f"{told}, {which} nothing then"


def _which(names: Sequence[str], chosen: BoolArray) -> str:
    """Return the chosen layers' names, at most three of them, or that it is all."""
    picked = [name for name, flag in zip(names, chosen.tolist(), strict=True) if flag]
    if len(picked) == len(names):
        return "all layers"
    return _list_names(picked)


def _list_names(names: Sequence[str]) -> str:
    """Return names, at most three of them."""
    listed = ", ".join(names[:3])
    return listed if len(names) <= 3 else f"{listed} and {len(names) - 3} more"
