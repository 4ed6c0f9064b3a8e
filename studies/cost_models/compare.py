"""Our cost of ResNet-18 beside SCALE-Sim's and ZigZag's: python -m studies.cost_models.compare.

Reads scalesim/reports.csv (made by simulate.py) and ZigZag's results as `zigzag.csv` in the folder EXPLORER_GOLDEN.
Writes results/comparison.csv, and the table of the README to standard output.
"""

from __future__ import annotations

import csv
import os
import sys
from dataclasses import replace
from pathlib import Path

import hwmodels
from hwmodels import NETWORKS, Accelerator, Buffer, LayerJob, Memory, VectorUnit

HERE = Path(__file__).parent
ZIGZAG_NAMES = {"conv1": "/conv1/Conv", "fc": "/fc/Gemm"}
COLUMNS = (
    *("layer", "macs", "scalesim_cycles", "closed_form_cycles", "zigzag_cycles", "our_cycles"),
    *("zigzag_dram_uj", "our_dram_uj", "zigzag_uj", "our_uj"),
)


def zigzag_device() -> Accelerator:
    """Return the 32 x 32 weight-stationary example architecture of ZigZag 3.9.1 ("tpu_like"), with its energies.

    Weights stay in registers of 128 bytes in each element (0.095 pJ for 8 bits), sums in one of 16 bits (0.021 pJ for
    each access, so the buffer of sums is priced like it); inputs in 2 MB of SRAM (416 pJ for 64 bits read, 378 pJ
    written); DRAM moves 64 bits a cycle at 700 pJ.
    """
    return Accelerator(
        name="zigzag_tpu_like",
        title="ZigZag's tpu_like",
        dataflow="ws",
        rows=32,
        columns=32,
        pipelined_folds=True,
        clock_hz=1e9,
        buffers=(
            Buffer(
                name="weights",
                operands=("weights",),
                size_bytes=128 * 1024,
                read_energy_pj_per_bit=0.095 / 8,
                write_energy_pj_per_bit=0.095 / 8,
                read_by="unit",
            ),
            Buffer(
                name="inputs",
                operands=("inputs",),
                size_bytes=1024 * 1024,
                read_energy_pj_per_bit=416.16 / 64,
                write_energy_pj_per_bit=378.4 / 64,
            ),
            Buffer(
                name="sums",
                operands=("outputs",),
                size_bytes=1024 * 1024,
                read_energy_pj_per_bit=0.021 / 16,
                write_energy_pj_per_bit=0.021 / 16,
            ),
        ),
        memories=(
            Memory(
                name="dram",
                operands=("weights", "inputs", "outputs"),
                bandwidth_bits_per_s=64e9,
                energy_pj_per_bit=700 / 64,
            ),
        ),
        precision_law="fixed",
        native_bits=8,
        weight_bits=(8,),
        input_bits=(8,),
        accumulator_bits=16,
        mac_energy_pj=0.04,
        static_power_w=0.0,
        weight_formats=("dense",),
        vector=VectorUnit(operations_per_cycle=32, energy_pj_per_operation=0.0),
    )


def rows_of(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table; a clear end where it is not there."""
    if not path.is_file():
        sys.exit(f"{path}: no such table; see the docstring of {Path(__file__).name} on where it comes from")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def compare() -> list[dict[str, float | str]]:
    """Return one row for each layer that SCALE-Sim was run on."""
    simulated = rows_of(HERE / "scalesim" / "reports.csv")
    golden = Path(os.environ.get("EXPLORER_GOLDEN", HERE / "../../../shared/golden"))
    zigzag = {
        row["layer"]: row
        for row in rows_of(golden / "zigzag.csv")
        if (row["arch"], row["net"], row["opt"]) == ("tpu_like", "resnet18", "latency")
    }
    shapes = {layer.name: layer for layer in NETWORKS["resnet18"]().layers}
    device = zigzag_device()
    unlimited = replace(
        device,
        pipelined_folds=False,
        memories=(replace(device.memories[0], bandwidth_bits_per_s=1e18),),
    )
    found: list[dict[str, float | str]] = []
    for row in simulated:
        shape = replace(shapes[row["layer"]], bias=False)
        job = LayerJob(shape=shape)
        ours = hwmodels.evaluate([job], device).layers[0]
        closed = hwmodels.evaluate([job], unlimited).layers[0].compute_cycles
        theirs = zigzag[_zigzag_name(row["layer"])]
        found.append(
            {
                "layer": row["layer"],
                "macs": shape.macs,
                # The simulator reports the last cycle's index.
                "scalesim_cycles": int(row["Total Cycles"]) + 1,
                "closed_form_cycles": closed,
                "zigzag_cycles": float(theirs["latency_cycles"]),
                "our_cycles": ours.latency_cycles,
                "zigzag_dram_uj": float(theirs["dram_energy_pJ"]) * 1e-6,
                "our_dram_uj": ours.dram_pj * 1e-6,
                "zigzag_uj": float(theirs["energy_total_pJ"]) * 1e-6,
                "our_uj": ours.energy_pj * 1e-6,
            }
        )
    return found


def _zigzag_name(layer: str) -> str:
    """Return a layer's name in ZigZag's results: layer1.0.conv1 is /layer1/layer1.0/conv1/Conv."""
    if layer in ZIGZAG_NAMES:
        return ZIGZAG_NAMES[layer]
    stage, block, part = layer.split(".")
    part = "downsample/downsample.0" if part == "shortcut" else part
    return f"/{stage}/{stage}.{block}/{part}/Conv"


def main() -> None:
    """Write the comparison as CSV, and print it as the README's table."""
    table = compare()
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    with (results / "comparison.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in table:
            writer.writerow({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()})
    print("| layer | SCALE-Sim | closed form | ZigZag | ours | ZigZag DRAM uJ | ours | ZigZag total uJ | ours |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for row in table:
        cycles = [f"{row[key]:,.0f}" for key in COLUMNS[2:6]]
        energies = [f"{row[key]:.1f}" for key in COLUMNS[6:]]
        print(f"| {row['layer']} | {' | '.join([*cycles, *energies])} |")


if __name__ == "__main__":
    main()
