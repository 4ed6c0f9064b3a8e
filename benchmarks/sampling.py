"""How many images a score takes: stratified, paired with the float network, in waves, against images drawn at random.

Candidates of the published ResNet-20, 2 to 8 bits and 75 to 100 % of the filters of each group, are scored on the 5,000
search images of studies/resnet20_cifar10. Each is then scored as a search does, in several orders of the images: the
error against the score on all, what the standard error says it is, the images that it takes to a standard error of .7
points, those that it takes beside the best candidate as a rival, and how often one that is better than its rival was
ended all the same. Needs EXPLORER_DATA and EXPLORER_CHECKPOINTS; about two CPU-minutes.

python -m benchmarks.sampling
"""

from __future__ import annotations

import argparse
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import explorer
from explorer.evaluate.sampled import score_sample
from explorer.evaluate.sampling import SampleOrder, find_margins
from explorer.evaluate.score import score_images

REPOSITORY = Path(__file__).parent.parent
LARGEST_ERROR = 0.007
SIZES = (128, 256, 512, 1024)
ORDERS, BATCH = 10, 250


def draw(net: explorer.Net, count: int) -> list[explorer.Candidate]:
    """Return candidates around uniform widths, every other one with filters removed."""
    rng, found = random.Random(1), []
    for place in range(count):
        base = explorer.uniform(net, weight_bits=(3, 4, 5, 6, 8)[place % 5], activation_bits=(4, 6, 8)[place % 3])
        layers = tuple(
            replace(layer, weight_bits=min(8, max(2, layer.weight_bits + rng.choice((-1, 0, 0, 1)))))
            for layer in base.layers
        )
        ratios = base.filter_keep_ratio
        if place % 2:
            ratios = tuple((group, rng.choice((0.75, 0.875, 1.0, 1.0))) for group, _ in ratios)
        found.append(replace(base, layers=layers, filter_keep_ratio=ratios))
    return found


def score_all(
    net: explorer.Net, candidates: list[explorer.Candidate], images: tuple[Tensor, ...], targets: Tensor
) -> np.ndarray:
    """Return the scores of all images of all candidates (candidates x N)."""
    rows = []
    for place, candidate in enumerate(candidates, start=1):
        rows.append(score_images(explorer.compress(net, candidate), images, targets, BATCH))
        print(f"  candidate {place} of {len(candidates)}: {rows[-1].mean():.2%}", flush=True)
    return np.array(rows)


def compare(scores: np.ndarray, reference: np.ndarray, margins: np.ndarray) -> None:
    """Print what is said above."""
    orders = [SampleOrder.of(reference, margins, seed) for seed in range(ORDERS)]
    whole, count = scores.mean(1), scores.shape[1]
    for size in (size for size in SIZES if size < count):
        estimates = [[order.estimate(row[order.order[:size]]) for row in scores] for order in orders]
        errors = np.array([[each.value for each in row] for row in estimates]) - whole
        said = np.array([[each.sampling_error for each in row] for row in estimates])
        plain = [row[np.random.default_rng(seed).permutation(count)[:size]] for seed in range(ORDERS) for row in scores]
        plain_errors = np.array([each.mean() for each in plain]).reshape(ORDERS, -1) - whole
        real, plain_one, expected = (100.0 * float(np.sqrt((each**2).mean())) for each in (errors, plain_errors, said))
        print(
            f"{size} images: error {real:.2f} points, said {expected:.2f}, more than two of them off "
            f"{np.mean(np.abs(errors) > 2 * said):.1%}; drawn at random {plain_one:.2f}"
        )
    alone, beside, wrong, asked = [], [], 0, 0
    best = int(whole.argmax())
    for order in orders:
        for one, row in enumerate(scores):
            alone.append(len(score_sample(order, row.take, LARGEST_ERROR).scores))
            for other in range(len(scores)):
                if one == other or not (other == best or whole[one] >= whole[other]):
                    continue
                found = score_sample(order, row.take, LARGEST_ERROR, scores[other][order.order])
                if other == best and one != best:
                    beside.append(len(found.scores))
                if whole[one] >= whole[other]:
                    asked, wrong = asked + 1, wrong + found.beaten
    print(
        f"to a standard error of {100 * LARGEST_ERROR:.1f} points: {np.mean(alone):.0f} of {count} images in the mean, "
        f"{np.mean(beside):.0f} beside the best of the candidates; ended although they are as good as their rival: "
        f"{wrong} of {asked}"
    )


def main() -> None:
    """Score all candidates on all images, then on parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=28)
    parser.add_argument("--images", type=int, default=5000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    net = explorer.open(explorer.load_study(REPOSITORY / "studies" / "resnet20_cifar10"))
    net = net.ordered_by(explorer.relevance(net, "deeplift"))
    images, targets = net.tensors(net.data.search.take(slice(arguments.images)))
    with torch.inference_mode():
        outputs = torch.cat([net.context.model(part) for part in images[0].split(250)])
    reference = (outputs.argmax(1) == targets).double().numpy()
    compare(score_all(net, draw(net, arguments.candidates), images, targets), reference, find_margins(outputs))


if __name__ == "__main__":
    main()
