"""Recorded layers are read back as they were, and anything else is refused in one line."""

from __future__ import annotations

import pytest

from hwmodels import ActivationTensor, LayerJob, LayerShape
from hwmodels.errors import LayerError
from hwmodels.workload.jobs_json import read_jobs, write_jobs
from hwmodels.workload.networks import NETWORKS


@pytest.mark.parametrize("name", NETWORKS)
def test_every_record_is_read_back(name: str) -> None:
    network = NETWORKS[name](2)
    assert read_jobs(write_jobs(network.jobs(3, 5), network.tensors)) == (network.jobs(3, 5), network.tensors)


def test_every_field_is_read_back() -> None:
    shape = LayerShape(
        name="\u00e4 [1]\n", kind="conv", in_channels=4, out_channels=8, kernel_h=3, groups=2, bias=False
    )
    job = LayerJob(
        shape=shape,
        weight_bits=3,
        input_bits=4,
        density=0.1,
        codebook_size=4,
        stored_input_bits=8,
        index_code_bits=1.7,
        entropy_bits=2.5,
        fusible=False,
        codebooks=4,
        weights_elsewhere=True,
        columns_per_channel=2,
    )
    tensor = ActivationTensor(
        name="x",
        elements=5,
        bits=4,
        first_step=0,
        last_step=3,
        writers=(1, 2),
        readers=(3,),
        second_readers=(3,),
        external=True,
    )
    text = write_jobs([job], [tensor])
    assert read_jobs(text) == ((job,), (tensor,))
    assert "\n" not in text


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "1e999", "[" * 100_000, '{"jobs": 1, "tensors": []}', '{"jobs": [1], "tensors": []}'),
        *('{"jobs": [{"shape": {}}], "tensors": []}', '{"jobs": [], "tensors": [{"name": 1}]}'),
        '{"jobs": [{"shape": {"name": "a", "kind": "conv", "in_channels": 0, "out_channels": 1}}], "tensors": []}',
        '{"jobs": [{"shape": {"name": "a", "kind": [], "in_channels": 1, "out_channels": 1}}], "tensors": []}',
        f'{{"jobs": [], "tensors": [{{"elements": {"9" * 5000}}}]}}',
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(LayerError) as caught:
        read_jobs(text)
    assert all("\n" not in problem for problem in caught.value.problems)
