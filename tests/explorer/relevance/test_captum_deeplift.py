"""DeepLIFT through Captum: where Captum alone is wrong, and where it is refused."""

from __future__ import annotations

import pytest
import torch

from explorer.errors import RelevanceError
from explorer.graph.symbolic import symbolic_trace
from explorer.relevance.captum_deeplift import _completeness, captum_deeplift
from explorer.relevance.sample import make_sample
from tests.support.attribution import (
    Body,
    Net,
    canonical,
    functional,
    pooled,
    product,
    residual,
    residual_into_input,
    reused,
    smooth,
)


@pytest.mark.parametrize("body", [functional, reused, pooled, residual, residual_into_input])
@pytest.mark.parametrize("reference", ["shuffled", "zero"])
def test_contributions_add_up(body: Body, reference: str) -> None:
    model, graph, images, labels = canonical(body)
    sample = make_sample(model.float(), graph, images.float(), labels, target="true", reference=reference)
    relevance = captum_deeplift(sample)
    assert (relevance.completeness or 0.0) < 1e-4
    assert (relevance.samples, relevance.reference, relevance.method) == (6, reference, "captum_deeplift")


def test_without_the_copy_before_max_pooling_captum_is_wrong() -> None:
    """Captum issue 1104; should this fail, Captum is mended and the copy can go."""
    model, graph, images, labels = canonical(pooled)
    assert _completeness(model, make_sample(model, graph, images, labels, target="true")) > 0.02


def test_without_canonicalisation_captum_is_wrong() -> None:
    """Functional activations carry no hooks, so Captum takes plain gradients through them."""
    _, graph, images, labels = canonical(functional)
    torch.manual_seed(2)
    images = images.float()
    bare = symbolic_trace(Net(functional).eval(), images)
    assert _completeness(bare, make_sample(bare, graph, images, labels, target="true")) > 0.02


def test_of_a_reused_activation_captum_makes_nothing() -> None:
    _, graph, images, labels = canonical(reused)
    torch.manual_seed(2)
    images = images.float()
    bare = symbolic_trace(Net(reused).eval(), images)
    with pytest.raises(RuntimeError, match=r"A Module ReLU.* was detected"):
        _completeness(bare, make_sample(bare, graph, images, labels, target="true"))


@pytest.mark.parametrize("body", [smooth, product])
def test_what_captum_does_not_know_is_refused(body: Body) -> None:
    model, graph, images, labels = canonical(body)
    text = r"not complete on this network.*tolerance is 0\.001; .*set relevance\.tolerance"
    with pytest.raises(RelevanceError, match=text):
        captum_deeplift(make_sample(model, graph, images, labels, target="true"))
    accepted = captum_deeplift(make_sample(model, graph, images, labels, target="true", tolerance=10.0))
    assert (accepted.completeness or 0.0) > 1e-3


def test_progress_is_told_by_layers() -> None:
    model, graph, images, labels = canonical(functional)
    told: list[tuple[int, int]] = []
    captum_deeplift(make_sample(model, graph, images, labels), lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
