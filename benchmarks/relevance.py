"""How much faster DeepLIFT is in one pass than by one Captum call for each layer, and how equal the two are.

For ResNet-20 and ResNet-56 (untrained: times do not depend on weights) it prints the ratio of CPU times, both measured
in the same minute on one thread, of the contributions at all layers; and, relative to the largest contribution of a
layer, the largest difference in float32 and in float64. `--full` also times what the search uses beside the
contributions: the multipliers of all weights and inputs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from explorer.graph.canonical import canonicalise
from explorer.graph.trace import trace
from explorer.models.reference import REFERENCE_NETWORKS
from explorer.relevance.captum_deeplift import attribute_layer, captum_deeplift, guard_max_pools
from explorer.relevance.deeplift import attribute, deeplift
from explorer.relevance.sample import Sample, make_sample

WANTED = {"resnet20": 15.0, "resnet56": 40.0}
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


def sample(name: str, images: int, dtype: torch.dtype) -> Sample:
    """Return a reference network on noise."""
    torch.manual_seed(0)
    network = REFERENCE_NETWORKS[name](10).eval()
    noise = torch.randn(images, 3, 32, 32)
    model = canonicalise(network, noise[:4])
    graph = trace(model, noise[:4])
    return make_sample(model.to(dtype), graph, noise.to(dtype), torch.zeros(images, dtype=torch.long))


def by_captum(given: Sample) -> dict[str, torch.Tensor]:
    """Return contributions by one call for each layer."""
    guarded = guard_max_pools(given.model)
    return {name: attribute_layer(guarded, name, given)[0] for name in given.graph.layer_names}


def in_one_pass(given: Sample) -> dict[str, torch.Tensor]:
    """Return the same by one pass."""
    found = attribute(given)
    return {name: found.multipliers[name] * found.differences[name] for name in given.graph.layer_names}


def seconds(work: Callable[[Sample], object], given: Sample) -> float:
    """Return CPU time of this process."""
    begun = time.process_time()
    work(given)
    return time.process_time() - begun


def largest_difference(given: Sample) -> float:
    """Return the largest of any layer, relative to its largest contribution."""
    one, other = in_one_pass(given), by_captum(given)
    return max(float((one[name] - other[name]).abs().max() / other[name].abs().max()) for name in one)


def main() -> None:
    """Print one line for each network and type."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=3, help="measurements, of which the median ratio counts")
    parser.add_argument("--full", action="store_true", help="time the multipliers of weights and inputs, too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name, wanted in WANTED.items():
        for dtype, tolerance in TOLERANCE.items():
            difference = largest_difference(sample(name, arguments.images, dtype))
            print(f"{name} {dtype}: largest relative difference {difference:.1e}, allowed {tolerance:.0e}")
        given = sample(name, arguments.images, torch.float32)
        ratios = _ratios(by_captum, in_one_pass, given, arguments.pairs)
        print(f"{name}: contributions: {ratios}, wanted {wanted:.0f}", flush=True)
        if arguments.full:
            ratios = _ratios(captum_deeplift, deeplift, given, arguments.pairs)
            print(f"{name}: all that the search uses: {ratios}", flush=True)


def _ratios(slow: Callable[[Sample], object], fast: Callable[[Sample], object], given: Sample, pairs: int) -> str:
    """Say the median of the ratios of CPU times, measured one after the other, and their span."""
    found = sorted(seconds(slow, given) / seconds(fast, given) for _ in range(pairs))
    return (
        f"{found[len(found) // 2]:.1f} times faster than one Captum call per layer ({found[0]:.1f} to {found[-1]:.1f})"
    )


if __name__ == "__main__":
    main()
