"""The loss of points as a sum of terms of the table, each with the features by which evaluations correct it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from explorer.arrays import Float64Array, Int64Array
from explorer.compress.candidate import LayerChoice
from explorer.search.axes import ACTIVATION_BITS, FILTER_KEEP_RATIO, FILTERS_BY, NETWORK, REMOVED_BLOCKS
from explorer.search.lookups import Sums
from explorer.search.sensitivity import Sensitivity
from explorer.search.space import SearchSpace

LEAST_SHARE = 1e-6
"""Of the median loss of all options, added to each point's: what is lost to 8 bits is never nothing (assumed)."""
IMPOSSIBLE = 1e3
"""Times the largest finite loss of a term, what stands for an option that cannot be computed (assumed)."""
KIND_SD, TERM_SD, VALUE_SD, OWN_SD, PAIR_SD = 1.0, 0.7, 0.4, 0.3, 0.2
"""Prior standard deviations of the logarithm of a factor: of all terms of a kind, of one term, of a value in all terms
of a kind, of a value in one term; and of the correlation of the errors of two neighbours (assumed)."""
LEAST_WHOLE = 0.1
"""Share of the sum of its terms that a loss has at least, however its errors cancel (assumed)."""
_Key = tuple[Hashable, ...]


class TakenOptions(NamedTuple):
    """The options of the terms that points take, and which terms are there (N x terms, or 1 x terms)."""

    options: Int64Array
    is_there: Float64Array


class _Term(NamedTuple):
    """What one decision loses: at each combination of indices on its axes, in row-major order."""

    kind: str
    of: str
    places: tuple[int, ...]
    losses: Float64Array
    values: tuple[tuple[_Key, ...], ...]
    """Of each combination what is chosen, by name."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LossTerms:
    """The terms of a space as flat arrays over all their options, `options` in all, of `terms` terms.

    Attributes:
        sizes: How many values each axis has.
        strides: What an index on an axis adds to the option of a term.
        first: The first option of each term.
        losses: Of each option, by the table.
        possible: False for options that cannot be computed.
        features: options x few: the features of each option, padded with the last of all.
        present: Numbers of blocks removed by their index x terms: 0 where what the term is of is gone.
        depth: The place of the axis of that number, -1 without any.
        pairs: pairs x 2: neighbouring terms, whose errors may add up or cancel.
        prior_sd: Of each feature, then of each pair; that of the padding is 0.
    """

    sizes: Int64Array
    strides: Sums
    first: Int64Array
    losses: Float64Array
    possible: NDArray[np.bool_]
    features: Int64Array
    present: Float64Array
    depth: int
    pairs: Int64Array
    prior_sd: Float64Array
    num_features: int
    least: float

    def options(self, points: Int64Array) -> Int64Array:
        """Return the options that points (N x axes) take, N x terms."""
        return self.first + self.strides.add_up(points)

    def choose(self, points: Int64Array) -> TakenOptions:
        """Return what points (N x axes) choose."""
        return TakenOptions(self.options(points), self.is_there(points))

    def is_possible(self, points: Int64Array) -> NDArray[np.bool_]:
        """Return whether all that points choose can be computed, as far as the table knows."""
        if self.possible.all():
            return np.ones(len(points), dtype=np.bool_)
        found: NDArray[np.bool_] = (self.possible[self.options(points)] | (self.is_there(points) == 0)).all(1)
        return found

    def is_there(self, points: Int64Array) -> Float64Array:
        """Return 1 for terms of what the points' networks have, else 0: N x terms, or 1 x terms."""
        return self.present if self.depth < 0 else self.present[points[:, self.depth]]


class Losses:
    """The losses of points, and their parts: those of terms, and the products of neighbours.

    `parameters` are the weights of the features, then of the padding, then the correlations of the pairs.
    """

    def __init__(self, terms: LossTerms, chosen: TakenOptions, parameters: Float64Array) -> None:
        weights = parameters[: terms.num_features + 1]
        self.correlations = parameters[terms.num_features + 1 :]
        factors = np.exp(weights[terms.features].sum(1))
        self.parts = (terms.losses * factors)[chosen.options] * chosen.is_there
        first, second = (np.take(self.parts, each, axis=1) for each in terms.pairs.T)
        self.products = 2 * np.sqrt(first * second)
        whole = self.parts.sum(1) + terms.least
        self.total = np.maximum(whole + self.products @ self.correlations, LEAST_WHOLE * whole)


def list_terms(space: SearchSpace, table: Sensitivity) -> LossTerms:
    """Return the terms of a space that has at least one."""
    terms = list(_list_terms(space, table))
    keys: dict[_Key, float] = {}
    listed = [[_name_features(term, option, keys) for option in term.values] for term in terms]
    numbers = {key: place for place, key in enumerate(keys)}
    width = max(len(names) for options in listed for names in options)
    features = np.full((sum(map(len, listed)), width), len(numbers), dtype=np.int64)
    for row, names in enumerate(names for options in listed for names in options):
        features[row, : len(names)] = [numbers[name] for name in names]
    sizes = [len(axis.values) for axis in space.axes]
    strides = [
        [(place, math.prod(sizes[other] for other in term.places[at + 1 :])) for at, place in enumerate(term.places)]
        for term in terms
    ]
    losses = np.concatenate([term.losses for term in terms])
    finite = np.isfinite(losses)
    worst = np.concatenate([np.full(len(term.losses), _largest(term.losses)) for term in terms])
    depths = [axis for axis in space.axes if axis.knob is REMOVED_BLOCKS]
    pairs = _list_pairs(terms)
    return LossTerms(
        sizes=np.array(sizes),
        strides=Sums.of(strides),
        first=np.cumsum([0, *(len(term.losses) for term in terms[:-1])]),
        losses=np.where(finite, losses, IMPOSSIBLE * worst),
        possible=finite,
        features=features,
        present=_list_present(space, terms, depths[0].values if depths else (0,)),
        depth=space.axes.index(depths[0]) if depths else -1,
        pairs=np.array(pairs, dtype=np.int64).reshape(-1, 2),
        prior_sd=np.array([*keys.values(), 0.0, *[PAIR_SD] * len(pairs)]),
        num_features=len(numbers),
        least=LEAST_SHARE * float(np.median(losses[finite & (losses > 0)])) if (losses[finite] > 0).any() else 1.0,
    )


def _list_terms(space: SearchSpace, table: Sensitivity) -> Iterator[_Term]:
    places = {(axis.knob.name, axis.of): place for place, axis in enumerate(space.axes)}
    criteria = places.get((FILTERS_BY.name, NETWORK))
    for layer in space.layers:
        decided, choices = space.list_weight_choices(layer)
        losses = np.array([table.weights[layer][choice] for choice in choices])
        yield _Term("weights", layer, decided, losses, tuple(map(_list_values, choices)))
        if (place := places.get((ACTIVATION_BITS.name, layer))) is not None:
            widths = space.axes[place].values
            losses = np.array([table.activations[layer][width] for width in widths])
            yield _Term("activations", layer, (place,), losses, tuple((("bits", width),) for width in widths))
    for group, by_ratio in table.filters.items():
        if (place := places.get((FILTER_KEEP_RATIO.name, group))) is None:
            continue
        orders = (None,) if criteria is None else space.axes[criteria].values
        both = [(ratio, order) for ratio in space.axes[place].values for order in orders]
        values = tuple((("ratio", ratio), *(() if order is None else (("by", order),))) for ratio, order in both)
        at = (place,) if criteria is None else (place, criteria)
        yield _Term("filters", group, at, np.array([by_ratio[ratio] for ratio, _ in both]), values)
    if (place := places.get((REMOVED_BLOCKS.name, NETWORK))) is not None:
        counts = space.axes[place].values
        losses = np.array([table.depths.get(count, 0.0) for count in counts])
        yield _Term("blocks", NETWORK, (place,), losses, tuple((("count", count),) for count in counts))


def _list_values(choice: LayerChoice) -> tuple[_Key, ...]:
    """Return what is chosen for weights; steps to half an octave, so that those of several networks are one."""
    width: _Key = ("bits", choice.weight_bits) if choice.step is None else ("step", round(2 * math.log2(choice.step)))
    values: list[_Key] = [width]
    if choice.weight_density != 1.0:
        values.append(("density", choice.weight_density))
    if choice.codebook_size is not None:
        values.append(("codebook", choice.codebook_size))
    if choice.pattern is not None:
        values.append(("pattern", choice.pattern))
    return tuple(values)


def _name_features(term: _Term, values: Sequence[_Key], known: dict[_Key, float]) -> list[_Key]:
    """Return the features of an option, adding those that are new with their prior standard deviations."""
    named: list[tuple[_Key, float]] = [((term.kind,), KIND_SD), ((term.kind, term.of), TERM_SD)]
    for value in values:
        named += [((term.kind, value), VALUE_SD), ((term.kind, term.of, value), OWN_SD)]
    for key, deviation in named:
        known.setdefault(key, deviation)
    return [key for key, _ in named]


def _list_pairs(terms: Sequence[_Term]) -> list[tuple[int, int]]:
    """Return each term with the next of its kind, and the weights of each layer with its inputs."""
    found: list[tuple[int, int]] = []
    for kind in ("weights", "activations", "filters"):
        own = [place for place, term in enumerate(terms) if term.kind == kind]
        found += itertools.pairwise(own)
    places = {(term.kind, term.of): place for place, term in enumerate(terms)}
    found += [
        (place, places["activations", term.of])
        for place, term in enumerate(terms)
        if term.kind == "weights" and ("activations", term.of) in places
    ]
    return found


def _list_present(space: SearchSpace, terms: Sequence[_Term], counts: Sequence[int]) -> Float64Array:
    depths: Mapping[int, tuple[frozenset[str], frozenset[str]]] = {
        len(depth.removed_blocks): (depth.layers, depth.groups) for depth in space.depths
    }
    present = np.ones((len(counts), len(terms)))
    for row, count in enumerate(counts):
        if not count or count not in depths:
            continue
        layers, groups = depths[count]
        gone = [
            (term.kind in ("weights", "activations") and term.of not in layers)
            or (term.kind == "filters" and term.of not in groups)
            for term in terms
        ]
        present[row, gone] = 0.0
    return present


def _largest(losses: Float64Array) -> float:
    finite = losses[np.isfinite(losses)]
    return max(float(finite.max(initial=0.0)), 1e-12)
