"""A dataflow is one record of what it costs, under a name that says what a profile must state."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest

from hwmodels import DATAFLOWS, FIGURES, NETWORKS, DeviceError, evaluate, explain, load
from hwmodels.cost.mapping import DATAFLOW_MODELS

JOBS = NETWORKS["mlperf_tiny_ds_cnn"]().jobs(weight_bits=4)


def test_every_name_has_a_model() -> None:
    assert set(DATAFLOW_MODELS) == set(DATAFLOWS)


@pytest.mark.parametrize(
    ("like", "device"), [("rs", "eyeriss_v1"), ("unrolled", "stm32l4r5"), ("blocks", "ethos_u55_128")]
)
def test_a_new_dataflow_needs_a_name_and_a_model(
    like: str, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that does what another does has its costs and explanations: nothing else asks for the name."""
    monkeypatch.setitem(DATAFLOWS, "mine", DATAFLOWS[like])
    monkeypatch.setitem(DATAFLOW_MODELS, "mine", DATAFLOW_MODELS[like])
    profile = (resources.files("hwmodels.device") / "catalogue" / f"{device}.toml").read_text(encoding="utf-8")
    assert f'value = "{like}"' in profile
    (tmp_path / "own.toml").write_text(profile.replace(f'value = "{like}"', 'value = "mine"'), encoding="utf-8")
    mine, other = load(tmp_path / "own.toml"), load(device)
    assert evaluate(JOBS, mine) == evaluate(JOBS, other)
    for figure in FIGURES:
        assert explain(JOBS[0], mine, figure) == explain(JOBS[0], other, figure)


def test_a_dataflow_says_what_a_profile_must_state() -> None:
    with pytest.raises(DeviceError, match=r"registers.words: expected at least 3 for the dataflow 'rs', received 0"):
        replace(load("gemmini_default"), dataflow="rs")
    assert DATAFLOWS["unrolled"].profile_keys == ("unroll.rate",)
    assert not load("ethos_u55_128").has_rows
