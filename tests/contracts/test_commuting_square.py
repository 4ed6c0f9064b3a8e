"""The commuting square: what `apply` builds is what `plan` and the cost model were told."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import Candidate, LayerChoice
from explorer.compress.plan import plan
from tests.support.square import candidates, check_square
from tests.support.tiers import cases


@cases(10, 100)
@pytest.mark.parametrize("name", ["lenet5_digits", "option_a", "projection", "mixed", "gated"])
def test_what_is_built_is_what_was_costed(
    name: str, count: int, context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor]
) -> None:
    base, example = context(name), images(name, 2)
    before = {key: tensor.clone() for key, tensor in base.model.state_dict().items()}
    code = base.model.code

    @settings(max_examples=count)
    @given(candidates(base.graph))
    def square(candidate: Candidate) -> None:
        check_square(base, candidate, example)

    square()
    assert base.model.code == code
    after = base.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], tensor) for key, tensor in before.items())


def test_one_class_of_every_group_stays_at_least(context: Callable[[str], CompressionContext]) -> None:
    """Each stage of option A adds a group of its own to the padded stream: 1, 2 and 3 channels stay."""
    base = context("option_a")
    candidate = Candidate(
        layers=tuple(LayerChoice(layer=name) for name in base.graph.layer_names),
        filter_keep_ratio=tuple((group.name, 0.001) for group in base.graph.prunable),
    )
    outputs = [layer.out_channels for layer in plan(base.graph, candidate).layers]
    assert outputs == [1, 1, 1, 1, 2, 1, 3, 5]
