"""What a pass over an ONNX graph notes down: tensors in memory, and layers."""

from __future__ import annotations

from dataclasses import dataclass, field

from hwmodels.workload.layer import LayerShape


@dataclass(slots=True, eq=False)
class MemoryTensor:
    """A tensor in memory: the values that share it, and the layer steps during which it is kept.

    `reads` holds the width at which each reader takes it, or the storage that a reader fills with the same
    values unchanged, which is then as wide. `bits` is known when the walk is over. `writers`, `readers`,
    `second_readers` and `external` are those of `ActivationTensor`.
    """

    name: str
    elements: int
    bits: int
    first_step: int
    last_step: int
    reads: list[int | MemoryTensor] = field(default_factory=list)
    writers: list[int] = field(default_factory=list)
    readers: list[int] = field(default_factory=list)
    second_readers: list[int] = field(default_factory=list)
    external: bool = False


@dataclass(slots=True)
class OnnxLayer:
    """A layer, with (width, storage) of each tensor that it reads, and the value that holds its weights.

    Of a product of two activations, `second` is the one in the place of weights.
    """

    shape: LayerShape
    inputs: tuple[tuple[int, MemoryTensor], ...]
    output: MemoryTensor
    weights: str | None = None
    second: tuple[int, MemoryTensor] | None = None
