"""How many random cases a test takes: a few for whoever waits, many in `make test-slow`."""

import pytest


def cases(few: int, many: int) -> pytest.MarkDecorator:
    """Give a test `count`: `few` by default, `many` among the slow tests."""
    return pytest.mark.parametrize("count", [few, pytest.param(many, marks=pytest.mark.slow)], ids=["few", "many"])
