"""What the layers that read a channel lose of their outputs without it, once all other channels make up for it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from explorer.graph.layers import Layer
from explorer.graph.modules import layer_module
from explorer.graph.unfold import unfold_inputs
from explorer.progress import Progress
from explorer.relevance.build import build_layer_relevance, build_relevance
from explorer.relevance.gradients import compute_derivatives
from explorer.relevance.multipliers import sum_per_channel
from explorer.relevance.sample import Sample
from explorer.relevance.scores import Relevance

DAMPING = 0.01
"""Share of the moments' mean diagonal added to the diagonal, so that they have an inverse (Frantar et al., 2022)."""
IMAGES_AT_ONCE = 16
"""Images whose windows are unfolded at a time (assumed)."""


def reconstruction(sample: Sample, progress: Progress | None = None) -> Relevance:
    """Return by how much the squared error of the layers that read a filter grows, filters removed one after the other.

    With H the second moments of what a layer reads, about the means that norms and biases take away, its output loses
    W_B ([H^-1]_BB)^-1 W_B^T without the columns B of a channel and with all other weights at their best (Hassibi and
    Stork, 1993, for blocks). Outputs count by the squared derivative of what the sample explains, summed over
    positions, and the layers that read the channel add up. The channel class of a group that loses least goes first,
    then the next one given that, all other groups whole; a score is the error that its removal adds, and never less
    than that of one before it. The error that channel pruning minimises is the same, its choice of channels is not
    (He et al., 2017; Luo et al., 2017). In units of the explained logit, squared. Layers whose filters all stay have
    score 1.

    Source:
        Hassibi and Stork, 1993; He et al., 2017.
    """
    readers = _find_readers(sample, progress)
    found: dict[int, float] = {}
    for group in sample.graph.prunable:
        own = [reader for name in sample.graph.layer_names for reader in readers[name] if reader.reads(group.classes)]
        found.update(_remove_in_turn(group.classes, [reader.copy() for reader in own]))
    filters = Counter(identity for layer in sample.graph.layers for identity in layer.output_classes)
    layers = []
    for layer in sample.graph.layers:
        scores = [found[each] / filters[each] if each in found else 1.0 for each in layer.output_classes]
        layers.append(build_layer_relevance(sample, layer.name, filter_scores=torch.tensor(scores)))
    return build_relevance(sample, "reconstruction", tuple(layers))


class _Reader:
    """One group of a layer: its filters (rows x k), each times what its output counts, and inverse moments (k x k)."""

    def __init__(self, weight: Tensor, inverse: Tensor, columns: dict[int, Tensor]) -> None:
        self.weight, self.inverse, self.columns = weight, inverse, columns

    def copy(self) -> _Reader:
        return _Reader(self.weight.clone(), self.inverse.clone(), self.columns)

    def reads(self, classes: Sequence[int]) -> bool:
        return any(identity in self.columns for identity in classes)

    def compute_errors(self, classes: Sequence[int]) -> Tensor:
        """Return what each class costs, given those that are gone; classes that it does not read cost nothing."""
        errors = self.weight.new_zeros(len(classes))
        by_size: defaultdict[int, list[int]] = defaultdict(list)
        for place, identity in enumerate(classes):
            if identity in self.columns:
                by_size[len(self.columns[identity])].append(place)
        for places in by_size.values():
            columns = torch.stack([self.columns[classes[place]] for place in places])
            blocks = self.inverse[columns[:, :, None], columns[:, None, :]]
            weights = self.weight[:, columns].transpose(0, 1)
            errors[places] = (weights @ torch.linalg.inv(blocks) * weights).sum((1, 2))
        return errors

    def remove(self, identity: int) -> None:
        """Let all other weights make up for those of a class, which are 0 from now on."""
        if identity not in self.columns:
            return
        gone = self.columns[identity]
        made_up = torch.linalg.solve(self.inverse[gone][:, gone], self.inverse[gone])
        self.weight -= self.weight[:, gone] @ made_up
        self.inverse -= self.inverse[:, gone] @ made_up


def _remove_in_turn(classes: Sequence[int], readers: Sequence[_Reader]) -> dict[int, float]:
    left, found, highest = list(classes), {}, 0.0
    while left:
        errors = torch.stack([reader.compute_errors(left) for reader in readers]).sum(0) if readers else torch.zeros(1)
        first = int(errors.argmin())
        identity, highest = left.pop(first), max(highest, float(errors[first]))
        found[identity] = highest
        for reader in readers:
            reader.remove(identity)
    return found


def _find_readers(sample: Sample, progress: Progress | None) -> dict[str, list[_Reader]]:
    """Return what reads, by layer; a filter of a depthwise convolution goes with its channel and loses nothing."""
    names = [layer.name for layer in sample.graph.layers if not layer.depthwise]
    counts = {name: torch.zeros(len(layer_module(sample.model, name).weight), dtype=torch.float64) for name in names}
    squares: dict[str, Tensor] = {}
    sums: dict[str, Tensor] = {}
    positions: Counter[str] = Counter()
    done = 0
    for part in sample.batches(IMAGES_AT_ONCE):
        found = compute_derivatives(part.model, part.inputs, names, partial(_explain, part.directions))
        for name in names:
            module = layer_module(sample.model, name)
            counts[name] += sum_per_channel(module, found.by_given[name].square()).double().sum(0).cpu()
            read = unfold_inputs(module, found.read[name].double()).cpu()
            squares[name] = read @ read.mT + squares.get(name, 0.0)
            sums[name] = read.sum(2) + sums.get(name, 0.0)
            positions[name] += read.shape[2]
        done += len(part)
        if progress is not None:
            progress(done, len(sample))
    readers: dict[str, list[_Reader]] = {}
    for layer in sample.graph.layers:
        name = layer.name
        readers[name] = []
        if name in squares:
            mean = sums.pop(name) / positions[name]
            moments = squares.pop(name) / positions[name] - mean[:, :, None] * mean[:, None, :]
            weight = layer_module(sample.model, name).weight.detach().double().cpu()
            counted = weight.flatten(1) * (counts[name] / len(sample)).sqrt()[:, None]
            readers[name] = _split(layer, counted, moments)
    return readers


def _explain(directions: Tensor, outputs: Tensor) -> Tensor:
    return (outputs * directions).sum()


def _split(layer: Layer, weight: Tensor, moments: Tensor) -> list[_Reader]:
    """Return the groups of a layer."""
    groups, size = moments.shape[:2]
    diagonal = moments.diagonal(dim1=1, dim2=2)
    damping = (DAMPING * diagonal.mean(1)).clamp_min(torch.finfo(torch.float32).tiny)
    inverse = torch.linalg.inv(moments + damping[:, None, None] * torch.eye(size, dtype=moments.dtype))
    channels = len(layer.input_classes) // groups
    found = []
    for group, rows in enumerate(weight.view(groups, -1, size)):
        columns: defaultdict[int, list[int]] = defaultdict(list)
        for place, identity in enumerate(layer.input_classes[group * channels : (group + 1) * channels]):
            columns[identity] += range(place * (size // channels), (place + 1) * (size // channels))
        by_class = {identity: torch.tensor(places) for identity, places in columns.items()}
        found.append(_Reader(rows, inverse[group], by_class))
    return found
