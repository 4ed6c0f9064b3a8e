"""Fine-tuning of a front: what a training came to is kept until its scores are, too."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

import explorer
from explorer.settings import FineTuningSettings
from explorer.study import finetune
from explorer.study.finetune import TuningPlace
from explorer.study.record import FrontPoint
from explorer.training.loss import CROSS_ENTROPY
from tests.support.costs import make_cost


def test_an_interruption_while_it_is_scored_loses_no_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 10))
        net = explorer.open(model, torch.rand(60, 1, 8, 8), torch.arange(60) % 10)
    evaluation = SimpleNamespace(candidate=explorer.uniform(net, weight_bits=2), cost=make_cost())
    point = cast(FrontPoint, SimpleNamespace(name="p1", evaluation=evaluation))
    place = TuningPlace(
        context=net.context,
        data=net.data,
        torch_device=net.network.torch_device,
        score=net.score,
        seed=0,
        weights_digest="w",
        settings=FineTuningSettings(epochs=3, held_aside=0.2),
        loss=CROSS_ENTROPY,
        accelerator=None,
        folder=tmp_path,
    )
    (whole,) = replace(place, folder=None).tune([point], lambda *_: None)
    shares: list[float] = []

    def tell(what: str, done: int, count: int) -> None:
        shares.append(done / count)

    def interrupt(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(finetune, "score_images", interrupt)
        for begun in (0.0, 1.0):
            shares.clear()
            with pytest.raises(KeyboardInterrupt):
                place.tune([point], tell)
            assert (shares[0], shares[-1]) == (begun, 1.0)
    assert len(list(tmp_path.rglob("*.unfinished"))) == 1
    (found,) = place.tune([point], tell)
    assert found.scores == whole.scores
    assert not list(tmp_path.rglob("*.unfinished"))
