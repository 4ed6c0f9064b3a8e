"""A third of the blocks of the published ResNet-56 removed, beside the same multiply-accumulates removed as filters.

CIFAR-10, weights and activations of 8 bits. Everything is chosen on training images: orders of blocks are compared with
the divergence that each block alone causes, and the order whose network diverges least is taken. Filters go by
DeepLIFT, the same share of every group. Both networks are scored once on the 10,000 test images without training, plain
and with the layers behind solved for anew, and with --tune after 6 epochs of the training images of cifar10.npz
(20,000 there); latency is that of two devices. --order takes one order without comparing it.

Needs EXPLORER_DATA (a folder with cifar10.npz) and EXPLORER_CHECKPOINTS (with resnet56-4bfd9763.th); says so and ends
where they are not set.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from scipy.stats import spearmanr

import explorer
from explorer.compress.shorten import shorten_network
from explorer.search.blocks import (
    compare_block_features,
    measure_block_divergence,
    measure_divergence,
    order_blocks,
    order_by_divergence,
    sum_block_relevance,
)
from explorer.settings import ModelSettings

REPOSITORY = Path(__file__).parent.parent
FILES = {"EXPLORER_DATA": "cifar10.npz", "EXPLORER_CHECKPOINTS": "resnet56-4bfd9763.th"}
COMPENSATIONS = ("none", "propagated")
ALONE, SUCCESSIVE = "alone", "successive"
"""Blocks by what each alone makes the outputs diverge, and one after the other by what they do together."""
DEVICES = ("gap9_ne16", "ethos_u55_128")
CALIBRATION, SOLVED, COMPARED, CLASSIFIED = 256, 128, 64, 1000
"""Training images on which networks are calibrated, layers solved for, outputs compared, and features classified."""
TUNING: Mapping[str, Any] = {
    "optimizer": "sgd",
    "learning_rate": 0.003,
    "batch_size": 64,
    "crop_pixels": 4,
    "flip": True,
    "teacher_weight": 1.0,
    "temperature": 8.0,
}
"""Those with which benchmarks.finetune tunes ResNet-20."""


def main() -> None:
    """Print the orders of the blocks, then accuracy, multiply-accumulates and latency of both networks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000, help="test images to score; 0: none")
    parser.add_argument("--order", choices=[SUCCESSIVE], help="take it, and compare no others")
    parser.add_argument("--tune", action="store_true", help="train both networks, too")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "runs" / "depth", help="for what is trained")
    arguments = parser.parse_args()
    missing = [f"{key} (with {name})" for key, name in FILES.items() if not _present(key, name)]
    if missing:
        print(f"skipped: set {' and '.join(missing)}")
        return
    torch.set_num_threads(1)
    net = _open()
    third = _choose_order(net, arguments.order)
    print(f"removed: {' '.join(sorted(third))}", flush=True)
    shallow = explorer.uniform(net, removed_blocks=third)
    narrow = _narrow(net, explorer.plan(net, shallow).macs)
    for name, candidate in (("whole", explorer.uniform(net)), ("blocks", shallow), ("filters", narrow)):
        _tell(net, name, candidate, arguments)


def _present(key: str, name: str) -> bool:
    return bool(os.environ.get(key)) and (Path(os.environ[key]) / name).is_file()


def _open() -> explorer.Net:
    """Return the network with its filters in the order of DeepLIFT."""
    study = explorer.load_study(REPOSITORY / "studies" / "resnet20_cifar10")
    model = ModelSettings(reference="resnet56", checkpoint=f"${{EXPLORER_CHECKPOINTS}}/{FILES['EXPLORER_CHECKPOINTS']}")
    net = explorer.open(replace(study, model=model, data=replace(study.data, calibration=CALIBRATION)))
    return net.ordered_by(explorer.relevance(net, "deeplift"))


def _choose_order(net: explorer.Net, only: str | None) -> tuple[str, ...]:
    """Print what each criterion says of each block; return the order whose network diverges least."""
    begun, context, graph = time.process_time(), net.context, net.graph
    compared, _ = net.tensors(net.data.train.take(slice(CLASSIFIED, CLASSIFIED + COMPARED)))
    if only == SUCCESSIVE:
        return order_by_divergence(context, compared, round(len(graph.blocks) / 3))
    images, labels = net.tensors(net.data.train.take(slice(CLASSIFIED)))
    scores = {
        ALONE: measure_block_divergence(context, compared),
        "relevance": sum_block_relevance(graph, explorer.relevance(net, "deeplift").relevance),
        "features": compare_block_features(context.model, graph, images, labels),
    }
    print(f"{'block':10} " + " ".join(f"{name:>12}" for name in scores))
    for block in graph.removable:
        print(f"{block.name:10} " + " ".join(f"{values[block.name]:12.4f}" for values in scores.values()))
    third = round(len(graph.blocks) / 3)
    orders = {name: order_blocks(values)[:third] for name, values in scores.items()}
    orders[SUCCESSIVE] = order_by_divergence(context, compared, third)
    found = {}
    with torch.no_grad():
        expected = context.model(*compared)
        for name, order in orders.items():
            found[name] = measure_divergence(shorten_network(context, order)(*compared), expected)
            rank = ""
            if name in scores:
                ranks = spearmanr([scores[ALONE][key] for key in scores[name]], list(scores[name].values()))
                rank = f"rank correlation with the divergence without each block {ranks.statistic:.2f}; "
            print(f"{name}: {rank}without {third} of {len(graph.blocks)} blocks by it {found[name]:.3f}", flush=True)
    best = min(found, key=lambda name: found[name])
    print(f"taken: {best}; {time.process_time() - begun:.0f} s CPU", flush=True)
    return orders[best]


def _solving(net: explorer.Net, compensation: str) -> explorer.Net:
    quantizer = replace(net.context.quantizer, compensation=compensation, rounding_images=SOLVED)
    return replace(net, context=replace(net.context, quantizer=quantizer))


def _narrow(net: explorer.Net, macs: int) -> explorer.Candidate:
    """Return the network with the largest equal share of all groups' filters that has at most so many MACs."""
    whole, low, high = explorer.uniform(net), 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        narrowed = whole.with_filters(dict.fromkeys(dict(whole.filter_keep_ratio), middle))
        low, high = (middle, high) if explorer.plan(net, narrowed).macs <= macs else (low, middle)
    return whole.with_filters(dict.fromkeys(dict(whole.filter_keep_ratio), low))


def _tell(net: explorer.Net, name: str, candidate: explorer.Candidate, arguments: argparse.Namespace) -> None:
    """Print what a network costs, and how many of the test images it has right."""
    planned = explorer.plan(net, candidate)
    latency = {device: explorer.price(net, candidate, device).latency_ms for device in DEVICES}
    times = ", ".join(f"{value:.3f} ms on {device}" for device, value in latency.items())
    print(
        f"{name:8} {planned.macs / net.graph.macs:6.1%} of MACs, {planned.weight_bytes:8,} bytes, {times}", flush=True
    )
    if not arguments.images or name == "whole":  # 93.39 % in float
        return
    begun = time.process_time()
    for compensation in COMPENSATIONS:
        right = _count_right(net, explorer.compress(_solving(net, compensation), candidate), arguments.images)
        print(f"  untrained, compensation {compensation}: {right}", flush=True)
    if arguments.tune:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        file = arguments.folder / f"{name}.pt"
        solved = _solving(net, "propagated")
        tuned = explorer.finetune(solved, candidate, arguments.epochs, file=file, **TUNING)
        right = _count_right(net, tuned, arguments.images)
        print(f"  after {arguments.epochs} epochs of {len(net.data.train)} images: {right}", flush=True)
    print(f"  {time.process_time() - begun:.0f} s CPU", flush=True)


def _count_right(net: explorer.Net, model: Any, count: int) -> str:
    found = [explorer.accuracy(model, part.take(slice(count // 2))) for part in (net.data.search, net.data.held_out)]
    right, total = sum(each.value * each.num_images for each in found), sum(each.num_images for each in found)
    return f"{right / total:.2%} of {total} test images right"


if __name__ == "__main__":
    main()
