"""Tensors that are alive together do not overlap, and take what the cost model says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import uniform
from explorer.evaluate.hardware import cost
from explorer.export.c.memory import order_tensors, plan_memory
from explorer.export.c.source import FUSION, build_source
from explorer.integer.lower import lower_program
from explorer.integer.operations import LookUp, Requantize, Reshape
from explorer.integer.stages import list_stages
from hwmodels import load
from tests.support.integer_programs import make_program


@pytest.mark.parametrize("seed", range(20))
def test_no_stage_writes_over_what_is_read_later(seed: int) -> None:
    """Each byte that a stage reads was written last by the stage that made the tensor."""
    program = make_program(seed)
    stages, stored = order_tensors(program, list_stages(program, FUSION))
    scratch = {stage.output: 100 for stage in stages[1::3] if stage.output != program.output}
    arena = plan_memory(stages, stored, program.output, scratch)
    made, memory = dict[str, str](), dict[int, str]()
    for stage in stages:
        names = [name for name in stage.inputs if name in made]
        for name in names:
            places = _list_places(arena.offsets[name], stored[name].size_bytes)
            assert {memory[place] for place in places} == {made[name]}
            assert places.stop <= arena.size_bytes
        if isinstance(stage.step, Reshape):
            made[stage.output] = made[names[0]]
            assert arena.offsets[stage.output] == arena.offsets[names[0]]
        elif stage.output != program.output:
            made[stage.output] = stage.output
            free = _list_places(arena.scratch[stage.output], 100) if stage.output in scratch else range(0)
            places = _list_places(arena.offsets[stage.output], stored[stage.output].size_bytes)
            reads = [_list_places(arena.offsets[name], stored[name].size_bytes) for name in names]
            assert not set(free) & {place for each in (places, *reads) for place in each}
            over = [name for name, read in zip(names, reads, strict=True) if set(read) & set(places)]
            assert all(arena.offsets[name] == places.start for name in over)
            assert {stored[name].type for name in over} <= {stored[stage.output].type}
            assert not over or isinstance(stage.step, LookUp | Requantize)
            memory |= dict.fromkeys(free, "scratch") | dict.fromkeys(places, stage.output)


def _list_places(start: int, size: int) -> range:
    return range(start, start + size)


@pytest.mark.parametrize("name", ["lenet5_digits", "option_a", "projection", "mixed"])
def test_memory_is_at_most_what_the_cost_model_says(name: str, context: Callable[[str], CompressionContext]) -> None:
    graph = context(name).graph
    source = build_source(lower_program(apply(context(name), uniform(graph)), graph.input_shapes))
    assert source.arena_bytes <= cost(graph, uniform(graph), load("stm32l4r5")).arena_bytes
