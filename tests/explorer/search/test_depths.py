"""A space with networks that lack blocks: what its points state, how they are found again, what seeds it has."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import uniform
from explorer.compress.check import check
from explorer.errors import SearchError, StudyFileError
from explorer.models.resnet import CifarResNet
from explorer.search.axes import REMOVED_BLOCKS
from explorer.search.options import one_by_one
from explorer.search.seeds import choose_seeds
from explorer.search.sensitivity import Sensitivity
from explorer.search.space import Depth, SearchSpace, make_search_space
from explorer.settings import SpaceSettings

ORDER = ("layer2.1", "layer1.0", "layer3.1", "layer1.1")
SETTINGS = SpaceSettings(
    weight_bits=(2, 8), activation_bits=(8,), filter_keep_ratio=(0.5, 1.0), removed_blocks=(0, 1, 3)
)


@pytest.fixture(scope="module")
def whole() -> CompressionContext:
    """A residual network of two blocks a stage."""
    return CompressionContext.of(CifarResNet(2, 10).eval(), torch.randn(8, 3, 16, 16))


@pytest.fixture(scope="module")
def space(whole: CompressionContext) -> SearchSpace:
    """One with networks that lack 0, 1 and 3 blocks."""
    depths = [Depth.of(whole.shortened(ORDER[:count]).graph) for count in SETTINGS.removed_blocks]
    return make_search_space(whole.graph, SETTINGS, depths=depths)


def test_a_point_states_nothing_of_what_is_removed_and_is_found_again(
    whole: CompressionContext, space: SearchSpace
) -> None:
    draw, seen = random.Random(1), set()
    for _ in range(60):
        point = {axis.name: draw.randrange(len(axis.values)) for axis in space.axes}
        candidate = space.candidate(point)
        seen.add(candidate.removed_blocks)
        check(candidate, whole.shortened(candidate.removed_blocks).graph)
        again = space.candidate(space.point(candidate))
        assert again == candidate
        assert again.digest() == candidate.digest()
    assert seen == {(), ("layer2.1",), ("layer1.0", "layer2.1", "layer3.1")}


def test_choices_for_removed_layers_do_not_make_another_candidate(space: SearchSpace) -> None:
    point = {axis.name: 0 for axis in space.axes}
    gone = [axis for axis in space.axes if axis.of.startswith(("layer2.1", "layer1.0", "layer3.1"))]
    assert gone
    assert point[next(axis.name for axis in space.axes if axis.knob is REMOVED_BLOCKS)] == 0  # the most
    for axis in gone:
        assert space.candidate(point | {axis.name: len(axis.values) - 1}) == space.candidate(point)


def test_the_widest_point_has_all_blocks_and_the_nearest_number_is_taken(
    whole: CompressionContext, space: SearchSpace
) -> None:
    axis = next(axis for axis in space.axes if axis.knob is REMOVED_BLOCKS)
    assert axis.values == (3, 1, 0)
    far = uniform(whole.shortened(ORDER).graph)
    assert space.point(far)[axis.name] == 0
    assert space.point(uniform(whole.graph))[axis.name] == 2


def test_seeds_lack_blocks_where_that_is_estimated_to_lose_least(whole: CompressionContext, space: SearchSpace) -> None:
    def macs(candidate: object) -> float:
        from explorer.compress.plan import plan  # noqa: PLC0415

        return float(plan(whole.shortened(candidate.removed_blocks).graph, candidate).macs)  # type: ignore[attr-defined, arg-type]

    table = Sensitivity(
        weights={layer: dict.fromkeys(space.weight_choices(layer), 0.1) for layer in space.layers},
        activations={layer: {8: 0.0} for layer in space.layers},
        filters={group.name: {0.5: 5.0, 1.0: 0.0} for group in whole.graph.prunable},
        depths={0: 0.0, 1: 0.2, 3: 100.0},
    )
    seeds = [seed.candidate for seed in choose_seeds(space, table, one_by_one(macs), 8)]
    assert len({seed.digest() for seed in seeds}) == len(seeds)
    assert not seeds[0].removed_blocks
    assert any(seed.removed_blocks == ("layer2.1",) for seed in seeds)
    costly = replace(table, depths={0: 0.0, 1: 1e6, 3: 1e7}, filters={g: {0.5: 0.0, 1.0: 0.0} for g in table.filters})
    cheap = [
        seed.candidate for seed in choose_seeds(space, costly, one_by_one(macs), 8) if seed.candidate.removed_blocks
    ]
    assert all(macs(candidate) < min(macs(each) for each in seeds if not each.removed_blocks) for candidate in cheap)


def test_more_blocks_than_there_are_are_refused_in_one_line(whole: CompressionContext) -> None:
    text = (
        r"space.removed_blocks: expected at most 4, .*, received 5; its others stay: layer2.0: its skip pads or strides"
    )
    with pytest.raises(SearchError, match=text):
        make_search_space(whole.graph, SpaceSettings(removed_blocks=(0, 5)))


def test_numbers_and_criteria_of_blocks_follow_their_rules() -> None:
    with pytest.raises(StudyFileError, match=r"removed_blocks\[1\]: expected an integer in 0..10000, received -1"):
        SpaceSettings(removed_blocks=(0, -1))
    with pytest.raises(StudyFileError, match=r'space.block_criterion: .*"features".*received "size"'):
        SpaceSettings(block_criterion="size")
