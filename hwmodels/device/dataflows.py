"""Which operand stays in the array while the others pass: the names of the dataflows."""

from collections.abc import Mapping

SYSTOLIC_DATAFLOWS: Mapping[str, str] = {
    "os": "output stationary",
    "ws": "weight stationary",
    "is": "input stationary",
}
"""Those of systolic arrays, whose counts are closed forms, by the name that a profile gives."""
DATAFLOWS: Mapping[str, str] = {
    **SYSTOLIC_DATAFLOWS,
    "rs": "row stationary",
    "unrolled": "loops side by side, no systolic array",
}
"""All of them."""
