"""Networks as ONNX files: their layers, activations and, where the file is quantised, the widths that it states."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwmodels.errors import LayerError, NetworkError
from hwmodels.workload.activation import ActivationTensor
from hwmodels.workload.entropy import measure_entropy
from hwmodels.workload.jobs_json import read_jobs
from hwmodels.workload.layer import PRODUCT_KINDS, LayerJob
from hwmodels.workload.network import Network
from hwmodels.workload.onnx_file import read_graph
from hwmodels.workload.onnx_graph import OnnxGraph, OnnxNode
from hwmodels.workload.onnx_operators import QONNX_WIDTHS
from hwmodels.workload.onnx_records import OnnxLayer
from hwmodels.workload.onnx_walk import OnnxWalk, integer_bits, walk_graph

_OWN_PRODUCER = "explorer"
_JOBS, _OF_INTEGERS = "layers", "logits_scale"
"""Properties of an integer network that `explorer export` has written: its layers as they were costed, and its mark."""
_FLOAT_BITS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxNetwork:
    """A network and one job for each of its layers, at the widths that its file states.

    Attributes:
        network: The layers, and the activations that are stored.
        jobs: Each layer at the widths that the file states.
        states_widths: False for a file of float32 weights and activations throughout, which says nothing about how it
            is meant to run: its jobs have 32 bits.

    Example:
        >>> import hwmodels
        >>> import onnx
        >>> from onnx import TensorProto, helper
        >>> x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])
        >>> y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])
        >>> weights = helper.make_tensor("weights", TensorProto.FLOAT, [64, 10], [0.5] * 640)
        >>> node = helper.make_node("MatMul", ["x", "weights"], ["y"], name="fc")
        >>> graph = helper.make_graph([node], "net", [x], [y], [weights])
        >>> onnx.save(helper.make_model(graph), "net.onnx")
        >>> read = hwmodels.read_onnx_jobs("net.onnx")
        >>> read.states_widths, [job.weight_bits for job in read.jobs]
        (False, [32])
    """

    network: Network
    jobs: tuple[LayerJob, ...]
    states_widths: bool


def read_onnx(path: str | Path) -> Network:
    """Return the network of an ONNX file.

    Layers are in the order of the file, and named as its nodes:

    - Conv (of one to three spatial axes; with three, depth and height are one axis), Gemm and MatMul, also in
      their integer forms (QLinearConv, MatMulInteger and so on). A MatMul with constants is a linear layer over all
      positions; one of two activations a "matmul" with a head for each leading index, images included. An Add of
      constants right after them is their bias. ConvTranspose is the convolution of which it is the
      transpose: its inputs and outputs change places.
    - Pools, global ones and reductions are "pool"; functions of two or more tensors "add", a smaller tensor
      counting as large as the result; functions of one tensor "activation", one operation for each element, a
      batch norm or a softmax as well.
    - Everything else is in `skipped` with the reason. What depends on constants alone is done before a run,
      and neither counted nor listed.

    Operators of com.microsoft count as those of ONNX that they stand for. What nodes compute from shapes, such as the
    sizes of a reshape or which branch is taken, is worked out.

    An open first dimension of an input counts as 1; a fixed one is the batch. `in_h` and `in_w` leave out what a
    Pad has put around. Tensors are those in memory: reshapes, slices, paddings and (de)quantisations share
    that of their input, and so does a function of the elements of a result that nothing else reads. Other
    movements of data fill a tensor of their own, and count as running with the layer after them. A tensor
    is as wide as its widest reader takes it; the network's results last to the end.

    Raises:
        NetworkError: the package onnx is missing, or the file is no ONNX model, holds no layer, has an open
            dimension other than the first, or a product whose shape cannot be inferred or contradicts itself.

    Example:
        >>> import hwmodels
        >>> import onnx
        >>> from onnx import TensorProto, helper
        >>> x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])
        >>> y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])
        >>> weights = helper.make_tensor("weights", TensorProto.FLOAT, [64, 10], [0.5] * 640)
        >>> node = helper.make_node("MatMul", ["x", "weights"], ["y"], name="fc")
        >>> graph = helper.make_graph([node], "net", [x], [y], [weights])
        >>> onnx.save(helper.make_model(graph), "net.onnx")
        >>> network = hwmodels.read_onnx("net.onnx")
        >>> network.layers[0].kind, network.macs
        ('linear', 640)
    """
    graph = read_graph(Path(path))
    recorded = _recorded(graph)
    return _network(graph, walk_graph(graph), ()) if recorded is None else recorded.network


def read_onnx_jobs(path: str | Path) -> OnnxNetwork:
    """Return the network of an ONNX file as `read_onnx` does, with the widths, density and entropy of its weights.

    A weight is as wide as the type that its constant is stored in (4 for INT4), behind any QuantizeLinear,
    DequantizeLinear and reshape; an activation as wide as the type that it is quantised to, or as a Clip of its
    codes leaves, or as a quantiser of QONNX states (Pappalardo et al., "QONNX", 2022). A maximum or a Relu of
    quantised values is as wide as these. An integer network of `explorer export` records its layers as they
    were costed, and these count. In its other files, weights are as wide as their
    codes need, since ONNX has no types of 3, 5, 6 or 7 bits. Density is the share of weights that are not zero; it
    counts as 1 where all are zero, zero points are not 0, or the weights cannot be read (then `skipped` says so).
    The entropy is that of the stored constants where these are integers.

    Raises:
        NetworkError: as for `read_onnx`.

    Example:
        >>> import hwmodels
        >>> import onnx
        >>> from onnx import TensorProto, helper
        >>> x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])
        >>> y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])
        >>> weights = helper.make_tensor("weights", TensorProto.FLOAT, [64, 10], [0.5] * 640)
        >>> node = helper.make_node("MatMul", ["x", "weights"], ["y"], name="fc")
        >>> graph = helper.make_graph([node], "net", [x], [y], [weights])
        >>> onnx.save(helper.make_model(graph), "net.onnx")
        >>> hwmodels.read_onnx_jobs("net.onnx").jobs[0].density
        1.0
    """
    graph = read_graph(Path(path))
    recorded = _recorded(graph)
    if recorded is not None:
        return recorded
    found = walk_graph(graph)
    weights = [_weights(found, layer) for layer in found.layers]
    missing = [
        (layer.shape.name, "its weights cannot be read (is their external file missing?): they count as dense")
        for layer, each in zip(found.layers, weights, strict=True)
        if each.is_missing
    ]
    jobs = tuple(_job(layer, each) for layer, each in zip(found.layers, weights, strict=True))
    products = [job for job in jobs if job.shape.kind in PRODUCT_KINDS] or jobs
    stated = any(min(job.weight_bits, job.input_bits) < _FLOAT_BITS for job in products)
    return OnnxNetwork(network=_network(graph, found, missing), jobs=jobs, states_widths=stated)


def _network(
    graph: OnnxGraph, found: OnnxWalk, also_skipped: tuple[tuple[str, str], ...] | list[tuple[str, str]]
) -> Network:
    """Return the network of a found."""
    return Network(
        name=graph.path.stem,
        layers=tuple(layer.shape for layer in found.layers),
        tensors=tuple(
            ActivationTensor(
                name=tensor.name,
                elements=tensor.elements,
                bits=tensor.bits,
                first_step=tensor.first_step,
                last_step=tensor.last_step,
                writers=tuple(tensor.writers),
                readers=tuple(tensor.readers),
                second_readers=tuple(tensor.second_readers),
                external=tensor.external,
            )
            for tensor in found.tensors
            if tensor.elements
        ),
        skipped=(*found.skipped, *also_skipped),
    )


def _recorded(graph: OnnxGraph) -> OnnxNetwork | None:
    """Return the layers that an integer network of `explorer export` records; None for any other file.

    What it computes beside its layers stands for their requantisation, functions and pools, and is costed as these.
    """
    if graph.producer != _OWN_PRODUCER or _OF_INTEGERS not in graph.properties:
        return None
    if _JOBS not in graph.properties:
        raise NetworkError(
            f"{graph.path}: an integer network that does not record its layers, from which alone its costs follow: "
            "export it once more, or price the quantised network that it was made of"
        )
    try:
        jobs, tensors = read_jobs(graph.properties[_JOBS])
        network = Network(name=graph.path.stem, layers=tuple(job.shape for job in jobs), tensors=tensors)
    except LayerError as error:
        raise NetworkError([f"{graph.path}: property {_JOBS!r}: {problem}" for problem in error.problems]) from error
    products = sum(job.shape.kind in PRODUCT_KINDS for job in jobs)
    found = sum(node.operator in {"ConvInteger", "MatMulInteger"} for node in graph.nodes)
    if products != found:
        raise NetworkError(
            f"{graph.path}: property {_JOBS!r} records {products} layers with products, but the file holds {found}: "
            "it has been changed since; export the network once more"
        )
    return OnnxNetwork(network=network, jobs=jobs, states_widths=True)


class _Weights(NamedTuple):
    """What is known of a layer's weights."""

    bits: int
    density: float = 1.0
    entropy_bits: float | None = None
    is_missing: bool = False


def _weights(found: OnnxWalk, layer: OnnxLayer) -> _Weights:
    """Return what is known of a layer's weights; those of a product of activations are its second input."""
    if layer.weights is None:
        width, tensor = layer.second or layer.inputs[0]
        return _Weights(min(width, tensor.bits))
    bits = found.widths[layer.weights]
    name, quantizer, has_zero_points = _stored(found, layer.weights)
    array = found.graph.array(name)
    if array is None:
        return _Weights(bits, is_missing=name in found.graph.tensors)
    is_integer = found.graph.value(name).is_integer and array.dtype.kind != "f"  # a damaged file may say otherwise
    # Small types are no numpy types of their own, and bfloat16 counts as none either.
    codes: NDArray[np.generic] = array.astype(np.int64 if is_integer else np.float64)
    if quantizer is not None:
        codes = _rounded(codes, found.graph.array(quantizer.inputs[1]), quantizer)
    nonzero = 0 if has_zero_points else np.count_nonzero(codes)
    if is_integer and codes.size and found.graph.producer == _OWN_PRODUCER:
        bits = min(bits, integer_bits(int(codes.min()), int(codes.max())))
    entropy_bits = measure_entropy(codes) if is_integer and codes.size and quantizer is None else None
    return _Weights(bits, float(nonzero / codes.size) if nonzero else 1.0, entropy_bits)


def _stored(found: OnnxWalk, value: str) -> tuple[str, OnnxNode | None, bool]:
    """Return the constant behind a value, what quantises it, and whether a code of 0 may stand for another value."""
    quantizer, has_zero_points = None, False
    while value not in found.graph.tensors and value in found.producers:
        node = found.producers[value]
        is_qonnx = node.operator in QONNX_WIDTHS
        if len(node.inputs) > 2 and (is_qonnx or node.operator == "DequantizeLinear"):
            zero_points = found.graph.array(node.inputs[2])
            has_zero_points |= zero_points is not None and bool(zero_points.astype(np.int64).any())
        has_zero_points |= node.operator.endswith(".BipolarQuant")  # which has no zero
        if len(node.inputs) > 1 and (is_qonnx or node.operator == "QuantizeLinear"):
            quantizer = node
        value = next((name for name in node.inputs if name), "")
    return value, quantizer if quantizer is not None and quantizer.inputs[0] == value else None, has_zero_points


def _rounded(
    weights: NDArray[np.generic], scales: NDArray[np.generic] | None, quantizer: OnnxNode
) -> NDArray[np.generic]:
    """Return the codes of weights that the file holds before they are quantised: small ones become zero."""
    scale = np.zeros(1) if scales is None else scales.astype(np.float64)
    if not np.all(scale > 0):
        return weights
    if scale.ndim == 1 and scale.size > 1 and quantizer.operator == "QuantizeLinear":
        axis = quantizer.attributes.get("axis", 1)
        scale = scale.reshape([-1 if index == axis % weights.ndim else 1 for index in range(weights.ndim)])
    try:
        codes: NDArray[np.generic] = np.rint(weights.astype(np.float64) / scale)
    except ValueError:  # the scales do not fit the weights
        return weights
    return codes


def _job(layer: OnnxLayer, weights: _Weights) -> LayerJob:
    """Return a layer with its widths."""
    input_bits = max(min(width, tensor.bits) for width, tensor in layer.inputs)
    stored = max(tensor.bits for _, tensor in layer.inputs)
    return LayerJob(
        shape=layer.shape,
        weight_bits=weights.bits,
        input_bits=input_bits,
        output_bits=layer.output.bits,
        density=weights.density,
        entropy_bits=weights.entropy_bits,
        stored_input_bits=stored if stored > input_bits else None,
    )
