"""For any candidate the fast engines give what the simulated network gives in exact arithmetic."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from torch import Tensor
from torch.utils._pytree import tree_leaves

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate, uniform
from explorer.compress.compiled import onednn
from explorer.evaluate.engine import compile_network
from explorer.graph.inputs import Inputs, batches
from explorer.models.checkpoint import load_checkpoint
from explorer.models.reference import REFERENCE_NETWORKS
from tests.contracts import test_depth, test_reference_networks
from tests.explorer.export.onnx.test_styles import basis_of
from tests.support import styles
from tests.support.integers import exactly
from tests.support.square import candidates, random_candidate, with_made_up_units
from tests.support.tiers import cases

BASES = ("lenet5_digits", "option_a", "projection", "mixed", "gated")
ENGINES = (
    pytest.param(False, id="float"),
    pytest.param(True, id="integer", marks=pytest.mark.skipif(bool(onednn.find_fault()), reason=onednn.find_fault())),
)


def join(outputs: Iterable[object]) -> Tensor:
    """All outputs of all batches: N x numbers."""
    return torch.cat([torch.cat([leaf.flatten(1) for leaf in tree_leaves(output)], dim=1) for output in outputs])


def run_both(model: torch.fx.GraphModule, x: Inputs, *integer: bool) -> tuple[Tensor, ...]:
    """Outputs in exact arithmetic, and those of engines."""
    exact, codes = exactly(model, x)
    with torch.inference_mode():
        expected = join([exact(*codes)])
        engines = [compile_network(model, 16, integer=each) for each in integer]
        found = [join(engine(*part) for part in batches(x, 16)).double() for engine in engines]
    assert all(each.shape == expected.shape for each in found)
    return expected, *found


@cases(4, 20)
@pytest.mark.parametrize("name", [*BASES, *styles.STYLES])
def test_random_candidates_keep_their_outputs(
    name: str,
    count: int,
    context: Callable[[str], CompressionContext],
    images: Callable[[str, int], Tensor],
) -> None:
    """All but a few images: those a value of which lies on the border of two codes."""
    base, x = (context(name), images(name, 50)) if name in BASES else (basis_of(name), styles.inputs(name, 50, 5))
    engines = (False,) if onednn.find_fault() else (False, True)
    close: dict[bool, list[bool]] = {engine: [] for engine in engines}

    @settings(max_examples=count, phases=[Phase.generate])
    @given(candidates(base.graph))
    def agrees(candidate: Candidate) -> None:
        expected, *found = run_both(apply(with_made_up_units(base), candidate), x, *engines)
        for engine, outputs in zip(engines, found, strict=True):
            error = (outputs - expected).abs().amax(1)
            close[engine].extend((error <= 1e-4 * expected.abs().max()).tolist())

    agrees()
    assert all(np.mean(each) >= 0.97 for each in close.values())


@pytest.mark.parametrize("integer", ENGINES)
@pytest.mark.parametrize("name", ["resnet8", "resnet20", "mobilenet_v2"])
def test_reference_networks_keep_their_predictions(name: str, integer: bool) -> None:
    """With shortcuts of option A, depthwise convolutions, ReLU6 and sums that nothing clips; mixed widths, pruned."""
    base = test_reference_networks.basis_of(name)
    x = torch.randn(24, 3, 32, 32, generator=torch.Generator().manual_seed(7))
    for seed in range(2):
        candidate = random_candidate(base.graph, random.Random(seed)) if seed else uniform(base.graph, 8, 8)
        expected, found = run_both(apply(base, candidate), x, integer)
        assert torch.equal(found.argmax(1), expected.argmax(1))


@pytest.mark.parametrize("integer", ENGINES)
@pytest.mark.parametrize("name", test_depth.NETWORKS)
def test_networks_without_blocks_keep_their_outputs(name: str, integer: bool) -> None:
    base, close = test_depth.context_of(name), []
    x = torch.randn(24, 3, 16, 16, generator=torch.Generator().manual_seed(7))
    for seed in range(2):
        expected, found = run_both(apply(base, test_depth.draw_candidate(base, seed)), x, integer)
        close.extend(((found - expected).abs().amax(1) <= 1e-4 * expected.abs().max()).tolist())
    assert np.mean(close) >= 0.9


@pytest.mark.parametrize("integer", ENGINES)
@pytest.mark.parametrize("bits", [(8, 8), (3, 5)])
def test_the_published_network_keeps_its_predictions(
    bits: tuple[int, int],
    integer: bool,
    checkpoints: Path,
    cifar10_images: Callable[[str, int], tuple[Tensor, Tensor]],
) -> None:
    model = REFERENCE_NETWORKS["resnet20"](10)
    load_checkpoint(model, checkpoints / "resnet20-12fca82f.th")
    base = CompressionContext.of(model.eval(), cifar10_images("train", 64)[0])
    x, _ = cifar10_images("test", 200)
    expected, found = run_both(apply(base, uniform(base.graph, *bits)), x, integer)
    assert (found.argmax(1) == expected.argmax(1)).double().mean() >= 0.995  # one image of them, it may be
