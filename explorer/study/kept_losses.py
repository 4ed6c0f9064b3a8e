"""The table of estimated losses that a search started from, kept in the folder of its run for its report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from explorer.compress.candidate import Candidate, LayerChoice, canonicalise_choice
from explorer.errors import SearchError
from explorer.files import replaced

if TYPE_CHECKING:
    from explorer.search.sensitivity import Sensitivity

LOSSES = "losses.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLosses:
    """The losses of a `Sensitivity` that was estimated by `method`: squared changes of what relevance explains.

    `weights[layer][choice]` are of choices at 8-bit inputs, `activations[layer][bits]` of inputs, and
    `filters[group][ratio]` of the filters removed from a group.
    """

    method: str
    weights: Mapping[str, Mapping[LayerChoice, float]]
    activations: Mapping[str, Mapping[int, float]]
    filters: Mapping[str, Mapping[float, float]]

    def find(self, candidate: Candidate, layer: str) -> tuple[float | None, float | None]:
        """Return what a candidate loses by the weights of a layer and by its inputs; None where that is not known."""
        choice = candidate.choice(layer)
        plain = canonicalise_choice(layer=layer, **{**choice.to_json(), "activation_bits": 8})
        return self.weights.get(layer, {}).get(plain), self.activations.get(layer, {}).get(choice.activation_bits)


def keep_losses(folder: Path, method: str, losses: Sensitivity) -> Sensitivity:
    """Keep a table in a run's folder, infinite losses as null, and return it; `method` is how it was made."""
    data = {
        "method": method,
        "weights": {
            layer: [[choice.to_json(), _finite(loss)] for choice, loss in table.items()]
            for layer, table in losses.weights.items()
        },
        "activations": {layer: list(table.items()) for layer, table in losses.activations.items()},
        "filters": {group: list(table.items()) for group, table in losses.filters.items()},
    }
    with replaced(folder / LOSSES) as file:
        file.write(json.dumps(data, separators=(",", ":")).encode())
    return losses


def read_losses(folder: Path) -> KeptLosses | None:
    """Return the table; None where the run kept none.

    Raises:
        SearchError: It cannot be read.
    """
    path = folder / LOSSES
    if not path.is_file():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return KeptLosses(
            method=str(data["method"]),
            weights={
                layer: {
                    LayerChoice(layer=layer, **choice): float("inf") if loss is None else float(loss)
                    for choice, loss in table
                }
                for layer, table in data["weights"].items()
            },
            activations={
                layer: {int(bits): float(loss) for bits, loss in table} for layer, table in data["activations"].items()
            },
            filters={
                group: {float(ratio): float(loss) for ratio, loss in table} for group, table in data["filters"].items()
            },
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SearchError(
            f"{path}: cannot be read ({type(error).__name__}: {error}); a new run writes it anew"
        ) from error


def _finite(loss: float) -> float | None:
    return loss if loss < float("inf") else None
