"""The exported C of ResNet-8 and LeNet-5 on an emulated Cortex-M4, beside what the cost model says of an STM32L4R5.

Each at 8 bits, and with 4-bit weights. ResNet-8 is the published one, calibrated on training images; LeNet-5 is
trained here for some seconds, on training images of MNIST. The same integers are wanted on test images. Flash is what
the linker's map file says of the network: code, constants (weights, tables and structures); RAM its static memory,
and what a run takes of the stack; instructions are counted, of the first image. Flash of the model are weights with
biases and scales, and the program, as the profile has it; RAM its plan of activations, and the program's; cycles are
those of the vendor's kernels, to which the profile is fitted. Takes a C compiler, gcc-arm-none-eabi,
libnewlib-arm-none-eabi and qemu-system-arm, and EXPLORER_DATA (a folder with cifar10.npz and mnist.npz) and
EXPLORER_CHECKPOINTS.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

import explorer
from benchmarks.tflite import PIXELS, open_resnet
from examples.cortex_m.emulate import emulate
from explorer.data.load import load_data
from explorer.evaluate.hardware import cost
from explorer.export.c.compiled import encode_inputs
from explorer.export.c.source import build_source
from explorer.export.interface import to_arrays
from explorer.integer.interpret import run_program
from explorer.integer.lower import lower_program
from explorer.models.lenet import LeNet5
from explorer.settings import SOURCES, DataSettings
from hwmodels import load

DEVICE = "stm32l4r5"
HEADER = (
    f"{'network':9} {'bits':4} {'equal':>8} {'code':>6} {'constants':>9} {'flash':>7} {'model':>7} {'ratio':>5} "
    f"{'memory':>7} {'stack':>5} {'RAM':>7} {'model':>7} {'ratio':>5} {'instructions':>12} {'cycles':>10} {'ratio':>5}"
)


def open_lenet(count: int) -> explorer.Net:
    """Return LeNet-5, trained on 4,096 images of MNIST for four epochs, with the first test images held out."""
    (mean,), (std,) = SOURCES["mnist"].normalise(1)
    data = load_data(DataSettings(source="mnist", mean=(mean,), std=(std,), train=4096, search=5000, held_out=5000))
    images, targets = (torch.from_numpy(array) for array in (data.train.inputs[0], data.train.targets))
    torch.manual_seed(0)
    model = LeNet5(10)
    optimizer = torch.optim.Adam(model.parameters(), 0.002)
    for start in [*range(0, len(images), 64)] * 4:
        part = slice(start, start + 64)
        optimizer.zero_grad()
        F.cross_entropy(model(images[part]), targets[part]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    tested = data.held_out.take(slice(count))
    held_out = tested.inputs[0], tested.targets
    return explorer.open(model.eval(), images[:512], targets[:512], search=held_out, held_out=held_out)


NETWORKS: dict[str, Callable[[int], explorer.Net]] = {
    "resnet8": lambda count: open_resnet("resnet8", "resnet8_mlperf.pt", PIXELS, count),
    "lenet5": open_lenet,
}


def measure(name: str, net: explorer.Net, bits: int) -> str:
    """Return the line of a network whose weights have so many bits."""
    candidate = explorer.uniform(net, weight_bits=bits)
    small = explorer.compress(net, candidate)
    program = lower_program(small, net.graph.input_shapes)
    source, images = build_source(program), net.tensors(net.data.held_out)[0]
    with tempfile.TemporaryDirectory() as folder:
        explorer.export(small, folder, "c", device=DEVICE)
        found = emulate(Path(folder), encode_inputs(source.interface, images))
    received = source.output.decode(found.outputs)
    equal = int((received == run_program(program, to_arrays(images))).all(1).sum())
    costed = cost(net.graph, candidate, load(DEVICE))
    flash = next(fit.needed_bytes for fit in costed.fits if "weights" in fit.holds)
    instructions, cycles = int(found.instructions[0]), costed.latency_cycles
    return (
        f"{name:9} {bits:4} {equal:>2} of {len(received):2} {found.code_bytes:6,} {found.constant_bytes:9,} "
        f"{found.flash_bytes:7,} {flash:7,} {found.flash_bytes / flash:5.3f} {found.memory_bytes:7,} "
        f"{found.stack_bytes:5,} {found.ram_bytes:7,} {costed.arena_bytes:7,} "
        f"{found.ram_bytes / costed.arena_bytes:5.3f} {instructions:12,} {cycles:10,} {instructions / cycles:5.2f}"
    )


def main() -> None:
    """Print one line for each network and width."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20, help="test images to run (default: 20)")
    arguments = parser.parse_args()
    missing = [name for name in ("EXPLORER_DATA", "EXPLORER_CHECKPOINTS") if not os.environ.get(name)]
    if missing:
        parser.error(f"set {' and '.join(missing)}")
    torch.set_num_threads(1)
    print(HEADER)
    for name, open_network in NETWORKS.items():
        net = open_network(arguments.images)
        for bits in (8, 4):
            print(measure(name, net, bits), flush=True)


if __name__ == "__main__":
    main()
