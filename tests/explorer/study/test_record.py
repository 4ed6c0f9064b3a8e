"""Records of results: JSON there and back, and standard errors by hand."""

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.compress.candidate import Candidate, LayerChoice
from explorer.evaluate.mean_score import MeanScore
from explorer.study.record import (
    Baseline,
    Cost,
    Evaluation,
    FrontPoint,
    LayerSummary,
    Outcome,
)
from explorer.study.typed import read_typed_record
from hwmodels import MemoryFit
from tests.support.costs import make_cost

FINITE = st.floats(0, 1e12, allow_nan=False)
COUNT = st.integers(0, 10**12)
NAMES = st.text(max_size=12)
CANDIDATES = st.builds(
    lambda bits, kept, size, share: Candidate(
        layers=(
            LayerChoice(layer="conv1", weight_bits=bits, activation_bits=8, weight_density=kept, codebook_size=size),
        ),
        filter_keep_ratio=(("conv1", share),),
    ),
    st.integers(3, 8),
    st.sampled_from([0.25, 0.5, 1.0]),
    st.sampled_from([None, 2, 4]),
    st.sampled_from([0.3, 1.0]),
)
SCORES = st.integers(1, 1000).flatmap(
    lambda n: st.builds(
        MeanScore,
        value=st.integers(0, n).map(lambda right: right / n),
        num_images=st.just(n),
        deviation=st.none() | st.floats(0, 0.7),
    )
)
LAYERS = st.builds(
    LayerSummary,
    layer=NAMES,
    kind=NAMES,
    weight_bits=st.none() | COUNT,
    activation_bits=COUNT,
    filters=st.none() | COUNT,
    filters_of=st.none() | COUNT,
    weight_density=st.none() | FINITE,
    codebook_size=st.none() | COUNT,
    macs=COUNT,
    vector_operations=COUNT,
    energy_uj=FINITE,
    latency_cycles=COUNT,
    weight_bytes=COUNT,
    weight_format=st.none() | NAMES,
    bound=NAMES,
)
FITS = st.builds(
    MemoryFit,
    place=NAMES,
    holds=st.lists(NAMES, max_size=2).map(tuple),
    needed_bytes=COUNT,
    size_bytes=COUNT,
    required=st.booleans(),
)
COSTS = st.builds(
    Cost,
    energy_uj=st.none() | FINITE,
    latency_ms=st.none() | FINITE,
    latency_cycles=st.none() | COUNT,
    weight_bytes=COUNT,
    activation_bytes=COUNT,
    macs=COUNT,
    energy_uj_by_component=st.dictionaries(NAMES, FINITE, max_size=4),
    layers=st.lists(LAYERS, max_size=2).map(tuple),
    notes=st.lists(NAMES, max_size=2).map(tuple),
    fits=st.lists(FITS, max_size=2).map(tuple),
)
EVALUATIONS = st.builds(
    Evaluation,
    number=COUNT,
    origin=NAMES,
    candidate=CANDIDATES,
    cost=COSTS,
    score=st.none() | SCORES,
    violations=st.lists(st.tuples(st.sampled_from(["energy_uj", "accuracy"]), FINITE), max_size=2).map(tuple),
)
OUTCOMES = st.builds(
    Outcome,
    study=st.just({"study": {"name": "a"}}),
    device=NAMES,
    device_title=NAMES,
    objectives=st.just(("accuracy", "energy")),
    baselines=st.lists(st.builds(Baseline, name=NAMES, cost=COSTS, search=SCORES, held_out=SCORES), max_size=2).map(
        tuple
    ),
    front=st.lists(st.builds(FrontPoint, name=NAMES, evaluation=EVALUATIONS, held_out=SCORES), max_size=2).map(tuple),
    evaluations=st.lists(EVALUATIONS, max_size=3).map(tuple),
    skipped=st.lists(st.tuples(NAMES, NAMES), max_size=2).map(tuple),
    provenance=st.dictionaries(NAMES, NAMES, max_size=2),
)


@given(OUTCOMES)
def test_an_outcome_comes_back_from_json(outcome: Outcome) -> None:
    plain = outcome.to_json()
    assert Outcome.from_json(plain) == outcome
    assert Outcome.from_json(json.loads(json.dumps(plain, allow_nan=False))) == outcome
    assert plain.pop("format") == 1
    assert Outcome.from_json(plain) == outcome, "earlier versions state none"
    with pytest.raises(ValueError, match=r"^format: expected 1, received 2: another version wrote it$"):
        Outcome.from_json(plain | {"format": 2})


@given(COSTS)
def test_a_cost_comes_back_from_json(cost: Cost) -> None:
    assert read_typed_record(Cost, json.loads(json.dumps(asdict(cost)))) == cost


def test_a_cost_that_an_earlier_version_stored_is_read() -> None:
    """Before operations were counted, its layers had no number of these, and it had no fits."""
    row = {
        **{"layer": "conv1", "kind": "conv", "weight_bits": 8, "activation_bits": 8, "filters": 4, "filters_of": 4},
        **{"weight_density": 1.0, "codebook_size": None, "macs": 36, "energy_uj": 0.5, "latency_cycles": 7},
        **{"weight_bytes": 9, "weight_format": "dense", "bound": "compute"},
    }
    stored = {
        **{"energy_uj": 0.5, "latency_ms": 0.1, "latency_cycles": 7, "weight_bytes": 9, "activation_bytes": 4},
        **{"macs": 36, "energy_uj_by_component": {"mac": 0.5}, "layers": [row], "notes": []},
    }
    cost = read_typed_record(Cost, stored)
    assert cost.fits == ()
    assert cost.layers[0].vector_operations == 0
    assert read_typed_record(Cost, asdict(cost)) == cost


def test_an_evaluation_is_feasible_without_violations() -> None:
    values: dict[str, Any] = {
        "number": 0,
        "origin": "seed",
        "candidate": Candidate(layers=(), filter_keep_ratio=()),
        "cost": make_cost(energy_uj=None, latency_ms=None, latency_cycles=None),
        "score": None,
    }
    assert Evaluation(**values).feasible
    assert not Evaluation(**values, violations=(("energy_uj", 0.1),)).feasible
