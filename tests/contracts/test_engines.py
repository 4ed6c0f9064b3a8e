"""For any candidate the fast engines give what the simulated network gives in exact arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from torch import Tensor
from torch.utils._pytree import tree_leaves

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate
from explorer.evaluate import onednn
from explorer.evaluate.engine import compile_network
from explorer.graph.inputs import batches
from tests.explorer.export.onnx.test_styles import basis_of
from tests.support import styles
from tests.support.integers import exactly
from tests.support.square import candidates, with_made_up_units
from tests.support.tiers import cases

BASES = ("lenet5_digits", "option_a", "projection", "mixed", "gated")
ENGINES = (
    pytest.param(False, id="float"),
    pytest.param(True, id="integer", marks=pytest.mark.skipif(bool(onednn.find_fault()), reason=onednn.find_fault())),
)


def join(outputs: Iterable[object]) -> Tensor:
    """All outputs of all batches: N x numbers."""
    return torch.cat([torch.cat([leaf.flatten(1) for leaf in tree_leaves(output)], dim=1) for output in outputs])


@cases(4, 20)
@pytest.mark.parametrize("integer", ENGINES)
@pytest.mark.parametrize("name", [*BASES, *styles.STYLES])
def test_random_candidates_keep_their_outputs(
    name: str,
    integer: bool,
    count: int,
    context: Callable[[str], CompressionContext],
    images: Callable[[str, int], Tensor],
) -> None:
    """All but a few images: those a value of which lies on the border of two codes."""
    base, x = (context(name), images(name, 50)) if name in BASES else (basis_of(name), styles.inputs(name, 50, 5))
    close: list[bool] = []

    @settings(max_examples=count, phases=[Phase.generate])
    @given(candidates(base.graph))
    def agrees(candidate: Candidate) -> None:
        model = apply(with_made_up_units(base), candidate)
        exact, codes = exactly(model, x)
        with torch.inference_mode():
            expected = join([exact(*codes)])
            engine = compile_network(model, 16, integer=integer)
            found = join(engine(*part) for part in batches(x, 16)).double()
        assert found.shape == expected.shape
        error = (found - expected).abs().amax(1)
        close.extend((error <= 1e-4 * expected.abs().max()).tolist())

    agrees()
    assert np.mean(close) >= 0.97
