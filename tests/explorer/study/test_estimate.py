"""The time of a run with several processes, and of one that stops before."""

import pytest

from explorer.study.estimate import RunEstimate

ESTIMATE = RunEstimate(
    candidate_s=2.0, stages=(("relevance", 5.0), ("search", 800.0), ("beacons", 800.0), ("held-out images", 10.0))
)


@pytest.mark.parametrize(
    ("jobs", "most_s", "search_s", "beacons_s"),
    [
        (1, float("inf"), 800.0, 800.0),
        (4, float("inf"), 200.0, 200.0),
        (0, 300.0, 300.0, 800.0),
        (8, 300.0, 100.0, 100.0),
    ],
)
def test_jobs_share_the_search_and_the_beacons_alone(
    jobs: int, most_s: float, search_s: float, beacons_s: float
) -> None:
    found = ESTIMATE.with_jobs(jobs, most_s)
    assert found.stages == (
        ("relevance", 5.0),
        ("search", search_s),
        ("beacons", beacons_s),
        ("held-out images", 10.0),
    )
    assert found.whole_s == search_s + beacons_s + 15.0
