"""Collect the steps of an integer program, and prove that each tensor fits into its type."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

import numpy as np
from torch import fx, nn

from explorer.arrays import Float64Array
from explorer.errors import ExportError
from explorer.graph.inputs import OUTPUT, name_inputs
from explorer.graph.lines import locate_node
from explorer.graph.names import Names
from explorer.integer.operations import Step, Sums, list_operands
from explorer.integer.program import Input, IntegerProgram, Integers, Tensor
from explorer.integer.values import Affine, ScaledTensor, make_codes


class ProgramBuilder:
    """Steps, tensors and arrays so far; `bounds` are those of the tensors' integers, by channel where they differ.

    `inputs` are those of the network by name. `own` is what the tensor of each node is called: as the node, but for one
    that is called as an input or the output.
    """

    def __init__(self, inputs: Iterable[Input], nodes: Iterable[fx.Node] = ()) -> None:
        self.inputs = {entry.name: entry for entry in inputs}
        self.names = Names((*self.inputs, OUTPUT))
        self.own = {node: self.names.free(node.name) for node in nodes}
        self.steps: list[Step] = []
        self.tensors: dict[str, Tensor] = {}
        self.bounds: dict[str, tuple[Float64Array, Float64Array]] = {}
        self.arrays: dict[str, Integers] = {}

    def array(self, name: str, values: Integers | Float64Array, dtype: type[np.generic]) -> str:
        """Keep an array of the given type under a name that no other has; returns it."""
        self._refuse_taken(name)
        self.arrays[name] = np.array(values, dtype=dtype, order="C")
        return name

    def add(self, step: Step, shape: tuple[int, ...], lows: Float64Array | float, highs: Float64Array | float) -> str:
        """Append a step whose integers lie in lows..highs, scalars or arrays that broadcast against the shape.

        Returns its output's name, which no other has.

        Raises:
            ExportError: Where the integers are no int32.
        """
        self._refuse_taken(step.output)
        self.bounds[step.output] = (np.asarray(lows, dtype=np.float64), np.asarray(highs, dtype=np.float64))
        low, high = float(np.min(lows)), float(np.max(highs))
        if low < -(2**31) or high >= 2**31:
            raise ExportError(
                f"integer: a sum of {step.output!r} can reach {max(-low, high):.4g}, more than 32 bits hold; "
                "choose fewer activation bits for the layer, or fewer inputs"
            )
        codes = not isinstance(step, Sums) and low >= 0 and high <= np.iinfo(np.uint8).max
        kind: Literal["uint8", "int32"] = "uint8" if codes else "int32"
        self.tensors[step.output] = Tensor(name=step.output, type=kind, shape=shape, low=int(low), high=int(high))
        self.steps.append(step)
        return step.output

    def _refuse_taken(self, name: str) -> None:
        if name in self.tensors or name in self.arrays or name in self.inputs:
            raise ExportError(f"integer: two tensors would be called {name!r}; please report this")

    def moved(self, step: Step, like: ScaledTensor, shape: tuple[int, ...]) -> Affine:
        """Append a step that moves codes, zeros among them, and gives codes of the same grid as `like`."""
        sources = [self.tensors[name] for name in list_operands(step)]
        low = min(like.zero_point, *(source.low for source in sources))
        high = max(like.zero_point, *(source.high for source in sources))
        return make_codes(replace(like, tensor=self.add(step, shape, low, high)), shape)

    def program(self, output_scale: float) -> IntegerProgram:
        """Return all of it; the last step has written the logits."""
        return IntegerProgram(
            inputs=tuple(self.inputs.values()),
            output=OUTPUT,
            output_scale=output_scale,
            tensors=tuple(self.tensors.values()),
            steps=tuple(self.steps),
            arrays=dict(self.arrays),
        )


def name_tensors(model: fx.GraphModule) -> dict[fx.Node, str]:
    """Return what the tensors of a network's nodes are called in its program."""
    inputs = [Input(name=name, shape=()) for name in name_inputs(model).values()]
    return ProgramBuilder(inputs, model.graph.nodes).own


def name_layers(model: fx.GraphModule) -> dict[str, str]:
    """Return the layers by what their sums are called in the program: one that is called twice has two."""
    called = {name: str(node.target) for node, name in name_tensors(model).items() if node.op == "call_module"}
    layers = nn.Conv2d | nn.Linear
    return {name: layer for name, layer in called.items() if isinstance(model.get_submodule(layer), layers)}


def refuse(node: fx.Node, what: str, remedy: str) -> ExportError:
    """Return the error for a node without an integer form: which, where in the model, why, and what to do."""
    return ExportError(f"integer: {locate_node(node)} has no integer form: {what}; {remedy}")
