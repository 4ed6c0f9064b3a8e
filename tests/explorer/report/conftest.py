"""The outcome that reports are drawn of."""

import pytest

from explorer.study.record import Outcome
from tests.support.outcomes import make_outcome


@pytest.fixture
def outcome() -> Outcome:
    """The synthetic outcome with all ten members."""
    return make_outcome()
