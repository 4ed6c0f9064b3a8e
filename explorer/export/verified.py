"""What was found out about a handed-over network, as lines and as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from explorer.evaluate.mean_score import MeanScore, name_score
from explorer.export.artefact import Artefact, Port
from explorer.export.record import Record
from explorer.export.verify import TOLERANCE
from hwmodels import NetworkCost


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How a score compares with the recorded one.

    `is_same` says that both are of the same images: then it has to be equal but for TOLERANCE, else no more is known
    than by how many standard errors they differ.
    """

    promised: MeanScore
    is_same: bool
    difference: float
    standard_errors: float

    @property
    def is_broken(self) -> bool:
        """Whether the network scores otherwise than the export said of the same images."""
        return self.is_same and abs(self.difference) > TOLERANCE

    def __str__(self) -> str:
        told = f"{self.promised.value:.2%} of {self.promised.num_images:,} images"
        if not self.is_same:
            return f"{told}, others than these: {self.standard_errors:.1f} standard errors of the difference away"
        if self.difference == 0:
            return f"{told}, these: kept, to the image"
        return f"{told}, these: {'broken' if self.is_broken else 'kept'}, {100 * self.difference:+.2f} points"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Verified:
    """What was found out about an artefact; what could not be is None, and `notes` say why."""

    artefact: Artefact
    record: Record | None
    score_name: str
    score: MeanScore | None = None
    images: str = ""
    normalised: str = ""
    kept: Kept | None = None
    changed: tuple[str, ...] = ()
    """Files that are others than the record's."""
    device: str = ""
    cost: NetworkCost | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_as_promised(self) -> bool:
        """Whether nothing differs from what the export recorded."""
        return not self.changed and not (self.kept is not None and self.kept.is_broken)

    def rows(self) -> tuple[tuple[str, str], ...]:
        """Return what was found as (what, how much)."""
        artefact, score = self.artefact, self.score
        rows = [("network", f"{artefact.network}: {artefact.form}, {artefact.stored.total:,} bytes")]
        if self.record is not None:
            record = self.record
            rows.append(("from", f"point {record.point} of study {record.study}, for {record.device}"))
        if score is not None:
            told = f"{score.value:.2%} ±{score.standard_error:.2%} of {score.num_images:,} images, {self.images}"
            rows.append((name_score(self.score_name), told))
        if self.kept is not None:
            rows.append(("promised", str(self.kept)))
        if self.record is not None:
            files = f"others than were exported: {', '.join(self.changed)}" if self.changed else "as they were exported"
            rows.append(("files", files))
        rows += [("input", str(tensor)) for tensor in artefact.inputs]
        if score is not None:
            rows.append(("reads", self.normalised))
        if artefact.run is not None:
            rows.append(("output", str(artefact.output)))
        if self.record is not None and self.record.classes:
            rows.append(("classes", ", ".join(self.record.classes)))
        if self.cost is not None:
            rows.append((f"on {self.device}", _tell_cost(self.cost)))
        return (*rows, *(("note", note) for note in self.notes))

    def summary(self) -> str:
        """Return the rows as lines."""
        rows = self.rows()
        width = max(len(what) for what, _ in rows)
        return "\n".join(f"{what:{width}}  {told}" for what, told in rows)

    def __repr__(self) -> str:
        """Return the summary."""
        return self.summary()

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        artefact, record, stored = self.artefact, self.record, self.artefact.stored
        score = self.score
        return {
            "network": artefact.network.name,
            "format": artefact.form,
            "score": None if score is None else {"name": self.score_name, **_write(score), "of": self.images},
            "promised": None
            if self.kept is None
            else {**_write(self.kept.promised), "same_images": self.kept.is_same, "difference": self.kept.difference},
            "as_promised": None if record is None else self.is_as_promised,
            "changed_files": list(self.changed),
            "inputs": [_write_tensor(tensor) for tensor in artefact.inputs],
            "output": _write_tensor(artefact.output),
            "normalisation": None if record is None else {"mean": record.mean, "std": record.std},
            "classes": [] if record is None else list(record.classes),
            "bytes": {**stored.by_kind(), "total": stored.total, "weights_by_layer": dict(stored.weights)},
            "device": self.device or None,
            "cost": None if self.cost is None else _write_cost(self.cost),
            "notes": list(self.notes),
        }


def _tell_cost(cost: NetworkCost) -> str:
    return (
        f"{cost.energy_pj * 1e-6:.4g} uJ, {cost.latency_ms:.4g} ms, {cost.weight_bytes:,} bytes of weights, "
        f"{cost.macs:,} MACs"
    )


def _write_cost(cost: NetworkCost) -> dict[str, float]:
    return {
        "energy_uj": cost.energy_pj * 1e-6,
        "latency_ms": cost.latency_ms,
        "weight_bytes": cost.weight_bytes,
        "peak_activation_bytes": cost.peak_activation_bytes,
        "macs": cost.macs,
    }


def _write(score: MeanScore) -> dict[str, Any]:
    return {"value": score.value, "standard_error": score.standard_error, "images": score.num_images}


def _write_tensor(tensor: Port) -> Mapping[str, Any]:
    return {"name": tensor.name, "shape": tensor.shape, "type": tensor.type}
