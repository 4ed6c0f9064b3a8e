"""What each part adds to the accuracy of the published ResNet-20 in a coded file of one size, without training.

From one step for all layers, rounded to the nearest, each row adds a part to the row above, and the last one takes
relevance away again. The one number of the steps is found anew for each, so that all files have the same bytes, within
a hundredth. Files without contexts are those with the weights of each layer at their order-0 entropy. Beside accuracy
on the first 2,000 CIFAR-10 test images, which other benchmarks score, too, stands the mean square by which logits
differ from the float network's on 2,000 training images that nothing was calibrated on. Needs EXPLORER_DATA (a folder
with cifar10.npz) and EXPLORER_CHECKPOINTS; says so and ends where they are not set. --bytes N for another size,
--images N to score as many.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import fx

import explorer
from benchmarks.coded import LAST_OFFSET, Aside, count_file, fit, open_network, test_images
from explorer.compress.activations import insert_quantizers
from explorer.compress.apply import CompressionContext, apply, compress_layers, finish, without_filters
from explorer.packed.coded import Coding
from explorer.relevance.scores import compute_step_units
from hwmodels import measure_entropy


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A chain up to a part, and what it consists of."""

    title: str
    units: str
    rounding: str
    corrected: bool = True
    contexts: bool = False


ROWS = (
    Row(title="one step for all layers, to the nearest", units="equal", rounding="nearest", corrected=False),
    Row(title="+ batch norms recalibrated, biases corrected", units="equal", rounding="nearest"),
    Row(title="+ steps by relevance", units="relevance", rounding="nearest"),
    Row(title="+ errors fed back", units="relevance", rounding="adaptive"),
    Row(title="+ steps by what that leaves of errors", units="weighed", rounding="adaptive"),
    Row(title="+ contexts in the file", units="weighed", rounding="adaptive", contexts=True),
    Row(title="the same, steps without relevance", units="feedback", rounding="adaptive", contexts=True),
)


def main() -> None:
    """Print a row for each part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes", type=int, default=45_000, help="of all files (default: 45,000)")
    parser.add_argument("--images", type=int, default=2_000, help="test images to score (default: 2,000)")
    arguments = parser.parse_args()
    if not os.environ.get("EXPLORER_DATA") or not os.environ.get("EXPLORER_CHECKPOINTS"):
        print("skipped: set EXPLORER_DATA (with cifar10.npz) and EXPLORER_CHECKPOINTS")
        return
    torch.set_num_threads(1)
    net, start = open_network("resnet20"), time.process_time()
    units, aside, ratio = find_units(net), Aside.of(net), 1.0
    images, labels = test_images(net, arguments.images)
    right = explorer.accuracy(net.context.model, images, labels).value
    print(f"float: {right:.2%} of {len(labels)} test images right", flush=True)
    for row in ROWS:
        quantizer = replace(net.context.quantizer, rounding=row.rounding)
        changed = replace(net, context=replace(net.context, step_units=units[row.units], quantizer=quantizer))
        build = apply if row.corrected else build_uncorrected
        count = count_file if row.contexts else count_without_contexts
        built = fit(changed, arguments.bytes, ratio, build, count)
        size, ratio = count(built.model, built.coding), built.ratio
        right, error = explorer.accuracy(built.model, images, labels).value, aside.error(built.model)
        print(
            f"{row.title:46} {size:,} bytes, c = {built.step:.5f}, logits differ by {error:.3f}, {right:.2%} right; "
            f"{time.process_time() - start:.0f} s CPU since the start",
            flush=True,
        )


def find_units(net: explorer.Net) -> Mapping[str, Mapping[str, float]]:
    """Return what steps are divided by: one in all layers, DeepLIFT's multipliers, and both weighed by feedback."""
    relevance = explorer.relevance(net, "deeplift").complete
    plain, weighed = compute_step_units(net.graph, relevance), net.context.step_units or {}
    equal = dict.fromkeys(plain, statistics.geometric_mean(plain.values()))
    equal[net.graph.layer_names[-1]] *= 2**LAST_OFFSET  # takes the offset of the last layer back
    feedback = {name: equal[name] * weighed[name] / unit for name, unit in plain.items()}
    return {"equal": equal, "relevance": plain, "weighed": weighed, "feedback": feedback}


def build_uncorrected(context: CompressionContext, candidate: explorer.Candidate) -> fx.GraphModule:
    """Return the network as `apply` does, with batch norms and biases as they were."""
    resolved = context.resolve(candidate)
    model = without_filters(context, resolved.kept)
    compress_layers(model, context, resolved)
    insert_quantizers(model, context.graph, context.calibration, resolved)
    return finish(model, resolved.choices, context.quantizer)


def count_without_contexts(model: fx.GraphModule, coding: Coding) -> int:
    """Return the bytes of a file whose weights take their layer's order-0 entropy."""
    codes = {name: model.get_submodule(name).get_buffer("weight_codes") for name in coding.weight_bits}
    bits = sum(measure_entropy(each.numpy()) * each.numel() for each in codes.values())
    return len(coding.data) + math.ceil((bits - sum(coding.weight_bits.values())) / 8)


if __name__ == "__main__":
    main()
