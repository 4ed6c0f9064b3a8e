"""How long a study will take, measured on its untrained network before the work."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from torch import fx

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate, uniform
from explorer.compress.failures import NUMERICAL
from explorer.compress.shorten import EXAMPLES
from explorer.evaluate.pricing import Pricing
from explorer.evaluate.sampling import expect_images
from explorer.evaluate.score import score_images
from explorer.evaluate.weight_entropy import WeightEntropies
from explorer.graph.inputs import take
from explorer.relevance.criteria import CRITERIA
from explorer.search.axes import ACTIVATION_BITS, FILTER_KEEP_RATIO
from explorer.search.blocks import RECALIBRATED
from explorer.search.seeds import FILTER_LEVELS
from explorer.search.space import make_search_space
from explorer.study.beacons import EPOCHS
from explorer.study.finetune import find_tuning_loss
from explorer.study.network import StudyNetwork, draw_first_sample, threads_for
from explorer.study.study_file import Study
from explorer.study.weights import trained_places, training_loss
from explorer.threads import single_threaded
from explorer.training.epochs import Recipe
from explorer.training.finetune import finetune
from explorer.training.train import train_model
from hwmodels import Accelerator

ENOUGH_S = 0.1
"""What takes this long is not timed on more images (assumed)."""
FRONT = 30
"""Members of the front that will be scored on held-out images, and on all of the search where a part was (assumed)."""
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEstimate:
    """Seconds of a candidate, and of each stage of the run that takes long, in their order."""

    candidate_s: float
    stages: tuple[tuple[str, float], ...]

    def with_jobs(self, jobs: int, most_s: float = math.inf) -> RunEstimate:
        """Return the estimate for a search by so many processes, or workers elsewhere where it is 0, of `most_s`."""
        shared = ((name, s / max(1, jobs) if name in {"search", "beacons"} else s) for name, s in self.stages)
        return replace(self, stages=tuple((name, min(s, most_s) if name == "search" else s) for name, s in shared))

    @property
    def whole_s(self) -> float:
        """Seconds of the whole run."""
        return sum(seconds for _, seconds in self.stages)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pace:
    """Seconds to build a candidate without the images that correct it and with them, to score an image, to price."""

    layers_s: float
    build_s: float
    score_s: float
    price_s: float


def draft(network: StudyNetwork, study: Study) -> CompressionContext:
    """Return what candidates are built from while nothing is trained, for what does not depend on weights.

    It is calibrated on EXAMPLES images, and steps are as if the relevance of all weights, not known yet, were 1.
    """
    graph, (images, _) = network.graph, network.tensors(network.data.calibration.take(slice(EXAMPLES)))
    with single_threaded(True):
        units = dict.fromkeys(graph.layer_names, 1.0)
        return CompressionContext.of(
            network.canonical, images, graph=graph, quantizer=study.quantizer, step_units=units
        )


def estimate(
    network: StudyNetwork, study: Study, context: CompressionContext, accelerator: Accelerator, folder: Path
) -> RunEstimate:
    """Return what the run of a study will take where nothing of it is done yet, trained weights aside.

    Everything is tried on a few images: a candidate is built, priced and scored, so is relevance computed, and the
    network trained as a copy. What is not tried, such as loading the images, is short beside these.
    """
    data = network.data
    with single_threaded(True):  # as candidates are evaluated
        pace = _measured(network, study, context, accelerator)
    with threads_for(context.graph):
        relevance_s = _relevance_s(network, study)
        training_s = _training_s(network, study, folder)
    num_scored = expect_images(len(data.search), study.search.sampling_error)
    whole_s = pace.build_s + pace.score_s * len(data.search)
    candidate_s = pace.build_s + pace.price_s + pace.score_s * num_scored
    baselines_s = 2 * pace.score_s * (len(data.search) + len(data.held_out))
    return RunEstimate(
        candidate_s=candidate_s,
        stages=(
            ("train, batches", training_s),
            ("relevance", relevance_s),
            *_blocks_s(network, study, pace),
            *_seeds_s(network, study, pace),
            ("search", study.search.trials * candidate_s),
            *_beacons_s(network, study, context, whole_s),
            *((("all search images", FRONT * whole_s),) if num_scored < len(data.search) else ()),
            ("held-out images", FRONT * (pace.build_s + pace.score_s * len(data.held_out)) + baselines_s),
        ),
    )


def _measured(network: StudyNetwork, study: Study, context: CompressionContext, accelerator: Accelerator) -> _Pace:
    data, calibration, batch = network.data, context.calibration, study.compute.batch_size
    candidate = uniform(context.graph)
    images, of_images = network.tensors(data.calibration.take(slice(study.quantizer.recalibration_images)))
    num_images = len(of_images)

    few = min(EXAMPLES, num_images)

    def built(count: int) -> fx.GraphModule:
        more = replace(calibration, images=take(images, slice(count)))
        try:
            some = context if count == few else replace(context, calibration=more)
            return apply(some, candidate)
        except NUMERICAL:
            return context.model  # takes about as long to score

    least_s, model = _timed(lambda: built(few))
    pixels, targets = network.as_scored(data.search.take(slice(2 * batch)), batch).scored(network.torch_device)
    score_s = _seconds_each(
        lambda count: score_images(model, take(pixels, slice(count)), targets[:count], batch, network.score),
        len(targets),
    )
    more = max(few + 1, min(num_images, int(ENOUGH_S / score_s)))
    image_s = max(0.0, _timed(lambda: built(more))[0] - least_s) / (more - few)
    return _Pace(
        layers_s=max(0.0, least_s - few * image_s),
        build_s=least_s + (num_images - few) * image_s,
        score_s=score_s,
        price_s=_price_s(context, candidate, accelerator),
    )


def _price_s(context: CompressionContext, candidate: Candidate, accelerator: Accelerator) -> float:
    """Return seconds to price a candidate whose choice for one layer is another; every other time it is remembered."""
    pricing = Pricing(context.graph, accelerator, WeightEntropies.of(context, accelerator))
    choice = candidate.layers[len(candidate.layers) // 2]
    pricing.price(candidate)
    others = [candidate.with_choice(replace(choice, weight_bits=bits)) for bits in range(2, 8)] * 2
    return _timed(lambda: [pricing.price(other) for other in others])[0] / len(others)


def _blocks_s(network: StudyNetwork, study: Study, pace: _Pace) -> tuple[tuple[str, float], ...]:
    """Return the seconds of trying out which blocks go first; none where none goes, or where that is not tried."""
    most, count = max(study.space.removed_blocks), len(network.graph.removable)
    if not most or study.space.block_criterion != "measured_kl":
        return ()
    tried = sum(count - place for place in range(most))
    recalibrated = min(RECALIBRATED, len(network.data.calibration))
    return (("blocks", tried * (recalibrated + len(network.data.relevance)) * pace.score_s),)


def _seeds_s(network: StudyNetwork, study: Study, pace: _Pace) -> tuple[tuple[str, float], ...]:
    """Return the seconds of the table of sensitivities and of the seeds that are chosen by it; none without seeds.

    Each option of a layer is tried alone, and priced at about as many widths of its input as there are and two more.
    """
    if not min(study.search.seeds, study.search.trials):
        return ()
    space = make_search_space(network.graph, study.space, study.sharing.codebook_granularity, study.relevance.method)
    options = {layer: len(space.weight_choices(layer)) for layer in space.layers}
    widths = {layer: len(space.values(ACTIVATION_BITS, layer)) for layer in space.layers}
    prices = sum(count * (2 + widths[layer]) for layer, count in options.items())
    sensitivity_s = pace.layers_s * sum(options.values()) / len(options)
    if study.relevance.sensitivity == "measured_kl":
        ratios = sum(len(space.values(FILTER_KEEP_RATIO, group.name)) for group in network.graph.prunable)
        forwards = sum(options.values()) + sum(widths.values()) + 2 * ratios
        sensitivity_s += ratios * pace.layers_s + forwards * pace.score_s * len(network.data.relevance)
    return ("sensitivity", sensitivity_s), ("seeds", FILTER_LEVELS * prices * pace.price_s)


def _relevance_s(network: StudyNetwork, study: Study) -> float:
    sample = draw_first_sample(network, study)
    seconds, _ = _timed(lambda: CRITERIA[study.relevance.method].compute(sample, None))
    return seconds * len(network.data.relevance) / len(sample)


def _training_s(network: StudyNetwork, study: Study, folder: Path) -> float:
    """Return seconds of training, 0 where there is none to be done."""
    training, data = study.model.training, network.data
    if training is None or trained_places(network.model, network.canonical, study, data, folder).found:
        return 0.0
    once = Recipe(settings=replace(training, epochs=1), seed=study.seed, loss=training_loss(study, data))
    model = copy.deepcopy(network.canonical)

    def train(count: int) -> None:
        some = data.train.take(slice(count))
        train_model(model, some.inputs, some.targets, once)

    image_s = _seconds_each(train, min(len(data.train), 2 * training.batch_size))
    return image_s * len(data.train) * training.epochs


def _beacons_s(
    network: StudyNetwork, study: Study, context: CompressionContext, whole_s: float
) -> tuple[tuple[str, float], ...]:
    """Return the seconds of tuning candidates for an epoch and scoring them on all images; none without beacons."""
    if not study.search.beacons:
        return ()
    data, settings = network.data, replace(study.finetuning, epochs=EPOCHS, held_aside=0.0)
    once = Recipe(settings=settings, seed=study.seed, loss=find_tuning_loss(study, data, settings))
    inputs, targets = network.tensors(data.train)
    candidate = uniform(context.graph)

    def train(count: int) -> None:
        finetune(context, candidate, take(inputs, slice(count)), targets[:count], once)

    with single_threaded(True):
        image_s = _seconds_each(train, min(len(data.train), 2 * settings.batch_size))
    return (("beacons", study.search.beacons * (image_s * len(data.train) * EPOCHS + whole_s)),)


def _seconds_each(work: Callable[[int], object], most: int) -> float:
    """Return seconds of work for each of its images: for twice as many each time, until that takes long enough."""
    count = min(EXAMPLES, most)
    work(count)  # the first time takes longer
    while (seconds := _timed(partial(work, count))[0]) < ENOUGH_S and count < most:
        count = min(2 * count, most)
    return seconds / count


def _timed(work: Callable[[], _Result]) -> tuple[float, _Result]:
    """Return the seconds that work takes where nothing else runs, and its result.

    Of one thread that is its CPU time, of several less: what other processes take of a busy machine is in neither.
    """
    start_s, cpu_s = time.perf_counter(), time.process_time()
    result = work()
    return min(time.perf_counter() - start_s, time.process_time() - cpu_s), result
