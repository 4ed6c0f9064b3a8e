"""Records of relevance, their storage without pickle, and the filter order that follows from them."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from explorer.errors import RelevanceError
from explorer.files import replaced
from explorer.graph.layers import ModelGraph

Floats = NDArray[np.float32]
_ARRAYS = ("filter_scores", "weight_multipliers", "input_multipliers")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerRelevance:
    """Relevance at one layer, means over the images used.

    `filter_scores` (out_channels): |sum over positions of the contribution| of each filter's output to the
    target logit. `weight_multipliers` (shape of the weight): |change of the target logit per unit change of
    the weight|. `input_multipliers` (in_channels): the same per unit change of an input element, summed over
    the channel's positions.
    """

    layer: str
    filter_scores: Floats
    weight_multipliers: Floats
    input_multipliers: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Relevance:
    """Relevance of a whole network.

    `completeness` is mean |sum of contributions at the input - output difference| over mean |output
    difference|: 0 for an attribution that adds up (Shrikumar et al., 2017, eq. 1).
    """

    method: str
    reference: str
    target: str
    samples: int
    completeness: float
    layers: tuple[LayerRelevance, ...]

    def layer(self, name: str) -> LayerRelevance:
        """The relevance at a layer; RelevanceError when there is none."""
        for entry in self.layers:
            if entry.layer == name:
                return entry
        raise RelevanceError(f"relevance: nothing is known of layer {name!r}")

    def digest(self) -> str:
        """SHA-256 over all scores and how they were made, first 16 hexadecimal digits."""
        state = hashlib.sha256(json.dumps(self._description(), sort_keys=True).encode())
        for entry in self.layers:
            for key in _ARRAYS:
                state.update(np.ascontiguousarray(getattr(entry, key)).tobytes())
        return state.hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Write an .npz file without pickled objects, whole or not at all."""
        arrays = {f"{index}/{key}": getattr(entry, key) for index, entry in enumerate(self.layers) for key in _ARRAYS}
        with replaced(path) as file:
            np.savez_compressed(file, description=np.array(json.dumps(self._description())), **arrays)

    @classmethod
    def load(cls, path: Path) -> Relevance:
        """Read what `save` wrote; RelevanceError when the file is not of that kind."""
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                description = json.loads(str(file["description"]))
                layers = tuple(
                    LayerRelevance(layer=name, **{key: file[f"{index}/{key}"] for key in _ARRAYS})
                    for index, name in enumerate(description.pop("layers"))
                )
            return cls(layers=layers, **description)
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
            raise RelevanceError(
                f"{path}: not a relevance file of this version ({error}); delete it to compute it again"
            ) from error

    def _description(self) -> dict[str, object]:
        return {
            "method": self.method,
            "reference": self.reference,
            "target": self.target,
            "samples": self.samples,
            "completeness": self.completeness,
            "layers": [entry.layer for entry in self.layers],
        }


def class_scores(graph: ModelGraph, relevance: Relevance) -> dict[int, float]:
    """Relevance of every channel class: the sum over the filters that it would remove."""
    scores: defaultdict[int, float] = defaultdict(float)
    for layer in graph.layers:
        filters = relevance.layer(layer.name).filter_scores
        for identity, score in zip(layer.output_classes, filters.tolist(), strict=True):
            scores[identity] += score
    return dict(scores)


def filter_order(graph: ModelGraph, relevance: Relevance) -> dict[str, tuple[int, ...]]:
    """For every prunable group its channel classes, the most relevant first; ties in channel order."""
    scores = class_scores(graph, relevance)
    return {
        group.name: tuple(sorted(group.classes, key=lambda identity: (-scores.get(identity, 0.0), identity)))
        for group in graph.prunable
    }
