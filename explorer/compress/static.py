"""The integers of a layer that are known without a pass of the candidate's network, each found once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from functools import cached_property
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx

from explorer.compress.calibrate import Calibration
from explorer.compress.candidate import LayerChoice
from explorer.compress.correction import absorbs_shift
from explorer.compress.merge import find_twins, merge_columns
from explorer.compress.moments import LayerInputs, Moments, compute_moments
from explorer.compress.norms import find_fold_gains
from explorer.compress.plan import decide_weights
from explorer.compress.problem import LayerProblem, find_fitted_codes
from explorer.compress.weights import find_codes
from explorer.graph.inputs import take
from explorer.graph.layers import Layer, ModelGraph
from explorer.graph.modules import layer_module
from explorer.settings import QuantizerSettings

MOMENTS_BYTES, CODES_BYTES = 2**29, 2**27
"""Bytes of moments and of codes that are remembered of a network and all that it is shortened to (assumed: all moments
of ResNet-56 take 33 MB, of VGG-16 500, and twice that without some blocks)."""


class StaticMemory:
    """What the `StaticCodes` of a network, and of all that is made of it, remember together."""

    def __init__(self) -> None:
        self.codes = _Remembered()
        self._moments: WeakKeyDictionary[StaticCodes, dict[str, Moments]] = WeakKeyDictionary()

    def find_moments(self, network: StaticCodes) -> dict[str, Moments]:
        """Return what is remembered of one network, by layer; it is now the one that was last asked for."""
        found = self._moments[network] = self._moments.pop(network, {})
        return found

    def make_room(self, network: StaticCodes, size: int) -> bool:
        """Return whether so many bytes more of a network may be remembered.

        Other networks are forgotten for it, those not asked for the longest first; the network's own layers are not:
        each of them would take a pass again and again.
        """
        taken = {each: sum(entry.nbytes for entry in known.values()) for each, known in self._moments.items()}
        if taken.get(network, 0) + size > MOMENTS_BYTES:
            return False
        for other in [each for each in taken if each is not network]:
            if sum(taken.values()) + size <= MOMENTS_BYTES:
                break
            del self._moments[other], taken[other]
        return True


class StaticCodes:
    """Codes and scales of the layers of one network, by choice and by the channels that stay.

    With compensation they are solved for on second moments of the float network alone: the inputs that stay are taken
    to be what they are there, so that a candidate costs a solve for each of its layers, and no pass. Moments are
    computed when they are first asked for, on the images that adaptive rounding looks at, in one pass for all layers
    as far as MOMENTS_BYTES reaches; those of other layers take a pass each time. They are kept as float32, in a
    memory that may be shared with other networks. Where
    `model` is the `reference` without some of its blocks, its layers make good for these, too: for the difference of
    what they read in both float networks. Layers with shared weights and transposed convolutions are rounded to the
    nearest, whatever the settings.
    """

    def __init__(
        self,
        model: fx.GraphModule,
        graph: ModelGraph,
        calibration: Calibration,
        settings: QuantizerSettings,
        reference: fx.GraphModule,
        memory: StaticMemory,
    ) -> None:
        self.model, self.graph, self.calibration, self.settings = model, graph, calibration, settings
        self.reference, self.solvable = reference, list_solvable(graph)
        self._memory, self._token = memory, object()
        self._twins: tuple[frozenset[int], Mapping[int, int]] | None = None

    def find(
        self,
        layer: Layer,
        choice: LayerChoice,
        kept: frozenset[int],
        step: float | None,
        importance: Callable[[], Tensor | None],
    ) -> tuple[Tensor, Tensor]:
        """Return the codes (int8, out x in x ... as far as they stay) and the scales of a layer."""
        problem = LayerProblem.of(layer_module(self.reference, layer.name), layer, kept)
        places = tuple(problem.outputs.tolist()), tuple(problem.inputs.tolist())

        def compute() -> tuple[Tensor, Tensor]:
            codes, scale = self._compute(problem, choice, kept, step, importance())
            return codes.to(torch.int8), scale

        return self._memory.codes.get((self._token, layer.name, decide_weights(choice), places), compute)

    def find_twins(self, kept: frozenset[int]) -> Mapping[int, int]:
        """Return which class that stays takes over from each that goes; remembered for the last `kept`."""
        if self._twins is None or self._twins[0] != kept:
            self._twins = kept, find_twins(self.model, self.graph, kept)
        return self._twins[1]

    def solve(self, layer: Layer, kept: frozenset[int]) -> Tensor:
        """Return the real weights of a layer that has lost inputs, made to fit as far as that takes no pass."""
        return self._solve(LayerProblem.of(layer_module(self.reference, layer.name), layer, kept), kept)

    def moments(self, name: str) -> Moments:
        """Return the second moments of what a layer reads in the float network."""
        return self._memory.find_moments(self).get(name) or self._measure(name)

    def _compute(
        self,
        problem: LayerProblem,
        choice: LayerChoice,
        kept: frozenset[int],
        step: float | None,
        importance: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        settings, name, weight = self.settings, problem.layer.name, self._solve(problem, kept)
        gain = self._gains[name][problem.outputs] if settings.power_of_two else None
        prunes = choice.weight_density < 1 or choice.pattern is not None
        needed = prunes or settings.rounding == "adaptive"
        if settings.fitting != "static" or not needed or name not in self.solvable:
            scale = None
            if choice.codebook_size is not None:  # values are shared at the scale that they have without
                plain = replace(choice, codebook_size=None)
                scale = self.find(problem.layer, plain, kept, step, lambda: importance)[1]
            return find_codes(weight, choice, importance, settings, step, scale, gain)
        given = Moments.settled(problem.select(self.moments(name)).received)
        return find_fitted_codes(weight, choice, given, importance, settings, step, gain)

    @cached_property
    def _gains(self) -> Mapping[str, Tensor]:
        """What batch norms multiply each layer's filters with in the float network."""
        return find_fold_gains(self.model, self.graph.layer_names)

    def _solve(self, problem: LayerProblem, kept: frozenset[int]) -> Tensor:
        how, name = self.settings.fitting, problem.layer.name
        if how == "merge":
            return problem.keep_inputs(merge_columns(problem.weight, problem.layer, self.find_twins(kept)))
        solves = problem.loses_inputs or self.reference is not self.model
        if how == "static" and solves and name in self.solvable:
            return problem.solve(problem.select(self.moments(name)))
        return problem.kept_weight

    def _measure(self, name: str) -> Moments:
        """Measure a layer, and on the way all that are not known yet, as far as they may be remembered."""
        images = take(self.calibration.images, slice(self.settings.rounding_images))
        own = LayerInputs(self.model, images)
        whole = own if self.reference is self.model else LayerInputs(self.reference, images)
        known, found = self._memory.find_moments(self), None
        for node in self.model.graph.nodes:
            target = str(node.target)
            if node.op != "call_module" or target not in self.solvable or target in known:
                continue
            module = layer_module(self.model, target)
            size = 4 * self.graph.layer(target).groups * module.weight[0].numel() ** 2 * (1 if whole is own else 2)
            has_room = self._memory.make_room(self, size)
            if not has_room and target != name:
                continue
            with torch.no_grad():
                read = own.of(node.name)
                wanted = read if whole is own else whole.of(node.name)
                centred = (self.settings.bias_correction and module.bias is not None) or absorbs_shift(self.model, node)
                given = compute_moments(module, read, wanted, centred=centred).to_float32()
            if has_room:
                known[target] = given
            if target == name:
                found = given
        if found is None:
            raise LookupError(f"layer {name} is not one that is solved for")
        return found


def list_solvable(graph: ModelGraph) -> frozenset[str]:
    """Return the layers whose weights are solved for: those with weights of their own, transposed convolutions aside.

    What a filter of a transposed convolution is multiplied with depends on the place in its window.
    """
    shared = {layer.shares_weights for layer in graph.layers}
    return frozenset(
        layer.name
        for layer in graph.layers
        if layer.name not in shared and layer.chosen_by == layer.name and not layer.transposed
    )


class _Remembered:
    """Codes and scales by key; of more than CODES_BYTES, those not asked for the longest are forgotten."""

    def __init__(self) -> None:
        self._size = 0
        self._found: OrderedDict[Hashable, tuple[Tensor, Tensor]] = OrderedDict()

    def get(self, key: Hashable, compute: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        found = self._found.pop(key, None)
        if found is None:
            found = compute()
            self._size += sum(each.nbytes for each in found)
        self._found[key] = found
        while self._size > CODES_BYTES and len(self._found) > 1:
            _, old = self._found.popitem(last=False)
            self._size -= sum(each.nbytes for each in old)
        return found
