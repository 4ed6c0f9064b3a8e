"""Conductance: complete at every cut, and the points that it is summed over; against Captum beside its sister."""

from __future__ import annotations

import pytest
import torch

from explorer.relevance import conductance as conductance_module
from explorer.relevance.conductance import conductance, get_path_points
from explorer.relevance.sample import make_sample
from tests.support.attribution import canonical, functional


def test_conductance_adds_up_at_every_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """The more steps, the closer to the change of the logit (Dhamdhere et al., 2019, completeness)."""
    sample, missed = make_sample(*canonical(functional), target="true"), []
    with torch.no_grad():
        change = ((sample.model(*sample.inputs) - sample.model(*sample.references)) * sample.directions).sum(1)
    for steps in (5, 400):
        monkeypatch.setattr(conductance_module, "STEPS", steps)
        sums = [torch.from_numpy(entry.contributions).double().sum(1) for entry in conductance(sample).layers]
        missed.append(max(float((each - change).abs().mean() / change.abs().mean()) for each in sums))
    assert missed[1] < 0.01 < missed[0]


def test_points_integrate_polynomials() -> None:
    points = get_path_points(4)
    assert all(0 < place < 1 for place, _ in points)
    for power in range(8):
        assert sum(weight * place**power for place, weight in points) == pytest.approx(1 / (power + 1))
