"""Writes a network down layer by layer, and finds out meanwhile how long each activation is needed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from hwmodels.checks import check_whole_number
from hwmodels.errors import LayerError
from hwmodels.workload.activation import ActivationTensor
from hwmodels.workload.layer import LayerShape
from hwmodels.workload.network import Network

ACTIVATION_BITS = 8
"""Width of every tensor of a built network."""

KernelSize = tuple[int, int]
"""Height and width of a kernel."""
ActivationFunction = Literal["", "relu", "tanh"]
"""What is applied to each element of a layer's output; "" is nothing."""


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """An activation between layers: the index of the tensor that holds it, and its size for one image."""

    tensor: int
    channels: int
    height: int = 1
    width: int = 1


class NetworkBuilder:
    """Appends layers in the order of computation; a method returns the activation that its layer writes.

    Batch norms are taken as folded into the layer before them, so that every convolution has a bias. A function of
    each element ("activation") is a layer of its own and is counted, but works in place, as runtimes do that fuse
    it into the layer before: it shares that layer's tensor. Softmax alone writes a new one.

    Raises:
        LayerError: `batch` is not a whole number of at least 1, or a layer does not fit what it reads.
    """

    def __init__(self, name: str, batch: int = 1) -> None:
        """Start a network that runs `batch` images together."""
        problems = check_whole_number("batch", batch, 1)
        if problems:
            raise LayerError([f"network {name!r}: {problem}" for problem in problems])
        self._name = name
        self._batch = batch
        self._layers: list[LayerShape] = []
        self._tensors: list[ActivationTensor] = []
        self._skipped: list[tuple[str, str]] = []

    def image(self, channels: int, height: int = 1, width: int = 1) -> FeatureMap:
        """Return the network's input, there from the first step on."""
        return self._store("input", FeatureMap(0, channels, height, width), step=0, external=True)

    def conv(
        self,
        name: str,
        x: FeatureMap,
        channels: int,
        window: KernelSize,
        *,
        stride: int = 1,
        padded: bool = True,
        groups: int = 1,
        function: ActivationFunction = "relu",
    ) -> FeatureMap:
        """Convolve to `channels`; padded, only the stride shrinks the map."""
        out = replace(_slid(x, window, stride, padded), channels=channels)
        self._append(name, "conv", (x,), out, window, stride, groups)
        return self._apply(name, function, self._write(name, out))

    def linear(self, name: str, x: FeatureMap, channels: int, function: ActivationFunction = "") -> FeatureMap:
        """Multiply with a matrix; a map is flattened before."""
        if x.height * x.width > 1:
            self.skip(f"{name}.flatten", "the same bytes under another shape: nothing moves")
        flat = FeatureMap(x.tensor, x.channels * x.height * x.width)
        out = replace(flat, channels=channels)
        self._append(name, "linear", (flat,), out)
        return self._apply(name, function, self._write(name, out))

    def pool(self, name: str, x: FeatureMap, window: KernelSize, stride: int, *, padded: bool = False) -> FeatureMap:
        """Pool each channel; maximum and average are one kind of layer."""
        out = _slid(x, window, stride, padded)
        self._append(name, "pool", (x,), out, window, stride)
        return self._write(name, out)

    def add(self, name: str, x: FeatureMap, y: FeatureMap, function: ActivationFunction = "relu") -> FeatureMap:
        """Add two activations of one size."""
        if (x.channels, x.height, x.width) != (y.channels, y.height, y.width):
            raise LayerError(
                f"layer {name!r}: expected two activations of one size, received channels x height x width of "
                f"{x.channels} x {x.height} x {x.width} and {y.channels} x {y.height} x {y.width}"
            )
        self._append(name, "add", (x, y), y)
        return self._apply(name, function, self._write(name, y))

    def softmax(self, x: FeatureMap) -> FeatureMap:
        """Turn an activation into probabilities."""
        self._append("softmax", "activation", (x,), x)
        return self._write("softmax", x)

    def skip(self, name: str, reason: str) -> None:
        """Say of an operation why it is no layer here."""
        self._skipped.append((name, reason))

    def network(self) -> Network:
        """Return what was built; what no layer reads, but for functions in place, is a result."""
        tensors = tuple(
            replace(tensor, external=tensor.external or set(tensor.readers) <= set(tensor.writers))
            for tensor in self._tensors
        )
        return Network(name=self._name, layers=tuple(self._layers), tensors=tensors, skipped=tuple(self._skipped))

    def _append(
        self,
        name: str,
        kind: Literal["conv", "linear", "pool", "add", "activation"],
        reads: tuple[FeatureMap, ...],
        out: FeatureMap,
        window: KernelSize = (1, 1),
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        """Append a layer; what it reads is needed up to its step."""
        step = len(self._layers)
        for read in reads:
            tensor = self._tensors[read.tensor]
            self._tensors[read.tensor] = replace(tensor, last_step=step, readers=(*tensor.readers, step))
        shape = LayerShape(
            name=name,
            kind=kind,
            in_channels=reads[0].channels,
            out_channels=out.channels,
            kernel_h=window[0],
            kernel_w=window[1],
            in_h=reads[0].height,
            in_w=reads[0].width,
            out_h=out.height,
            out_w=out.width,
            stride_h=stride,
            stride_w=stride,
            groups=groups,
            batch=self._batch,
            operands=len(reads),
        )
        self._layers.append(shape)

    def _apply(self, name: str, function: ActivationFunction, x: FeatureMap) -> FeatureMap:
        """Append a function in place: it reads its tensor, which so stays alive, and writes no other."""
        if function:
            self._append(f"{name}.{function}", "activation", (x,), x)
            tensor = self._tensors[x.tensor]
            self._tensors[x.tensor] = replace(tensor, writers=(*tensor.writers, len(self._layers) - 1))
        return x

    def _write(self, name: str, out: FeatureMap) -> FeatureMap:
        """Return a map in a tensor of its own, which the last layer writes."""
        return self._store(name, out, step=len(self._layers) - 1, writers=(len(self._layers) - 1,))

    def _store(self, name: str, out: FeatureMap, *, step: int, **facts: Any) -> FeatureMap:
        """Return a map in a new tensor, there from a step on."""
        self._tensors.append(
            ActivationTensor(
                name=name,
                elements=self._batch * out.channels * out.height * out.width,
                bits=ACTIVATION_BITS,
                first_step=step,
                last_step=step,
                **facts,
            )
        )
        return replace(out, tensor=len(self._tensors) - 1)


def _slid(x: FeatureMap, window: KernelSize, stride: int, padded: bool) -> FeatureMap:
    """Return the size of what a sliding window makes of a map."""
    height, width = (1, 1) if padded else window
    return replace(x, height=(x.height - height) // stride + 1, width=(x.width - width) // stride + 1)
