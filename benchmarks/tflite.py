"""TensorFlow Lite files of four networks: equal to the integer program in LiteRT, and beside what Vela makes of them.

Each at 8 bits, with a quarter of the filters removed, with 16 shared values a layer, with widths that differ by
layer, and with 4-bit weights, in int8 and packed. ResNet-8 and ResNet-20 are the published ones: training images
calibrate them, test images alone are compared. U-Net is briefly trained on drawn squares; MobileNetV2 is not trained:
its batch norms have seen noise, and other noise is compared. Ratios are ours to Vela's, of bytes in flash, of SRAM
and cycles on an Ethos-U55 with 128 MACs; Vela takes no packed weights. Needs the extras [tflite] and [ethos], and for
the ResNets EXPLORER_DATA (a folder with cifar10.npz) and EXPLORER_CHECKPOINTS; leaves them out where these are not
set.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import explorer
from explorer.data.load import load_data
from explorer.models.load import load_model
from explorer.models.mobilenet_v2 import MobileNetV2
from explorer.models.unet import UNet
from explorer.referee.exported import read_costed, verify_compiled
from explorer.settings import SOURCES, DataSettings, ModelSettings
from hwmodels import load

DEVICE = "ethos_u55_128"
CALIBRATION = 256
PIXELS = ((0.0,) * 3, (1 / 255,) * 3)
"""Mean and standard deviation for pixels in 0..255, which MLPerf Tiny's ResNet-8 expects."""


def open_resnet(reference: str, file: str, statistics: tuple[tuple[float, ...], ...], count: int) -> explorer.Net:
    """Return a published network, calibrated on training images, with the first test images held out."""
    mean, std = statistics
    settings = DataSettings(source="cifar10", mean=mean, std=std, train=512, search=5000, held_out=5000)
    data = load_data(settings)
    model = load_model(
        ModelSettings(reference=reference, checkpoint=f"${{EXPLORER_CHECKPOINTS}}/{file}"), data.input_shapes, 10
    )
    parts = (part.take(slice(number)) for part, number in zip((data.train, data.held_out), (512, count), strict=True))
    (train, targets), held_out = ((part.inputs[0], part.targets) for part in parts)
    return explorer.open(model, train, targets, search=held_out, held_out=held_out)


def open_mobilenet(count: int) -> explorer.Net:
    """Return MobileNetV2 with drawn weights for images of 64 x 64."""
    torch.manual_seed(0)
    model, images = MobileNetV2(10), torch.randn(CALIBRATION + count, 3, 64, 64)
    with torch.no_grad():
        for _ in range(20):
            model.train()(images[:32])
        labels = torch.cat([model.eval()(image[None]).argmax(1) for image in images])
    held_out = images[CALIBRATION:], labels[CALIBRATION:]
    return explorer.open(model, images[:CALIBRATION], labels[:CALIBRATION], search=held_out, held_out=held_out)


def open_unet(count: int) -> explorer.Net:
    """Return a U-Net that finds squares in the noise of images of 32 x 32."""
    torch.manual_seed(0)
    number, rows = CALIBRATION + count, torch.arange(32)
    corner, side = torch.randint(1, 16, (number, 2, 1)), torch.randint(8, 16, (number, 1, 1))
    inside = (rows >= corner) & (rows < corner + side)
    masks = (inside[:, 0, :, None] & inside[:, 1, None, :]).long()
    images = masks[:, None] + 0.4 * torch.randn(number, 1, 32, 32)
    model = UNet(classes=2, in_channels=1, widths=(16, 32, 64))
    optimizer = torch.optim.Adam(model.parameters(), 0.003)
    for start in [*range(0, CALIBRATION, 32)] * 8:
        part = slice(start, start + 32)
        optimizer.zero_grad()
        F.cross_entropy(model(images[part]), masks[part]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    held_out = images[CALIBRATION:], masks[CALIBRATION:]
    return explorer.open(
        model.eval(), images[:CALIBRATION], masks[:CALIBRATION], search=held_out, held_out=held_out, score=pixels_right
    )


def pixels_right(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the share of pixels of each image that have the right class."""
    return (outputs.argmax(1) == targets).float().mean((1, 2))


NETWORKS: dict[str, Callable[[int], explorer.Net]] = {
    "resnet8": lambda count: open_resnet("resnet8", "resnet8_mlperf.pt", PIXELS, count),
    "resnet20": lambda count: open_resnet("resnet20", "resnet20-12fca82f.th", SOURCES["cifar10"].normalise(3), count),
    "mobilenet_v2": open_mobilenet,
    "unet": open_unet,
}
PUBLISHED = ("resnet8", "resnet20")


def share(candidate: explorer.Candidate) -> explorer.Candidate:
    """Return a candidate whose layers have 16 values each."""
    return replace(candidate, layers=tuple(replace(choice, codebook_size=16) for choice in candidate.layers))


def mix(candidate: explorer.Candidate) -> explorer.Candidate:
    """Return a candidate with widths in turn, weights and what they are multiplied with."""
    widths = zip(candidate.layers, cycle((8, 6, 4, 5, 7, 3)), cycle((8, 6)), strict=False)
    return replace(
        candidate,
        layers=tuple(replace(choice, weight_bits=bits, activation_bits=read) for choice, bits, read in widths),
    )


SETTINGS: dict[str, Callable[[explorer.Net], explorer.Candidate]] = {
    "w8a8": explorer.uniform,
    "filters": lambda net: explorer.uniform(net).with_filters({group.name: 0.75 for group in net.graph.prunable}),
    "shared": lambda net: share(explorer.uniform(net)),
    "mixed": lambda net: mix(explorer.uniform(net)),
    "w4a8": lambda net: explorer.uniform(net, weight_bits=4),
    "packed": lambda net: explorer.uniform(net, weight_bits=4),
}
HEADER = (
    f"{'network':12} {'setting':8} {'equal predictions':>17} {'integers':>8} {'built-in':>8} {'file':>9} "
    f"{'flash: ours, Vela':>27} {'SRAM':>25} {'cycles':>31} {'on CPU':>6}"
)


def measure(name: str, setting: str, net: explorer.Net) -> str:
    """Return the line of a network and setting; what differs in LiteRT, or Vela refuses, is its message."""
    small = explorer.compress(net, SETTINGS[setting](net))
    with tempfile.TemporaryDirectory() as folder:
        try:
            exported = explorer.export(small, folder, "tflite", device=DEVICE, int4=setting == "packed")
            details, found = exported.details, exported.verification
            line = (
                f"{name:12} {setting:8} {found.agreeing:>8} of {found.num_images:>5} "
                f"{details['equal_output_integers']:8.2%} {details['agreement_with_built_in_kernels']:8.2%} "
                f"{exported.network_bytes:9,}"
            )
            if setting == "packed":
                return line
            compared = verify_compiled(read_costed(Path(folder)), load(DEVICE))
        except explorer.ExplorerError as error:
            return f"{name:12} {setting:8} {error}"
    ours, vela = compared.ours, compared.vela
    figures = (
        (ours.weight_bytes, vela.weight_bytes, 10),
        (ours.sram_bytes, vela.sram_bytes, 9),
        (ours.cycles, vela.cycles, 12),
    )
    told = " ".join(f"{own:{width},} {other:{width},} {own / other:5.2f}" for own, other, width in figures)
    return f"{line} {told} {len(compared.on_cpu):6}"


def main() -> None:
    """Print one line for each network and setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=f"of {', '.join(NETWORKS)} (default: all)")
    parser.add_argument("--images", type=int, default=100, help="held-out images to compare (default: 100)")
    arguments = parser.parse_args()
    if unknown := set(arguments.networks) - set(NETWORKS):
        parser.error(f"unknown {', '.join(sorted(unknown))}; the networks are {', '.join(NETWORKS)}")
    torch.set_num_threads(1)
    missing = [name for name in ("EXPLORER_DATA", "EXPLORER_CHECKPOINTS") if not os.environ.get(name)]
    print(HEADER)
    for name in arguments.networks or NETWORKS:
        if name in PUBLISHED and missing:
            print(f"{name:12} skipped: set {' and '.join(missing)}")
            continue
        net = NETWORKS[name](arguments.images)
        for setting in SETTINGS:
            print(measure(name, setting, net), flush=True)


if __name__ == "__main__":
    main()
