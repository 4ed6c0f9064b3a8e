"""A network of any style is C with the program's integers, or it is refused by name."""

from __future__ import annotations

import random

import pytest

from explorer.compress.apply import apply
from explorer.errors import ExportError
from explorer.graph.inputs import as_tuple
from explorer.integer.lower import lower_program
from tests.contracts.test_tflite import REFUSED
from tests.explorer.export.onnx.test_styles import basis_of
from tests.support import styles
from tests.support.compiled_c import check_equal, needs_cc
from tests.support.square import random_candidate
from tests.support.tiers import thinned


@needs_cc
@thinned("name", 4, list(styles.STYLES))
def test_every_style_is_exported_and_equal_or_has_no_integer_form(name: str) -> None:
    base = basis_of(name)
    model = apply(base, random_candidate(base.graph, random.Random(1)))
    if REFUSED.get(name, "").startswith("integer: "):
        with pytest.raises(ExportError, match=REFUSED[name]):
            lower_program(model, base.graph.input_shapes)
        return
    program = lower_program(model, base.graph.input_shapes)
    check_equal(program, *(tensor.numpy() for tensor in as_tuple(styles.inputs(name, 24, seed=5))))
