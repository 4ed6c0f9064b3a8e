"""A network as the cost models see it: layers in the order of computation, and the activations that are stored."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from hwmodels.checks import check_whole_number
from hwmodels.errors import LayerError
from hwmodels.workload.activation import ActivationTensor
from hwmodels.workload.layer import LayerJob, LayerShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Layers in the order of computation; step i of a tensor's life is the run of layer i.

    Attributes:
        name: For messages.
        layers: In the order of computation, with names that differ.
        tensors: The activations that are stored.
        skipped: (name, reason) of operations of an imported file that cost nothing here, or could not be read.

    Raises:
        LayerError: there is no layer, or two have one name.

    Example:
        >>> import hwmodels
        >>> network = hwmodels.NETWORKS["resnet20"]()
        >>> network.macs, network.weights, len(network.layers)
        (40551040, 268336, 51)
        >>> network.batched(4).macs // network.macs
        4
    """

    name: str
    layers: tuple[LayerShape, ...]
    tensors: tuple[ActivationTensor, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Refuse a network without layers, or with two of one name."""
        if not self.layers:
            raise LayerError(f"network {self.name!r}: expected at least one layer, received none")
        names = [layer.name for layer in self.layers]
        twice = sorted(name for name, count in Counter(names).items() if count > 1)
        if twice:
            raise LayerError(
                f"network {self.name!r}: expected layer names that differ, received {', '.join(twice)} twice"
            )

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of all layers."""
        return sum(layer.macs for layer in self.layers)

    @property
    def weights(self) -> int:
        """Stored weights of all layers, biases aside."""
        return sum(layer.weights for layer in self.layers)

    def batched(self, num_images: int) -> Network:
        """Return the network that runs `num_images` times as many images together.

        A product of two activations, of which every image has its own, gets as many times the heads instead: unlike
        weights, they are not shared.

        Raises:
            LayerError: `num_images` is not a whole number of at least 1.
        """
        problems = check_whole_number("num_images", num_images, 1)
        if problems:
            raise LayerError([f"network {self.name!r}: {problem}" for problem in problems])
        return replace(
            self,
            layers=tuple(_batched(layer, num_images) for layer in self.layers),
            tensors=tuple(replace(tensor, elements=tensor.elements * num_images) for tensor in self.tensors),
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


def _batched(layer: LayerShape, num_images: int) -> LayerShape:
    """Return a layer for `num_images` times as many images."""
    if layer.kind != "matmul":
        return replace(layer, batch=layer.batch * num_images)
    sizes = {field: getattr(layer, field) * num_images for field in ("groups", "in_channels", "out_channels")}
    return replace(layer, **sizes)
