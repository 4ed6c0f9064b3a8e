"""Every profile's costs of MLPerf Tiny are those that are kept: a constant that changes shows here, and in a diff."""

from __future__ import annotations

import pytest

from tests.golden.snapshots import COMMAND, FIELDS, FILE, Row, read, rows


def _changes(kept: Row, found: Row) -> list[str]:
    """Each field that differs; energies, which are sums of floating point, by more than that explains."""
    return [
        f"{field} {kept[field]} -> {found[field]}"
        for field in FIELDS
        if kept[field] != found[field]
        and not (field == "energy_pj" and float(found[field]) == pytest.approx(float(kept[field]), rel=1e-9))
    ]


def test_no_cost_changed_unseen() -> None:
    kept, found = read(), rows()
    told = [f"{case}: no longer there" for case in kept if case not in found]
    told += [f"{case}: not kept yet" for case in found if case not in kept]
    told += [
        f"{case}: {', '.join(changes)}"
        for case in kept
        if case in found and (changes := _changes(kept[case], found[case]))
    ]
    shown = "\n".join((*told[:20], *([f"... and {len(told) - 20} more"] if len(told) > 20 else ())))
    if told:
        pytest.fail(
            f"{shown}\nWhere each of these is meant, keep them with `{COMMAND}`, and look at the diff of {FILE.name}",
            pytrace=False,
        )
