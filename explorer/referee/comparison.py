"""Our figures of a network on an Ethos-U beside those of Vela, layer by layer and in sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from explorer.export.tflite.names import find_layer
from explorer.referee.vela import Compiled, Operator, has_weights_in_sram
from hwmodels import Accelerator, LayerCost, NetworkCost


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Bytes of stored weights with biases and scales, bytes of SRAM, and clock cycles of one inference."""

    weight_bytes: int
    sram_bytes: int
    cycles: int

    @classmethod
    def by_model(cls, cost: NetworkCost, accelerator: Accelerator) -> Figures:
        """Return ours; of the SRAM what the device needs it for, or else what is kept there at the peak."""
        memory = accelerator.find_memory("inputs")
        kept = cost.peak_activation_bytes + (cost.weight_bytes if has_weights_in_sram(accelerator) else 0)
        place = f"memories.{memory.name}"
        needed = next((fit.needed_bytes for fit in cost.fits if fit.place == place), kept)
        return cls(weight_bytes=cost.weight_bytes, sram_bytes=needed, cycles=cost.latency_cycles)

    @classmethod
    def by_vela(cls, compiled: Compiled) -> Figures:
        """Return those of Vela."""
        return cls(weight_bytes=compiled.weight_bytes, sram_bytes=compiled.sram_bytes, cycles=compiled.cycles)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFigures:
    """Bytes and cycles of a layer, with what is worked out in its place or folded into it: ours, and Vela's."""

    layer: str
    kind: str
    weight_bytes: tuple[int, int]
    cycles: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class VelaComparison:
    """A network's figures by hwmodels and by Vela.

    `unmatched` are Vela's operators of no layer, `unmatched_constants` the (tensor, bytes) of such, both part of its
    sums; `on_cpu` are operators that it leaves to the processor, whose cycles nobody counts.
    """

    ours: Figures
    vela: Figures
    layers: tuple[LayerFigures, ...]
    unmatched: tuple[Operator, ...]
    unmatched_constants: tuple[tuple[str, int], ...]
    on_cpu: tuple[Operator, ...]


def compare(cost: NetworkCost, ours: Figures, compiled: Compiled, layer_of: Mapping[str, str]) -> VelaComparison:
    """Add up what both say of each layer.

    Args:
        layer_of: The layer of each tensor of the file. What the compiler makes of an operator is named after its
            tensor, with more behind it. A layer that no tensor is of is worked out in the place of the one before it.
    """
    groups = _group(cost.layers, set(layer_of.values()))
    cycles, constants = dict.fromkeys(groups, 0), dict.fromkeys(groups, 0)
    unmatched, unmatched_constants = [], []
    for operator in compiled.operators:
        layer = find_layer(operator.name, layer_of)
        if layer in groups:
            cycles[layer] += operator.cycles
        elif operator.cycles:
            unmatched.append(operator)
    for name, size in compiled.constants:
        layer = find_layer(name, layer_of)
        if layer in groups:
            constants[layer] += size
        else:
            unmatched_constants.append((name, size))
    return VelaComparison(
        ours=ours,
        vela=Figures.by_vela(compiled),
        layers=tuple(
            LayerFigures(
                layer=name,
                kind=parts[0].kind,
                weight_bytes=(sum(part.weight_bytes for part in parts), constants[name]),
                cycles=(sum(part.latency_cycles for part in parts), cycles[name]),
            )
            for name, parts in groups.items()
        ),
        unmatched=tuple(unmatched),
        unmatched_constants=tuple(unmatched_constants),
        on_cpu=tuple(operator for operator in compiled.operators if not operator.on_npu),
    )


def _group(costs: Sequence[LayerCost], named: set[str]) -> dict[str, list[LayerCost]]:
    """Return layers by the first of those that one operator works out."""
    groups: dict[str, list[LayerCost]] = {}
    for cost in costs:
        last = next(reversed(groups), None)
        groups.setdefault(cost.name if cost.name in named or last is None else last, []).append(cost)
    return groups
