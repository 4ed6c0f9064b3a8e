"""Second moments of what the filters of a layer read, in a compressed network and in the float one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx, nn

from explorer.graph.inputs import Inputs, as_tuple
from explorer.graph.modules import layer_module
from explorer.graph.unfold import unfold_inputs

PRECISION = 1e-5
"""Share of the inputs' mean square added to each second moment: what float32 leaves uncertain of them (assumed)."""
IMAGES_AT_ONCE, ELEMENTS_AT_ONCE = 64, 2**26
"""Most images, and about the most of their elements, that are unfolded at a time (512 MB)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """Second moments of what the filters of a layer read, over images and positions, for each of its groups.

    `received` (groups x k' x k') is E[x x^T] of the compressed layer's inputs x, `wanted` (groups x k' x k) E[x y^T]
    with the inputs y that the whole float layer has in the same place; k' and k are the numbers of weights of a filter
    there and here. `columns` (k') are the places of the compressed filter's weights in the whole one; None for all.
    `samples` is how many images and positions they were taken over; None where that is no matter. Where the layer reads
    just what the float one does, `wanted` is the very `received`.
    """

    received: Tensor
    wanted: Tensor
    columns: Tensor | None = None
    samples: int | None = None

    @classmethod
    def settled(cls, received: Tensor, samples: int | None = None) -> Moments:
        """Return the moments of a layer whose weights are solved for already."""
        return cls(received=received, wanted=received, samples=samples)

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return self.received.nbytes + (0 if self.wanted is self.received else self.wanted.nbytes)

    def to_float32(self) -> Moments:
        """Return the same in half of the memory; what is added to the diagonal is far above what is lost."""
        received = self.received.float()
        wanted = received if self.wanted is self.received else self.wanted.float()
        return replace(self, received=received, wanted=wanted)

    def keep(self, rows: Tensor) -> Tensor:
        """Return of whole filters (groups x rows x k) the weights that stay."""
        return rows if self.columns is None else rows[:, :, self.columns.to(rows.device)]


def compute_moments(
    module: nn.Conv2d | nn.Linear,
    received: Tensor,
    wanted: Tensor,
    *,
    centred: bool,
    whole: nn.Conv2d | nn.Linear | None = None,
    columns: Tensor | None = None,
) -> Moments:
    """Return the second moments of a layer's inputs (both N x ..., of any type); `centred` about their means.

    `wanted` is what `whole` reads, of which `columns` of each filter's inputs are those of `module`; without both it is
    read by the same layer. Centred moments do not count a constant shift of the output: a batch norm or a corrected
    bias takes it away. What is left of inputs that hardly vary is far below the squares, so that these are summed in
    float64: in float32 the moments of constant inputs are not positive.
    """
    squares, products, means = [], [], []
    unfolded = received[0].numel() * module.weight[0, 0].numel()
    at_once = max(1, min(IMAGES_AT_ONCE, ELEMENTS_AT_ONCE // unfolded))
    for start in range(0, len(received), at_once):
        part = slice(start, start + at_once)
        x = unfold_inputs(module, received[part].double())
        y = x if wanted is received else unfold_inputs(module if whole is None else whole, wanted[part].double())
        squares.append(x @ x.mT)
        products.append(squares[-1] if wanted is received else x @ y.mT)
        means.append((x.sum(2), y.sum(2), x.shape[2]))
    count = sum(entry[2] for entry in means)
    square, product = (torch.stack(parts).sum(0) / count for parts in (squares, products))
    uncertain = PRECISION * square.diagonal(dim1=1, dim2=2).mean(1)
    if centred:
        x_mean, y_mean = (torch.stack(list(sums)).sum(0) / count for sums in list(zip(*means, strict=True))[:2])
        square = square - x_mean[:, :, None] * x_mean[:, None, :]
        product = product - x_mean[:, :, None] * y_mean[:, None, :]
    square.diagonal(dim1=1, dim2=2).add_(uncertain[:, None])
    if wanted is received:
        return Moments.settled(square, count)
    places = torch.arange(square.shape[1]) if columns is None else columns
    product[:, torch.arange(square.shape[1]), places] += uncertain[:, None]
    return Moments(received=square, wanted=product, columns=columns, samples=count)


class LayerInputs(fx.Interpreter):
    """Runs a network on `images` as far as it is asked for the input of a layer; keeps nothing behind that."""

    def __init__(self, model: fx.GraphModule, images: Inputs) -> None:
        super().__init__(model)
        self.extra_traceback = False  # it would become part of what a candidate failed for
        self.args_iter = iter(as_tuple(images))
        self.ahead: Iterator[fx.Node] = iter(self.graph.nodes)

    def of(self, name: str) -> Tensor:
        """Return what the layer at the node of that name reads; nodes are asked for in the order of computation."""
        for node in self.ahead:
            read = self.env[node.all_input_nodes[0]] if node.name == name else None
            self.env[node] = self.run_node(node)
            for used in self.user_to_last_uses.get(node, []):
                del self.env[used]
            if isinstance(read, Tensor):
                return read
        raise LookupError(f"node {name} is not ahead in the network")


def compute_float_moments(
    model: fx.GraphModule, images: Inputs, layers: Collection[str]
) -> Iterator[tuple[str, Moments]]:
    """Yield second moments of what these layers read in the float network, one layer at a time in depth order."""
    inputs = LayerInputs(model, images)
    for node in model.graph.nodes:
        if node.op == "call_module" and node.target in layers:
            with torch.no_grad():
                read = inputs.of(node.name)
                yield str(node.target), compute_moments(layer_module(model, str(node.target)), read, read, centred=True)
