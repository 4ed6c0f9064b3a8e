"""How the activations and the layers of a network hang together, which is the same for all of its candidates."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from hwmodels.arrays import BoolArray, IntArray
from hwmodels.errors import LayerError
from hwmodels.workload.activation import ActivationTensor
from hwmodels.workload.tensor_arrays import order_changes


class TensorLinks(NamedTuple):
    """How activations and layers hang together: the same for all candidates of a network.

    A run is a layer at its step, or a step at which no layer runs. A pair is an activation and a run of its life, a
    triple a pair and another activation that is alive at its run.
    """

    stays_allowed: BoolArray
    """`tensors`: not those that enter or leave the network."""
    reads: tuple[IntArray, ...]
    """`layers` each: one activation that the layer reads; the number of activations where there is none, or no more."""
    second_reads: IntArray
    """`layers`: the activation that it reads in the place of weights."""
    writes: IntArray
    """`layers`: the activation that it writes."""
    changes: IntArray
    """In which order activations come and go (`hwmodels.workload.tensor_arrays.order_changes`)."""
    layer_change: IntArray
    """`layers`: the last change before it runs; so for runs."""
    run_change: IntArray
    run_layer: IntArray
    """`runs`: the number of layers where there is none."""
    pair_run: IntArray
    first_pair: IntArray
    """`tensors`: where its pairs start."""
    first_triple: IntArray
    """`pairs`: where its triples start."""
    triple_run: IntArray
    held: IntArray
    """`triples`: the activation that is to have room ..."""
    other: IntArray
    """... and the one that is alive as well, or the same."""
    yields: BoolArray
    """`triples`: whether the other has room first if they are equally large."""
    is_read: BoolArray
    """`triples`: whether the run's layer reads the other."""


def link_tensors(tensors: Sequence[ActivationTensor], num_layers: int) -> TensorLinks:
    """Return how the activations and the layers hang together.

    A layer runs at the step at which the activation that it writes is first kept; one of which no activation is known,
    at the step of its index.

    Raises:
        LayerError: an activation names a layer that there is not.
    """
    for tensor in tensors:
        last = max((*tensor.writers, *tensor.readers, *tensor.second_readers), default=0)
        if last >= num_layers:
            raise LayerError(
                f"activation {tensor.name!r}: expected writers and readers among {num_layers} layers, counted from 0, "
                f"received {last}: give the activations of the same network"
            )
    return _link(tuple(map(_structure, tensors)), num_layers)


_structure = attrgetter("first_step", "last_step", "writers", "readers", "second_readers", "external")


@lru_cache(maxsize=64)
def _link(structures: tuple[tuple[Any, ...], ...], num_layers: int) -> TensorLinks:
    first, last, writers, readers, second_readers, _ = zip(*structures, strict=True)
    reads, second_reads, writes = (_list_by_layer(each, num_layers) for each in (readers, second_readers, writers))
    steps = _find_steps(np.array(first), (*reads, *second_reads, *writes))
    in_place = np.zeros(num_layers, dtype=np.bool_)
    for read in reads:
        in_place |= (read < len(first)) & (read == writes[0])
    idle = np.setdiff1d(first, steps[~in_place])
    run_layer = np.concatenate((np.flatnonzero(~in_place), np.full(len(idle), num_layers)))
    run_steps = np.concatenate((steps[~in_place], idle))
    changes, changed = order_changes(first, last)
    pairs = _pair(np.array(first), np.array(last), run_steps)
    read = np.full((len(reads), num_layers + 1), len(first))
    read[:, :-1] = reads
    return TensorLinks(
        stays_allowed=np.array([not out and bool(w or r or s) for _, _, w, r, s, out in structures]),
        reads=reads,
        second_reads=second_reads[0],
        writes=writes[0],
        changes=changes,
        layer_change=np.searchsorted(changed, steps, side="right") - 1,
        run_change=np.searchsorted(changed, run_steps, side="right") - 1,
        run_layer=run_layer,
        is_read=(read[:, run_layer[pairs["triple_run"]]] == pairs["other"]).any(axis=0),
        **pairs,
    )


def _list_by_layer(layers_of: Sequence[Sequence[int]], num_layers: int) -> tuple[IntArray, ...]:
    """Return the activations of each layer, `layers` each: the first of all, the second, and so on; at least one."""
    by_layer: list[list[int]] = [[] for _ in range(num_layers)]
    for index, layers in enumerate(layers_of):
        for layer in layers:
            by_layer[layer].append(index)
    most = max(1, *map(len, by_layer))
    rows = [found + [len(layers_of)] * (most - len(found)) for found in by_layer]
    return tuple(np.array(rows).T)


def _find_steps(first: IntArray, touched: Sequence[IntArray]) -> IntArray:
    """Return the step at which each layer runs, given the activations that it touches."""
    padded = np.append(first, -1)
    steps = np.max([padded[each] for each in touched], axis=0)
    return np.where(steps < 0, np.arange(len(steps)), steps)


def _pair(first: IntArray, last: IntArray, run_steps: IntArray) -> dict[str, Any]:
    """Return the pairs and the triples."""
    alive = (first[:, None] <= run_steps) & (run_steps <= last[:, None])
    held, pair_run = np.nonzero(alive)
    runs, others = np.nonzero(alive.T)
    counts = np.bincount(runs, minlength=len(run_steps))
    before = np.cumsum(counts) - counts
    per_pair = counts[pair_run]
    first_triple = np.cumsum(per_pair) - per_pair
    within = np.arange(per_pair.sum()) - np.repeat(first_triple, per_pair)
    other = others[np.repeat(before[pair_run], per_pair) + within]
    triple_held = np.repeat(held, per_pair)
    order = np.lexsort((np.arange(len(first)), last - first))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return {
        "pair_run": pair_run,
        "first_pair": np.searchsorted(held, np.arange(len(first))),
        "first_triple": first_triple,
        "triple_run": np.repeat(pair_run, per_pair),
        "held": triple_held,
        "other": other,
        "yields": rank[other] <= rank[triple_held],
    }
