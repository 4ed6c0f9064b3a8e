"""Errors of a candidate whose numbers are at fault, not the program: others may do, so that a search goes on."""

from __future__ import annotations

import numpy as np
import torch

from explorer.errors import NumericalError, one_line

NUMERICAL: tuple[type[Exception], ...] = (
    NumericalError,
    FloatingPointError,
    np.linalg.LinAlgError,
    torch.linalg.LinAlgError,  # type: ignore[attr-defined]
)
"""What is not finite, and what has no solution."""


def describe_failure(error: Exception) -> str:
    """Return what an error says, in one line; its name where it says nothing."""
    return one_line(str(error)) or type(error).__name__
