"""Every option of the quantiser builds what was planned, and exports to a network of the same predictions."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.calibrate import calibrate
from explorer.compress.candidate import Candidate, uniform
from explorer.compress.quantize import ActivationQuantizer
from explorer.errors import CandidateError
from explorer.export.onnx.qdq import export_onnx
from explorer.export.verify import verify_onnx
from explorer.settings import QuantizerSettings
from explorer.training.trainable import trainable
from tests.support.square import check_square, random_candidate
from tests.support.tiers import cases, thinned

OPTIONS = {
    "tensor": QuantizerSettings(scale_granularity="tensor"),
    "adaptive": QuantizerSettings(rounding="adaptive", rounding_images=16),
    "adaptive, tensor": QuantizerSettings(rounding="adaptive", rounding_images=8, scale_granularity="tensor"),
    "ecq": QuantizerSettings(rounding="ecq", entropy_rate=0.2),
    "merge": QuantizerSettings(compensation="merge"),
    "percentile": QuantizerSettings(activation_ranges="percentile", activation_percentile=99.0),
    "powers of two": QuantizerSettings(power_of_two=True),
    "powers of two, tensor, static": QuantizerSettings(
        power_of_two=True, scale_granularity="tensor", compensation="static", rounding_images=16
    ),
    "no bias correction": QuantizerSettings(bias_correction=False),
    "few images": QuantizerSettings(recalibration_images=8),
}


def with_one_bit(candidate: Candidate, draw: random.Random) -> Candidate:
    """A third of the layers at 1 bit, which is neither pruned nor shared."""
    layers = tuple(
        replace(
            choice, weight_bits=1, weight_density=1.0, codebook_size=None, codebook_granularity="layer", pattern=None
        )
        if draw.random() < 1 / 3
        else choice
        for choice in candidate.layers
    )
    return replace(candidate, layers=layers)


def has_powers_of_two(built: nn.Module, granularity: str) -> bool:
    """Whether each scale is one, of a tensor one and the same, and each zero point 0 or in the middle."""
    quantizers = [module for module in built.modules() if isinstance(module, ActivationQuantizer)]
    assert all(each.zero_point in (0, 2 ** (each.bits - 1)) for each in quantizers)
    scales = [scale for name, scale in built.named_buffers() if name.endswith("scale")]
    assert len(scales) > len(quantizers) > 0
    alive = [scale[scale > scale.max() * 2**-16] for scale in scales]  # a norm multiplies the others with 0
    assert granularity == "channel" or all(len(set(scale.tolist())) == 1 for scale in alive)
    return all(bool((torch.frexp(scale)[0] == 0.5).all()) for scale in scales)


@cases(1, 4)
@thinned("name option", 2, ["lenet5_digits", "option_a", "projection", "mixed", "gated"], OPTIONS)
def test_an_option_keeps_the_square_and_exports(
    name: str,
    option: str,
    count: int,
    context: Callable[[str], CompressionContext],
    images: Callable[[str, int], Tensor],
    tmp_path: Path,
) -> None:
    base, settings = context(name), OPTIONS[option]
    calibration = calibrate(base.model, base.graph, base.calibration.images, settings)
    base = replace(base, calibration=calibration, quantizer=settings)
    draw, x = random.Random(3), images(name, 200)
    for index in range(count):
        candidate = with_one_bit(random_candidate(base.graph, draw), draw)
        built = check_square(base, candidate, x[:2])
        assert not settings.power_of_two or has_powers_of_two(built, settings.scale_granularity)
        if name == "gated":  # ONNX has no pooling to windows of unequal size
            continue
        path = tmp_path / f"{index}.onnx"
        export_onnx(built, tuple(x.shape[1:]), path)
        verified = verify_onnx(path, built, x)
        assert verified.agreeing + verified.ties >= 0.99 * len(x)


def test_steps_and_training_leave_no_powers_of_two(context: Callable[[str], CompressionContext]) -> None:
    base = replace(context("lenet5_digits"), quantizer=QuantizerSettings(power_of_two=True))
    plain = uniform(base.graph)
    stepped = replace(plain, layers=tuple(replace(choice, step=0.1) for choice in plain.layers))
    with pytest.raises(CandidateError, match=r"step: expected null, as scales are powers of two .*, received 0\.1$"):
        apply(base, stepped)
    with pytest.raises(CandidateError, match=r"fine-tuning trains scales: expected quantizer\.power_of_two = false"):
        trainable(base, plain)


def test_one_bit_weights_are_plus_or_minus_their_scale(context: Callable[[str], CompressionContext]) -> None:
    base = context("option_a")
    candidate = with_one_bit(random_candidate(base.graph, random.Random(1)), random.Random(0))
    narrow = [choice.layer for choice in candidate.layers if choice.weight_bits == 1]
    assert narrow
    built = check_square(base, candidate, torch.zeros(2, 3, 8, 8))
    for name in narrow:
        assert (built.get_submodule(name).get_buffer("weight_codes").abs() == 1).all()
