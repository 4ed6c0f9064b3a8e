"""What a network is called on the command line, and the jobs that it stands for."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from explorer.settings.rules import similar
from hwmodels import NETWORKS, ActivationTensor, LayerJob, Network, NetworkError

DEFAULT_BITS = 8
LARGEST_IMAGE = 2**26
"""Elements of an image on which a PyTorch network is run to be traced: 8,192 x 8,192 pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """A network ready to be priced: one job for each layer; `widths` says in words how wide everything is."""

    name: str
    widths: str
    jobs: tuple[LayerJob, ...]
    tensors: tuple[ActivationTensor, ...]
    skipped: tuple[tuple[str, str], ...]


def priced(
    network: str, bits: tuple[int, int] | None, batch: int, images: tuple[int, int, int] | None = None
) -> Priced:
    """Return the jobs of a known network, a SCALE-Sim topology (.csv), an ONNX file (.onnx) or a PyTorch network.

    The latter is "module:callable", which is run, and needs the shape of its `images`, (C, H, W). The pruning that an
    ONNX file shows, its density, counts at any width.

    Args:
        bits: Those of weights and of activations: without them an ONNX file's own count, and 8 for any other network.

    Raises:
        NetworkError: there is no such network, a file cannot be read, or an ONNX file that is not quantised is
            given without bits.
        ModelError: a PyTorch network cannot be built or traced.
    """
    if re.fullmatch(r"[\w.]+:[A-Za-z_]\w*", network):
        return _torch(network, bits or (DEFAULT_BITS, DEFAULT_BITS), batch, images)
    suffix = Path(network).suffix.lower()
    if suffix == ".onnx":
        return _onnx(Path(network), bits, batch)
    if suffix == ".tflite":
        raise NetworkError(
            f"{network}: a .tflite file is not priced here: explorer verify {network} --vela prices one that was "
            "exported, and explorer cost reads the .onnx file that explorer export --format onnx writes of the point"
        )
    if suffix == ".csv":
        from hwmodels import read_topology  # noqa: PLC0415

        found = read_topology(network)
    else:
        found = NETWORKS[_known(network)]()
    return _uniform(found.batched(batch), bits or (DEFAULT_BITS, DEFAULT_BITS))


def _known(name: str) -> str:
    """Return the full name of a known network; the part behind what names its collection is enough."""
    full = [known for known in NETWORKS if known == name or known.endswith(f"_{name}")]
    if len(full) == 1:
        return full[0]
    hint = " ".join(filter(None, (similar(name, NETWORKS), f"Known networks are {', '.join(NETWORKS)}")))
    raise NetworkError(
        f"unknown network {name!r}: {hint}; any other is the path of a "
        "SCALE-Sim topology that ends in .csv, of an ONNX file that ends in .onnx, or module:callable in PyTorch"
    )


def _uniform(network: Network, bits: tuple[int, int], densities: Sequence[float] = ()) -> Priced:
    """Return a network with the same widths everywhere."""
    weights, activations = bits
    jobs, tensors = network.at(weights, activations)
    if densities:
        jobs = tuple(replace(job, density=density) for job, density in zip(jobs, densities, strict=True))
    return Priced(
        name=network.name,
        widths=f"weights of {weights} bits, activations of {activations}",
        jobs=jobs,
        tensors=tensors,
        skipped=network.skipped,
    )


def _onnx(path: Path, bits: tuple[int, int] | None, batch: int) -> Priced:
    """Return the network of an ONNX file, at its own widths unless others are given."""
    from hwmodels import read_onnx_jobs  # noqa: PLC0415

    read = read_onnx_jobs(path)
    network = read.network.batched(batch)
    if bits is not None:
        return _uniform(network, bits, [job.density for job in read.jobs])
    if not read.states_widths:
        raise NetworkError(
            f"{path}: the file holds a network in float32, which says nothing about how wide it is to run: give "
            "--bits, such as --bits 8/8 (or 32/32, where the device takes it)"
        )
    return Priced(
        name=network.name,
        widths="widths as the file states them",
        jobs=tuple(replace(job, shape=shape) for job, shape in zip(read.jobs, network.layers, strict=True)),
        tensors=network.tensors,
        skipped=network.skipped,
    )


def _torch(factory: str, bits: tuple[int, int], batch: int, images: tuple[int, int, int] | None) -> Priced:
    """Return a PyTorch network as explorer traces it, with random weights: costs do not depend on them."""
    if images is None:
        raise NetworkError(f"{factory}: a PyTorch network needs the shape of its images: give --input, such as 3x32x32")
    if math.prod(images) > LARGEST_IMAGE:
        raise NetworkError(
            f"{factory}: --input states {math.prod(images)} elements of an image, more than {LARGEST_IMAGE}: the "
            "network is run to be traced, which takes many times that memory; give a smaller image"
        )
    import torch  # noqa: PLC0415

    from explorer.compress.candidate import uniform  # noqa: PLC0415
    from explorer.compress.plan import plan  # noqa: PLC0415
    from explorer.errors import ModelError, describe_error  # noqa: PLC0415
    from explorer.evaluate.hardware import list_activation_tensors, list_layer_jobs  # noqa: PLC0415
    from explorer.graph.canonical import canonicalise  # noqa: PLC0415
    from explorer.graph.trace import trace  # noqa: PLC0415
    from explorer.models.factory import build  # noqa: PLC0415

    model = build(factory, Path.cwd()).eval().float()
    example = torch.zeros(2, *images)
    try:
        with torch.inference_mode():
            model(example)
    except Exception as error:
        reason = describe_error(error)
        raise ModelError(f"{factory} fails on images of {images} (C, H, W): {reason}; correct --input") from error
    graph = trace(canonicalise(model, example), example)
    planned = plan(graph, uniform(graph, *bits))
    groups = {group.name for group in graph.groups}
    network = Network(
        name=factory.partition(":")[2],
        layers=tuple(job.shape for job in list_layer_jobs(graph, planned)),
        tensors=list_activation_tensors(graph, planned),
        # Groups of channels that cannot be pruned are skipped by a search, but cost what they do.
        skipped=tuple((each.path, each.reason) for each in graph.skipped if each.path not in groups),
    ).batched(batch)
    jobs = tuple(
        replace(job, shape=shape) for job, shape in zip(list_layer_jobs(graph, planned), network.layers, strict=True)
    )
    return Priced(
        name=network.name,
        widths=f"weights of {bits[0]} bits, activations of {bits[1]}",
        jobs=jobs,
        tensors=network.tensors,
        skipped=network.skipped,
    )
