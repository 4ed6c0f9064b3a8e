"""Terms of the loss: their sum is the table's, whatever a point chooses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from explorer.search.axes import (
    ACTIVATION_BITS,
    FILTER_KEEP_RATIO,
    FILTERS_BY,
    NETWORK,
    REMOVED_BLOCKS,
    STEP_OFFSET,
    STEPS,
    WEIGHT_BITS,
    Axis,
)
from explorer.search.loss_terms import list_terms
from explorer.search.sensitivity import Sensitivity
from explorer.search.space import Depth, SearchSpace

SPACE = SearchSpace(
    layers=("a", "b"),
    axes=(
        Axis(knob=WEIGHT_BITS, of="a", values=(2, 4, 8)),
        Axis(knob=ACTIVATION_BITS, of="a", values=(4, 8)),
        Axis(knob=STEP_OFFSET, of="a", values=(0.5, 0.0)),
        Axis(knob=WEIGHT_BITS, of="b", values=(2, 4, 8)),
        Axis(knob=FILTER_KEEP_RATIO, of="g", values=(0.5, 1.0)),
        Axis(knob=STEPS, of=NETWORK, values=(0.1, 0.01, None)),
        Axis(knob=REMOVED_BLOCKS, of=NETWORK, values=(1, 0)),
        Axis(knob=FILTERS_BY, of=NETWORK, values=(None, "l1")),
    ),
    depths=(
        Depth(removed_blocks=(), layers=frozenset("ab"), groups=frozenset("g")),
        Depth(removed_blocks=("block",), layers=frozenset("a"), groups=frozenset()),
    ),
)


def table_of(worst: float = 7.0) -> Sensitivity:
    random = np.random.default_rng(0)
    weights = {
        layer: {choice: float(random.random()) for choice in SPACE.weight_choices(layer)} for layer in SPACE.layers
    }
    return Sensitivity(
        weights=weights,
        activations={"a": {4: 0.3, 8: 0.1}, "b": {8: 0.2}},
        filters={"g": {0.5: worst, 1.0: 0.0}},
        depths={0: 0.0, 1: 5.0},
    )


def points() -> np.ndarray:
    random = np.random.default_rng(1)
    return np.stack([random.integers(0, len(axis.values), 50) for axis in SPACE.axes], 1)


def test_terms_add_up_to_the_losses_of_what_a_point_chooses() -> None:
    table, drawn = table_of(), points()
    terms = list_terms(SPACE, table)
    found = (terms.losses[terms.options(drawn)] * terms.is_there(drawn)).sum(1)
    for row, total in zip(drawn.tolist(), found, strict=True):
        candidate = SPACE.candidate({axis.name: index for axis, index in zip(SPACE.axes, row, strict=True)})
        expected = table.depths[len(candidate.removed_blocks)]
        for choice in candidate.layers:
            of_weights = next(
                loss
                for known, loss in table.weights[choice.layer].items()
                if (known.weight_bits, known.step) == (choice.weight_bits, choice.step)
            )
            expected += of_weights + (table.activations["a"][choice.activation_bits] if choice.layer == "a" else 0.0)
        expected += sum(table.filters[group][ratio] for group, ratio in candidate.filter_keep_ratio)
        assert total == pytest.approx(expected)


def test_an_option_that_cannot_be_computed_is_told_and_loses_more_than_any_other() -> None:
    terms, drawn = list_terms(SPACE, table_of(math.inf)), points()
    removing = (drawn[:, 4] == 0) & (drawn[:, 6] == 1)
    assert (terms.is_possible(drawn) == ~removing).all()
    losses = (terms.losses[terms.options(drawn)] * terms.is_there(drawn)).sum(1)
    assert np.isfinite(losses).all()


def test_options_of_one_value_share_its_feature_and_others_do_not() -> None:
    terms = list_terms(SPACE, table_of())
    own = [set(row[row < terms.num_features].tolist()) for row in terms.features]
    narrow, wide = own[terms.options(points_at(weights=0))[0, 0]], own[terms.options(points_at(weights=2))[0, 0]]
    other = own[terms.options(points_at(weights=0))[0, 2]]
    assert len(narrow & wide) == 2  # the kind, and the layer
    assert len(narrow & other) == 2  # the kind, and the width in all layers


def points_at(weights: int) -> np.ndarray:
    return np.array([[weights, 0, 1, weights, 1, 2, 1, 0]])
