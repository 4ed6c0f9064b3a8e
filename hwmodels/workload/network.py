"""A network as the cost models see it: layers in the order of computation, and the activations that are stored."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from hwmodels.checks import whole_number
from hwmodels.errors import LayerError
from hwmodels.workload.layer import ActivationTensor, LayerJob, LayerShape


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
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
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

    def batched(self, images: int) -> Network:
        """Return the network that runs `images` times as many images together.

        A product of two activations, of which every image has its own, gets as many times the heads instead: unlike
        weights, they are not shared.

        Raises:
            LayerError: `images` is not a whole number of at least 1.
        """
        problems = whole_number("images", images, 1)
        if problems:
            raise LayerError([f"network {self.name!r}: {problem}" for problem in problems])
        return replace(
            self,
            layers=tuple(_batched(layer, images) for layer in self.layers),
            tensors=tuple(replace(tensor, elements=tensor.elements * images) for tensor in self.tensors),
        )

    def jobs(self, weight_bits: int = 8, input_bits: int = 8, output_bits: int | None = None) -> tuple[LayerJob, ...]:
        """Return every layer with the same widths; outputs are as wide as inputs unless stated.

        What a product of two activations reads in the place of weights is as wide as an input.
        """
        return tuple(
            LayerJob(
                shape=layer,
                weight_bits=input_bits if layer.kind == "matmul" else weight_bits,
                input_bits=input_bits,
                output_bits=input_bits if output_bits is None else output_bits,
            )
            for layer in self.layers
        )


def _batched(layer: LayerShape, images: int) -> LayerShape:
    """Return a layer for `images` times as many images."""
    if layer.kind != "matmul":
        return replace(layer, batch=layer.batch * images)
    sizes = {field: getattr(layer, field) * images for field in ("groups", "in_channels", "out_channels")}
    return replace(layer, **sizes)
