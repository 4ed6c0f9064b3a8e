"""Which of two tunings is kept, what is said of it, and when it cannot be told."""

from pathlib import Path
from typing import Any

import pytest

from explorer.errors import SearchError
from explorer.settings import FineTuningSettings
from explorer.settings.records import write_record
from explorer.study.better_tuned import is_better, is_made, keep_before, refuse_incomparable, tell_kept
from explorer.training.tuned import Tuned

CONDITIONS = {
    "epochs": 20,
    "learning_rate": 0.1,
    "seed": 0,
    "train": "t",
    "held_aside": 0.05,
    "batch_size": 64,
    "evaluated": {"search": "s"},
    "loss code": "l",
    "teacher": True,
    "teacher_weight": 0.9,
    "temperature": 4.0,
    "coded_share": 1.0,
}
SHORT = {**CONDITIONS, "epochs": 1}


def make_tuned(conditions: dict[str, Any], loss: float | None, excess: float = 0.0) -> Tuned:
    description = {**conditions, "aside_loss": loss, "aside_excess": excess}
    fields = ("state", "scales", "masks", "clusters", "centroids", "ranges")
    return Tuned(candidate="c", description=description, **{name: {} for name in fields})


def test_the_lesser_loss_is_better_and_more_bytes_than_asked_are_worse() -> None:
    for (made, earlier), expected in {
        ((0.1, 0.0), (0.2, 0.0)): True,
        ((0.2, 0.0), (0.1, 0.0)): False,
        ((0.1, 0.0), (0.1, 0.0)): False,
        ((0.1, 0.3), (0.2, 0.0)): False,
        ((0.2, 0.0), (0.1, 0.3)): True,
        ((None, 0.0), (9.0, 0.0)): False,
    }.items():
        one, other = (make_tuned(CONDITIONS, *each).description for each in (made, earlier))
        assert is_better(one, other) == expected, (made, earlier)


def test_what_is_kept_remembers_what_it_was_kept_before() -> None:
    long, short = make_tuned(CONDITIONS, 0.125), make_tuned(SHORT, 0.25)
    kept = keep_before(long, short, CONDITIONS).description
    assert is_made(kept, CONDITIONS)
    assert is_made(kept, SHORT)
    assert not is_made(kept, {**CONDITIONS, "epochs": 2})
    assert tell_kept(kept, CONDITIONS) == ""
    assert tell_kept(kept, SHORT) == (
        "the earlier tuning of 20 epochs is kept, whose loss on the images held aside is 0.125; that of the new one of "
        "1 epoch is 0.25"
    )
    third = make_tuned({**CONDITIONS, "learning_rate": 0.2}, 0.0625)
    best = keep_before(third, keep_before(long, short, CONDITIONS), CONDITIONS).description
    assert is_made(best, SHORT)
    assert is_made(best, CONDITIONS)


def test_why_one_is_kept_is_said_in_what_decided() -> None:
    over = keep_before(make_tuned(CONDITIONS, 2.0), make_tuned(SHORT, 1.0, 0.5), CONDITIONS).description
    assert "whose share of bytes above those asked for is 0; that of the new one of 1 epoch is 0.5" in tell_kept(
        over, SHORT
    )
    endless = keep_before(make_tuned(CONDITIONS, 2.0), make_tuned(SHORT, None), CONDITIONS).description
    assert tell_kept(endless, SHORT).endswith("is 2; that of the new one of 1 epoch is not finite")


def test_what_cannot_be_compared_is_not_replaced() -> None:
    known = make_tuned(CONDITIONS, 0.1).description
    refuse_incomparable("p07", Path("c.pt"), known, SHORT)
    for earlier, conditions, why in (
        (known, {**SHORT, "train": "others", "seed": 1}, "with another seed, train: which is better cannot be told"),
        (known, {**SHORT, "held_aside": 0.1}, "with another held_aside: "),
        (known, {**SHORT, "teacher_weight": 0.5}, "with another teacher_weight: "),
        ({**known, "held_aside": 0}, {**SHORT, "held_aside": 0}, "with finetuning.held_aside = 0, which leaves no"),
        ({**CONDITIONS}, SHORT, "and no loss on images held aside is recorded of it: "),
    ):
        with pytest.raises(SearchError, match=r"^c.pt: p07 was tuned before, .*; move the file away to") as raised:
            refuse_incomparable("p07", Path("c.pt"), earlier, conditions)
        assert why in str(raised.value)


def test_a_setting_that_was_not_there_yet_had_its_default() -> None:
    settings = write_record(FineTuningSettings())
    older = {key: value for key, value in (settings | CONDITIONS).items() if key != "arithmetic"}
    assert is_made(older, settings | CONDITIONS)
    assert not is_made(older, settings | CONDITIONS | {"arithmetic": "bfloat16"})
    kept = keep_before(make_tuned(CONDITIONS, 0.125), make_tuned(older, 0.25), settings | CONDITIONS | SHORT)
    assert is_made(kept.description, settings | CONDITIONS)


def test_losses_of_other_batches_cannot_be_compared() -> None:
    """Of what is no class, the teacher's spread in each batch is what errors are relative to."""
    earlier = make_tuned({**CONDITIONS, "batch_size": 16}, 0.25).description
    with pytest.raises(SearchError, match="with another batch_size"):
        refuse_incomparable("p1", Path("f"), earlier, CONDITIONS)
