"""Which activations of a network stay on chip, decided for one candidate after the other."""

from __future__ import annotations

import numpy as np

from explorer.compress.candidate import uniform
from explorer.compress.plan import LOGIT_BITS, plan
from explorer.evaluate import hardware
from explorer.graph.layers import Layer, ModelGraph
from hwmodels import Accelerator, MapKeeper, Residency, TensorArrays


class Staying:
    """What stays on chip of the activations of a candidate, and so of what each part reads and writes.

    Attributes:
        held: Bits that an activation's element takes in the buffer, by its width.
        sizes: Bits of each activation there.
        room: What each part needs of it: tile, all weights, lines, in bits.
        codes: What stays of each part's operands, as one number.
    """

    def __init__(self, graph: ModelGraph, accelerator: Accelerator) -> None:
        parts = hardware.list_parts(graph)
        tensors = hardware.list_activation_tensors(graph, plan(graph, uniform(graph)))
        self._keeper = MapKeeper(accelerator, tensors, len(parts))
        self._operands = np.array([1 if isinstance(part, Layer) else part.operands for part in parts], dtype=np.int64)
        one = TensorArrays(tensors=(), elements=np.ones(1, dtype=np.int64), bits=np.arange(LOGIT_BITS + 1))
        self.held = self._keeper.measure_sizes(one).tolist()
        self.sizes = np.zeros(len(graph.activations), dtype=np.int64)
        self.room = np.zeros((3, len(parts)), dtype=np.int64)
        self.codes = [0] * len(parts)
        none, no = np.zeros(len(parts), dtype=np.int64), np.zeros(len(parts), dtype=np.bool_)
        self._now = Residency(inputs=none, second=no, output=no, beside=no)

    def decide(self) -> list[int]:
        """Decide what stays now; return the positions of parts for which it is not what it was."""
        self._now = now = self._keeper.decide(self.room, self.sizes, self._operands)
        before = self.codes
        self.codes = (8 * now.inputs + 4 * now.second + 2 * now.output + now.beside).tolist()
        return [index for index, (old, new) in enumerate(zip(before, self.codes, strict=True)) if old != new]

    def residency(self, parts: list[int]) -> Residency:
        """Return what stays of what some parts read and write, `parts x 1`."""
        return Residency._make(field[parts][:, None] for field in self._now)
