"""A network as the cost models see it: layers in the order of computation, and the activations that are stored."""

from __future__ import annotations

from dataclasses import dataclass

from hwmodels.errors import LayerError
from hwmodels.layer import ActivationTensor, LayerJob, LayerShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Layers in the order of computation; step i of a tensor's life is the run of layer i.

    `skipped` lists (name, reason) of operations of an imported file that cost nothing here, or could not be read.

    Raises:
        LayerError: there is no layer, or two have one name.
    """

    name: str
    layers: tuple[LayerShape, ...]
    tensors: tuple[ActivationTensor, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not self.layers:
            raise LayerError(f"network {self.name!r}: at least one layer is needed, but got none")
        names = [layer.name for layer in self.layers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise LayerError(f"network {self.name!r}: layer names must differ, but {', '.join(twice)} occurs twice")

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of all layers."""
        return sum(layer.macs for layer in self.layers)

    @property
    def weights(self) -> int:
        """Stored weights of all layers, biases aside."""
        return sum(layer.weights for layer in self.layers)

    def jobs(self, weight_bits: int = 8, input_bits: int = 8, output_bits: int | None = None) -> tuple[LayerJob, ...]:
        """Return every layer with the same widths; outputs are as wide as inputs unless stated."""
        return tuple(
            LayerJob(
                shape=layer,
                weight_bits=weight_bits,
                input_bits=input_bits,
                output_bits=input_bits if output_bits is None else output_bits,
            )
            for layer in self.layers
        )
