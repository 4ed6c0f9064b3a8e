"""DeepLIFT adds up on every reference network and on every style of network with one output."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from explorer.errors import RelevanceError
from explorer.graph.canonical import canonicalise
from explorer.graph.inputs import Inputs, as_tuple, count_images
from explorer.graph.trace import trace
from explorer.models.reference import REFERENCE_NETWORKS
from explorer.relevance.deeplift import deeplift
from explorer.relevance.sample import make_sample
from tests.support import styles

REFERENCES = (
    "lenet5_digits",
    "lenet5",
    "lenet5_caffe",
    "resnet8",
    "resnet20",
    "resnet20_b",
    "mobilenet_v1",
    "mobilenet_v2",
)
"""The others are larger, and built of what these are built of."""
OTHERS = {"two_inputs", "heads", "subclass"}
"""Several outputs."""


def completeness(model: nn.Module, images: Inputs) -> float:
    canonical = canonicalise(model.eval(), images)
    graph = trace(canonical, images)
    labels = torch.zeros(count_images(images), dtype=torch.long)
    doubled = tuple(tensor.double() for tensor in as_tuple(images))
    found = deeplift(make_sample(canonical.double(), graph, doubled, labels)).completeness
    assert found is not None
    return found


@pytest.mark.parametrize("name", [name for name in styles.STYLES if name not in OTHERS])
def test_contributions_add_up_in_every_style(name: str) -> None:
    images = styles.inputs(name, 4)
    assert completeness(styles.build(name), images) < 1e-12


@pytest.mark.parametrize("name", REFERENCES)
def test_contributions_add_up_on_reference_networks(name: str) -> None:
    torch.manual_seed(1)
    channels, size = {"lenet5_digits": (1, 8), "lenet5": (1, 28), "lenet5_caffe": (1, 28)}.get(name, (3, 32))
    network = REFERENCE_NETWORKS[name](10).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():  # so that no layer's outputs vanish
        network(torch.randn(8, channels, size, size))
    assert completeness(network, torch.randn(3, channels, size, size)) < 1e-11


def test_what_gives_several_tensors_is_refused() -> None:
    images = styles.inputs("subclass", 4)
    assert isinstance(images, torch.Tensor)
    model = canonicalise(styles.build("subclass"), images)
    with pytest.raises(RelevanceError, match="expected the network to return one tensor, received dict"):
        make_sample(model, trace(model, images), images, torch.zeros(4, dtype=torch.long))
