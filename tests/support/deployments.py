"""A small network as it is handed to an export."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate, uniform
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.score import ACCURACY
from explorer.export.formats import Deployment
from explorer.study.record import Evaluation, FrontPoint
from tests.support.costs import make_cost


def make_deployment(base: CompressionContext, images: Tensor, candidate: Candidate) -> Deployment:
    """A candidate, its labels what the float network says of the images."""
    with torch.no_grad():
        labels = base.model(images).argmax(1)
    evaluation = Evaluation(number=0, origin="given", candidate=candidate, cost=make_cost(), score=None)
    return Deployment(
        point=FrontPoint(name="p01", evaluation=evaluation, held_out=MeanScore(value=0.5, num_images=len(images))),
        model=apply(base, candidate),
        context=base,
        images=images,
        targets=labels,
        score=ACCURACY,
        study="tests",
        device="edge-npu",
    )


def mix_widths(base: CompressionContext) -> Candidate:
    """Every width in turn, and layers of which all, or each filter's, weights share values."""
    plain = uniform(base.graph, 8, 8)
    layers = tuple(
        replace(
            choice,
            weight_bits=8 - number % 8,
            codebook_size={1: 3, 2: 5}.get(number),
            codebook_granularity="channel" if number == 2 else "layer",
        )
        for number, choice in enumerate(plain.layers)
    )
    return replace(plain, layers=layers)
