"""A small network as it is handed to an export."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate, uniform
from explorer.data.load import load_data
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.score import ACCURACY
from explorer.export.formats import Deployment
from explorer.models.lenet import LeNet5Digits
from explorer.settings import DataSettings
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


def deploy_digits(bits: tuple[int, int] = (4, 8)) -> Deployment:
    """A briefly trained network of the digits at these widths, and the held-out images of a study of them."""
    data = load_data(DataSettings(source="digits", calibration=64))
    train, labels = data.train.tensors(torch.device("cpu"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LeNet5Digits(classes=10)
        optimizer = torch.optim.Adam(model.parameters(), 0.003)
        for start in [*range(0, len(labels), 50)] * 3:
            optimizer.zero_grad()
            part = slice(start, start + 50)
            torch.nn.functional.cross_entropy(model(train[0][part]), labels[part]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    base = CompressionContext.of(model.eval(), data.calibration.tensors(torch.device("cpu"))[0])
    images, targets = data.held_out.tensors(torch.device("cpu"))
    deployment = make_deployment(base, images[0], uniform(base.graph, *bits))
    return replace(deployment, images=images, targets=targets, data=data, device="bitfusion")
