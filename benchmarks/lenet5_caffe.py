"""How small LeNet-5 of Caffe on MNIST gets in one file, all tables counted, beside published figures.

The network of 431,080 parameters (1,724,320 bytes of float32) is trained on 55,000 training images, loses filters and
neurons by DeepLIFT relevance, then weights by magnitude, in rounds, each fine-tuned with the float network as teacher.
Its integers go into one file at their entropy, which is read back and must give the same outputs. The other 5,000
training images chose all settings (`--aside` scores them instead); the 10,000 test images are scored for the figures
that are printed.

Needs EXPLORER_DATA (a folder with mnist.npz). Interrupted, the same command goes on after the last full epoch.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

import explorer
from explorer.data.load import load_data

REPOSITORY = Path(__file__).parent.parent
FLOAT_BYTES = 4 * 431_080
PUBLISHED = (
    "Deep Compression 39x at 0.74 % error (Han et al., 2016), dynamic surgery 108x at 0.91 % (Guo et al., 2016), soft "
    "weight sharing 162x at 0.97 % (Ullrich et al., 2017)"
)


FILTERS = {"conv1": 10, "conv2": 28, "fc1": 100}
"""Filters and neurons that stay, of 20, 50 and 500."""
DENSITY = {"conv1": 0.8, "conv2": 0.2, "fc1": 0.06, "fc2": 0.4}
"""Share of the weights between these that is left where `share` is 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A station on the way to the smallest network: which ratio and error in percent are wanted there.

    `share` is how far it is on the way from all weights to DENSITY. Each goes on from the weights of the one before.
    """

    ratio: float
    error: float
    share: float
    weight_bits: int
    epochs: int


TARGETS = (
    Target(ratio=30, error=0.8, share=0.0, weight_bits=8, epochs=2),
    Target(ratio=60, error=0.8, share=0.4, weight_bits=6, epochs=4),
    Target(ratio=160, error=0.9, share=0.75, weight_bits=5, epochs=4),
    Target(ratio=300, error=0.9, share=1.0, weight_bits=4, epochs=5),
    Target(ratio=400, error=1.0, share=1.1, weight_bits=4, epochs=6),
)


def make_candidate(net: explorer.Net, target: Target) -> explorer.Candidate:
    """Return the network of a station: filters are removed at once, weights by degrees."""
    kept = {group.name: FILTERS[group.producers[0]] / group.size for group in net.graph.prunable}
    whole = explorer.uniform(net, weight_bits=target.weight_bits).with_filters(kept)
    layers = (replace(choice, weight_density=DENSITY[choice.layer] ** target.share) for choice in whole.layers)
    return replace(whole, layers=tuple(layers))


def tune(net: explorer.Net, target: Target, start: explorer.Compressed | None, folder: Path) -> explorer.Compressed:
    """Train the network of a station."""
    return explorer.finetune(
        net,
        make_candidate(net, target),
        start=start,
        file=folder / f"{target.ratio:g}.pt",
        notify=lambda what, done, total: print(f"  {what}: {total}", flush=True) if done == total else None,
        epochs=target.epochs,
        optimizer="sgd",
        learning_rate=0.01,
        shift_pixels=1.0,
        teacher_weight=0.7,
        learn_scales=False,
    )


def open_net(aside: bool) -> explorer.Net:
    """Return the trained network; with `aside` the training images held aside stand in for all test images."""
    study = explorer.load_study(REPOSITORY / "studies" / "lenet5_caffe")
    net = explorer.open(study)
    net = net.ordered_by(explorer.relevance(net, "deeplift"))
    if not aside:
        return net
    held = load_data(replace(study.data, train=None), folder=study.folder).train.take(slice(study.data.train, None))
    halves = [held.take(slice(start, None, 2)) for start in (0, 1)]
    data = replace(net.data, search=halves[0], held_out=halves[1])
    return replace(net, network=replace(net.network, data=data))


def main() -> None:
    """Go from station to station, and print size and error at each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--aside", action="store_true", help="score the 5,000 images held aside, not the test images")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "runs" / "lenet5_caffe", help="for the results")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    net, tuned = open_net(arguments.aside), None
    print(f"float: error {100 - score(net, net.context.model):.2f} %; published: {PUBLISHED}", flush=True)
    for target in TARGETS:
        begun = time.process_time()
        tuned = tune(net, target, tuned, arguments.folder)
        exported = explorer.export(tuned, arguments.folder / f"{target.ratio:g}", "coded", device="gap9_ne16")
        ratio = FLOAT_BYTES / exported.network_bytes
        print(
            f"{exported.lines[1]}\n  {ratio:.1f} times smaller than {FLOAT_BYTES:,} bytes (wanted {target.ratio:g}), "
            f"error {100 - score(net, tuned):.2f} % (wanted {target.error:g}), {time.process_time() - begun:.0f} s CPU",
            flush=True,
        )


def score(net: explorer.Net, model: torch.nn.Module) -> float:
    """Return percent right of the images that judge: the test images, or those held aside."""
    found = [explorer.accuracy(model, each.images, each.targets) for each in (net.data.search, net.data.held_out)]
    return 100.0 * sum(each.value * each.num_images for each in found) / sum(each.num_images for each in found)


if __name__ == "__main__":
    main()
