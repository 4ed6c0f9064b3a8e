"""Widths of a network's layers and of the activations between them: at one choice, or where they contradict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from hwmodels.checks import shown
from hwmodels.errors import LayerError
from hwmodels.workload.activation import ActivationTensor
from hwmodels.workload.layer import PRODUCT_KINDS, LayerJob, LayerShape
from hwmodels.workload.layer_arrays import LayerArrays

LayerWidths = Mapping[str, tuple[int, int]]
"""Name of a layer -> bits of its weights and of its inputs."""


class Workload(NamedTuple):
    """What a network gives at chosen widths: its jobs, and its activations as wide as these read and write them.

    Example:
        >>> import hwmodels
        >>> jobs, tensors = hwmodels.NETWORKS["lenet5"]().at(weight_bits=4, input_bits=4)
        >>> hwmodels.evaluate(jobs, hwmodels.load("bitfusion"), tensors).peak_activation_bytes
        2940
    """

    jobs: tuple[LayerJob, ...]
    tensors: tuple[ActivationTensor, ...]


def choose_widths(
    shapes: Sequence[LayerShape], tensors: Sequence[ActivationTensor], bits: tuple[int, int], layers: LayerWidths
) -> Workload:
    """Return layers and activations at `bits` of weights and inputs, and at those of `layers` where these name one.

    An activation is as wide as the product, or the named layer, that reads it widest. What reads fewer bits of it
    fetches all; a layer without products reads and writes what is stored.

    Raises:
        LayerError: no layer has a name of `layers`, a value there is no pair, or a width is not from 1 to 32.
    """
    _check_names(shapes, layers)
    chosen = [layers.get(shape.name, bits) for shape in shapes]
    states = [shape.kind in PRODUCT_KINDS or shape.name in layers for shape in shapes]
    stored = []
    for tensor in tensors:
        read = [chosen[step][1] for step in (*tensor.readers, *tensor.second_readers) if states[step]]
        stored.append(max(read, default=bits[1]))
    first: dict[int, int] = {}
    second: dict[int, int] = {}
    written: dict[int, int] = {}
    for tensor, width in zip(tensors, stored, strict=True):
        first |= {step: max(width, first.get(step, 0)) for step in tensor.readers}
        second |= dict.fromkeys(tensor.second_readers, width)
        written |= dict.fromkeys(tensor.writers, width)
    jobs = []
    for step, shape in enumerate(shapes):
        weight_bits, input_bits = chosen[step]
        input_bits = input_bits if states[step] else first.get(step, input_bits)
        jobs.append(
            LayerJob(
                shape=shape,
                weight_bits=second.get(step, input_bits) if shape.kind == "matmul" else weight_bits,
                input_bits=input_bits,
                output_bits=written.get(step, bits[1]),
                stored_input_bits=first[step] if first.get(step, 0) > input_bits else None,
            )
        )
    return Workload(
        jobs=tuple(jobs),
        tensors=tuple(replace(tensor, bits=width) for tensor, width in zip(tensors, stored, strict=True)),
    )


def note_widths(names: Sequence[str], layers: LayerArrays, tensors: Sequence[ActivationTensor]) -> list[str]:
    """Return a note for each way in which layers contradict the widths of the activations that they read and write."""
    writes, reads = layers.output_bits.tolist(), layers.memory_input_bits.tolist()
    read: dict[int, int] = {}
    for tensor in tensors:
        read |= {step: max(tensor.bits, read.get(step, 0)) for step in tensor.readers}
    found: dict[tuple[str, int, int], list[str]] = {}
    for tensor in tensors:
        steps = [("writes", step, writes[step]) for step in tensor.writers if step < len(names)]
        steps += [
            ("reads", step, reads[step]) for step in tensor.readers if step < len(names) and read[step] == tensor.bits
        ]
        for does, step, bits in steps:
            if bits != tensor.bits:
                found.setdefault((does, bits, tensor.bits), []).append(f"{names[step]} {does} {tensor.name}")
    return [
        f"traffic counts {bits}-bit {'inputs' if does == 'reads' else 'outputs'} where memory holds activations of "
        f"{held} bits ({_listed(places)}): take both from network.at"
        for (does, bits, held), places in found.items()
    ]


def _check_names(shapes: Sequence[LayerShape], layers: LayerWidths) -> None:
    """Refuse names that no layer has, and what is no pair of widths."""
    if not isinstance(layers, Mapping):
        raise LayerError(
            f"layers: expected names with (weight_bits, input_bits) for each, as a dict, received {shown(layers)}"
        )
    names = [shape.name for shape in shapes]
    problems = [
        f"layers: no layer is called {shown(name)}; the layers are {_listed(names, 20)}"
        for name in layers
        if name not in names
    ]
    problems += [
        f"layers: expected (weight_bits, input_bits) for {shown(name)}, received {shown(pair)}"
        for name, pair in layers.items()
        if not isinstance(pair, tuple | list) or len(pair) != 2
    ]
    if problems:
        raise LayerError(problems)


def _listed(names: Sequence[str], most: int = 3) -> str:
    """Return the names, or the first of them and how many there are besides."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
