"""Networks of candidates as fast functions: the same numbers as `apply`'s up to rounding, in a fraction of the time.

Between two layers values are held as integers: float32 around zero, or uint8 where oneDNN's operators compute. Scales,
activation functions that clip and quantisers are part of the layer before them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor, fx, nn

from explorer.compress.compiled import onednn
from explorer.compress.compiled.codes import NotFiniteError
from explorer.compress.compiled.compiler import Compiler, Step, count_images_at_once
from explorer.compress.quantize import ActivationQuantizer
from explorer.graph.inputs import Inputs, as_tuple, batches, count_images, run, take
from explorer.graph.torch_private import find_hooks


@dataclass(frozen=True, slots=True, eq=False)
class Engine:
    """A network compiled: steps on numbered tensors, `sources` of which are read and `dead` of which are not again."""

    steps: Sequence[Step]
    inputs: Sequence[int]
    output: int
    constants: dict[int, Any]
    images_at_once: int

    def __call__(self, *images: Tensor) -> Any:
        """Return what the network gives for a batch."""
        values = {**self.constants, **dict(zip(self.inputs, images, strict=True))}
        for step in self.steps:
            values[step.result] = step.function(*[values[source] for source in step.sources])
            for source in step.dead:
                del values[source]
        return values[self.output]


def name_engine(torch_device: torch.device) -> str:
    """Return by which arithmetic networks are scored there: "integer", or "float" and why."""
    if torch_device.type != "cpu":
        return f"float, on {torch_device.type}"
    fault = onednn.find_fault()
    return f"float, as oneDNN's integer operators cannot be used here: {fault}" if fault else "integer, by oneDNN"


def compile_network(model: fx.GraphModule, batch_size: int, *, integer: bool) -> Engine:
    """Return a network that `apply` built, as it is now, as a function of batches of at most `batch_size` images.

    Its sums are those of integers: in int32 with `integer`, else in float32.
    """
    compiler = Compiler(model, integer=integer)
    steps, output = compiler.compile()
    at_once = count_images_at_once(model, batch_size, integer=integer)
    return Engine(steps, compiler.inputs, output, compiler.constants, at_once)


class Runner:
    """Runs a network as it is now, compiled once where it is a compressed one."""

    def __init__(self, model: nn.Module, batch_size: int) -> None:
        self.model, self._batch_size = model.eval(), batch_size
        self._engine: Engine | None = None

    def __call__(self, inputs: Inputs) -> Iterator[tuple[Any, int]]:
        """Yield what the network gives for parts of a batch, and of how many images each is."""
        if not is_compressed(self.model):
            yield from ((run(self.model, part), count_images(part)) for part in batches(inputs, self._batch_size))
            return
        if self._engine is None:
            integer = as_tuple(inputs)[0].device.type == "cpu" and not onednn.find_fault()
            self._engine = compile_network(self.model, self._batch_size, integer=integer)
        start = 0
        while start < count_images(inputs):
            part = take(inputs, slice(start, start + self._engine.images_at_once))
            try:
                found = self._engine(*part)
            except NotFiniteError:  # which float numbers can hold
                self._engine = compile_network(self.model, self._batch_size, integer=False)
                continue
            start += count_images(part)
            yield found, count_images(part)


def is_compressed(model: nn.Module) -> TypeGuard[fx.GraphModule]:
    """Return whether this is a network as `apply` builds them, with quantisers in its graph and nobody's hooks."""
    return (
        isinstance(model, fx.GraphModule)
        and any(isinstance(module, ActivationQuantizer) for module in model.children())
        and not any(hook for module in model.modules() for hook in find_hooks(module))
    )
