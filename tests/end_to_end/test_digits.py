"""The embedded study: the front that a newcomer sees is worth looking at."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from explorer.study.folder import read_outcome


def test_the_front_of_the_embedded_study(explorer: Callable[..., Any], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)  # no studies/ here: the one of the checkout is found
    told = explorer("run", "--out", "run")
    assert told.code == 0
    outcome = read_outcome(tmp_path / "run")
    assert f"search ended after {len(outcome.evaluations)} of 800 candidates" in told.out
    baselines = {baseline.name: baseline for baseline in outcome.baselines}
    reference, eight_bit = baselines["float"], baselines["uniform 8-bit"].cost.energy_uj
    assert eight_bit is not None
    assert reference.held_out.value > 0.97
    assert len(outcome.front) >= 8
    assert any(
        point.evaluation.cost.energy_uj <= eight_bit / 4 and point.held_out.value >= reference.held_out.value - 0.02
        for point in outcome.front
        if point.evaluation.cost.energy_uj is not None
    )
    assert all(point.evaluation.cost.activation_bytes <= 1024 for point in outcome.front)
