"""Every operation of an integer program is C that compiles without a warning and gives the very same integers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from explorer.errors import ExportError
from explorer.export.c.source import FUSION, build_source
from explorer.integer.lower import lower_program
from explorer.integer.operations import OPERATIONS as KINDS
from explorer.integer.operations import Conv, Linear, Requantize
from explorer.integer.stages import list_stages
from tests.explorer.integer.test_lower import OPERATIONS
from tests.support.compiled_c import check_equal, needs_cc
from tests.support.integer_programs import make_program
from tests.support.integers import SHAPE, around
from tests.support.tiers import cases, thinned

IMAGES = torch.randn(24, *SHAPE, generator=torch.Generator().manual_seed(3))
WIDTHS = ((8, 8), (4, 5), (3, 7), (2, 2), (5, 8))
NAMES = list(OPERATIONS)


@needs_cc
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@thinned("name", 5, NAMES)
def test_an_operation_of_a_network_gives_the_integers_of_the_program(name: str) -> None:
    model = around(OPERATIONS[name], IMAGES, *WIDTHS[NAMES.index(name) % len(WIDTHS)])
    check_equal(lower_program(model, SHAPE), IMAGES.numpy())


@needs_cc
@cases(6, 36)
def test_random_programs_give_their_integers(count: int) -> None:
    images, seen = np.random.default_rng(0).normal(size=(3, 4, 6, 7)).astype(np.float32), set[str]()
    for seed in range(count):
        program = make_program(seed)
        seen |= {type(step).__name__ for step in program.steps}
        check_equal(program, images)
    assert seen == set(KINDS)


def test_a_sum_of_32_bits_is_stored_only_where_several_steps_read_it() -> None:
    program = lower_program(around(OPERATIONS["difference"], IMAGES), SHAPE)
    stages = list_stages(program, FUSION)
    assert all(stage.rescale is not None for stage in stages if isinstance(stage.step, Conv | Linear))
    assert len(stages) < len(program.steps)


def test_what_the_source_cannot_hold_is_named() -> None:
    program = lower_program(around(OPERATIONS["difference"], IMAGES), SHAPE)
    layer = next(step for step in program.steps if isinstance(step, Conv))
    steps = tuple(replace(step, stride=(300, 1)) if step is layer else step for step in program.steps)
    with pytest.raises(ExportError, match=r"c: Conv '\w+' has stride height 300, the C source holds 0 to 255; choose"):
        build_source(replace(program, steps=steps))
    added = next(step for step in program.steps if isinstance(step, Requantize) and len(step.inputs) == 2)
    three = replace(added, inputs=(*added.inputs, added.inputs[0]), multipliers=(*added.multipliers,) * 2)
    steps = tuple(three if step is added else step for step in program.steps)
    with pytest.raises(ExportError, match="adds 3 tensors, the C source two at most; choose another --format"):
        build_source(replace(program, steps=steps))
