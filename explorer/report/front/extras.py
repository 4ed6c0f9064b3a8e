"""What the page draws beside the front: how it grew, which choices matter, what layers keep, rooflines, the referee."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

from explorer.errors import ExplorerError
from explorer.objectives import costs_named, score_named
from explorer.report.front.evaluations import ChoiceTable, shorten
from explorer.report.front.history import measure_history
from explorer.report.front.importance import measure_importance
from explorer.report.front.information import build_information_view, count_bits
from explorer.report.roofline.views import measure_peak
from explorer.study.record import UNIFORM, Outcome
from explorer.study.study_file import Study, load_accelerator
from hwmodels import load

KEPT = "referee.json"
"""What the referee keeps in the folder of a run."""


def list_history(outcome: Outcome) -> dict[str, Any] | None:
    """Return where the hypervolume rose: [place of the evaluation, share] of each rise."""
    found = measure_history(outcome)
    if found is None:
        return None
    rises = [(0, 0.0), *((place + 1, share) for place, share in enumerate(found.shares))]
    told = [rise for before, rise in zip((None, *rises), rises, strict=False) if before is None or rise[1] > before[1]]
    axes = costs_named(outcome.objectives)
    reference = [[axis.heading, value, axis.unit] for axis, value in zip(axes, found.costs, strict=True)]
    return {
        "rises": [[place, shorten(share)] for place, share in told],
        "count": len(found.shares),
        "least": found.least,
        "reference": reference,
    }


def list_importance(outcome: Outcome, table: ChoiceTable) -> dict[str, Any] | None:
    """Return what every choice does to the score and to the study's costs, over all evaluations and over the front."""
    kept = [place for place, item in enumerate(outcome.evaluations) if item.score is not None]
    axes = costs_named(outcome.objectives)
    titles = [[score_named(outcome.objectives).heading, "score"], *([axis.heading, axis.key] for axis in axes)]
    values = np.array(
        [
            [item.score.value, *(axis.value(item.cost, 0.0) for axis in axes)]
            for place in kept
            if (item := outcome.evaluations[place]).score is not None
        ],
        dtype=np.float64,
    ).reshape(len(kept), len(titles))
    members = {point.evaluation.number for point in outcome.front}
    front = np.flatnonzero([outcome.evaluations[place].number in members for place in kept])
    known = np.isfinite(values).all(axis=0)
    chosen = table.rows[kept]
    counts = [len(axis.values) for axis in table.axes]
    found = measure_importance(chosen, counts, values[:, known], front)
    if found is None:
        return None
    named = [titles[place] for place in np.flatnonzero(known)]
    return {
        "axes": [[axis.of, axis.field, list(axis.values)] for axis in table.axes],
        "values": [
            {
                "title": title,
                "key": key,
                "explained": shorten(each.explained),
                "left_out": shorten(each.left_out),
                "shares": [shorten(share) for share in each.shares.tolist()],
                "front": [shorten(share) for share in each.front_shares.tolist()],
                "effects": [[shorten(effect) for effect in effects.tolist()] for effects in each.effects],
            }
            for (title, key), each in zip(named, found, strict=True)
        ],
    }


def list_information(outcome: Outcome, folder: Path | None) -> dict[str, Any] | None:
    """Return what each layer carries, and what it keeps in every member of the front; a reason where nobody knows."""
    if folder is None:
        return None
    view = build_information_view(outcome, folder)
    if isinstance(view, str):
        return {"missing": view}
    return {
        "method": view.method,
        "layers": [
            {
                "layer": each.layer,
                "group": each.group,
                "carried": shorten(count_bits(each.signal, each.finest)),
                "relevance": [[ratio, shorten(share)] for ratio, share in each.relevance_kept],
            }
            for each in view.layers
        ],
        "kept": {
            point.name: [None if bits is None else shorten(bits) for bits in view.bits_kept(point.evaluation.candidate)]
            for point in outcome.front
        },
    }


def list_roofs(outcome: Outcome) -> dict[str, Any] | None:
    """Return the device's bandwidth, clock and peaks by widths; None where its layers' traffic or profile is gone."""
    plain = [entry.cost for entry in outcome.baselines if entry.name == UNIFORM]
    rows = [row for cost in (*plain, *(point.evaluation.cost for point in outcome.front)) for row in cost.layers]
    drawn = [row for row in rows if row.macs and row.latency_cycles and row.memory_bits]
    if not drawn:
        return None
    try:
        accelerator = load_accelerator(Study.from_json(outcome.study))
    except ExplorerError:
        return None
    wanted = sorted({(row.weight_bits or max(accelerator.weight_bits), row.activation_bits) for row in drawn})
    return {
        "clock_hz": accelerator.clock_hz,
        "bandwidth": sum(memory.bandwidth_bits_per_s for memory in accelerator.memories) / 8.0,
        "peaks": [[*widths, *measure_peak(widths, accelerator)] for widths in wanted],
    }


def list_referees(outcome: Outcome, folder: Path | None) -> list[dict[str, Any]]:
    """Return, for each device that members were compiled for, our figures of them and the compiler's; empty for none.

    Figures are those of `Figures`, in its order.
    """
    if folder is None or not (folder / KEPT).is_file():
        return []
    from explorer.referee.kept import read_compiled  # noqa: PLC0415  (with what few runs have)

    names = {point.evaluation.candidate.digest(): point.name for point in outcome.front}
    told: list[dict[str, Any]] = []
    for device, members in read_compiled(folder, outcome.provenance.get("weights digest", "")).items():
        try:
            accelerator = load(device)
        except (OSError, ValueError):  # a profile of the user's own
            continue
        shown: list[dict[str, Any]] = [
            {
                "name": names[digest],
                "ours": astuple(each.by_model(accelerator)),
                "vela": None if each.vela is None else astuple(each.vela),
                "refused": each.refused,
            }
            for digest, each in members.items()
            if digest in names
        ]
        if shown:
            told.append({"device": device, "members": sorted(shown, key=lambda row: str(row["name"]))})
    return told
