"""A network of any style is a TensorFlow Lite file with the program's integers, or it is refused by name."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from explorer.compress.candidate import uniform
from explorer.errors import ExportError
from tests.explorer.export.onnx.test_styles import basis_of
from tests.support import styles
from tests.support.litert import check_equal, needs_litert
from tests.support.square import random_candidate
from tests.support.tiers import cases

REFUSED = {
    "functional": "tflite: .*silu",
    "dense": "integer: .*mean",
    "reshapes": "integer: .*mean",
    "squeeze": "tflite: .*hardswish",
    "two_inputs": "integer: .*several outputs",
    "grouped": "integer: .*PReLU",
    "decoder": "integer: .*bilinear",
    "subclass": "integer: .*truediv",
    "inception": "integer: .*ReflectionPad2d",
    "channels_last": "integer: .*permute",
    "attention": "integer: .*chunk",
    "generator": "integer: .*pad",
    "pixels": "integer: .*permute",
}
"""What is named of the styles that have no file."""


@needs_litert
@cases(2, 6)
@pytest.mark.parametrize("name", styles.STYLES)
def test_every_style_is_exported_and_equal_or_refused_by_name(name: str, count: int, tmp_path: Path) -> None:
    base, given = basis_of(name), styles.inputs(name, 48, seed=5)
    drawn = [random_candidate(base.graph, random.Random(seed)) for seed in range(count)]
    for candidate in (uniform(base.graph), *drawn):
        if name in REFUSED:
            with pytest.raises(ExportError, match=REFUSED[name]) as refusal:
                check_equal(base, candidate, given, tmp_path)
            assert "\n" not in str(refusal.value)
        else:
            check_equal(base, candidate, given, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ([] if name in REFUSED else ["model.tflite"])
