"""Scores of fine-tuned members: kept beside the networks, found again only where these are."""

from pathlib import Path

import pytest

from explorer.errors import SearchError
from explorer.evaluate.mean_score import MeanScore
from explorer.study.record import TunedScores
from explorer.study.tuned_front import keep_scores, tuned_file, with_tuned
from tests.explorer.study.test_choose import members, outcome
from tests.explorer.study.test_front import cost

SCORES = TunedScores(
    epochs=3,
    search=MeanScore(value=0.8, num_images=50, deviation=0.25),
    held_out=MeanScore(value=0.75, num_images=40),
    cost=cost(2.5),
    loss_error=0.125,
)


def test_scores_come_back_into_the_outcome(tmp_path: Path) -> None:
    found = outcome(*members((0.8, 1.0, 10), (0.9, 2.0, 20)))
    object.__setattr__(found, "provenance", {"weights digest": "w"})
    assert with_tuned(found, tmp_path) is found
    digests = [point.evaluation.candidate.digest() for point in found.front]
    (tmp_path / "tuned").mkdir()
    keep_scores(tmp_path, "w", digests[1], SCORES)
    assert [point.tuned for point in with_tuned(found, tmp_path).front] == [None, None]  # the network is not there
    tuned_file(tmp_path, digests[1]).touch()
    assert [point.tuned for point in with_tuned(found, tmp_path).front] == [None, SCORES]
    tuned_file(tmp_path, digests[0]).touch()
    keep_scores(tmp_path, "w", digests[0], SCORES)
    assert [point.tuned for point in with_tuned(found, tmp_path).front] == [SCORES, SCORES]
    keep_scores(tmp_path, "others", digests[0], SCORES)
    assert with_tuned(found, tmp_path) is found  # they are of another network


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "scores.json").write_text('{"weights": 1}')
    with pytest.raises(SearchError, match=r"scores.json: cannot be read as scores of fine-tuned networks .* delete it"):
        with_tuned(outcome(), tmp_path)
