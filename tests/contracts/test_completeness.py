"""DeepLIFT adds up on every reference network and on every style of network that explains a class."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from explorer.errors import RelevanceError
from explorer.graph.canonical import canonicalise
from explorer.graph.inputs import Inputs, as_tuple, count_images
from explorer.graph.symbolic import call
from explorer.graph.trace import trace
from explorer.models.reference import REFERENCE_NETWORKS
from explorer.relevance.deeplift import deeplift
from explorer.relevance.sample import make_sample
from tests.support import styles

REFERENCES = ("lenet5_digits", "lenet5", "resnet8", "resnet20", "resnet20_b", "mobilenet_v1", "mobilenet_v2")
"""The others are larger, and built of what these are built of."""
OTHERS = {"two_inputs", "heads", "decoder", "sized", "subclass"}
"""Several outputs, or an output for every pixel."""


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
    (logits,) = call(styles.build(name).eval(), images)
    assert logits.ndim == 2
    assert completeness(styles.build(name), images) < 1e-12


@pytest.mark.parametrize("name", REFERENCES)
def test_contributions_add_up_on_reference_networks(name: str) -> None:
    torch.manual_seed(1)
    channels, size = {"lenet5_digits": (1, 8), "lenet5": (1, 28)}.get(name, (3, 32))
    network = REFERENCE_NETWORKS[name](10).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():  # so that no layer's outputs vanish
        network(torch.randn(8, channels, size, size))
    assert completeness(network, torch.randn(3, channels, size, size)) < 1e-11


@pytest.mark.parametrize(("name", "received"), [("subclass", "dict"), ("decoder", r"\(4, ")])
def test_what_gives_no_logits_is_refused(name: str, received: str) -> None:
    images = styles.inputs(name, 4)
    assert isinstance(images, torch.Tensor)
    model = canonicalise(styles.build(name), images)
    with pytest.raises(RelevanceError, match=f"must return N x classes, not {received}"):
        make_sample(model, trace(model, images), images, torch.zeros(4, dtype=torch.long))
