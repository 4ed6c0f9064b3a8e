"""How many layers the cost models price in a CPU-second, next to a simulator and an optimising cost model.

Prices batches of 1,000 candidates of ResNet-20, every component of the cost, on every device that ships: widths drawn
for each layer, channels removed, weights pruned and shared, the entropy of some known. Then one network at a time, as
a user calls it. The two ratios at the end are to times that were measured of SCALE-Sim v3 (77 CPU-seconds for ResNet-18
on a 128 x 128 array) and of ZigZag 3.9.1 (2.1 CPU-seconds for a layer).
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import hwmodels
from hwmodels import NETWORKS

CANDIDATES = 1000
REPEATS = 5
SCALE_SIM_CPU_S = 77.0
ZIGZAG_CPU_S_PER_LAYER = 2.1
WIDTHS = (2, 4, 8)


def cpu_seconds(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return CPU seconds of one run: the least of several, after one that does not count."""
    work()
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def candidates() -> tuple[hwmodels.LayerArrays, hwmodels.TensorArrays]:
    """Return ResNet-20 with widths, channels, zeros and codebooks of its own for each layer of each candidate.

    Its activations have sizes and widths of their own, too.
    """
    draw = random.Random(0)
    network = NETWORKS["resnet20"]()
    layers = network.layers

    def job(layer: hwmodels.LayerShape) -> hwmodels.LayerJob:
        share = draw.choice((0.5, 0.75, 1.0))
        if layer.kind in ("conv", "linear"):
            layer = replace(layer, out_channels=max(1, int(layer.out_channels * share)))
        return hwmodels.LayerJob(
            shape=layer,
            weight_bits=draw.choice(WIDTHS),
            input_bits=draw.choice(WIDTHS),
            density=draw.choice((0.25, 0.5, 1.0)),
            codebook_size=draw.choice((None, 16)),
            entropy_bits=draw.choice((None, 2.3, 7.3)),
        )

    def narrow(tensor: hwmodels.ActivationTensor) -> hwmodels.ActivationTensor:
        share = draw.choice((0.5, 0.75, 1.0))
        return replace(tensor, elements=int(tensor.elements * share), bits=draw.choice(WIDTHS))

    jobs = [[job(layer) for layer in layers] for _ in range(CANDIDATES)]
    tensors = [[narrow(tensor) for tensor in network.tensors] for _ in range(CANDIDATES)]
    return hwmodels.stack(jobs), hwmodels.stack_tensors(tensors)


def list_devices() -> list[tuple[str, hwmodels.Accelerator]]:
    """Return the devices that ship, and one with room for a part of the activations only."""
    devices = [(name, hwmodels.load(name)) for name in hwmodels.names()]
    gemmini = hwmodels.load("gemmini_default")
    scratchpad, accumulator = gemmini.buffers
    small = replace(gemmini, buffers=(replace(scratchpad, size_bytes=32768), accumulator))
    return [(name, replace(device, maximum_layers=0)) for name, device in (*devices, ("gemmini, 32 KB", small))]


def import_cpu_seconds() -> float:
    """Return CPU seconds that importing the package takes once numpy is there: the least of several fresh processes."""
    program = (
        "import time, numpy, numpy.typing\nstart = time.process_time()\nimport hwmodels\n"
        "print(time.process_time() - start)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        for _ in range(REPEATS)
    ]
    return min(float(run.stdout) for run in runs)


def main() -> None:
    """Print evaluations per CPU-second, the time of one network and of the import, and ratios to the other tools."""
    batch, tensors = candidates()
    count = batch.shape[0] * batch.shape[1]
    slowest = 0.0
    print(f"{CANDIDATES} candidates of ResNet-20, {batch.shape[1]} layers each, all components of the cost:")
    for name, device in list_devices():
        seconds = cpu_seconds(lambda device=device: hwmodels.evaluate(batch, device, tensors))  # type: ignore[misc]
        slowest = max(slowest, seconds / count)
        print(f"  {name:18} {count / seconds / 1e6:6.2f} million layers in a CPU-second")
    resnet18 = NETWORKS["resnet18"]()
    products = [job for job in resnet18.jobs() if job.shape.macs]
    device = hwmodels.load("gemmini_default")
    for label, network in (("ResNet-20", NETWORKS["resnet20"]()), ("ResNet-18", resnet18)):
        jobs, kept = network.at(8, 8)
        alone = cpu_seconds(lambda jobs=jobs, kept=kept: hwmodels.evaluate(jobs, device, kept), repeats=100)  # type: ignore[misc]
        print(f"one network alone, with records and notes: {label}, {len(jobs)} layers: {alone * 1e3:.2f} ms CPU")
    one = cpu_seconds(lambda: hwmodels.evaluate(products, device), repeats=100)
    print(f"import hwmodels, beyond numpy: {import_cpu_seconds():.3f} s CPU")
    print(f"SCALE-Sim / this, ResNet-18 alone: {SCALE_SIM_CPU_S / one:,.0f}")
    print(f"ZigZag / this, a layer in a batch on the slowest device: {ZIGZAG_CPU_S_PER_LAYER / slowest:,.0f}")


if __name__ == "__main__":
    main()
