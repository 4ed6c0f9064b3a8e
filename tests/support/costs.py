"""A cost of which a test states what it looks at."""

from __future__ import annotations

from typing import Any

from explorer.study.record import Cost


def make_cost(**stated: Any) -> Cost:
    """Return a cost with these figures; the others are ones, and it has no layers, parts of energy or notes."""
    ones = dict.fromkeys(("energy_uj", "latency_ms"), 1.0)
    whole = dict.fromkeys(("latency_cycles", "weight_bytes", "activation_bytes", "macs"), 1)
    return Cost(**{**ones, **whole, "energy_uj_by_component": {}, "layers": (), "notes": (), **stated})
