"""What scales that are powers of two cost in accuracy, and whether hls4ml's C++ gives what was exported as QONNX.

LeNet-5 of the digits and the published ResNet-20, all layers at the same widths, rounded to the nearest without any
training: with scales of any value, and with powers of two for each channel and for each tensor. ResNet-20 is scored on
the first --images test images, and left out where EXPLORER_DATA (a folder with cifar10.npz) or EXPLORER_CHECKPOINTS is
not set. With --hls4ml, the digits at 4 and 6 bits go through hls4ml's ONNX front end (pip install hls4ml==1.3.0, and a
C++ compiler), and its emulation in C++ is compared with qonnx's executor on the first held-out images.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import explorer
from explorer.compress.apply import CompressionContext
from explorer.export.qonnx.run import run_qonnx

STUDY = Path(__file__).parent.parent / "studies" / "resnet20_cifar10"
WIDTHS = ((8, 8), (6, 6), (4, 8), (4, 6), (4, 4))
SCALES: Mapping[str, Mapping[str, Any]] = {
    "any": {},
    "powers of two, channel": {"power_of_two": True},
    "powers of two, tensor": {"power_of_two": True, "scale_granularity": "tensor"},
}
EMULATED = (4, 6)
EMULATED_IMAGES = 50


def main() -> None:
    """Print the share of right images for each network, kind of scale and width."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--images", type=int, default=1000, help="test images to score ResNet-20 on")
    arguments.add_argument("--hls4ml", action="store_true", help="compare hls4ml's C++ instead")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    digits = explorer.open(explorer.load_study("digits"), notify=_say)
    if given.hls4ml:
        emulate(digits)
        return
    score("LeNet-5, digits", digits, len(digits.data.held_out.targets))
    if all(os.environ.get(key) for key in ("EXPLORER_DATA", "EXPLORER_CHECKPOINTS")):
        score("ResNet-20, CIFAR-10", explorer.open(explorer.load_study(STUDY), notify=_say), given.images)
    else:
        print("ResNet-20 is left out: set EXPLORER_DATA and EXPLORER_CHECKPOINTS")


def score(name: str, net: explorer.Net, count: int) -> None:
    """Print the accuracy of a network on its first held-out images."""
    images, targets = net.data.held_out.inputs[0][:count], net.data.held_out.targets[:count]
    print(f"{name}, {len(targets)} images; float {explorer.accuracy(net.context.model, images, targets).value:.2%}")
    print(f"{'bits':24}" + "".join(f"{f'w{weights}a{inputs}':>9}" for weights, inputs in WIDTHS))
    for scales in SCALES:
        own = with_scales(net, scales)
        built = [explorer.compress(own, explorer.uniform(own, *bits)) for bits in WIDTHS]
        print(f"{scales:24}" + "".join(f"{explorer.accuracy(one, images, targets).value:9.2%}" for one in built))


def with_scales(net: explorer.Net, scales: str) -> explorer.Net:
    """Return a network whose candidates have scales of a kind."""
    context = net.context
    images = context.calibration.images if context.images is None else context.images
    quantizer = replace(context.quantizer, **SCALES[scales])
    own = CompressionContext.of(context.model, images, context.order, graph=context.graph, quantizer=quantizer)
    return replace(net, context=own)


def emulate(net: explorer.Net) -> None:
    """Print how hls4ml's C++ compares with qonnx's executor."""
    images = net.data.held_out.inputs[0][:EMULATED_IMAGES]
    for scales in SCALES:
        own = with_scales(net, scales)
        with tempfile.TemporaryDirectory() as folder:
            explorer.export(
                explorer.compress(own, explorer.uniform(own, *EMULATED)), folder, "qonnx", device="bitfusion"
            )
            network = Path(folder) / "network.onnx"
            expected = run_qonnx(network, torch.from_numpy(images))
            try:
                received = run_hls4ml(network, images, Path(folder) / "project").reshape(expected.shape)
            except Exception as error:  # hls4ml raises of many kinds
                print(f"{scales:24} hls4ml refuses it: {type(error).__name__}: {error}")
                continue
        same = int((received.argmax(1) == expected.argmax(1)).sum())
        print(
            f"{scales:24} {same} of {len(images)} predictions and {(received == expected).mean():.2%} of the outputs "
            f"equal, largest difference {np.abs(received - expected).max():.3g} of {np.abs(expected).max():.3g}",
            flush=True,
        )


def run_hls4ml(network: Path, images: np.ndarray, project: Path) -> np.ndarray:
    """Return what the C++ that hls4ml writes of a QONNX file gives for images (N x C x H x W)."""
    import hls4ml  # noqa: PLC0415  (no part of the project)
    from qonnx.core.modelwrapper import ModelWrapper  # noqa: PLC0415
    from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean  # noqa: PLC0415
    from qonnx.transformation.gemm_to_matmul import GemmToMatMul  # noqa: PLC0415
    from qonnx.util.cleanup import cleanup_model  # noqa: PLC0415

    with contextlib.redirect_stdout(io.StringIO()):
        model = cleanup_model(ModelWrapper(str(network))).transform(GemmToMatMul())
        model = cleanup_model(model.transform(ConvertToChannelsLastAndClean()))
        config = hls4ml.utils.config.config_from_onnx_model(
            model, granularity="name", backend="Vitis", default_precision="fixed<32,16>"
        )
        built = hls4ml.converters.convert_from_onnx_model(
            model, hls_config=config, output_dir=str(project), backend="Vitis", io_type="io_parallel"
        )
        built.compile()
        found: np.ndarray = built.predict(np.ascontiguousarray(images))
    return found


def _say(what: str, done: int, total: int) -> None:
    print(f"... {what}: {done} of {total}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
