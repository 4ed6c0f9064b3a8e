"""A network's jobs and activations as JSON, for files whose operations are not the layers that were costed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import MISSING, asdict, fields
from typing import Any

from hwmodels.errors import LayerError
from hwmodels.workload.activation import ActivationTensor
from hwmodels.workload.layer import LayerJob, LayerShape


def write_jobs(jobs: Sequence[LayerJob], tensors: Sequence[ActivationTensor] = ()) -> str:
    """Return one line of JSON from which `read_jobs` gives equal records; what has its default value is left out.

    Example:
        >>> import hwmodels
        >>> shape = hwmodels.LayerShape(name="fc", kind="linear", in_channels=64, out_channels=10)
        >>> hwmodels.write_jobs([hwmodels.LayerJob(shape=shape, weight_bits=4)])[-36:]
        ', "weight_bits": 4}], "tensors": []}'
    """
    entries = [{**_stated(job), "shape": _stated(job.shape)} for job in jobs]
    return json.dumps({"jobs": entries, "tensors": [_stated(tensor) for tensor in tensors]})


def read_jobs(text: str) -> tuple[tuple[LayerJob, ...], tuple[ActivationTensor, ...]]:
    """Return the jobs and the activations of a text of `write_jobs`.

    Raises:
        LayerError: the text is no such JSON, or a value is out of range.

    Example:
        >>> import hwmodels
        >>> jobs = hwmodels.NETWORKS["lenet5"]().jobs()
        >>> hwmodels.read_jobs(hwmodels.write_jobs(jobs))[0] == jobs
        True
    """
    try:
        document = json.loads(text)
        jobs = tuple(LayerJob(**{**entry, "shape": LayerShape(**entry["shape"])}) for entry in document["jobs"])
        tensors = tuple(ActivationTensor(**_as_tuples(entry)) for entry in document["tensors"])
    except LayerError:
        raise
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise LayerError(f"the recorded layers cannot be read ({type(error).__name__}: {error})") from error
    return jobs, tensors


def _as_tuples(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry with tuples for its lists."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}


def _stated(record: LayerJob | LayerShape | ActivationTensor) -> dict[str, Any]:
    """Return the fields of a record that differ from their defaults."""
    values = asdict(record)
    return {
        field.name: values[field.name]
        for field in fields(record)
        if field.default is MISSING or values[field.name] != field.default
    }
