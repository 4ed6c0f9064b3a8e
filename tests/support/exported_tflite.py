"""Exports for LiteRT of networks of uniform widths, and whether Arm's compiler is there for them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate, uniform
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.score import ACCURACY
from explorer.export.formats import Deployment
from explorer.export.tflite import package
from explorer.graph.inputs import take
from explorer.study.record import Evaluation, FrontPoint
from tests.support.costs import make_cost

needs_litert = pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None, reason="no ai-edge-litert; pip install ai-edge-litert"
)
needs_vela = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("ai_edge_litert", "ethosu")),
    reason="no ai-edge-litert or ethos-u-vela; pip install ai-edge-litert ethos-u-vela",
)


def open_on_noise(make: Callable[[], nn.Module], *shape: int) -> CompressionContext:
    """The context of a network that is calibrated on normal noise; its batch norms have seen some."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, images = make(), torch.randn(8, *shape)
        with torch.no_grad():
            model.train()(images)
    return CompressionContext.of(model.eval(), images)


def deployment_of(base: CompressionContext, candidate: Candidate, device: str = "ethos_u55_128") -> Deployment:
    """What an export of a candidate takes; the images that check it are those that calibrate."""
    images = take(base.calibration.images, slice(4))
    model = apply(base, candidate)
    with torch.no_grad():
        labels = model(*images).argmax(1)
    evaluation = Evaluation(number=0, origin="tests", candidate=candidate, cost=make_cost(), score=None)
    return Deployment(
        point=FrontPoint(name="p01", evaluation=evaluation, held_out=MeanScore(value=1.0, num_images=4)),
        model=model,
        context=base,
        images=images,
        targets=labels,
        score=ACCURACY,
        study="tests",
        device=device,
    )


def export_uniform(
    base: CompressionContext, folder: Path, bits: tuple[int, int] = (8, 8), device: str = "ethos_u55_128"
) -> Path:
    """Write the file of a network with all layers at the same widths; returns it."""
    return package.write(deployment_of(base, uniform(base.graph, *bits), device), folder).files[0]
