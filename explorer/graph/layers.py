"""Records of a traced network: layers, operations, coupled channel groups as index maps, stored activations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from explorer.digests import digest
from explorer.errors import ModelError

GroupCount = tuple[int, int]
"""(index of a channel group, how many channels or features each class of that group stands for)."""

OperationKind = Literal["pool", "add", "activation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One convolution or fully connected layer of the canonical network.

    `input_size` and `output_size` are those of all that it reads and writes for one image: of `images` maps, one below
    the other. `transposed` marks a transposed convolution. `shares_weights` names an earlier layer that holds the same
    weights, since the model calls one module several times, and is empty otherwise. `output_classes[i]` is the channel
    class of output channel i, `input_classes[j]` that of input channel (or, for a linear layer, input feature) j: the
    index maps along which filters are removed. `produces` and `reads` sum the same maps up per channel group.
    """

    name: str
    kind: Literal["conv", "linear"]
    step: int
    in_channels: int
    out_channels: int
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    transposed: bool = False
    shares_weights: str = ""
    bias: bool
    input_size: tuple[int, int]
    output_size: tuple[int, int]
    images: int
    source: str
    target: str
    output_classes: tuple[int, ...]
    input_classes: tuple[int, ...]
    produces: tuple[GroupCount, ...]
    reads: tuple[GroupCount, ...]

    @property
    def weights(self) -> int:
        """Number of weights, biases aside."""
        return self.out_channels * self.in_channels // self.groups * self.kernel_size[0] * self.kernel_size[1]

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations for one image."""
        height, width = self.input_size if self.transposed else self.output_size
        return self.weights * height * width

    @property
    def depthwise(self) -> bool:
        """True for a convolution whose filters each read one input channel of their own."""
        return self.kind == "conv" and self.groups > 1 and self.groups == self.in_channels

    @property
    def chosen_by(self) -> str:
        """The layer for which a candidate chooses: the owner of the weights."""
        return self.shares_weights or self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What a device computes without weights: a pooling, an addition or product, or a function of each element.

    `kernel_size` is the window of a pooling, all positions for a mean over them, and (1, 1) otherwise, `stride` how far
    it moves. Sizes are those of `images` maps, one below the other, as of a layer. `operands`
    is the number of tensors that are joined, 1 otherwise. `sources` are the activations that it reads, `target` is
    the one that it writes: the same where it works in place. `channels` holds for both. What moves data only, such
    as a concatenation, is no operation.
    """

    name: str
    kind: OperationKind
    step: int
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    operands: int
    sources: tuple[str, ...]
    target: str
    channels: tuple[GroupCount, ...]
    input_size: tuple[int, int]
    output_size: tuple[int, int]
    images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelGroup:
    """Channel classes that the same layers produce and read; each class is kept or removed as a whole.

    A class is a set of channels that an addition, a batch norm or a depthwise convolution ties together.
    `locked` holds the reason when none of them may be removed, and is empty otherwise.
    """

    name: str
    classes: tuple[int, ...]
    producers: tuple[str, ...]
    locked: str

    @property
    def size(self) -> int:
        """Number of classes."""
        return len(self.classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """A tensor that a device has to store between two steps, for one image.

    `readers` are the layers that read it directly, `feeds` the activations that a non-layer operation derives
    from it. `first_step` writes it, `last_step` reads it last. `quantized` is False where a quantiser would
    change nothing (only a monotone operation such as max pooling reads it) or where nothing reads it (logits).
    `scale_of` names the activation whose scale it has: itself, or the first of those that it is concatenated with,
    which are all stored at the width of the widest.
    """

    name: str
    size: tuple[int, int]
    channels: tuple[GroupCount, ...]
    first_step: int
    last_step: int
    readers: tuple[str, ...]
    feeds: tuple[str, ...]
    quantized: bool
    scale_of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexMap:
    """The channel class of every channel that a node gives and reads: a batch norm, a padding, a selection."""

    node: str
    classes: tuple[int, ...]
    read_classes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Layers that can be removed together, so that the network goes on with what they were given.

    What `target` gives, an addition or the last node of a layer, then is what `source` gives; both are names of nodes.
    `locked` holds the reason when the block cannot be removed, and is empty otherwise.
    """

    name: str
    layers: tuple[str, ...]
    source: str
    target: str
    locked: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A part of the model that is not explored or not costed, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelGraph:
    """Everything that the exploration needs to know of a network, without torch."""

    input_shapes: tuple[tuple[int, ...], ...]
    layers: tuple[Layer, ...]
    operations: tuple[Operation, ...]
    groups: tuple[ChannelGroup, ...]
    activations: tuple[Activation, ...]
    index_maps: tuple[IndexMap, ...]
    skipped: tuple[Skipped, ...]
    float_values: int = 0
    """Weights, biases and constants that no layer holds: they stay in float, and a device stores them, too."""
    blocks: tuple[Block, ...] = ()
    """Residual blocks, and layers between equal shapes, in the order of computation."""
    removed_blocks: tuple[str, ...] = ()
    """Names of those that the network had before they were removed."""

    def layer(self, name: str) -> Layer:
        """Return the layer of that name.

        Raises:
            ModelError: With the known names when there is none.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise ModelError(f"layer: no layer is called {name!r}; the layers are {', '.join(self.layer_names)}")

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of all layers in the order of computation."""
        return tuple(layer.name for layer in self.layers)

    @property
    def weight_owners(self) -> tuple[str, ...]:
        """Names of the layers with weights of their own, for which a candidate chooses, in order of computation."""
        return tuple(layer.name for layer in self.layers if not layer.shares_weights)

    @property
    def prunable(self) -> tuple[ChannelGroup, ...]:
        """The channel groups from which filters may be removed."""
        return tuple(group for group in self.groups if not group.locked)

    @property
    def removable(self) -> tuple[Block, ...]:
        """The blocks that may be removed."""
        return tuple(block for block in self.blocks if not block.locked)

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of all layers for one image."""
        return sum(layer.macs for layer in self.layers)

    @property
    def weights(self) -> int:
        """Weights of all layers, biases aside; shared ones count once."""
        return sum(layer.weights for layer in self.layers if not layer.shares_weights)

    def to_json(self) -> dict[str, Any]:
        """Return plain data from which `from_json` rebuilds an equal graph."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ModelGraph:
        """Rebuild a graph from `to_json` data or from its parsed JSON text."""
        return cls(
            input_shapes=tuple(tuple(shape) for shape in data["input_shapes"]),
            layers=tuple(Layer(**_as_tuples(item)) for item in data["layers"]),
            operations=tuple(Operation(**_as_tuples(item)) for item in data["operations"]),
            groups=tuple(ChannelGroup(**_as_tuples(item)) for item in data["groups"]),
            activations=tuple(Activation(**_as_tuples(item)) for item in data["activations"]),
            index_maps=tuple(IndexMap(**_as_tuples(item)) for item in data["index_maps"]),
            skipped=tuple(Skipped(**item) for item in data["skipped"]),
            float_values=data.get("float_values", 0),
            blocks=tuple(Block(**_as_tuples(item)) for item in data.get("blocks", ())),
            removed_blocks=tuple(data.get("removed_blocks", ())),
        )

    def digest(self) -> str:
        """Return SHA-256 over the canonical JSON text, first 16 hexadecimal digits.

        Wordings of reasons are left out, and what follows from the network: blocks.
        """
        data = self.to_json()
        del data["skipped"], data["blocks"]
        if not self.removed_blocks:
            del data["removed_blocks"]
        for group in data["groups"]:
            group["locked"] = bool(group["locked"])
        if not self.float_values:
            del data["float_values"]  # of a network that is wholly covered, as before there was such a number
        text = json.dumps(data, sort_keys=True, separators=(",", ":"))
        return digest(text)


def _as_tuples(item: Mapping[str, Any]) -> dict[str, Any]:
    def convert(value: Any) -> Any:
        return tuple(convert(entry) for entry in value) if isinstance(value, list | tuple) else value

    return {key: convert(value) for key, value in item.items()}
