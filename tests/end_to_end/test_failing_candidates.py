"""A run some of whose candidates cannot be computed, the uniform 8-bit network among them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

from explorer.cli import main
from explorer.compress import problem
from explorer.compress.candidate import LayerChoice
from explorer.errors import NumericalError
from explorer.study.folder import read_outcome


@pytest.mark.slow
def test_a_run_goes_on_and_ends_with_a_front(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = home / "tiny" / "study.toml"
    text = study.read_text() + '[quantizer]\nrounding = "adaptive"\n[space]\nweight_bits = [2, 4, 8]\n'
    study.write_text(text.replace("trials = 6", "trials = 8"))
    whole: Callable[..., tuple[Tensor, Tensor]] = problem.round_adaptively

    def failing(weight: Tensor, choice: LayerChoice, *given: object) -> tuple[Tensor, Tensor]:
        if choice.layer == "3" and choice.weight_bits == 8:
            raise NumericalError("layer '3': no solution")
        return whole(weight, choice, *given)

    monkeypatch.setattr(problem, "round_adaptively", failing)
    with pytest.raises(SystemExit) as ended:
        main(["run", str(study), "--out", str(home / "run")])
    assert ended.value.code == 0
    outcome = read_outcome(home / "run")
    failed = [item for item in outcome.evaluations if item.failure]
    assert failed
    assert len(failed) < len(outcome.evaluations) == 8
    assert all(item.candidate.choice("3").weight_bits == 8 for item in failed)
    assert all(point.evaluation.candidate.choice("3").weight_bits < 8 for point in outcome.front)
    seeds = [item for item in outcome.evaluations if item.origin.startswith("seed relevance")]
    assert seeds
    assert not any(item.failure for item in seeds)
    printed = capsys.readouterr().out
    assert "uniform 8-bit cannot be computed: layer '3': no solution" in printed
    assert f"failed: {len(failed)} trials could not be computed; the first: layer '3': no solution" in printed
    assert "knee:" in printed
    assert "While executing" not in (home / "run" / "outcome.json").read_text()
