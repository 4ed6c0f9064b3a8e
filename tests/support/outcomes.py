"""A synthetic outcome: a small network on an 8-bit array, ten members on the front, sixty evaluations."""

from __future__ import annotations

import random

from explorer.compress.candidate import Candidate, LayerChoice
from explorer.evaluate.mean_score import MeanScore
from explorer.study.record import Baseline, Cost, Evaluation, FrontPoint, LayerSummary, Outcome
from hwmodels import MemoryFit
from tests.support.costs import make_cost

LAYERS = (
    ("features.conv1", "conv", 6, 117_600),
    ("features.conv2", "conv", 16, 240_000),
    ("classifier.fc1", "linear", 120, 48_000),
    ("classifier.fc2", "linear", 84, 10_080),
    ("classifier.output", "linear", 10, 840),
)
"""Path, kind, filters and MACs at full width."""

COMPONENTS = (("mac", 0.28), ("sram", 0.22), ("dram", 0.40), ("vector", 0.01), ("static", 0.09))
IMAGES = 400


def make_outcome(layer_prefix: str = "", title: str = "lenet5_digits", front: int = 10) -> Outcome:
    """An outcome with the first `front` of ten members, whose layers' paths start with `layer_prefix`."""
    draw = random.Random(7)
    made = (_evaluation(index, 2 + 0.6 * index, layer_prefix, draw) for index in range(front))
    members = sorted(made, key=lambda member: member.cost.energy_uj or 0.0)
    others = [_evaluation(index, draw.uniform(2, 8), layer_prefix, draw, cloud=True) for index in range(front, 60)]
    return Outcome(
        study={
            "study": {"name": "study", "title": title},
            "objectives": {"names": ["accuracy", "energy", "weight_memory"]},
            "budgets": {"energy_uj": 3.9, "latency_ms": None},
            "search": {"sampler": "nsga2", "trials": 60, "population": 20},
        },
        device="gemmini_default",
        device_title="Gemmini, 16 x 16 systolic array, 8 bit",
        objectives=("accuracy", "energy", "weight_memory"),
        baselines=(_float(), _uniform(layer_prefix, draw)),
        front=tuple(
            FrontPoint(
                name=f"p{index + 1:02d}",
                evaluation=member,
                held_out=MeanScore(value=_on_grid(_score(member) - draw.uniform(-0.004, 0.012)), num_images=IMAGES),
            )
            for index, member in enumerate(members)
        ),
        evaluations=(*(_without_layers(member) for member in members), *map(_without_layers, others)),
        skipped=(
            ("features.drop", "dropout is the identity at inference"),
            ("aux.head", "never called on the example"),
        ),
        provenance={"seed": "7", "explorer": "0.1.0", "torch": "2.9.0", "study digest": "5a0b9c1d2e3f4a5b"},
    )


def _score(evaluation: Evaluation) -> float:
    assert evaluation.score is not None
    return evaluation.score.value


def _on_grid(value: float) -> float:
    return round(min(value, 1.0) * IMAGES) / IMAGES


def _without_layers(evaluation: Evaluation) -> Evaluation:
    cost = evaluation.cost
    bare = {name: getattr(cost, name) for name in Cost.__slots__} | {"layers": (), "notes": (), "fits": ()}
    fields = {name: getattr(evaluation, name) for name in Evaluation.__slots__} | {"cost": Cost(**bare)}
    return Evaluation(**fields)


def _evaluation(number: int, bits: float, prefix: str, draw: random.Random, cloud: bool = False) -> Evaluation:
    widths = [max(2, min(8, round(bits + draw.uniform(-0.9, 0.9)))) for _ in LAYERS]
    kept = [1.0, *(round(min(1.0, 0.25 + bits / 10 + draw.uniform(0, 0.1)), 3) for _ in LAYERS[1:-1]), 1.0]
    candidate = Candidate(
        layers=tuple(
            LayerChoice(
                layer=prefix + path,
                weight_bits=width,
                activation_bits=8 if width > 4 else 4,
                weight_density=share,
                codebook_size=8 if path.endswith("fc1") and width > 3 else None,
            )
            for (path, *_), width, share in zip(LAYERS, widths, kept, strict=True)
        ),
        filter_keep_ratio=(("features.conv2", kept[1]),),
    )
    cost = price(candidate, waste=draw.uniform(1.05, 1.5) if cloud else 1.0)
    scored = not cloud or number % 7 != 0
    value = _on_grid(0.80 + 0.19 * (1 - 2.0 ** -(bits - 1.5)) - (draw.uniform(0.01, 0.3) if cloud else 0.0))
    excess = (cost.energy_uj or 0.0) / 3.9 - 1.0
    return Evaluation(
        number=number,
        origin=("seed relevance" if number % 3 == 0 else "nsga2") if number else "uniform 2-bit",
        candidate=candidate,
        cost=cost,
        score=MeanScore(value=value, num_images=IMAGES) if scored else None,
        violations=(("energy_uj", excess),) if excess > 0 else (() if scored else (("latency_ms", 0.12),)),
    )


def price(candidate: Candidate, waste: float = 1.0) -> Cost:
    """A cost that grows with the widths and the kept weights of a candidate."""
    rows = []
    for choice, (_, kind, filters, macs) in zip(candidate.layers, LAYERS, strict=True):
        kept = max(1, round(filters * min(1.0, choice.weight_density + 0.2)))
        done = macs * kept // filters
        weight_bytes = int(macs / (1 if kind == "linear" else 100) * choice.weight_density * choice.weight_bits / 8)
        rows.append(
            LayerSummary(
                layer=choice.layer,
                kind=kind,
                weight_bits=choice.weight_bits,
                activation_bits=choice.activation_bits,
                filters=kept,
                filters_of=filters,
                weight_density=choice.weight_density,
                codebook_size=choice.codebook_size,
                macs=done,
                energy_uj=waste * (done * 4.2e-6 * choice.weight_bits / 8 + weight_bytes * 3.1e-5),
                latency_cycles=int(waste * (done // 64 + weight_bytes // 4)),
                weight_bytes=weight_bytes,
                weight_format="bitmap" if choice.weight_density < 0.8 else "dense",
                bound="dram" if kind == "linear" else "compute",
            )
        )
        if kind == "conv":
            rows.append(_pool(choice.layer.replace("conv", "pool"), choice.activation_bits, done))
    energy = sum(row.energy_uj for row in rows)
    cycles = sum(row.latency_cycles for row in rows)
    return Cost(
        energy_uj=energy,
        latency_ms=cycles / 1e6,
        latency_cycles=cycles,
        weight_bytes=sum(row.weight_bytes for row in rows),
        activation_bytes=4704 * max(choice.activation_bits for choice in candidate.layers) // 8,
        macs=sum(row.macs for row in rows),
        energy_uj_by_component={name: share * energy for name, share in COMPONENTS},
        layers=tuple(rows),
        notes=(
            "3-bit weights run as 4-bit weights on gemmini_default: they save storage and DRAM traffic, but bring "
            "no MAC or SRAM gain over 4 bits (features.conv2)",
            "gemmini_default does not skip zeros: they save neither MACs nor time (features.conv2, classifier.fc1 and "
            "1 more)",
        ),
        fits=(
            MemoryFit(place="memories.flash", holds=("weights",), needed_bytes=9000, size_bytes=8192, required=True),
            MemoryFit(
                place="buffers.inputs+outputs",
                holds=("inputs", "outputs"),
                needed_bytes=4704,
                size_bytes=65_536,
                required=False,
            ),
        ),
    )


def _pool(name: str, bits: int, operations: int) -> LayerSummary:
    return LayerSummary(
        layer=name,
        kind="pool",
        weight_bits=None,
        activation_bits=bits,
        filters=None,
        filters_of=None,
        weight_density=None,
        codebook_size=None,
        macs=0,
        vector_operations=operations // 25,
        energy_uj=1e-9 * operations,
        latency_cycles=0,
        weight_bytes=0,
        weight_format=None,
        bound="fused",
    )


def _float() -> Baseline:
    cost = make_cost(
        energy_uj=None,
        latency_ms=None,
        latency_cycles=None,
        weight_bytes=4 * 61_706,
        activation_bytes=4 * 4704,
        macs=416_520,
        notes=("float does not run on gemmini_default",),
    )
    return Baseline(
        name="float",
        cost=cost,
        search=MeanScore(value=0.9925, num_images=IMAGES),
        held_out=MeanScore(value=0.985, num_images=IMAGES),
    )


def _uniform(prefix: str, draw: random.Random) -> Baseline:
    candidate = Candidate(layers=tuple(LayerChoice(layer=prefix + path) for path, *_ in LAYERS), filter_keep_ratio=())
    return Baseline(
        name="uniform 8-bit",
        cost=price(candidate),
        search=MeanScore(value=0.99, num_images=IMAGES),
        held_out=MeanScore(value=0.985, num_images=IMAGES),
    )
