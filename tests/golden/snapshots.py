"""What every device profile says of MLPerf Tiny, kept so that no constant changes unseen.

`python -m tests.golden.snapshots` keeps it anew. The numbers are those of this package, not published: `snapshots.csv`
says what changed, other tests say what is right.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hwmodels import (
    NETWORKS,
    WEIGHT_FORMATS,
    Accelerator,
    ActivationTensor,
    LayerJob,
    Memory,
    calibrate,
    evaluate,
    load,
    names,
    profile_entries,
    scale_to_node,
)

COMMAND = "python -m tests.golden.snapshots"
FILE = Path(__file__).with_name("snapshots.csv")
BENCHMARKS = ("mlperf_tiny_resnet8", "mlperf_tiny_ds_cnn", "mlperf_tiny_mobilenet", "mlperf_tiny_autoencoder")
WIDTHS = ((8, 8), (4, 8), (4, 4))
"""Bits of weights and of activations."""
FIELDS = (
    "energy_pj",
    "latency_cycles",
    "dram_bits",
    "weight_bytes",
    "peak_activation_bytes",
    "arena_bytes",
    "fits",
    "stated",
)
Row = dict[str, str]
Case = tuple[str, Accelerator, Sequence[LayerJob], Sequence[ActivationTensor]]


def rows() -> dict[str, Row]:
    """Return what is kept of each case, by its name: device, network and widths, or what is unusual."""
    cases = (*_profiles(), *_large(), *_unusual())
    costs = {name: _row(device, jobs, tensors) for name, device, jobs, tensors in cases}
    return costs | {f"{name} values": dict.fromkeys(FIELDS, "") | {"stated": _digest(load(name))} for name in names()}


def read() -> dict[str, Row]:
    """Return the rows that are kept."""
    with FILE.open(encoding="utf-8", newline="") as file:
        return {row.pop("case"): row for row in csv.DictReader(line for line in file if not line.startswith("#"))}


def write() -> None:
    """Keep the rows of the package as it is."""
    found = rows()
    with FILE.open("w", encoding="utf-8", newline="") as file:
        file.write(f"# {COMMAND}\n")
        writer = csv.DictWriter(file, ("case", *FIELDS), lineterminator="\n")
        writer.writeheader()
        writer.writerows({"case": name} | row for name, row in found.items())


def _row(device: Accelerator, jobs: Sequence[LayerJob], tensors: Sequence[ActivationTensor]) -> Row:
    cost = evaluate(jobs, device, tensors)
    fits = " ".join(f"{fit.place}:{fit.needed_bytes}/{fit.size_bytes}" for fit in cost.fits)
    return {field: str(getattr(cost, field)) for field in FIELDS[:-2]} | {"fits": fits, "stated": ""}


def _digest(device: Accelerator) -> str:
    """Return a digest of what the profile states: some values matter for no network here, such as 32 layers at most."""
    stated = [(key, value) for key, value, _ in profile_entries(device)]
    return hashlib.sha256(json.dumps(stated).encode()).hexdigest()[:16]


def _profiles() -> Iterator[Case]:
    """Yield every profile with every network at all widths."""
    networks = [NETWORKS[name]() for name in BENCHMARKS]
    for name in names():
        device = load(name)
        for network in networks:
            for weights, inputs in WIDTHS:
                case = f"{name} {network.name.removeprefix('mlperf_tiny_')} W{weights}A{inputs}"
                yield case, device, *network.at(weights, inputs)


def _large() -> Iterator[Case]:
    """Yield every profile with a network that exceeds its buffers, at its widest, no layer being part of another."""
    network = NETWORKS["resnet18"]()
    for name in names():
        device = load(name)
        weights, inputs = device.weight_bits[-1], device.input_bits[-1]
        jobs, tensors = network.at(weights, inputs)
        apart = [replace(job, fusible=False) for job in jobs]
        yield f"{name} resnet18 apart W{weights}A{inputs}", device, apart, tensors


def _unusual() -> Iterator[Case]:
    """Yield what the four networks do not reach: formats, batches, groups, fits, nodes and calibrations."""
    resnet, alexnet = NETWORKS["mlperf_tiny_resnet8"](), NETWORKS["alexnet"]()
    jobs, tensors = resnet.jobs(), resnet.tensors
    gemmini, bitfusion = load("gemmini_default"), load("bitfusion")
    everything = replace(gemmini, weight_formats=WEIGHT_FORMATS)
    yield "16 images: eyeriss_v1 alexnet W16A16", load("eyeriss_v1"), alexnet.batched(16).jobs(16, 16), ()
    yield "16 bits: tpu_v1 alexnet W16A16", load("tpu_v1"), *alexnet.at(16, 16)
    yield "a memory for each operand: gemmini resnet8", _with_memories(gemmini), jobs, tensors
    yield "a buffer with a bandwidth: gemmini resnet8", _with_bandwidth(gemmini), jobs, tensors
    for density in (0.05, 0.3):
        sparse = [replace(job, density=density) for job in jobs]
        yield f"density {density}: gemmini resnet8", everything, sparse, tensors
    shared = [replace(job, codebook_size=16) for job in jobs]
    yield "16 shared values: gemmini resnet8", everything, shared, tensors
    coded = [replace(job, index_code_bits=2.5) for job in shared]
    yield "16 shared values, coded: gemmini resnet8", everything, coded, tensors
    for node in (65, 16):
        yield f"{node} nm: bitfusion resnet8", scale_to_node(bitfusion, node), jobs, tensors
    yield "calibrated: gemmini resnet8", calibrate(gemmini, jobs, 250e6, "a measurement"), jobs[:5], ()


def _with_memories(device: Accelerator) -> Accelerator:
    """Return the device with one memory for each operand: the fit of one for inputs alone is of activations alone."""
    memories = tuple(
        Memory(name=operand, operands=(operand,), bandwidth_bits_per_s=8e9, energy_pj_per_bit=energy, size_bytes=size)
        for operand, energy, size in (("weights", 2.0, 90_000), ("inputs", 3.0, 50_000), ("outputs", 5.0, 40_000))
    )
    return replace(device, memories=memories)


def _with_bandwidth(device: Accelerator) -> Accelerator:
    """Return the device with buffers that every layer waits for."""
    return replace(device, buffers=tuple(replace(each, bandwidth_bits_per_cycle=16.0) for each in device.buffers))


if __name__ == "__main__":
    write()
