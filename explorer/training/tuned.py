"""What fine-tuning made of a network: its float parameters, and what was held fixed meanwhile; as a file, too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

from explorer.compress.activations import insert_quantizers
from explorer.compress.apply import CompressionContext, finish, without_filters
from explorer.compress.candidate import Candidate
from explorer.compress.quantize import ActivationQuantizer
from explorer.compress.weights import attach_codes
from explorer.errors import CandidateError
from explorer.files import replaced
from explorer.graph.modules import layer_module
from explorer.models.checkpoint import read_tensors
from explorer.training.straight_through import compute_shared_codes, compute_weight_codes

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tuned:
    """A fine-tuned network, its filters removed, of the candidate with digest `candidate`.

    `state` holds all parameters and batch-norm statistics by name. By layer: `scales` of the weights (one per
    output channel), `masks` (True where a weight is not pruned; only where any is), `clusters` (which of the
    `centroids` each weight has) and `centroids` (in codes, not yet rounded), only where weights are shared.
    `ranges` are (scale, zero point) of the activation quantisers by their module's name. `description` is plain
    data: how it was tuned.
    """

    candidate: str
    description: Mapping[str, Any]
    state: Tensors
    scales: Tensors
    masks: Tensors
    clusters: Tensors
    centroids: Tensors
    ranges: Tensors

    def codes(self, layer: str, weight: Tensor, bits: int) -> Tensor:
        """Return integer codes (float tensor of the shape of `weight`) that a layer is deployed with."""
        mask = self.masks.get(layer)
        if layer in self.clusters:
            return compute_shared_codes(self.centroids[layer], self.clusters[layer].long(), bits, mask)
        return compute_weight_codes(weight, self.scales[layer], bits, mask)

    def save(self, path: Path) -> None:
        """Write it whole or not at all, as tensors and text."""
        content = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        content["description"] = json.dumps(dict(self.description), sort_keys=True)
        with replaced(path) as file:
            torch.save(content, file)

    @classmethod
    def load(cls, path: Path) -> Tuned:
        """Read it as data only.

        Raises:
            CandidateError: When the file is missing or no such file.
        """
        try:
            content: Any = read_tensors(path, str(path))
            content["description"] = json.loads(content["description"])
            return cls(**content)
        except (OSError, KeyError, ValueError, TypeError, RecursionError) as error:
            raise CandidateError(
                f"{path}: cannot be read as a fine-tuned network ({type(error).__name__}); delete it and tune again"
            ) from error


def rebuild(context: CompressionContext, candidate: Candidate, tuned: Tuned) -> fx.GraphModule:
    """Return the network that `apply` gives for a candidate, with what fine-tuning made of it put in.

    Weights, scales, ranges and norms are those that were trained.

    Raises:
        CandidateError: When the candidate does not fit the network, or `tuned` not the candidate.
    """
    context = context.shortened(candidate.removed_blocks)
    resolved = context.resolve(candidate)
    _refuse_other(tuned, candidate)
    model = without_filters(context, resolved.kept)
    load_state(model, tuned)
    for name, choice in resolved.choices.items():
        module = layer_module(model, name)
        attach_codes(module, tuned.codes(name, module.weight.data, choice.weight_bits), tuned.scales[name])
    insert_quantizers(model, context.graph, context.calibration, resolved)
    _load_ranges(model, tuned)
    return finish(model.to(context.calibration.torch_device), resolved.choices, context.quantizer)


def _refuse_other(tuned: Tuned, candidate: Candidate) -> None:
    """Raise CandidateError unless `tuned` was made of this candidate."""
    if tuned.candidate != candidate.digest():
        raise CandidateError(
            f"the fine-tuned network is that of candidate {tuned.candidate}, not of {candidate.digest()}; tune this one"
        )


def load_state(model: fx.GraphModule, tuned: Tuned) -> None:
    """Give a network without the removed filters the tuned parameters.

    Raises:
        CandidateError: Where they do not fit.
    """
    try:
        model.load_state_dict(dict(tuned.state))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise CandidateError(f"fine-tuned network {tuned.candidate} does not fit this one: {reason}") from error


def _load_ranges(model: fx.GraphModule, tuned: Tuned) -> None:
    """Give every activation quantiser its tuned range."""
    for name, (scale, zero_point) in tuned.ranges.items():
        quantizer = model.get_submodule(name)
        assert isinstance(quantizer, ActivationQuantizer)
        quantizer.scale, quantizer.zero_point = scale.clone(), int(zero_point)
