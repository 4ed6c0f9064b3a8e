"""Stages compute each step of a program once, after what they read is stored."""

from __future__ import annotations

import pytest

from explorer.export.c.source import FUSION as OF_C
from explorer.export.tflite.translate import FUSION as OF_TFLITE
from explorer.integer.operations import Dilate, Pad, Sums
from explorer.integer.stages import Fusion, Stage, list_stages
from tests.support.integer_programs import make_program

FUSIONS = {"plain": Fusion(), "c": OF_C, "tflite": OF_TFLITE}


def list_outputs(stage: Stage) -> list[str]:
    """What the steps of a stage write, the stored one last."""
    taken = (stage.absorbed, stage.step, stage.rescale, stage.threshold, stage.then)
    return list(dict.fromkeys(step.output for step in taken if step is not None))


@pytest.mark.parametrize("name", FUSIONS)
@pytest.mark.parametrize("seed", range(12))
def test_each_step_is_in_a_stage_that_follows_what_it_reads(name: str, seed: int) -> None:
    program = make_program(seed)
    stages = list_stages(program, FUSIONS[name])
    written = [output for stage in stages for output in list_outputs(stage)]
    assert set(written) == {step.output for step in program.steps}
    repeated = (Pad, Dilate, *(Sums.__args__ if FUSIONS[name].repeats else ()))
    for step in program.steps:
        assert written.count(step.output) == 1 or isinstance(step, repeated)
    stored = {entry.name for entry in program.inputs}
    for stage in stages:
        assert set(stage.inputs) <= stored
        assert list_outputs(stage)[-1] == stage.output
        stored.add(stage.output)
    assert stages[-1].output == program.output
