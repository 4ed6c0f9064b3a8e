"""Which criteria a study's weighting may name, and what an error of each weight then counts."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.errors import StudyFileError
from explorer.relevance.criteria import CRITERIA
from explorer.relevance.sample import make_sample
from explorer.settings import SharingSettings
from explorer.study.relevance import compute_weight_importance, find_weighting_criterion
from explorer.study.study_file import Study, load_study
from tests.support.attribution import canonical


def weighted_by(name: str) -> Study:
    return replace(load_study("digits"), sharing=SharingSettings(weighting=name))


def test_a_weighting_is_any_criterion_that_says_something_of_weights() -> None:
    assert [find_weighting_criterion(weighted_by(name)) for name in ("plain", "relevance")] == [None, None]
    for name, criterion in CRITERIA.items():
        if "weights" in criterion.subjects:
            assert find_weighting_criterion(weighted_by(name)) == name
        else:
            message = rf"sharing\.weighting: '{re.escape(name)}' says nothing of weights; those that do are deeplift, "
            with pytest.raises(StudyFileError, match=message):
                find_weighting_criterion(weighted_by(name))


def twice(m: Any, x: Tensor) -> Any:
    """One convolution called twice."""
    x = F.relu(m.conv2(F.relu(m.conv2(F.relu(m.conv1(x))))))
    return m.fc(F.avg_pool2d(x, 2).flatten(1))


def test_calls_that_share_weights_count_together() -> None:
    """Otherwise each would have a codebook of its own, and they were one set of weights no longer."""
    model, graph, images, labels = canonical(twice)
    relevance = CRITERIA["fisher"].compute(make_sample(model, graph, images, labels), None)
    importance = compute_weight_importance(SharingSettings(weighting="fisher"), graph, relevance)
    assert importance is not None
    shared = [layer for layer in graph.layers if layer.shares_weights]
    assert shared
    for layer in shared:
        calls = [each.name for each in graph.layers if each.chosen_by == layer.chosen_by]
        squares = sum(torch.from_numpy(relevance.layer(name).weight_multipliers).square() for name in calls)
        for name in calls:
            torch.testing.assert_close(importance[name].square(), squares)
    assert compute_weight_importance(SharingSettings(weighting="plain"), graph, relevance) is None
