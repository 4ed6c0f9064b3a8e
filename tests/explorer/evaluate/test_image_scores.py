"""Scores of images survive being packed, and damaged text is refused."""

from __future__ import annotations

import numpy as np
import pytest

from explorer.evaluate.image_scores import pack_scores, unpack_scores


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 5000])
def test_right_and_wrong_images_are_the_same_again_in_a_bit_each(count: int) -> None:
    scores = (np.random.default_rng(count).random(count) < 0.7).astype(float)
    text = pack_scores(scores)
    assert np.array_equal(unpack_scores(text), scores)
    assert len(text) < 40 + count / 5


def test_other_scores_are_the_same_again_as_float32() -> None:
    scores = np.random.default_rng(0).random(321)
    assert np.array_equal(unpack_scores(pack_scores(scores)), scores.astype(np.float32))


@pytest.mark.parametrize(
    "text", ["", "bits", "bits:3:", "bits:x:eJwDAAAAAAE=", "words:0:eJwDAAAAAAE=", "bits:9:eJwDAAAAAAE=", "floats:2:!"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        unpack_scores(text)


def test_a_damaged_text_is_refused_and_never_other_scores() -> None:
    text = pack_scores((np.random.default_rng(0).random(400) < 0.5).astype(float))
    for place in range(len(text)):
        changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        try:
            assert np.array_equal(unpack_scores(changed), unpack_scores(text))
        except ValueError:
            continue
