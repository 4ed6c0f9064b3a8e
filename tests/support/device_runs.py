"""Finished searches of one network for several devices, made of candidates and the accuracies that they shall have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import hwmodels
from explorer.comparison.devices import DeviceRun
from explorer.compress.candidate import Candidate, uniform
from explorer.evaluate.mean_score import MeanScore
from explorer.graph.layers import ModelGraph
from explorer.study.costing import candidate_cost, float_cost
from explorer.study.record import Baseline, Evaluation, FrontPoint, Outcome

IMAGES = 100
FLOAT = 0.90


def widths(graph: ModelGraph, weights: int, activations: int, filters: float = 1.0) -> Candidate:
    """A candidate with equal choices everywhere."""
    start = uniform(graph)
    layers = tuple(replace(entry, weight_bits=weights, activation_bits=activations) for entry in start.layers)
    return Candidate(layers=layers, filter_keep_ratio=tuple((group.name, filters) for group in graph.prunable))


def run_of(graph: ModelGraph, device: str, found: Sequence[tuple[Candidate, float]], seed: int = 1) -> DeviceRun:
    """A run that evaluated these candidates, each on its front, with an accuracy in shares."""
    accelerator = hwmodels.load(device)
    evaluations = tuple(
        Evaluation(
            number=number,
            origin="seed",
            candidate=candidate,
            cost=candidate_cost(graph, candidate, accelerator),
            score=MeanScore(value=value, num_images=IMAGES),
        )
        for number, (candidate, value) in enumerate(found)
    )
    scored = MeanScore(value=FLOAT, num_images=IMAGES)
    outcome = Outcome(
        study={"study": {"name": "small"}},
        device=device,
        device_title=accelerator.title,
        objectives=("accuracy", "energy", "latency"),
        baselines=(
            Baseline(name="float", cost=float_cost(graph, accelerator), search=scored, held_out=scored),
            Baseline(
                name="uniform 8-bit",
                cost=candidate_cost(graph, uniform(graph), accelerator),
                search=scored,
                held_out=scored,
            ),
        ),
        front=tuple(
            FrontPoint(name=f"p{entry.number}", evaluation=entry, held_out=MeanScore(value=0.5, num_images=IMAGES))
            for entry in evaluations
        ),
        evaluations=evaluations,
        skipped=(),
        provenance={"weights digest": "w", "device digest": accelerator.digest()[:16]},
    )
    return DeviceRun(outcome=outcome, accelerator=accelerator, seed=seed)
