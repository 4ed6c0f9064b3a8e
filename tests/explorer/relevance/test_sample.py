"""A sample holds every input of a network and what each is compared with; contributions add up over all of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from explorer.errors import RelevanceError
from explorer.graph.canonical import canonicalise
from explorer.graph.inputs import Inputs, as_tuple, run
from explorer.graph.trace import trace
from explorer.relevance.captum_deeplift import captum_deeplift
from explorer.relevance.deeplift import attribute, deeplift, sum_contributions
from explorer.relevance.lrp import fold_all_norms, propagate_relevance
from explorer.relevance.multipliers import sum_per_channel
from explorer.relevance.pixels import compute_pixel_contributions
from explorer.relevance.sample import Sample, make_sample
from tests.support import styles

NAMES = ("pair", "metadata", "siamese")


def sample_of_style(name: str, reference: str | Inputs = "shuffled", count: int = 6) -> Sample:
    given = tuple(tensor.double() for tensor in as_tuple(styles.inputs(name, count)))
    model = canonicalise(styles.build(name).double(), given)
    return make_sample(model, trace(model, given), given, torch.arange(count) % 3, reference=reference)


@pytest.mark.parametrize("reference", ["shuffled", "zero", "mean"])
def test_every_input_has_a_reference_of_its_own(reference: str) -> None:
    sample = sample_of_style("metadata", reference)
    for x, compared in zip(sample.inputs, sample.references, strict=True):
        expected: Tensor = {"shuffled": x.roll(1, 0), "zero": x * 0, "mean": x.mean(0).expand_as(x)}[reference]
        assert torch.equal(compared, expected)


def test_references_may_be_given_for_each_input() -> None:
    image, vector = torch.rand(3, 8, 8), torch.rand(6, 4)
    sample = sample_of_style("metadata", (image, vector))
    assert sample.reference == "given"
    assert torch.equal(sample.references[0], image.double().expand(6, -1, -1, -1))
    assert torch.equal(sample.references[1], vector.double())


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        (torch.rand(3, 8, 8), r"reference: expected a tensor for each of 2 inputs, received 1"),
        ((torch.rand(3, 8, 8), torch.rand(5)), r"expected an image of shape \(4,\) or \(6, 4\), received \(5,\)"),
        ("shuffeld", r"relevance.reference: expected one of shuffled, zero, mean, received 'shuffeld'"),
    ],
)
def test_what_is_no_reference_is_refused(reference: str | Inputs, told: str) -> None:
    with pytest.raises(RelevanceError, match=told):
        sample_of_style("metadata", reference)


def test_one_image_is_too_few() -> None:
    with pytest.raises(RelevanceError, match="needs at least 2 images for a real-image reference, got 1"):
        sample_of_style("metadata", count=1)


def test_a_part_of_a_sample_keeps_its_references() -> None:
    sample = sample_of_style("siamese")
    some = sample.take([4, 0])
    assert (len(some), some.explained.tolist()) == (2, sample.explained[[4, 0]].tolist())
    for mine, whole in zip((*some.inputs, *some.references), (*sample.inputs, *sample.references), strict=True):
        assert torch.equal(mine, whole[[4, 0]])
    assert [len(part) for part in sample.batches(4)] == [4, 2]


@pytest.mark.parametrize("name", NAMES)
def test_contributions_add_up_over_all_inputs_and_over_none_alone(name: str) -> None:
    sample = sample_of_style(name)
    found = attribute(sample)
    with torch.no_grad():
        change = ((run(sample.model, sample.inputs) - run(sample.model, sample.references)) * sample.directions).sum(1)
    assert torch.allclose(sum_contributions(found.contributions), change, rtol=1e-9, atol=1e-12)
    for each in found.contributions:
        assert not torch.allclose(sum_contributions((each,)), change, rtol=0.05)
    assert (deeplift(sample).completeness or 0) < 1e-12


@pytest.mark.parametrize("name", ["pair", "metadata"])
def test_captum_agrees_on_several_inputs(name: str) -> None:
    sample = sample_of_style(name)
    for mine, other in zip(deeplift(sample).layers, captum_deeplift(sample).layers, strict=True):
        for key in ("filter_scores", "weight_multipliers", "input_multipliers", "contributions"):
            received, expected = (torch.from_numpy(getattr(each, key)) for each in (mine, other))
            assert torch.allclose(received, expected, rtol=1e-5, atol=1e-7), (mine.layer, key)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_filter_contributes_comes_from_all_inputs(name: str) -> None:
    sample = sample_of_style(name)
    filters = [(layer.name, index) for layer in sample.graph.layers for index in range(layer.out_channels)]
    whole, maps = compute_pixel_contributions(sample, filters)
    found = attribute(sample)
    for mine, expected in zip(whole, found.contributions, strict=True):
        assert torch.allclose(mine, expected, rtol=1e-10, atol=1e-12)
    reached = {True: 0, False: 0}
    for (layer, index), each in zip(filters, maps, strict=True):
        assert [part.shape for part in each] == [x.shape for x in sample.inputs]
        contributions = found.multipliers[layer] * found.differences[layer]
        expected = sum_per_channel(sample.model.get_submodule(layer), contributions)[:, index]
        assert torch.allclose(sum_contributions(each), expected, rtol=1e-9, atol=1e-9)
        reached[all(bool(part.any()) for part in each)] += 1
    assert min(reached.values()) > 0  # filters of one input alone, and of both


@pytest.mark.parametrize("name", ["pair", "siamese"])
def test_relevance_that_is_handed_back_reaches_all_inputs(name: str) -> None:
    sample = sample_of_style(name)
    by_input = propagate_relevance(replace(sample, model=fold_all_norms(sample.model)))[1]
    assert [each.shape for each in by_input] == [x.shape for x in sample.inputs]
    assert all(bool(each.any()) for each in by_input)
