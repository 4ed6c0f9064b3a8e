"""Five compressed networks in every export format: whether each predicts as the search did, and weighs what it says.

Three of the published ResNet-20 on CIFAR-10: weights of 2 bits but for the first and the last layer, all layers of 16
shared values, and .75 of the channels that its additions join. MobileNetV2 with widths in turn, 8, 6, 5 and 4 bits:
trained here for some minutes on MNIST, padded to 32 x 32 and on three channels. A U-Net of 4 bits, trained here on
squares in noise, whose predictions are those of all pixels. Weights are rounded adaptively but for the U-Net's.
Predictions of 1,000 held-out images are compared with those of the network that a search scores, run as it runs it,
also with those counted as equal whose class shares the largest output, as codes of 8 bits may; integers of the C and of
the integer ONNX file with the integer program's. The row tflite16 is tflite with logits of 16 bits. Bytes are those
that explorer verify counts in the files, beside the byte table's. Each line is kept in --out, and is not measured
again. Takes EXPLORER_DATA (a folder with cifar10.npz and mnist.npz), EXPLORER_CHECKPOINTS, a C compiler and the extras
[tflite] and [qonnx].
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import explorer
from benchmarks.tflite import open_unet
from explorer.data.load import load_data
from explorer.evaluate.engine import Runner
from explorer.evaluate.score import score_outputs
from explorer.export.artefact import open_artefact
from explorer.export.formats import FORMATS
from explorer.export.integer.package import read_program
from explorer.export.interface import to_arrays
from explorer.integer.interpret import run_program
from explorer.models.mobilenet_v2 import MobileNetV2
from explorer.settings import DataSettings, QuantizerSettings

STUDY = Path(__file__).parent.parent / "studies" / "resnet20_cifar10"
FORMS: Mapping[str, tuple[str, str]] = {
    row: (name, outputs)
    for name, entry in FORMATS.items()
    if entry.loader and name != "coded"
    for row, outputs in ((name, "int8"), *([("tflite16", "int16")] if name == "tflite" else []))
}
"""Format and outputs of each row: all that hold a network to run, TensorFlow Lite's with logits of 16 bits, too."""
DEVICE = "bitfusion"
ADAPTIVE = QuantizerSettings(rounding="adaptive")
TRAIN, EPOCHS, BATCH = 4096, 2, 64


def open_resnet(count: int) -> explorer.Net:
    """Return the published ResNet-20 with so many test images held out."""
    study = explorer.load_study(STUDY)
    data = replace(study.data, train=1024, search=1000, held_out=count)
    return explorer.open(replace(study, data=data, quantizer=ADAPTIVE))


def open_mobilenet(count: int) -> explorer.Net:
    """Return MobileNetV2, trained on images of MNIST, with so many of its test images held out."""
    data = load_data(DataSettings(source="mnist", train=TRAIN, search=1000, held_out=max(count, 1000)))
    images, held_out = (
        F.pad(torch.from_numpy(part.images), (2, 2, 2, 2), value=float(part.images.min())).expand(-1, 3, -1, -1)
        for part in (data.train, data.held_out)
    )
    labels = torch.from_numpy(data.train.targets)
    torch.manual_seed(0)
    model = MobileNetV2(10)
    optimizer = torch.optim.Adam(model.parameters(), 0.002)
    for start in [*range(0, TRAIN, BATCH)] * EPOCHS:
        part = slice(start, start + BATCH)
        optimizer.zero_grad()
        F.cross_entropy(model(images[part]), labels[part]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    tested = held_out[:count].contiguous(), data.held_out.targets[:count]
    shown = images[:1024].contiguous(), labels[:1024]
    return explorer.open(model.eval(), *shown, search=tested, held_out=tested, quantizer=ADAPTIVE)


def narrow(net: explorer.Net) -> explorer.Candidate:
    """Return weights of 2 bits but for the first and the last layer, which keep 8."""
    plain = explorer.uniform(net, weight_bits=2)
    ends = {plain.layers[0].layer, plain.layers[-1].layer}
    layers = (replace(each, weight_bits=8) if each.layer in ends else each for each in plain.layers)
    return replace(plain, layers=tuple(layers))


def share(net: explorer.Net) -> explorer.Candidate:
    """Return layers of 16 shared values each."""
    plain = explorer.uniform(net)
    return replace(plain, layers=tuple(replace(each, codebook_size=16) for each in plain.layers))


def prune(net: explorer.Net) -> explorer.Candidate:
    """Return three quarters of the channels that additions join, with weights of 6 bits."""
    joined = {group.name: 0.75 for group in net.graph.prunable if len(group.producers) > 1}
    assert joined
    return explorer.uniform(net, weight_bits=6).with_filters(joined)


def mix(net: explorer.Net) -> explorer.Candidate:
    """Return widths in turn."""
    plain = explorer.uniform(net)
    pairs = zip(plain.layers, cycle((8, 6, 5, 4)), strict=False)
    return replace(plain, layers=tuple(replace(each, weight_bits=bits) for each, bits in pairs))


POINTS: Mapping[str, tuple[Callable[[int], explorer.Net], Callable[[explorer.Net], explorer.Candidate]]] = {
    "resnet20 2-bit": (open_resnet, narrow),
    "resnet20 clustered": (open_resnet, share),
    "resnet20 pruned": (open_resnet, prune),
    "mobilenet_v2 mixed": (open_mobilenet, mix),
    "unet 4-bit": (open_unet, lambda net: explorer.uniform(net, weight_bits=4)),
}
HEADER = (
    f"{'network, point':18} {'form':8} {'equal predictions':>22} {'':>7} {'tied':>7} {'integers':>13} "
    f"{'score':>7} {'search':>7} {'bytes':>9} {'table':>9} {'CPU s':>6}"
)


def measure(small: explorer.Compressed, form: str, folder: Path) -> dict[str, Any]:
    """Return what a format makes of a network: equal predictions and integers, scores, bytes, and CPU seconds."""
    start, net = time.process_time(), small.net
    images, targets = net.scored(net.data.held_out)
    expected = np.concatenate([outputs.numpy() for outputs, _ in Runner(small, 250)(images)])
    name, outputs = FORMS[form]
    exported = explorer.export(small, folder, name, device=DEVICE, outputs=outputs)
    artefact = open_artefact(folder)
    assert artefact.run is not None
    received = artefact.run(images)
    wanted = expected.argmax(1)
    same = received.argmax(1) == wanted
    shared = np.take_along_axis(received, wanted[:, None], axis=1)[:, 0] == received.max(1)
    integers = None
    if form == "integer":
        program = read_program(folder)
        values = (run_program(program, to_arrays(images)) * program.output_scale).astype(np.float32)
        integers = int((values == received).reshape(len(same), -1).all(1).sum())
    elif form == "c":
        integers = int(exported.details["images_with_equal_integers"])
    return {
        "equal": int(same.sum()),
        "tied": int((shared & ~same).sum()),
        "predictions": int(same.size),
        "integers": integers,
        "images": len(same),
        "score": score_outputs(net.score, torch.from_numpy(received), targets).mean(),
        "search": score_outputs(net.score, torch.from_numpy(expected), targets).mean(),
        "bytes": artefact.stored.total,
        "table": exported.network_bytes,
        "cpu_s": time.process_time() - start,
    }


def tell(point: str, form: str, row: Mapping[str, Any]) -> str:
    """Return a line of the table."""
    if "error" in row:
        return f"{point:18} {form:8} {row['error']}"
    equal = f"{row['equal']:,} of {row['predictions']:,}"
    tied = (row["equal"] + row["tied"]) / row["predictions"]
    integers = "" if row["integers"] is None else f"{row['integers']:,} of {row['images']:,}"
    return (
        f"{point:18} {form:8} {equal:>22} {row['equal'] / row['predictions']:7.2%} {tied:7.2%} {integers:>13} "
        f"{row['score']:7.2%} {row['search']:7.2%} {row['bytes']:9,} {row['table']:9,} {row['cpu_s']:6.0f}"
    )


def main() -> None:
    """Print a line for each point and format; those that --out has are not measured again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("points", nargs="*", metavar="POINT", help=f"of {', '.join(POINTS)} (default: all)")
    parser.add_argument("--images", type=int, default=1000, help="held-out images (default: 1,000)")
    parser.add_argument("--out", type=Path, default=Path("runs/exports"), help="what is kept (default: runs/exports)")
    arguments = parser.parse_args()
    if unknown := set(arguments.points) - set(POINTS):
        parser.error(f"unknown {', '.join(sorted(unknown))}; the points are {', '.join(POINTS)}")
    torch.set_num_threads(1)
    print(HEADER)
    net: tuple[object, explorer.Net] | None = None
    for point in arguments.points or POINTS:
        opening, choosing = POINTS[point]
        small: explorer.Compressed | None = None
        for form in FORMS:
            folder = arguments.out / f"{point.replace(' ', '_')}-{arguments.images}" / form
            kept = folder.with_suffix(".json")
            if not kept.is_file():
                if net is None or net[0] is not opening:
                    net = opening, opening(arguments.images)
                small = small or explorer.compress(net[1], choosing(net[1]))
                try:
                    row = measure(small, form, folder)
                except explorer.ExplorerError as error:
                    row = {"error": str(error)}
                folder.parent.mkdir(parents=True, exist_ok=True)
                kept.write_text(json.dumps(row), encoding="utf-8")
            print(tell(point, form, json.loads(kept.read_text(encoding="utf-8"))), flush=True)


if __name__ == "__main__":
    main()
