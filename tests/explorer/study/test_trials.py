"""What a storage holds of one trial: all that was proposed, short even for a deep network."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import datetime

from optuna.trial import FrozenTrial, TrialState

from explorer.compress.candidate import Candidate, LayerChoice
from explorer.study.trials import PROPOSED, Proposed, read_trial

DEEP = Candidate(
    layers=tuple(LayerChoice(layer=f"features.{place}", weight_bits=2 + place % 7) for place in range(300)),
    filter_keep_ratio=(("features.0", 0.5),),
    filters_by="l2",
    removed_blocks=("features.9",),
)


def test_what_was_proposed_is_read_as_it_was() -> None:
    proposed = Proposed((3, 1), DEEP, "bayes", coded_bytes=70, rival=4, expected_gain=0.25)
    assert all(getattr(proposed, field.name) for field in fields(proposed)), "each field is held by the comparison"
    text = json.dumps(proposed.to_json())
    trial = FrozenTrial(
        number=5,
        trial_id=5,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=datetime(2026, 1, 1),
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={PROPOSED: json.loads(text)},
        system_attrs={},
        intermediate_values={},
    )
    found = read_trial(trial)
    assert Proposed(*[getattr(found, field.name) for field in fields(Proposed)]) == proposed
    assert (found.number, found.running, found.complete, found.result) == (5, True, False, None)
    assert len(text) < len(json.dumps(DEEP.to_json())) / 5
