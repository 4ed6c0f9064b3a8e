"""What is said of a front's order follows from the figures, and what cannot be judged says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from explorer.errors import ExportError
from explorer.referee import vela
from explorer.referee.comparison import Figures
from explorer.referee.front import RefereedFront, RefereedMember, referee_front
from hwmodels import load
from tests.support.exported_tflite import needs_vela
from tests.support.outcomes import make_outcome
from tests.support.tiny import quiet


def member(name: str, size: tuple[int, int | None], cycles: tuple[int, int | None]) -> RefereedMember:
    figures = [
        None if bytes_ is None or count is None else Figures(weight_bytes=bytes_, sram_bytes=64, cycles=count)
        for bytes_, count in zip(size, cycles, strict=True)
    ]
    assert figures[0] is not None
    refused = "no rule" if figures[1] is None else ""
    return RefereedMember(name=name, ours=figures[0], vela=figures[1], refused=refused)


def front(*members: RefereedMember) -> RefereedFront:
    return RefereedFront(device="ethos_u55_128", compiler="Vela", members=members)


def test_trust_ends_at_the_widest_pair_in_another_order() -> None:
    found = front(
        member("p01", (100, 110), (1000, 1500)),
        member("p02", (103, 109), (1200, 1800)),
        member("p03", (150, 170), (1300, 1900)),
        member("p04", (200, None), (9, None)),
    )
    assert [each.name for each in found.compiled] == ["p01", "p02", "p03"]
    assert (found.agreement("weight_bytes").agreeing, found.agreement("cycles").agreeing) == (2, 3)
    assert found.verdict() == (
        "How far to trust our order of this front: by cycles everywhere, by bytes where two members differ "
        "by more than 3.0 %."
    )
    frame = found.to_frame()
    assert list(frame.index) == ["p01", "p02", "p03", "p04"]
    assert frame.loc["p01", "cycles_ratio"] == pytest.approx(2 / 3)
    assert frame.loc["p04", "refused"] == "no rule"
    assert frame["cycles_vela"].isna().tolist() == [False, False, False, True]
    assert "<table" in found._repr_html_()


def test_an_order_that_is_no_better_than_chance_is_not_trusted() -> None:
    told = front(member("p01", (10, 20), (30, 20)), member("p02", (10, 21), (20, 30))).verdict()
    assert "by cycles nowhere (Kendall's tau is -1.00)" in told
    assert "by bytes nowhere (it has all members as equal)" in told
    told = front(member("p01", (10, 20), (30, 20)), member("p02", (11, 20), (31, 30))).verdict()
    assert "by bytes anyhow (Vela has all members as equal)" in told


def test_one_member_has_no_order() -> None:
    assert "has no order" in front(member("p01", (10, 20), (30, 20)), member("p02", (1, None), (1, None))).verdict()


@needs_vela
def test_an_empty_front_and_other_devices_are_refused_before_anything_is_opened() -> None:
    def never() -> None:
        raise AssertionError

    empty = make_outcome(front=0)
    with pytest.raises(ExportError, match=r"^referee: the front is empty: "):
        referee_front(empty, load("ethos_u55_128"), never, None, quiet)  # type: ignore[arg-type]
    with pytest.raises(ExportError, match="Vela compiles for ethos_u55_128"):
        referee_front(make_outcome(), load("bitfusion"), never, None, quiet)  # type: ignore[arg-type]


def test_without_the_package_nothing_is_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse() -> str:
        raise ExportError("vela: ethos-u-vela is not installed")

    monkeypatch.setattr(vela, "find_version", refuse)
    with pytest.raises(ExportError, match="not installed"):
        referee_front(make_outcome(), load("ethos_u55_128"), refuse, tmp_path, quiet)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
