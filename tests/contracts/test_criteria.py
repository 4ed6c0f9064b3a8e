"""Every criterion of relevance keeps its contract on every network, or says why it does not take it."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from explorer.compress.apply import CompressionContext
from explorer.errors import RelevanceError
from explorer.graph.inputs import take
from explorer.relevance.aggregation import aggregate
from explorer.relevance.criteria import CRITERIA
from explorer.relevance.sample import IMAGES_AT_ONCE, Sample, make_sample
from explorer.relevance.scores import Relevance, order_filters
from tests.support.relevance_networks import NETWORKS, SMALL, sample_on, small

DRAWS = {"random"}
"""Criteria that draw here: another seed gives other scores, and permuted filters get other draws.

The trace of the Hessian draws too, beyond as many classes as no network here has.
"""
ARRAYS = ("filter_scores", "weight_multipliers", "input_multipliers", "contributions", "magnitudes")
SAID_OF = {"filters": "filter_scores", "weights": "weight_multipliers", "inputs": "input_multipliers"}


WITHOUT_NORM = r"bn_gamma reads the gains of batch norms, and no layer of this network has one behind it"
REFUSED: dict[tuple[str, str], str] = {
    **{
        ("bn_gamma", name): WITHOUT_NORM
        for name in (*SMALL, "gated", "style_channels_last", "style_metadata")
        if name != "normed"
    },
    ("captum_deeplift", "mixed"): r"not complete on this network.*Captum has no rule for relu6",
    ("captum_deeplift", "gated"): r"not complete on this network.*Captum has no rule for hardswish",
    ("captum_deeplift", "style_channels_last"): r"not complete on this network.*Captum has no rule for gelu",
    ("captum_deeplift", "style_siamese"): r"not complete on this network.*an operation that multiplies",
    ("lrp", "style_channels_last"): r"lrp has no rule for norm \(LayerNorm\)",
}
"""(criterion, network) to what its RelevanceError says; everything else is accepted."""
ACCEPTED = [(method, name) for method in CRITERIA for name in NETWORKS if (method, name) not in REFUSED]
FEW = [pair for pair in ACCEPTED if pair[1] in {"normed", "residual", "option_a", "style_reused"}]

Samples = Callable[[str], Sample]
Computed = Callable[[str, str], Relevance]


@pytest.fixture(scope="module")
def samples(context: Callable[[str], CompressionContext]) -> Samples:
    """The sample of a network, by its name."""
    kept: dict[str, Sample] = {}

    def find(name: str) -> Sample:
        if name not in kept:
            kept[name] = sample_on(name, context)
        return kept[name]

    return find


@pytest.fixture(scope="module")
def computed(samples: Samples) -> Computed:
    """What a criterion says of a network, computed once."""
    kept: dict[tuple[str, str], Relevance] = {}

    def find(method: str, name: str) -> Relevance:
        if (method, name) not in kept:
            kept[method, name] = CRITERIA[method].compute(samples(name), None)
        return kept[method, name]

    return find


@pytest.mark.parametrize(("method", "name"), REFUSED)
def test_what_is_refused_is_said(method: str, name: str, samples: Samples) -> None:
    with pytest.raises(RelevanceError, match=REFUSED[method, name]):
        CRITERIA[method].compute(samples(name), None)


@pytest.mark.parametrize(("method", "name"), ACCEPTED)
def test_the_record_fits_the_network(method: str, name: str, samples: Samples, computed: Computed) -> None:
    sample, relevance = samples(name), computed(method, name)
    assert [entry.layer for entry in relevance.layers] == list(sample.graph.layer_names)
    assert (relevance.method, relevance.samples, relevance.aggregation) == (method, len(sample), sample.aggregation)
    assert relevance.explained == tuple(sample.explained.tolist())
    silent = set(SAID_OF) - CRITERIA[method].subjects
    for entry in relevance.layers:
        layer, weight = sample.graph.layer(entry.layer), sample.model.get_submodule(entry.layer).get_parameter("weight")
        assert entry.filter_scores.shape == (layer.out_channels,)
        assert entry.weight_multipliers.shape == tuple(weight.shape)
        assert entry.input_multipliers.shape == (layer.in_channels,)
        assert entry.contributions.shape == entry.magnitudes.shape
        assert entry.contributions.shape in {(0, layer.out_channels), (len(sample), layer.out_channels)}
        for key in ARRAYS:
            assert getattr(entry, key).dtype == np.float32
            assert np.isfinite(getattr(entry, key)).all()
        for key in ("filter_scores", "weight_multipliers", "input_multipliers", "magnitudes"):
            assert (getattr(entry, key) >= 0).all()
        assert all((getattr(entry, SAID_OF[subject]) == 1).all() for subject in silent)


@pytest.mark.parametrize(("method", "name"), ACCEPTED)
def test_something_is_said(method: str, name: str, computed: Computed) -> None:
    """A criterion of filters or inputs tells some of them apart, one of weights says more than all or nothing."""
    layers, subjects = computed(method, name).layers, CRITERIA[method].subjects
    assert subjects
    for subject in subjects - {"weights"}:
        assert len(np.unique(np.concatenate([getattr(entry, SAID_OF[subject]) for entry in layers]))) > 1
    assert any(entry.weight_multipliers.any() for entry in layers)


@pytest.mark.parametrize(("method", "name"), ACCEPTED)
def test_scores_are_the_tables_aggregated(method: str, name: str, computed: Computed) -> None:
    relevance = computed(method, name)
    kept = [entry for entry in relevance.layers if len(entry.contributions)]
    assert len(kept) in {0, len(relevance.layers)}
    for entry in kept:
        assert np.allclose(entry.filter_scores, aggregate(entry.contributions, entry.magnitudes, "mean_abs"), rtol=1e-5)
        assert (entry.magnitudes * (1 + 1e-5) + 1e-7 >= np.abs(entry.contributions)).all()


@pytest.mark.parametrize("aggregation", ["mean", "rms"])
@pytest.mark.parametrize("method", CRITERIA)
def test_another_aggregation_changes_what_is_kept_image_by_image(
    method: str, aggregation: str, samples: Samples, computed: Computed
) -> None:
    before = computed(method, "normed")
    found = CRITERIA[method].compute(replace(samples("normed"), aggregation=aggregation), None)
    assert found.aggregation == aggregation
    for one, other in zip(before.layers, found.layers, strict=True):
        expected = one.aggregated(aggregation) if len(one.contributions) else one
        assert all(np.array_equal(getattr(other, key), getattr(expected, key)) for key in ARRAYS)


@pytest.mark.parametrize(("method", "name"), ACCEPTED)
def test_filters_have_an_order(method: str, name: str, samples: Samples, computed: Computed) -> None:
    graph = samples(name).graph
    order = order_filters(graph, computed(method, name))
    assert {name: sorted(classes) for name, classes in order.items()} == {
        group.name: sorted(group.classes) for group in graph.prunable
    }


@pytest.mark.parametrize("method", CRITERIA)
def test_a_file_holds_all_of_it(method: str, computed: Computed, tmp_path: Path) -> None:
    relevance = computed(method, "normed")
    relevance.save(tmp_path / "relevance.npz")
    again = Relevance.load(tmp_path / "relevance.npz")
    assert again.digest() == relevance.digest()
    for one, other in zip(relevance.layers, again.layers, strict=True):
        assert all(np.array_equal(getattr(one, key), getattr(other, key)) for key in ARRAYS)


@pytest.mark.parametrize(("method", "name"), FEW)
def test_twice_is_the_same_whatever_was_drawn_before(
    method: str, name: str, samples: Samples, computed: Computed
) -> None:
    first = computed(method, name)
    with torch.random.fork_rng():
        torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002  (the generators that all share)
        again = CRITERIA[method].compute(samples(name), None)
    assert again.digest() == first.digest()


@pytest.mark.parametrize("method", CRITERIA)
def test_the_seed_matters_to_those_that_draw(method: str, samples: Samples, computed: Computed) -> None:
    other = CRITERIA[method].compute(replace(samples("normed"), seed=1), None)
    assert (other.digest() != computed(method, "normed").digest()) == (method in DRAWS)


@pytest.mark.parametrize(("method", "name"), FEW)
def test_the_network_and_the_generators_are_left_as_they_were(method: str, name: str, samples: Samples) -> None:
    model = copy.deepcopy(samples(name).model)
    sample, before_inputs = replace(samples(name), model=model), [x.clone() for x in samples(name).inputs]
    next(iter(model.parameters())).requires_grad_(False)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    flags = [(path, module.training) for path, module in model.named_modules()]
    wanted, code = [(path, p.requires_grad) for path, p in model.named_parameters()], model.code
    states = torch.get_rng_state(), str(np.random.get_state()), random.getstate()  # noqa: NPY002
    CRITERIA[method].compute(sample, None)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (str(np.random.get_state()), random.getstate()) == states[1:]  # noqa: NPY002
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [(path, module.training) for path, module in model.named_modules()] == flags
    assert [(path, p.requires_grad) for path, p in model.named_parameters()] == wanted
    assert all(parameter.grad is None for parameter in model.parameters())
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    assert not any(getattr(module, each) for module in model.modules() for each in hooks)
    assert not any(parameter._backward_hooks for parameter in model.parameters())
    assert model.code == code
    assert all(torch.equal(x, before) for x, before in zip(sample.inputs, before_inputs, strict=True))
    assert not any(x.requires_grad for x in sample.inputs)


@pytest.mark.parametrize("method", CRITERIA)
def test_frozen_parameters_change_nothing(method: str, computed: Computed) -> None:
    model, graph, images, labels = small("normed")
    model.requires_grad_(False)
    found = CRITERIA[method].compute(make_sample(model, graph, images, labels), None)
    assert found.digest() == computed(method, "normed").digest()


@pytest.mark.parametrize(("method", "name"), FEW)
def test_progress_goes_up_to_the_total(method: str, name: str, samples: Samples, computed: Computed) -> None:
    told: list[tuple[int, int]] = []
    found = CRITERIA[method].compute(samples(name), lambda done, total: told.append((done, total)))
    assert found.digest() == computed(method, name).digest()
    assert told
    assert told[-1][0] == told[-1][1] > 0
    assert len({total for _, total in told}) == 1
    assert told == sorted(told)


@pytest.mark.parametrize("method", [method for method in CRITERIA if method not in DRAWS])
def test_permuted_filters_have_permuted_scores(method: str, computed: Computed) -> None:
    model, graph, images, labels = small("normed")
    order = [2, 0, 3, 1]
    with torch.no_grad():
        for path in ("conv1", "norm"):
            for tensor in (*model.get_submodule(path).parameters(), *model.get_submodule(path).buffers()):
                tensor.copy_(tensor[order] if tensor.ndim else tensor)
        weight = model.get_submodule("conv2").get_parameter("weight")
        weight.copy_(weight[:, order])
    before = computed(method, "normed")
    after = CRITERIA[method].compute(make_sample(model, graph, images, labels), None)
    for one, other in zip(before.layers, after.layers, strict=True):
        outputs = order if one.layer == "conv1" else slice(None)
        inputs = order if one.layer == "conv2" else slice(None)
        expected = {
            "filter_scores": one.filter_scores[outputs],
            "weight_multipliers": one.weight_multipliers[outputs][:, inputs],
            "input_multipliers": one.input_multipliers[inputs],
            "contributions": one.contributions[:, outputs],
            "magnitudes": one.magnitudes[:, outputs],
        }
        for key, array in expected.items():
            assert close(getattr(other, key), array, 1e-5), (one.layer, key)


@pytest.mark.parametrize("method", CRITERIA)
def test_two_images_are_enough(method: str, samples: Samples) -> None:
    """On so few a study tries a criterion before it trains."""
    whole = samples("normed")
    few = make_sample(whole.model, whole.graph, take(whole.inputs, slice(2)), whole.targets[:2])
    found = CRITERIA[method].compute(few, None)
    assert found.samples == len(found.explained) == 2
    assert all(np.isfinite(getattr(entry, key)).all() for entry in found.layers for key in ARRAYS)


@pytest.mark.parametrize("method", CRITERIA)
def test_where_a_sample_is_cut_does_not_matter(method: str) -> None:
    """The same images, rolled on by some: other images lie in the parts, and the last part is shorter."""
    model, graph, _, _ = small("normed")
    count, further = IMAGES_AT_ONCE + 9, 30
    images = torch.randn((count, 2, 6, 6), generator=torch.Generator().manual_seed(3)).double()
    images *= torch.linspace(0.2, 3.0, count).view(-1, 1, 1, 1)
    labels = torch.arange(count) % 3
    whole = CRITERIA[method].compute(make_sample(model, graph, images, labels), None)
    rolled_sample = make_sample(model, graph, images.roll(further, 0), labels.roll(further, 0))
    rolled = CRITERIA[method].compute(rolled_sample, None)
    for one, other in zip(whole.layers, rolled.layers, strict=True):
        for key in ("filter_scores", "weight_multipliers", "input_multipliers"):
            assert close(getattr(other, key), getattr(one, key), 1e-5), (one.layer, key)
        for key in ("contributions", "magnitudes"):
            assert close(getattr(other, key), np.roll(getattr(one, key), further, 0), 1e-5), (one.layer, key)


@pytest.mark.parametrize("method", CRITERIA)
def test_single_and_double_precision_agree(method: str, computed: Computed) -> None:
    model, graph, images, labels = small("normed")
    single = CRITERIA[method].compute(make_sample(model.float(), graph, images.float(), labels), None)
    for one, other in zip(computed(method, "normed").layers, single.layers, strict=True):
        for key in ARRAYS:
            assert close(getattr(other, key), getattr(one, key), 1e-3), (one.layer, key)


def close(found: np.ndarray, expected: np.ndarray, tolerance: float) -> bool:
    """Whether no element is further off than the tolerance, relative to the largest of all."""
    if found.shape != expected.shape or not expected.size:
        return found.shape == expected.shape
    return bool(np.abs(found - expected).max() <= tolerance * max(float(np.abs(expected).max()), 1e-12))
