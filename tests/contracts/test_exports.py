"""Whatever a network does, each export gives what was searched, or is refused by the name of a node: nothing else."""

from __future__ import annotations

import random
import re
import runpy
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import fx, nn

from explorer.compress.apply import CompressionContext, apply
from explorer.errors import ExportError
from explorer.export.deploy import find_refusals
from explorer.export.integer.onnx import export_integer_onnx
from explorer.export.onnx.qdq import export_onnx
from explorer.export.pytorch import package
from explorer.export.qonnx import package as qonnx
from explorer.export.qonnx.run import run_qonnx
from explorer.export.verify import open_session
from explorer.graph.inputs import Inputs, as_tuple
from explorer.graph.symbolic import call
from explorer.integer.interpret import run_program
from explorer.integer.lower import lower_program
from explorer.settings import QuantizerSettings
from tests.support import styles
from tests.support.spellings import SPELLINGS, Spelled
from tests.support.square import random_candidate

NAMED = r"(export|integer): (node '\w+' \(.+\) (cannot be written as (ONNX|Python)|has no integer form): .+; .+)"
"""A refusal says at which node, why, and what to do."""
EXPORTED = {
    "pair",
    "metadata",
    "siamese",
    "nothing",
    "chunk",
    "split",
    "slices of two axes summed",
    "a loop",
    "squeeze and excitation",
    "lambdas",
}


def network(name: str) -> nn.Module:
    if name in styles.STYLES:
        return styles.build(name)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Spelled(SPELLINGS[name])


def images(name: str, count: int, seed: int = 11) -> Inputs:
    return styles.inputs(name if name in styles.STYLES else "heads", count, seed)


@cache
def basis_of(name: str) -> CompressionContext:
    given = images(name, 8)
    settings = QuantizerSettings(activation_ranges="percentile")  # quickly found
    return CompressionContext.of(network(name), given, quantizer=settings)


@cache
def list_refusals(name: str, form: str) -> tuple[str, ...]:
    return tuple(find_refusals(basis_of(name), form))


@lru_cache(4)
def build(name: str, seed: int) -> fx.GraphModule:
    """A network for all forms, none of which may change it."""
    base = basis_of(name)
    return apply(base, random_candidate(base.graph, random.Random(seed)))


def run(path: Path, given: Inputs) -> list[NDArray[np.generic]]:
    session = open_session(path)
    feeds = {entry.name: t.numpy() for entry, t in zip(session.get_inputs(), as_tuple(given), strict=True)}
    found: list[NDArray[np.generic]] = session.run(None, feeds)
    return found


def check_onnx(built: fx.GraphModule, base: CompressionContext, given: Inputs, path: Path) -> None:
    export_onnx(built, base.graph.input_shapes, path)
    for expected, received in zip(call(built, given), run(path, given), strict=True):
        values = expected.numpy()
        close = np.isclose(values, received, rtol=1e-3, atol=1e-3 * np.abs(values).max())
        assert close.mean() >= 0.95  # a code on the edge of two may round differently


def check_integer(built: fx.GraphModule, base: CompressionContext, given: Inputs, path: Path) -> None:
    program = lower_program(built, base.graph.input_shapes)
    export_integer_onnx(program, path)
    arrays = tuple(tensor.numpy() for tensor in as_tuple(given))
    (simulated,), integers = call(built, given), run_program(program, arrays)
    assert np.array_equal(run(path, given)[0], integers)
    values = simulated.numpy()
    real = integers * program.output_scale
    assert np.isclose(values, real, rtol=1e-2, atol=2e-2 * np.abs(values).max()).mean() >= 0.9


def check_module(built: fx.GraphModule, base: CompressionContext, given: Inputs, path: Path) -> None:
    package.try_out(built, base, path.parent)
    network = runpy.run_path(str(path.with_name("network.py")))["load"]()
    for expected, received in zip(call(built, given), call(network, given), strict=True):
        assert torch.equal(expected, received)


def check_qonnx(built: fx.GraphModule, base: CompressionContext, given: Inputs, path: Path) -> None:
    written = qonnx.try_out(built, base, path.parent)
    expected, received = call(built, given)[0].numpy(), run_qonnx(written, given)
    assert np.isclose(expected, received, rtol=1e-3, atol=1e-3 * np.abs(expected).max()).mean() >= 0.95


CHECKS: dict[str, Callable[[fx.GraphModule, CompressionContext, Inputs, Path], None]] = {
    "onnx": check_onnx,
    "integer": check_integer,
    "pt": check_module,
    "qonnx": check_qonnx,
}


QUICK = {*EXPORTED, *list(SPELLINGS)[::8], *list(styles.STYLES)[::3]}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 4))])
@pytest.mark.parametrize("form", CHECKS)
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in (*SPELLINGS, *styles.STYLES)],
)
def test_an_export_is_equal_or_refused_by_name(name: str, form: str, seed: int, tmp_path: Path) -> None:
    base, path = basis_of(name), tmp_path / "network.onnx"
    reasons = list_refusals(name, form)
    assert len(reasons) == 0 or name not in EXPORTED
    try:
        CHECKS[form](build(name, seed), base, images(name, 40, seed=5), path)
    except ExportError as error:
        assert reasons
        assert not list(tmp_path.iterdir())
        for text in (str(error), *reasons):
            assert re.fullmatch(NAMED, text)
            assert "please report" not in text
            assert "\n" not in text
    else:
        assert not reasons


def test_a_network_of_modules_alone_has_no_line_to_name() -> None:
    given = torch.randn(8, 3, 8, 8)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softmax(1), nn.Flatten(), nn.Linear(144, 5))
    base = CompressionContext.of(network, given)
    assert not find_refusals(base, "pt")
    for form in ("onnx", "integer"):
        (reason,) = find_refusals(base, form)
        assert re.search(r"node '_1' \(1\) .* there is no rule for modules of type Softmax", reason)
