"""What follows a layer directly, and what is seen of a sample in parts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.relevance.activations import find_activated, find_layer_nodes, watch
from explorer.relevance.sample import IMAGES_AT_ONCE, make_sample
from tests.support.attribution import Body, canonical, functional


def bare(m: Any, x: Tensor) -> Any:
    return m.fc(F.avg_pool2d(m.conv2(m.conv1(x)), 2).flatten(1))


def behind_norm(m: Any, x: Tensor) -> Any:
    return m.fc(F.avg_pool2d(m.norm(m.conv2(F.relu(m.norm1(m.conv1(x))))), 2).flatten(1))


def read_twice(m: Any, x: Tensor) -> Any:
    x = m.conv1(x)
    return m.fc(F.avg_pool2d(F.relu(x) + m.conv2(x), 2).flatten(1))


@pytest.mark.parametrize(
    ("body", "kinds"),
    [
        (functional, {"conv1": nn.ReLU, "conv2": nn.ReLU, "fc": nn.Linear}),
        (bare, {"conv1": nn.Conv2d, "conv2": nn.Conv2d, "fc": nn.Linear}),
        (behind_norm, {"conv1": nn.ReLU, "conv2": nn.BatchNorm2d, "fc": nn.Linear}),
        (read_twice, {"conv1": nn.Conv2d, "conv2": nn.Conv2d, "fc": nn.Linear}),
    ],
)
def test_the_end_of_a_layer(body: Body, kinds: dict[str, type[nn.Module]]) -> None:
    model, graph, images, labels = canonical(body, norm=nn.BatchNorm2d(4), norm1=nn.BatchNorm2d(4))
    nodes = find_layer_nodes(make_sample(model, graph, images, labels))
    assert list(nodes) == list(graph.layer_names)
    ends = {name: model.get_submodule(str(find_activated(model, node).target)) for name, node in nodes.items()}
    assert {name: type(end) for name, end in ends.items()} == kinds


def test_every_image_is_seen_once_for_each_layer() -> None:
    """Also where two layers stand for the same node."""
    model, graph, _, _ = canonical(functional)
    images = torch.randn(IMAGES_AT_ONCE + 3, 2, 6, 6, generator=torch.Generator().manual_seed(0)).double()
    sample = make_sample(model, graph, images, torch.zeros(len(images), dtype=torch.long))
    node = find_layer_nodes(sample)["conv1"]
    seen: list[tuple[str, Tensor]] = []
    told: list[tuple[int, int]] = []
    watch(
        sample,
        {"one": node, "other": node},
        lambda name, given: seen.append((name, given)),
        lambda done, total: told.append((done, total)),
    )
    assert [name for name, _ in seen] == ["one", "other", "one", "other"]
    whole = torch.cat([given for name, given in seen if name == "other"])
    with torch.no_grad():
        assert torch.allclose(whole, model.get_submodule("conv1")(images))
    assert not any(given.requires_grad for _, given in seen)
    assert told == [(IMAGES_AT_ONCE, len(images)), (len(images), len(images))]
