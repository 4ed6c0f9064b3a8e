"""What a search loses where each proposal knows less: hypervolume after 100 and 300 trials by `search.lag`.

The problem is made up: 24 layers with a width of weights and one of activations each; each layer loses 4^-width of its
own sensitivity, the score is exp(-sum), and the cost is a sum of products of widths. Sensitivities and sizes are drawn
(log-normal). 14 uniform configurations come first. It takes half a minute of CPU time for NSGA-II with 8 seeds.

python -m benchmarks.lag [--sampler nsga2] [--seeds 8]
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np
from optuna.study import StudyDirection

from explorer.arrays import Float64Array
from explorer.search.axes import ACTIVATION_BITS, WEIGHT_BITS, Axis
from explorer.search.problem import SamplingProblem
from explorer.search.proposals import Point, Proposals
from explorer.search.samplers import SAMPLERS, make_sampler
from explorer.search.space import SearchSpace

LAYERS, LAGS, COUNTS = 24, (1, 8, 16, 48), (100, 300)
WIDTHS = {WEIGHT_BITS: tuple(range(2, 9)), ACTIVATION_BITS: (4, 6, 8)}
NAMES = tuple(f"layer{number}" for number in range(LAYERS))
SPACE = SearchSpace(
    layers=NAMES,
    axes=tuple(Axis(knob=knob, of=layer, values=values) for layer in NAMES for knob, values in WIDTHS.items()),
)
UNIFORM: list[Point] = [(weights, activations) * LAYERS for activations in (1, 2) for weights in range(7)]


def draw_shares(random: np.random.Generator, spread: float) -> Float64Array:
    """Return positive numbers for all layers that add up to 1."""
    drawn = np.exp(random.normal(0, spread, LAYERS))
    shares: Float64Array = drawn / drawn.sum()
    return shares


RANDOM = np.random.default_rng(0)
SENSITIVITY, SIZES, ACTIVATIONS = (draw_shares(RANDOM, spread) for spread in (1.5, 1.0, 1.0))


def value_of(point: Point) -> tuple[float, float]:
    """Return (score, cost) of a point, both in [0, 1]."""
    weights = np.array(WIDTHS[WEIGHT_BITS])[list(point[0::2])]
    activations = np.array(WIDTHS[ACTIVATION_BITS])[list(point[1::2])]
    loss = 3 * (SENSITIVITY * 4.0 ** (2 - weights)).sum() + 8 * (ACTIVATIONS * 4.0 ** (2 - activations)).sum()
    return float(np.exp(-loss)), float((SIZES * weights * activations).sum() / 64)


def hypervolume(values: list[tuple[float, float]]) -> float:
    """Return the area that is beaten by some of (score, cost), down to the score 0 and up to the cost 1."""
    area, best = 0.0, 0.0
    for score, cost in sorted(values, key=lambda value: value[1]):
        area += max(0.0, score - best) * (1 - cost)
        best = max(best, score)
    return area


def search(sampler: str, lag: int, seed: int) -> list[float]:
    """Return the hypervolumes after COUNTS trials."""
    problem = SamplingProblem(space=SPACE, seed=seed, population=20, score=0)
    proposals = Proposals(
        SPACE, [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE], partial(make_sampler, sampler, problem)
    )
    points: list[Point] = []
    for number in range(max(COUNTS)):
        while proposals.num_told <= number - lag:
            proposals.tell(value_of(points[proposals.num_told]), {})
        points.append(proposals.add(UNIFORM[number]) if number < len(UNIFORM) else proposals.ask()[0])
    return [hypervolume([value_of(point) for point in points[:count]]) for count in COUNTS]


def main() -> None:
    """Print the mean hypervolume for each lag, with its standard error over seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sampler", choices=sorted(set(SAMPLERS) - {"bayes"}), default="nsga2")
    parser.add_argument("--seeds", type=int, default=8)
    given = parser.parse_args()
    for lag in LAGS:
        found = np.array([search(given.sampler, lag, seed) for seed in range(given.seeds)])
        errors = found.std(0, ddof=1) / len(found) ** 0.5
        shown = ", ".join(
            f"{mean:.4f} +- {error:.4f} after {count}"
            for mean, error, count in zip(found.mean(0), errors, COUNTS, strict=True)
        )
        print(f"{given.sampler}, lag {lag:2}: hypervolume {shown}", flush=True)


if __name__ == "__main__":
    main()
