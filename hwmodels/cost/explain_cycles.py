"""Formulas of a layer's cycles, its traffic and what that costs, over the names of the layer's and device's values.

Each repeats what `hwmodels.cost` computes, which a test holds it against; `hwmodels.explain` knows the names.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from hwmodels.device.accelerator import Accelerator
from hwmodels.device.parts import Buffer, Memory
from hwmodels.workload.layer import PRODUCT_KINDS, LayerJob, LayerShape

_SRAM_FIGURES = {"weights": "filter_sram_bits", "inputs": "ifmap_sram_bits", "outputs": "ofmap_sram_bits"}
_DRAM_FIGURES = {"weights": "dram_weight_bits", "inputs": "dram_input_bits", "outputs": "dram_output_bits"}
"""Operand -> the figure that is its traffic with the memories; the former with the array."""
_REFERENCES = {
    **dict.fromkeys(("os", "ws", "is"), "closed forms of the array: scalesim_ispass2020 (hwmodels.cost.systolic)"),
    "rs": "row-stationary sets: eyeriss_jssc2017, blocked as in tetris_asplos2017 (hwmodels.cost.row_stationary)",
    "unrolled": "the folds of every loop that runs side by side (hwmodels.cost.unrolled)",
}
_SETS = "floor(rows / min(kernel_h, rows)) * floor(columns / ceil(out_h / ceil(out_h / columns)))"
_SET_CYCLES = (
    f"ceil(ceil(out_h / columns) * n * in_channels * batch * ceil(kernel_h / rows) / ({_SETS})) "
    "* out_w * kernel_w * ceil(serial_cycles / parallel_macs)"
)
"""Row-stationary sets side by side, and the cycles of their work."""
_POSITIONS = "batch * ceil(out_h / unroll_out_h) * ceil(out_w / unroll_out_w)"
_IFMAP_READS = {
    **dict.fromkeys(("os", "ws"), "m * k * ceil(n / columns) * groups"),
    "is": "m * k * groups",
    "rs": "inputs * register_input_passes",
    "unrolled": "m * k * ceil(n / unroll_out_channels) * groups",
}
_FILTER_READS = {
    "os": "k * n * ceil(m / rows) * groups",
    "ws": "k * n * groups",
    "is": "k * n * ceil(m / columns) * groups",
    "rs": "k * n * groups * register_weight_passes",
    "unrolled": f"k * n * {_POSITIONS} * groups",
}
NETWORK_BITS = {
    "os": "macs * (held_input_bits + held_weight_bits)",
    "ws": "macs * (held_input_bits + accumulator_bits)",
    "is": "macs * (held_weight_bits + accumulator_bits)",
    "rs": (
        f"({_FILTER_READS['rs']} * held_weight_bits + {_IFMAP_READS['rs']} * ceil(kernel_h / "
        "max(floor(in_h / out_h), 1)) * held_input_bits + outputs * (kernel_h - 1) * accumulator_bits)"
    ),
}
"""Dataflow -> bits that move between the elements of the array; lanes of unrolled loops have no network."""


class Formula(NamedTuple):
    """An expression over the names of terms, and where it is from."""

    text: str
    reference: str


def name_place(place: Buffer | Memory) -> str:
    """Return an identifier for a buffer or memory, whose name may hold any characters."""
    table = "buffers" if isinstance(place, Buffer) else "memories"
    return f"{table}_{re.sub(r'[^0-9A-Za-z_]', lambda odd: f'_{ord(odd[0]):x}_', place.name)}"


def cite(key: str, device: Accelerator) -> str:
    """Return a dotted profile key with the id of its reference, or what stands for that."""
    missing = "not in the profile, the default" if device.sources else "stated without a source"
    return f"{key}: {device.sources.get(key, missing)}"


def units(device: Accelerator) -> str:
    """Return the number of multiply-accumulate units."""
    if device.dataflow != "unrolled":
        return "rows * columns"
    return " * ".join(f"unroll_{loop}" for loop in ("out_h", "out_w", "out_channels", "in_channels", "kernel"))


def compute_cycles(job: LayerJob, device: Accelerator) -> Formula:
    """Return the cycles of the array, or those of the vector unit."""
    if job.shape.kind not in PRODUCT_KINDS:
        pools = job.shape.kind == "pool" and device.vector.pool_operations_per_cycle
        rate = "vector_pool_operations_per_cycle" if pools else "vector_operations_per_cycle"
        return Formula(f"ceil(vector_operations / {rate})", "the vector unit's rate (hwmodels.cost.latency)")
    reference = _array_reference(job.shape, device)
    if device.dataflow == "rs":
        refills = f"ceil(k * n / ({_SETS} * min(kernel_h, rows) * floor(registers_words / 2))) * register_weight_passes"
        return Formula(f"{_SET_CYCLES} + {refills} * groups * (kernel_w + kernel_h)", reference)
    if device.dataflow == "unrolled":
        return Formula(f"ceil({_steps(job.shape)} / unroll_rate)", reference)
    rows_folded, columns_folded, time = _folds(job.shape, device)
    folds = f"{rows_folded} * {columns_folded} * groups"
    fill = "rows + columns - 2" if device.dataflow == "os" else "2 * rows + columns - 2"
    if not device.pipelined_folds:
        return Formula(f"{folds} * ({fill} + {time})", reference)
    overlap = f"folds overlap ({cite('array.pipelined_folds', device)})"
    return Formula(f"({folds} - 1) * max({time}, rows) + {fill} + {time}", f"{reference}; {overlap}")


def mapping_efficiency(job: LayerJob, device: Accelerator) -> Formula:
    """Return the share of the array that has work while it runs."""
    reference = _array_reference(job.shape, device)
    if device.dataflow == "rs":
        return Formula(f"macs * ceil(serial_cycles / parallel_macs) / ({_SET_CYCLES} * rows * columns)", reference)
    if device.dataflow == "unrolled":
        return Formula(f"macs * serial_cycles / parallel_macs / ({_steps(job.shape)} * {units(device)})", reference)
    rows_folded, columns_folded, _ = _folds(job.shape, device)
    mapped = {"os": "m * n", "ws": "n * k / parallel_macs", "is": "m * k / parallel_macs"}[device.dataflow]
    return Formula(f"{mapped} / ({rows_folded} * rows * {columns_folded} * columns)", reference)


def utilisation(_: LayerJob, device: Accelerator) -> Formula:
    """Return the achieved share of the peak rate."""
    peak = f"compute_cycles * {units(device)} * parallel_macs{' * unroll_rate' * (device.dataflow == 'unrolled')}"
    return Formula(f"macs * serial_cycles / ({peak})", "MACs over those of all units at work (hwmodels.cost.mapping)")


def ifmap_sram_bits(job: LayerJob, device: Accelerator) -> Formula:
    """Return what the array, or the vector unit, reads of inputs."""
    if job.shape.kind not in PRODUCT_KINDS:
        return Formula("inputs * memory_input_bits", "each input once (hwmodels.cost.traffic)")
    reads = _array_reads(device.find_buffer("inputs"), _IFMAP_READS, device)
    return reads._replace(text=f"{reads.text} * held_input_bits")


def filter_sram_bits(_: LayerJob, device: Accelerator) -> Formula:
    """Return what the array reads of weights."""
    reads = _array_reads(device.find_buffer("weights"), _FILTER_READS, device)
    return reads._replace(text=f"{reads.text} * held_weight_bits")


def ofmap_sram_bits(job: LayerJob, device: Accelerator) -> Formula:
    """Return what is written of outputs and sums, and of sums read back."""
    bits = " + ".join(_ofmap_parts(job, device))
    return Formula(
        bits, "each output once, or sums in every fold of k, read back in all but the first (hwmodels.cost.mapping)"
    )


def dram_output_bits(job: LayerJob, device: Accelerator) -> Formula:
    """Return the memory traffic of outputs and sums."""
    source = cite("array.output_traffic", device)
    return Formula(" + ".join(_dram_output_parts(job, device)), f"outputs, or sums there and back ({source})")


def sram_cycles(job: LayerJob, device: Accelerator) -> Formula:
    """Return the cycles of the slowest buffer."""
    bits = {operand: f"{_SRAM_FIGURES[operand]} + {_DRAM_FIGURES[operand]}" for operand in _DRAM_FIGURES}
    waits = [_wait(bits, buffer, job.shape) for buffer in device.buffers]
    return Formula(_longest(waits), "the slowest buffer; without a bandwidth one keeps up (hwmodels.cost.latency)")


def dram_cycles(job: LayerJob, device: Accelerator) -> Formula:
    """Return the cycles of the slowest memory."""
    waits = [_wait(_DRAM_FIGURES, memory, job.shape) + _overflow(memory, job.shape) for memory in device.memories]
    return Formula(_longest(waits), "traffic of the slowest memory (hwmodels.cost.latency)")


def first_tile_cycles(job: LayerJob, device: Accelerator) -> Formula:
    """Return the cycles of the slowest memory for what the array needs to start."""
    weights, inputs = _first_tile(device)
    once = "dram_weight_bits / weight_passes"
    bits = {
        # The brackets around the bits of one weight keep the order in which the model rounds.
        "weights": f"min(ceil({weights} * ({once} / (k * out_channels))), {once})",
        "inputs": f"min({inputs}, inputs) * memory_input_bits",
    }
    waits = [_wait(bits, memory, job.shape) for memory in device.memories]
    return Formula(_longest(waits), "needs of the first fold, from the slowest memory (hwmodels.cost.traffic)")


def sram_pj(job: LayerJob, device: Accelerator) -> Formula:
    """Return the energy of all buffers."""
    (sums_written, *sums_read), (to_memory, *from_memory) = _ofmap_parts(job, device), _dram_output_parts(job, device)
    reads = {**_SRAM_FIGURES, "outputs": " + ".join([*sums_read, to_memory])}
    writes = {**_DRAM_FIGURES, "outputs": " + ".join([sums_written, *from_memory])}
    spent = [
        f"{moved} * {name_place(buffer)}_{side}_energy_pj_per_bit"
        for buffer in device.buffers
        for side, bits in (("read", reads), ("write", writes))
        if (moved := _moved(bits, buffer, job.shape))
    ]
    return Formula(f"energy_factor * ({' + '.join(spent)})", "both sides of each buffer (hwmodels.cost.latency)")


def dram_pj(job: LayerJob, device: Accelerator) -> Formula:
    """Return the energy of all memories."""
    spent = [
        f"{moved} * {name_place(memory)}_energy_pj_per_bit"
        for memory in device.memories
        if (moved := _moved(_DRAM_FIGURES, memory, job.shape))
    ]
    return Formula(f"energy_factor * ({' + '.join(spent)})", "the traffic of each memory (hwmodels.cost.energy)")


def _ofmap_parts(job: LayerJob, device: Accelerator) -> list[str]:
    """Return the bits of outputs or sums that are written to their buffer, and those of sums that are read back."""
    if job.shape.kind not in PRODUCT_KINDS or device.dataflow not in ("ws", "is"):
        return ["outputs * output_bits"]
    folds = _folds(job.shape, device)[0]
    return [f"outputs * {folds} * accumulator_bits", f"outputs * ({folds} - 1) * accumulator_bits"]


def _dram_output_parts(job: LayerJob, device: Accelerator) -> list[str]:
    """Return the bits of outputs or sums that go to memory, and those of sums that come from there."""
    if job.shape.kind in PRODUCT_KINDS and device.output_traffic == "sums":
        return ["outputs * accumulator_bits", "outputs * accumulator_bits"]
    return ["outputs * output_bits"]


def _folds(shape: LayerShape, device: Accelerator) -> tuple[str, str, str]:
    """Return (row folds, column folds, cycles of the dimension that runs in time) of a systolic array."""
    depth, positions = "ceil(k / parallel_macs)", ""
    if _packs_channels(shape, device):
        depth, positions = "ceil(in_channels / groups / parallel_macs)", "kernel_h * kernel_w * "
    return {
        "os": ("ceil(m / rows)", "ceil(n / columns)", f"{positions}{depth} * serial_cycles"),
        "ws": (f"{positions}ceil({depth} / rows)", "ceil(n / columns)", "m * serial_cycles"),
        "is": (f"{positions}ceil({depth} / rows)", "ceil(m / columns)", "n * serial_cycles"),
    }[device.dataflow]


def _packs_channels(shape: LayerShape, device: Accelerator) -> bool:
    systolic = device.dataflow in ("os", "ws", "is")
    return systolic and device.k_packing == "channels" and shape.in_channels // shape.groups >= device.rows


def _steps(shape: LayerShape) -> str:
    """Return the steps of an engine of unrolled loops."""
    lanes = "ceil(n / unroll_out_channels) * ceil(in_channels / groups / unroll_in_channels) * groups"
    if shape.groups > 1 and shape.in_channels == shape.groups:
        lanes = "n * ceil(groups / unroll_depthwise_channels)"
    return f"{_POSITIONS} * ceil(kernel_h * kernel_w / unroll_kernel) * ceil({lanes} * serial_cycles / parallel_macs)"


def _array_reference(shape: LayerShape, device: Accelerator) -> str:
    packing = f"; rows take one kernel position at a time ({cite('array.k_packing', device)})"
    return _REFERENCES[device.dataflow] + packing * _packs_channels(shape, device)


def _array_reads(buffer: Buffer, reads: dict[str, str], device: Accelerator) -> Formula:
    """Return the words that are read of one operand, given those that enter the array of each dataflow."""
    if buffer.read_by == "unit":
        return Formula("macs", f"every unit reads for itself ({cite(f'buffers.{buffer.name}.read_by', device)})")
    return Formula(reads[device.dataflow], _REFERENCES[device.dataflow])


def _first_tile(device: Accelerator) -> tuple[str, str]:
    """Return the (weights, inputs) that the first fold needs to start."""
    stationary = "min(k, rows * parallel_macs)"
    by_dataflow = {
        "os": ("min(n, columns) * min(k, parallel_macs)", "min(m, rows) * min(k, parallel_macs)"),
        "ws": (f"min(n, columns) * {stationary}", stationary),
        "is": (stationary, f"min(m, columns) * {stationary}"),
        "rs": ("min(kernel_h, rows) * kernel_w", "min(kernel_h, rows) * kernel_w"),
    }
    depth = "min(k, parallel_macs * unroll_in_channels * unroll_kernel)"
    unrolled = f"min(n, unroll_out_channels) * {depth}", f"min(m, unroll_out_h * unroll_out_w) * {depth}"
    return by_dataflow.get(device.dataflow, unrolled)


def _moved(bits: dict[str, str], place: Buffer | Memory, shape: LayerShape) -> str:
    """Return the sum of the bits of a layer's operands that a buffer or memory holds."""
    homes = {operand: operand for operand in bits if operand != "weights" or shape.kind in PRODUCT_KINDS}
    if shape.kind == "matmul" and isinstance(place, Memory):
        homes["weights"] = "inputs"
    moved = " + ".join(bits[operand] for operand, home in homes.items() if home in place.operands)
    return f"({moved})" if " + " in moved else moved


def _wait(bits: dict[str, str], place: Buffer | Memory, shape: LayerShape) -> str:
    """Return the cycles of a buffer or memory; "" where there are none."""
    moved, rate = _moved(bits, place, shape), f"({name_place(place)}_bandwidth_bits_per_s / clock_hz)"
    if isinstance(place, Buffer):
        rate = f"{name_place(place)}_bandwidth_bits_per_cycle" if place.bandwidth_bits_per_cycle else ""
    return f"ceil({moved} / {rate})" if moved and rate else ""


def _overflow(memory: Memory, shape: LayerShape) -> str:
    """Return what is added for weights that exceed a memory."""
    name, stored = name_place(memory), shape.kind in ("conv", "linear") and "weights" in memory.operands
    if not stored or not memory.overflow_bandwidth_bits_per_s:
        return ""
    share = f"max(1 - {name}_size_bytes * 8 / max(dram_weight_bits / weight_passes, 1), 0)"
    slower = f"1 / ({name}_overflow_bandwidth_bits_per_s / clock_hz) - 1 / ({name}_bandwidth_bits_per_s / clock_hz)"
    return f" + max(ceil(dram_weight_bits * {share} * ({slower})), 0)"


def _longest(waits: list[str]) -> str:
    stated = [wait for wait in waits if wait]
    return f"max({', '.join(stated)})" if len(stated) > 1 else "".join(stated) or "0"


FORMULAS = (
    *(compute_cycles, sram_cycles, dram_cycles, first_tile_cycles, mapping_efficiency, utilisation),
    *(ifmap_sram_bits, filter_sram_bits, ofmap_sram_bits, dram_output_bits, sram_pj, dram_pj),
)
"""Each under the name of its figure."""
