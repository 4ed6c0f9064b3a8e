"""Whatever a user calls the parts of a network, also as we call ours: it is compressed and exported as before."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate, uniform
from explorer.errors import ExplorerError, ExportError
from explorer.export.integer.onnx import export_integer_onnx
from explorer.export.integer.package import read_program, write_program
from explorer.export.onnx.builder import OnnxBuilder
from explorer.export.onnx.qdq import build_qdq, export_onnx
from explorer.export.verify import open_session
from explorer.graph.canonical import canonicalise
from explorer.graph.inputs import as_tuple
from explorer.graph.names import Names, add_module
from explorer.graph.symbolic import call
from explorer.integer.builder import ProgramBuilder
from explorer.integer.interpret import run_program
from explorer.integer.lower import lower_program
from explorer.integer.operations import Reshape
from explorer.integer.program import Input, IntegerProgram
from explorer.packed.file import pack, unpack
from explorer.packed.network import load_packed, packable
from explorer.settings import QuantizerSettings
from explorer.training.trainable import trainable
from explorer.training.tuned import rebuild
from tests.support import styles
from tests.support.renaming import renamed
from tests.support.square import random_candidate

T = TypeVar("T")
ALWAYS = (
    *("images", "logits", "logits_0", "input", "output", "output_1", "x", "x_1", "0", "value", "weight", "bias"),
    *("weight_codes", "weight_scale", "bias_codes", "scale", "index", "relu", "add", "mul", "mean", "view", "size"),
    *("contiguous", "expand", "pad", "cat", "getitem", "flatten", "conv2d", "sum", "max", "_tensor_constant0"),
    *("graph", "code", "meta", "unregistered_0", "file", "lambda", "in", "None", "self", "torch", "inf", "nan"),
    *("a b", "ä", "a/b", "a-b", "()", "#2", "add()", "relu()", "images/codes"),
)
"""Names that mean something in Python, in torch, in files or to us."""


class Seen(NamedTuple):
    """What there is of a network that must not depend on names."""

    outputs: list[NDArray[np.float32]]
    shapes: list[tuple[object, ...]]
    compressed: list[NDArray[np.float32]]
    trained: list[NDArray[np.float32]]
    packed: list[NDArray[np.float32]]
    file: list[NDArray[np.float32]] | None
    integers: NDArray[np.int32] | None


def basis_of(style: str, model: nn.Module) -> CompressionContext:
    images = styles.inputs(style, 8)
    settings = QuantizerSettings(activation_ranges="percentile")  # quickly found
    return CompressionContext.of(model, images, quantizer=settings)


def translated(candidate: Candidate, base: CompressionContext) -> Candidate:
    """The same choices for the layers and groups of another network, by their places."""
    layers, groups = base.graph.weight_owners, base.graph.prunable
    return Candidate(
        layers=tuple(replace(choice, layer=name) for choice, name in zip(candidate.layers, layers, strict=True)),
        filter_keep_ratio=tuple(
            (g.name, share) for (_, share), g in zip(candidate.filter_keep_ratio, groups, strict=True)
        ),
    )


@cache
def original(style: str) -> tuple[CompressionContext, Candidate]:
    base = basis_of(style, styles.build(style))
    return base, random_candidate(base.graph, random.Random(1))


@cache
def generated(style: str) -> tuple[str, ...]:
    """All names that we make for a style, and their parts: of modules, nodes, groups, operations, exported tensors."""
    base, candidate = original(style)
    built = apply(base, candidate)
    names = {path for model in (base.model, built) for path, _ in model.named_modules()}
    names |= {node.name for model in (base.model, built) for node in model.graph.nodes}
    names |= {group.name for group in base.graph.groups} | {entry.name for entry in base.graph.operations}
    for build in (lambda: program_names(built, base), lambda: file_names(built, base)):
        names |= or_refused(build) or set()
    return tuple(sorted({part for name in names for part in name.split(".") if part}))


def program_names(built: nn.Module, base: CompressionContext) -> set[str]:
    program = lower_program(built, base.graph.input_shapes)  # type: ignore[arg-type]
    return {*(tensor.name for tensor in program.tensors), *program.arrays}


def file_names(built: nn.Module, base: CompressionContext) -> set[str]:
    graph = build_qdq(built, base.graph.input_shapes).graph  # type: ignore[arg-type]
    written = {*(tensor.name for tensor in graph.initializer), *(node.name for node in graph.node)}
    return written | {name.partition("/")[0] for name in written}


def seen(base: CompressionContext, candidate: Candidate, style: str, folder: Path) -> Seen:
    fresh = styles.inputs(style, 6, seed=3)
    built = apply(base, candidate)
    tuned = trainable(base, candidate).collect({})
    again = rebuild(base, candidate, tuned)
    load_packed(again, unpack(pack(packable(built)).data))
    arrays: Callable[[nn.Module], list[NDArray[np.float32]]]
    arrays = lambda model: [output.numpy() for output in call(model, fresh)]  # noqa: E731
    return Seen(
        outputs=arrays(base.model),
        shapes=[(entry.kind, entry.step, entry.in_channels, entry.weights, entry.macs) for entry in base.graph.layers],
        compressed=arrays(built),
        trained=arrays(rebuild(base, candidate, tuned)),
        packed=arrays(again),
        file=or_refused(lambda: run_file(built, base, folder / "model.onnx", as_tuple(fresh))),
        integers=or_refused(lambda: run_integers(built, base, folder, as_tuple(fresh))),
    )


def or_refused(export: Callable[[], T]) -> T | None:
    try:
        return export()
    except ExportError:
        return None


def run_file(
    built: nn.Module, base: CompressionContext, path: Path, given: tuple[Tensor, ...]
) -> list[NDArray[np.float32]]:
    export_onnx(built, base.graph.input_shapes, path)  # type: ignore[arg-type]
    session = open_session(path)
    feeds = {entry.name: t.numpy() for entry, t in zip(session.get_inputs(), given, strict=True)}
    found: list[NDArray[np.float32]] = session.run(None, feeds)
    return found


def run_integers(
    built: nn.Module, base: CompressionContext, folder: Path, given: tuple[Tensor, ...]
) -> NDArray[np.int32]:
    program = lower_program(built, base.graph.input_shapes)  # type: ignore[arg-type]
    check_program(program)
    write_program(program, folder)
    arrays = tuple(tensor.numpy() for tensor in given)
    expected = run_program(read_program(folder), arrays)
    export_integer_onnx(program, folder / "integer.onnx")
    session = onnxruntime.InferenceSession(folder / "integer.onnx", providers=["CPUExecutionProvider"])
    feeds = dict(zip([entry.name for entry in program.inputs], arrays, strict=True))
    assert np.array_equal(session.run(None, feeds)[0], expected)
    return expected


def check_program(program: IntegerProgram) -> None:
    inputs = [entry.name for entry in program.inputs]
    written = [*inputs, *(step.output for step in program.steps)]
    assert len(set(written)) == len(written)
    assert sorted(written[len(inputs) :]) == sorted(tensor.name for tensor in program.tensors)
    assert not set(written) & set(program.arrays)


@pytest.mark.parametrize(
    ("style", "pool"),
    [
        pytest.param(style, pool, marks=() if pool == "ours" and i % 2 == 0 else pytest.mark.slow)
        for i, style in enumerate(styles.STYLES)
        for pool in ("ours", "known", "both")
    ],
)
def test_names_change_nothing(style: str, pool: str, tmp_path: Path) -> None:
    base, candidate = original(style)
    expected = seen(base, candidate, style, tmp_path)
    names = {"ours": generated(style), "known": ALWAYS, "both": (*ALWAYS, *generated(style))}[pool]
    other = basis_of(style, renamed(styles.build(style), names, random.Random(0)))
    received = seen(other, translated(candidate, other), style, tmp_path)
    for field in Seen._fields:
        np.testing.assert_equal(getattr(received, field), getattr(expected, field), err_msg=field)


class Block(nn.Module):
    """A stem, an activation, a module that is called as one likes, and a head."""

    def __init__(self, name: str, module: nn.Module) -> None:
        super().__init__()
        self.stem, self.act, self.called = nn.Conv2d(3, 6, 3, padding=1), nn.SiLU(), name
        self.add_module(name, module)
        self.last, self.fc = nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = getattr(self, self.called)(self.act(self.stem(x)))
        return self.fc(torch.relu(self.last(x)).mean((2, 3)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", [lambda: nn.Hardtanh(0.0, 0.25), lambda: nn.Conv2d(6, 6, 3, padding=1)])
@pytest.mark.parametrize(
    "name",
    [
        *("act_quantizer", "x_quantizer", "mean_quantizer", "last_input_quantizer", "logits", "images", "graph", "in"),
        *("stem#2", "relu()", "images/codes"),
    ],
)
def test_a_module_is_not_replaced_by_one_of_ours(name: str, kind: Callable[[], nn.Module], tmp_path: Path) -> None:
    def of(name: str) -> Seen:
        torch.manual_seed(0)
        base = basis_of("heads", Block(name, kind()))
        return seen(base, uniform(base.graph, 6, 7), "heads", tmp_path)

    expected, received = of("clip"), of(name)
    assert expected.file is not None
    assert expected.integers is not None
    for field in Seen._fields:
        np.testing.assert_equal(getattr(received, field), getattr(expected, field), err_msg=field)


def test_what_hangs_on_a_layer_is_not_taken_for_its_codes() -> None:
    model = Block("clip", nn.ReLU())
    model.stem.register_buffer("weight_codes", torch.ones(6, 3, 3, 3))
    model.last.register_parameter("bias_codes", nn.Parameter(torch.ones(6)))
    model.fc.weight_scale = 3.0  # type: ignore[assignment]
    base = basis_of("heads", model)
    built = apply(base, uniform(base.graph))
    images = styles.inputs("heads", 4)
    assert isinstance(images, Tensor)
    off = (built(images) - model.eval()(images)).abs().max() / model(images).abs().max()
    assert off < 0.05
    assert built.get_submodule("stem").get_buffer("weight_codes").dtype == torch.int8
    assert not hasattr(base.model.get_submodule("fc"), "weight_scale")
    assert model.fc.weight_scale == 3.0


class Returns(nn.Module):
    """Several inputs and outputs that are called as we, or each other, are."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 5)

    def forward(self, logits: Tensor, images: Tensor) -> dict[object, Tensor]:
        x = torch.nn.functional.pad(torch.relu(self.conv(logits)), (1, 1, 1, 1)).mean((2, 3))
        y = torch.relu(self.fc(x)) + images
        keys = ("conv", "fc/weight", "images", "logits", "pad", 1, "1")
        return {key: y + number for number, key in enumerate(keys)}


def test_outputs_may_be_called_as_inputs_nodes_and_each_other(tmp_path: Path) -> None:
    given = torch.randn(4, 3, 8, 8), torch.randn(4, 5)
    model = canonicalise(Returns(), given)
    export_onnx(model, tuple(tuple(tensor.shape[1:]) for tensor in given), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    assert [entry.name for entry in session.get_inputs()] == ["logits_2", "images"]
    names = [entry.name for entry in session.get_outputs()]
    assert names == ["conv", "fc/weight", "images_2", "logits", "pad", "1", "1_2"]
    received = session.run(None, {"logits_2": given[0].numpy(), "images": given[1].numpy()})
    for expected, values in zip(call(model, given), received, strict=True):
        np.testing.assert_allclose(values, expected.numpy(), rtol=1e-5, atol=1e-5)


def test_free_names_are_taken_once() -> None:
    names = Names(("a", "a_2"))
    assert [names.free(wanted) for wanted in ("a", "a", "a_3", "b")] == ["a_3", "a_4", "a_3_2", "b"]
    with pytest.raises(ExplorerError, match="two things in one place would be called 'b'; please report"):
        names.take("b")
    model = fx.symbolic_trace(nn.Sequential(nn.ReLU()))
    assert [add_module(model, wanted, nn.ReLU()) for wanted in ("0", "0", "code", "a.b", "in")] == [
        *("0_2", "0_3", "code_2", "a_b", "in_2")
    ]


def test_a_taken_name_is_refused_where_files_are_made() -> None:
    builder = OnnxBuilder(["images"], ["logits"])
    builder.constant("a", 1.0)
    with pytest.raises(ExplorerError, match="would be called 'a'; please report this"):
        builder.node("Relu", ["a"], "a")
    with pytest.raises(ExplorerError, match="would be called 'images'; please report this"):
        builder.constant("images", 1.0)
    steps = ProgramBuilder((Input(name="images", shape=(1,)),))
    steps.array("w", np.zeros(1), np.int8)
    with pytest.raises(ExportError, match="two tensors would be called 'w'; please report this"):
        steps.array("w", np.zeros(1), np.int8)
    step = Reshape(input="images", output="images")
    with pytest.raises(ExportError, match="two tensors would be called 'images'"):
        steps.add(step, (1,), 0, 1)
