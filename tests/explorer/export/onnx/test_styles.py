"""Networks of every style, compressed and exported: onnxruntime gives what the searched network gives."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from explorer.compress.apply import CompressionContext, apply
from explorer.errors import ExportError
from explorer.export.onnx.qdq import export_onnx
from explorer.export.verify import open_session
from explorer.graph.inputs import as_tuple
from explorer.graph.symbolic import call
from tests.support import styles
from tests.support.square import random_candidate
from tests.support.tiers import cases

WRITTEN = [name for name in styles.STYLES if name not in {"attention", "channels_last", "pixels"}]


def basis_of(name: str) -> CompressionContext:
    images = styles.inputs(name, 16)
    return CompressionContext.of(styles.build(name), images)


@cases(1, 4)
@pytest.mark.parametrize("name", WRITTEN)
def test_onnxruntime_computes_what_was_searched(name: str, count: int, tmp_path: Path) -> None:
    base, path = basis_of(name), tmp_path / "model.onnx"
    given = styles.inputs(name, 64, seed=5)
    for seed in range(count + 1):
        model = base.model if seed == 0 else apply(base, random_candidate(base.graph, random.Random(seed)))
        export_onnx(model, base.graph.input_shapes, path)
        session = open_session(path)
        feeds = {entry.name: t.numpy() for entry, t in zip(session.get_inputs(), as_tuple(given), strict=True)}
        for expected, received in zip(call(model, given), session.run(None, feeds), strict=True):
            values = expected.numpy()
            close = np.isclose(values, received, rtol=1e-3, atol=1e-3 * np.abs(values).max())
            assert close.mean() >= (0.95 if seed else 1.0)  # a code on the edge of two may round differently


def test_names_of_inputs_and_outputs(tmp_path: Path) -> None:
    for name, inputs, outputs in (
        ("two_inputs", ["image", "vector"], ["logits", "output_1"]),
        ("siamese", ["first", "second"], ["logits"]),
        ("subclass", ["images"], ["logits", "aux"]),
    ):
        base, path = basis_of(name), tmp_path / f"{name}.onnx"
        export_onnx(base.model, base.graph.input_shapes, path)
        session = open_session(path)
        assert [entry.name for entry in session.get_inputs()] == inputs
        assert [entry.name for entry in session.get_outputs()] == outputs


def test_what_has_no_rule_is_refused_by_name(tmp_path: Path) -> None:
    base = basis_of("attention")
    with pytest.raises(ExportError, match=r"node 'flatten\w*' .* cannot be written as ONNX: there is no rule for it"):
        export_onnx(base.model, base.graph.input_shapes, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
    assert torch.isfinite(call(base.model, styles.inputs("attention", 2))[0]).all()
