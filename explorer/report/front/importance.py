"""Which choices matter: the share of the variance of scores and costs that each choice explains.

An additive model, one effect for each value of each choice, is fitted by ridge regression (Hoerl and Kennard,
Technometrics 12(1), 1970), its penalty by the error on what is left out (PRESS: Allen, Technometrics 16(1), 1974). The
share of a choice is the covariance of its effect with the values over their variance, which adds up to what the model
explains also where choices depend on each other, as those of a search do (Li et al., J. Phys. Chem. A 114(19), 2010).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from explorer.arrays import Float64Array, Int64Array

MOST = 1000
"""Evaluations that are fitted, spread evenly over the search: more take long and tell no more (assumed)."""
FEWEST = 12
"""Evaluations below which nothing is said (assumed)."""
PENALTIES = 10.0 ** np.arange(-2.0, 4.0, 0.5)
"""Those among which the penalty is chosen (assumed)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Importance:
    """What each of A choices does to a value.

    `shares` and `front_shares` (A) are of the variance over all evaluations and over the front's members, these as the
    model predicts them; zeros where nothing varies. `effects` are the model's, one for each value of each choice, with
    a mean of 0 over the evaluations. `explained` is the share of the variance that the model explains, `left_out` that
    of evaluations that it was not fitted to.
    """

    shares: Float64Array
    front_shares: Float64Array
    effects: tuple[Float64Array, ...]
    explained: float
    left_out: float


def measure_importance(
    choices: Int64Array, counts: Sequence[int], values: Float64Array, front: Int64Array
) -> list[Importance] | None:
    """Return what choices do to each of T values.

    Args:
        choices: N x A, each the place of the value chosen.
        counts: Of values, for each of the A choices.
        values: N x T, all finite.
        front: Places of the front's members among the N.

    Returns:
        One for each of the T values; None for fewer than FEWEST evaluations or no choice.
    """
    if len(choices) < FEWEST or not len(counts):
        return None
    kept = np.unique(np.linspace(0, len(choices) - 1, min(MOST, len(choices))).round().astype(np.int64))
    chosen, starts = choices[kept], np.concatenate(([0], np.cumsum(counts)))
    features = np.zeros((len(kept), starts[-1]))
    np.put_along_axis(features, chosen + starts[:-1], 1.0, axis=1)
    means = features.mean(0)
    centred = features - means
    sizes, bases = np.linalg.eigh(centred @ centred.T)
    sizes = np.maximum(sizes, 0.0)
    found = []
    for column in values[kept].T:
        target = column - column.mean()
        weights, left_out = _fit(sizes, bases, centred, target)
        split = [weights[start:end] - weights[start:end] @ means[start:end] for start, end in _spans(starts)]
        own = np.column_stack([effect[chosen[:, axis]] for axis, effect in enumerate(split)])
        there = np.column_stack([effect[choices[front, axis]] for axis, effect in enumerate(split)])
        shares = _shares(own, target)
        found.append(
            Importance(
                shares=shares,
                front_shares=_shares(there, there.sum(1)),
                effects=tuple(split),
                explained=float(shares.sum()),
                left_out=left_out,
            )
        )
    return found


def _fit(
    sizes: Float64Array, bases: Float64Array, centred: Float64Array, target: Float64Array
) -> tuple[Float64Array, float]:
    """Return the weights of the features, and the share of the variance explained of what is left out."""
    along, variance = bases.T @ target, float(target @ target)
    best, left_out = np.zeros(centred.shape[1]), 0.0
    least = variance
    for penalty in PENALTIES:
        kept = sizes / (sizes + penalty)
        leverage = np.square(bases) @ kept + 1.0 / len(target)
        errors = (target - bases @ (kept * along)) / np.maximum(1.0 - leverage, 1e-9)
        if float(errors @ errors) < least:
            least = float(errors @ errors)
            best = centred.T @ (bases @ (along / (sizes + penalty)))
            left_out = 1.0 - least / variance
    return best, left_out


def _spans(starts: Int64Array) -> list[tuple[int, int]]:
    return list(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True))


def _shares(effects: Float64Array, values: Float64Array) -> Float64Array:
    """Return the covariance of each column with some values over their variance; zeros where they do not vary."""
    if not len(values):
        return np.zeros(effects.shape[1])
    target = values - values.mean()
    variance = float(target @ target)
    shares: Float64Array = (
        (effects - effects.mean(0)).T @ target / variance if variance > 0 else np.zeros(effects.shape[1])
    )
    return shares
