"""The [sharing] section."""

from __future__ import annotations

import pytest

from explorer.errors import StudyFileError
from explorer.settings import SharingSettings
from explorer.study.names import check_names


def test_a_scope_as_a_candidate_states_it() -> None:
    assert SharingSettings().codebook_granularity == "layer"
    assert SharingSettings(granularity="channel").codebook_granularity == "channel"


def test_relevance_itself_is_no_weighting() -> None:
    with pytest.raises(StudyFileError, match=r"sharing\.weighting: expected"):
        check_names(SharingSettings(weighting="relevance_of_weights"))
    with pytest.raises(StudyFileError, match=r"sharing\.granularity: expected"):
        SharingSettings(granularity="network")
