"""Where one number of a layer's cost comes from: its formula, the values that enter it, and the source of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from hwmodels.checks import suggest
from hwmodels.cost import explain_cycles as cycles
from hwmodels.cost.citation import cite, name_place, name_units
from hwmodels.cost.containers import contain_job, name_second
from hwmodels.cost.dataflow import Formula
from hwmodels.cost.evaluate import evaluate_network
from hwmodels.cost.explain_storage import STORAGE_CONSTANTS, explain_storage, storage_values
from hwmodels.cost.explanation import Explanation, FormulaTerm
from hwmodels.cost.mapping import DATAFLOW_MODELS
from hwmodels.cost.network_cost import ENERGY_COMPONENTS, LayerCost
from hwmodels.cost.residency import NOTHING_STAYS, Residency, hold_bits
from hwmodels.cost.terms import LayerTerms, layer_terms
from hwmodels.cost.traffic import find_fused
from hwmodels.device.accelerator import Accelerator
from hwmodels.device.precision import LAWS, TABLE_REFERENCE
from hwmodels.device.profiles import profile_entries
from hwmodels.errors import LayerError
from hwmodels.workload.layer import PRODUCT_KINDS, LayerJob
from hwmodels.workload.layer_arrays import layer_arrays
from hwmodels.workload.tensor_arrays import tensor_arrays


def explain(job: LayerJob, accelerator: Accelerator, figure: str, layer: LayerCost | None = None) -> Explanation:
    """Return how one number of a layer's cost comes about; `figure` is one of `FIGURES`, which are fields of LayerCost.

    Evaluated with the terms' values, the formula gives whole numbers exactly, energies and shares up to rounding. The
    layer is taken alone, but for what stays on chip in its network: in one whose weights overflow a memory, the share
    of them that waits is another one.

    Args:
        job: The layer, of one part of a batch that runs in several (`NetworkCost.runs`).
        accelerator: What runs it.
        figure: What is to be explained.
        layer: Its cost in the network, from which is taken what stays; without, nothing does.

    Example:
        >>> import hwmodels
        >>> shape = hwmodels.LayerShape(name="fc", kind="linear", in_channels=64, out_channels=10)
        >>> print(hwmodels.explain(hwmodels.LayerJob(shape=shape), hwmodels.load("bitfusion"), "weight_bytes").formula)
        out_channels * ceil(k * weight_bits / 8) + out_channels * (bias_bytes + scale_bytes)

    Raises:
        LayerError: the figure is not one of FIGURES, or the device cannot run the layer.
    """
    if figure not in FIGURES:
        known = f"Known figures are {', '.join(FIGURES)}"
        raise LayerError(f"unknown figure {figure!r}: {f'{suggest(str(figure), FIGURES)} {known}'.lstrip()}")
    return explain_figures(job, accelerator, (figure,), layer)[0]


def explain_figures(
    job: LayerJob, accelerator: Accelerator, figures: Sequence[str], layer: LayerCost | None = None
) -> tuple[Explanation, ...]:
    """Return what `explain` does of each of several figures, whose values are worked out once.

    Raises:
        LayerError: the device cannot run the layer.
    """
    residency = NOTHING_STAYS if layer is None else _read_residency(layer)
    cost = evaluate_network([job], accelerator, tensor_arrays(()), residency).layers[0]
    terms = layer_terms(layer_arrays([job]), accelerator, [cost.name], residency=residency)
    values = _values(job, accelerator, cost, terms)
    return tuple(_explain_one(cost, figure, _formula(job, accelerator, figure), values) for figure in figures)


def _explain_one(
    cost: LayerCost, figure: str, formula: Formula, values: Mapping[str, tuple[float, str]]
) -> Explanation:
    names = dict.fromkeys(re.findall(r"(?<!\w)[A-Za-z_]\w*\b(?!\()", formula.text))
    return Explanation(
        layer=cost.name,
        figure=figure,
        value=getattr(cost, figure),
        unit=_unit(figure),
        formula=formula.text,
        terms=tuple(FormulaTerm(name=n, value=values[n][0], unit=_unit(n), source=values[n][1]) for n in names),
        reference=formula.reference,
    )


def _read_residency(layer: LayerCost) -> Residency:
    """Return what stays of a layer's operands, as arrays of one layer."""
    return Residency._make(np.array([getattr(layer, f"resident_{field}")]) for field in Residency._fields)


def _formula(job: LayerJob, device: Accelerator, figure: str) -> Formula:
    """Return a figure's formula; "0" where the layer has nothing of it."""
    kind = job.shape.kind
    if figure not in _OF_FUSED and find_fused(layer_arrays([job]), device).item():
        return Formula("0", f"it works on results as they leave the array ({cite('vector.fused', device)})")
    if kind not in PRODUCT_KINDS and figure in _OF_PRODUCTS:
        return Formula("0", f"a layer of kind {kind!r} has neither products nor weights")
    found = _FORMULAS[figure]
    return found if isinstance(found, Formula) else found(job, device)


def _dram_weight_bits(job: LayerJob, device: Accelerator) -> Formula:
    if job.shape.kind == "matmul":
        passing = "(1 - resident_second) * " if device.map_buffer else ""
        return Formula(
            f"{passing}k * out_channels * weight_bits * weight_passes", "the second operand (hwmodels.cost.traffic)"
        )
    stored = explain_storage(job, device, device.weight_formats, cite("arithmetic.weight_formats", device))
    return stored._replace(text=f"8 * ({stored.text}) * weight_passes")


def _weight_bytes(job: LayerJob, device: Accelerator) -> Formula:
    if job.weights_elsewhere:
        return Formula("0", "another layer of the network stores the same weights (the job: weights_elsewhere)")
    which = "all formats" if "dense" in device.weight_formats else cite("arithmetic.weight_formats", device)
    return explain_storage(job, device, device.storage_formats, which)


def _mac_pj(job: LayerJob, device: Accelerator) -> Formula:
    slots = "macs"
    if device.idle_energy_share:
        peak = f"compute_cycles * {name_units(device)} * parallel_macs / serial_cycles"
        slots = f"(macs + idle_energy_share * max({peak} - macs, 0))"
    law = f"the law {device.precision_law!r} (hwmodels.device.precision; {cite('arithmetic.law', device)})"
    return Formula(f"energy_factor * {_MAC_ENERGY[device.precision_law]} * {slots}", law)


_MAC_ENERGY = {
    "bit_pairs": "mac_energy_pj * held_weight_bits * held_input_bits / 64",
    "table": "mac_energy_pj * macs_per_cycle_8x8 * serial_cycles / parallel_macs",
    "product": "mac_energy_pj * held_weight_bits / 8 * held_input_bits / 8",
    "power": "mac_energy_pj * mac_energy_ratio",
    "fusion": "mac_energy_pj * serial_cycles / parallel_macs",
    "bit_serial": "mac_energy_pj * serial_cycles / 8",
    "fixed": "mac_energy_pj * serial_cycles / (ceil(8 / native_bits) * ceil(8 / native_bits))",
}
"""Law -> energy of one MAC, that of 8 x 8 bits being stated."""
_FORMULAS: dict[str, Formula | Callable[[LayerJob, Accelerator], Formula]] = {
    **{formula.__name__: formula for formula in cycles.FORMULAS},
    "overhead_cycles": Formula(
        "layer_overhead_cycles", "the same for every layer that is not fused (hwmodels.cost.latency)"
    ),
    "latency_cycles": Formula(
        "overhead_cycles + first_tile_cycles + max(compute_cycles, sram_cycles, dram_cycles - first_tile_cycles)",
        "double buffering: only the first tile is waited for (hwmodels.cost.latency)",
    ),
    "dram_weight_bits": _dram_weight_bits,
    "dram_input_bits": lambda _, device: Formula(
        f"inputs{' / operands * (operands - resident_inputs)' if device.map_buffer else ''} * memory_input_bits * "
        "input_passes",
        "all in each pass (hwmodels.cost.traffic)",
    ),
    "kept_sram_bits": lambda _, device: Formula(
        "resident_output * outputs * held_output_bits" if device.map_buffer else "0",
        "each output once, to the buffer that keeps activations (hwmodels.cost.residency)",
    ),
    "mac_pj": _mac_pj,
    "register_pj": Formula(
        "energy_factor * macs * registers_accesses_per_mac * native_bits * registers_energy_pj_per_bit",
        "register files of one element (hwmodels.device.parts.Registers)",
    ),
    "network_pj": lambda job, device: Formula(
        "energy_factor * network_energy_pj_per_bit * "
        f"{DATAFLOW_MODELS[device.dataflow].formulas(job.shape, device).network_bits}",
        "words that move between elements; none where lanes of unrolled loops share them (hwmodels.cost.mapping)",
    ),
    "vector_pj": Formula(
        "energy_factor * vector_energy_pj_per_operation * vector_operations * input_bits / 8",
        "in proportion to the width, 8 bits being stated (hwmodels.cost.energy)",
    ),
    "static_pj": Formula("energy_factor * static_w * 1e12 * latency_cycles / clock_hz", "power times time, in pJ"),
    "energy_pj": Formula(" + ".join(f"{part}_pj" for part in ENERGY_COMPONENTS), "the sum of all parts"),
    "weight_bytes": _weight_bytes,
}
_RESIDENT = ("resident_inputs", "resident_second", "resident_output")
FIGURES = tuple(field for field in LayerCost._fields if field in _FORMULAS)
"""What can be explained: the fields of LayerCost that follow from others."""
_OF_PRODUCTS = frozenset(
    {"array_cycles", "decoder_cycles", "writing_cycles"}
    | {"mapping_efficiency", "utilisation", "filter_sram_bits", "dram_weight_bits", "first_tile_cycles"}
    | {"mac_pj", "register_pj", "network_pj", "weight_bytes"}
)
_OF_FUSED = ("latency_cycles", "vector_pj", "static_pj", "energy_pj")
"""All that a layer has that works on results as they leave the array."""
_SIZES = {
    **dict.fromkeys(("in_channels", "out_channels", "kernel_h", "kernel_w", "in_h", "in_w", "out_h", "out_w"), ""),
    **dict.fromkeys(("stride_h", "groups", "batch", "operands"), ""),
    "m": ": batch * out_h * out_w",
    "k": ": kernel_h * kernel_w * in_channels / groups",
    "n": ": out_channels / groups",
    "inputs": ": those that are read of batch * in_h * in_w * in_channels * operands",
    "outputs": ": batch * out_h * out_w * out_channels",
    "macs": ": m * k * out_channels",
    "vector_operations": ": elements of all pooling windows, additions, or activations",
}
_WIDTHS = {
    **dict.fromkeys(("weight_bits", "input_bits", "output_bits"), ""),
    **dict.fromkeys(("codebook_size", "codebooks", "columns_per_channel"), ""),
    "memory_input_bits": ": stored_input_bits, or else input_bits",
}
_UNITS = {
    **{"_pj_per_bit": "pJ/bit", "_pj_per_operation": "pJ/operation", "_operations_per_cycle": "operations/cycle"},
    **{"_bits_per_cycle": "bit/cycle", "_bits_per_s": "bit/s", "_cycles": "cycles", "_bits": "bit", "_bytes": "byte"},
    **{"_pj": "pJ", "_hz": "Hz", "static_w": "W"},
}
"""End of a name -> its unit; counts and shares have none."""


def _values(job: LayerJob, device: Accelerator, cost: LayerCost, terms: LayerTerms) -> dict[str, tuple[float, str]]:
    """Return the value and the source of every name that a formula may hold."""
    held = contain_job(job, device)
    return {
        **{figure: (getattr(cost, figure), f"explain {figure}") for figure in FIGURES},
        **{name: (getattr(job.shape, name), f"the layer{text}") for name, text in _SIZES.items()},
        **{
            name: (getattr(held, name) or 0, f"the job{text}{_held(name, job, device)}")
            for name, text in _WIDTHS.items()
        },
        **STORAGE_CONSTANTS,
        **_profile_values(device),
        **_chosen_values(job, device, terms),
        **{name: (int(getattr(cost, name)), "what stays on chip (hwmodels.cost.residency)") for name in _RESIDENT},
        **storage_values(job, device),
    }


def _held(name: str, job: LayerJob, device: Accelerator) -> str:
    """Return that memories hold the operand of a width in containers, where they do."""
    stored = {"weight_bits": name_second(job.shape.kind), "memory_input_bits": "activations"}
    operand = {**stored, "output_bits": "activations"}.get(name)
    if operand is None or operand in device.packed:
        return ""
    return f", as memory holds it ({cite('arithmetic.packed', device)})"


def _profile_values(device: Accelerator) -> dict[str, tuple[float, str]]:
    """Return all numbers of the profile, also those that it leaves at their default."""
    tables = {"array": "", "arithmetic": "", "power": ""}
    tables |= {f"buffers.{buffer.name}": f"{name_place(buffer)}_" for buffer in device.buffers}
    tables |= {f"memories.{memory.name}": f"{name_place(memory)}_" for memory in device.memories}
    found = {}
    for key, value, _ in profile_entries(replace(device, sources={})):
        table, _, field = key.rpartition(".")
        if isinstance(value, int | float):
            found[f"{tables.get(table, f'{table}_')}{field}"] = (value, cite(key, device))
    return found


def _chosen_values(job: LayerJob, device: Accelerator, terms: LayerTerms) -> dict[str, tuple[float, str]]:
    """Return what the widths, the precision law and the ways to block the loops make of the layer."""
    shape = job.shape
    held_weight, held_input = terms.widths.weights.item(), terms.widths.inputs.item()
    law = f"the law {device.precision_law!r} at {held_weight} x {held_input} bits"
    law = f"{law} (hwmodels.device.precision; {cite('arithmetic.law', device)})"
    stated = {(weight, inputs): rate for weight, inputs, rate in device.macs_per_cycle}
    ratio = LAWS["power"](held_weight, held_input, device.native_bits, 1.0).energy_pj.item()
    words = terms.counts.network_weight_words.item(), terms.counts.network_input_words.item()
    once = shape.k * shape.out_channels, shape.inputs * min(-(-shape.kernel_h // shape.stride_h), shape.out_h)
    blocked = "the cheapest blocks of"
    passes = "the cheapest way to block the loops: hwmodels.cost.tiling"
    if terms.kept.residency.beside.item():
        passes = "once beside activations that stay (hwmodels.cost.residency), else the cheapest way to block the loops"
    return {
        "held_weight_bits": (held_weight, f"weight_bits rounded up to {cite('arithmetic.weight_bits', device)}"),
        "held_output_bits": (
            hold_bits(np.array(job.output_bits), device).item(),
            f"output_bits rounded up to {cite('arithmetic.input_bits', device)}",
        ),
        "held_input_bits": (held_input, f"input_bits rounded up to {cite('arithmetic.input_bits', device)}"),
        "parallel_macs": (terms.mac.parallel_macs.item(), law),
        "serial_cycles": (terms.mac.serial_cycles.item(), law),
        "macs_per_cycle_8x8": (stated.get(TABLE_REFERENCE, 0.0), cite("arithmetic.macs_per_cycle", device)),
        "mac_energy_ratio": (ratio, f"{law}, between synthesised elements: bitfusion_isca2018"),
        "weight_passes": (terms.dram.weight_passes.item(), passes),
        "input_passes": (terms.dram.input_passes.item(), passes),
        "register_weight_passes": (
            words[0] // max(once[0], 1),
            f"{blocked} sums in registers: hwmodels.cost.row_stationary",
        ),
        "register_input_passes": (words[1] // once[1], f"{blocked} sums in registers: hwmodels.cost.row_stationary"),
    }


def _unit(name: str) -> str:
    return next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")
