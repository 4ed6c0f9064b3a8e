"""A network as the cost models see it: layers in the order of computation, and the activations that are stored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType

from hwmodels.checks import check_whole_number, list_twice
from hwmodels.errors import LayerError
from hwmodels.workload.activation import ActivationTensor
from hwmodels.workload.layer import LayerJob, LayerShape
from hwmodels.workload.widths import LayerWidths, Workload, choose_widths


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Layers in the order of computation; step i of a tensor's life is the run of layer i.

    Attributes:
        name: For messages.
        layers: In the order of computation, with names that differ.
        tensors: The activations that are stored; of a network that states no widths at 8 bits (see `at`).
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
        twice = list_twice([layer.name for layer in self.layers])
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

    def at(self, weight_bits: int = 8, input_bits: int = 8, layers: LayerWidths = MappingProxyType({})) -> Workload:
        """Return jobs and activations at these widths, and `layers` (name -> weight bits, input bits) at their own.

        An activation is as wide as the product, or the layer of `layers`, that reads it widest: what reads fewer bits
        of it fetches all, what writes it writes so many, and a layer without products reads and writes what is stored.
        What a product of two activations reads in the place of weights is as wide as that is stored.

        Raises:
            LayerError: no layer has a name of `layers`, or a width is not from 1 to 32.

        Example:
            >>> import hwmodels
            >>> jobs, tensors = hwmodels.NETWORKS["lenet5"]().at(weight_bits=2, input_bits=4, layers={"c1": (8, 8)})
            >>> [(job.shape.name, job.weight_bits, job.input_bits, job.output_bits) for job in jobs[:3]]
            [('c1', 8, 8, 4), ('c1.tanh', 2, 4, 4), ('s2', 2, 4, 4)]
            >>> [(tensor.name, tensor.bits) for tensor in tensors[:3]]
            [('input', 8), ('c1', 4), ('s2', 4)]
        """
        return choose_widths(self.layers, self.tensors, (weight_bits, input_bits), layers)

    def jobs(self, weight_bits: int = 8, input_bits: int = 8) -> tuple[LayerJob, ...]:
        """Return the jobs of `at`, for what needs no activations, such as arrays of layers."""
        return self.at(weight_bits, input_bits).jobs


def _batched(layer: LayerShape, num_images: int) -> LayerShape:
    """Return a layer for `num_images` times as many images."""
    if layer.kind != "matmul":
        return replace(layer, batch=layer.batch * num_images)
    sizes = {field: getattr(layer, field) * num_images for field in ("groups", "in_channels", "out_channels")}
    return replace(layer, **sizes)
