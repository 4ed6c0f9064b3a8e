"""Every reader of files that somebody else may have written, with sound files of its kind."""

from __future__ import annotations

import hashlib
import json
import math
import runpy
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from io import BytesIO
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image
from torch import nn

import hwmodels
from explorer.compress.candidate import Candidate, LayerChoice
from explorer.compress.check import check
from explorer.data.load import load_data
from explorer.errors import CandidateError
from explorer.evaluate.workload import priced
from explorer.graph.canonical import canonicalise
from explorer.graph.layers import ModelGraph
from explorer.graph.trace import trace
from explorer.models.checkpoint import load_checkpoint
from explorer.packed.file import pack, read_packed
from explorer.packed.records import PackedLayer, PackedNetwork, PackedQuantizer
from explorer.referee.comparison import Figures, compare
from explorer.referee.exported import read_costed
from explorer.referee.kept import KEPT, CompiledMember, KeptMembers
from explorer.referee.vela import Compiled
from explorer.relevance.scores import Relevance
from explorer.report.front.page import write_report
from explorer.report.front.tables import build_front_table, write_front_csv
from explorer.settings import DataSettings
from explorer.study.costing import candidate_cost
from explorer.study.folder import JOURNAL, OUTCOME, STUDY, read_outcome, read_study
from explorer.study.storage import open_store
from explorer.study.store import Store
from explorer.study.study_file import load_accelerator, load_study
from explorer.study.trials import Proposed, TrialResult
from hwmodels import NETWORKS, NetworkError
from tests.fuzz import mutations
from tests.fuzz.onnx_mutations import damage_onnx
from tests.fuzz.run import Parser
from tests.support.scoring import pack_right, right

TINY = Path(__file__).parents[1] / "tiny_study"
DEVICES = Path(hwmodels.__file__).parent / "device" / "catalogue"
STUDIES = Path(__file__).parents[2] / "studies"
OBJECTIVES = ("accuracy", "energy", "weight_memory")
TEXT = (*("study", "device", "candidate", "topology", "outcome", "study_json", "journal", "costed", "compiled"),)
BINARY = ("checkpoint", "npz", "onnx", "image", "packed", "relevance")


def finished_run(home: Path) -> None:
    """The tiny study in "tiny", and its finished run in "done", with an exported network in "exported"."""
    shutil.copytree(TINY, home / "tiny", ignore=shutil.ignore_patterns("__pycache__"))
    runpy.run_path(str(TINY / "shapes.py"))["write"](home / "tiny" / "images.npz", 30, 200)
    study = home / "tiny" / "study.toml"
    text = study.read_text().replace("calibration = 64", "calibration = 16").replace("epochs = 6", "epochs = 1")
    study.write_text(text)
    for arguments in (["run", "tiny", "--out", "done"], ["export", "done", "--to", "exported", "--pick", "cheapest"]):
        command = [sys.executable, "-c", "from explorer.cli import main; main()", *arguments]
        subprocess.run(command, cwd=home, check=True, capture_output=True)


def parsers(home: Path) -> Mapping[str, Callable[[], Parser]]:
    """How to make the parser of each name; `home` holds a finished run."""
    makers = (_study, _device, _candidate, _topology, _outcome, _study_json, _journal, _costed, _compiled)
    binary = (_checkpoint, _npz, _onnx, _image, _packed, _relevance)
    return {maker.__name__[1:]: _bound(maker, home) for maker in (*makers, *binary)}


def _bound(maker: Callable[[Path], Parser], home: Path) -> Callable[[], Parser]:
    return lambda: maker(home)


def _study(home: Path) -> Parser:
    def read(content: bytes, folder: Path) -> None:
        (folder / "study.toml").write_bytes(content)
        study = load_study(folder)
        study.digest()
        json.dumps(study.to_json(), allow_nan=False)
        load_accelerator(study)

    names = ("digits", "hardware", "relevance")
    files = [home / "tiny" / "study.toml", *(STUDIES / name / "study.toml" for name in names)]
    sound = [file.read_bytes() for file in files if file.exists()]
    mutate = (mutations.damage_lines(mutations.TOML_VALUES), mutations.damage_lines(mutations.NUMBERS))
    return Parser(name="study", sound=sound, mutations=(*mutate, mutations.damage_bytes), read=read)


@cache
def _workload() -> tuple[hwmodels.LayerJob, ...]:
    names = ("lenet5", "mlperf_tiny_ds_cnn", "mlperf_tiny_resnet8")  # a MAX78000 has 32 layers
    return tuple(job for name in names for job in NETWORKS[name]().jobs(8, 8))


def _price(
    jobs: tuple[hwmodels.LayerJob, ...], device: hwmodels.Accelerator, *tensors: hwmodels.ActivationTensor
) -> None:
    """Costs of what was accepted are numbers."""
    cost = hwmodels.evaluate(jobs, device, tensors)
    assert math.isfinite(cost.energy_pj), "energy"
    assert math.isfinite(cost.latency_ms), "latency"
    assert cost.energy_pj >= 0, "energy below 0"
    for layer in cost.layers:
        assert layer.macs >= 0, "MACs"
        assert (layer.macs > 0) <= layer.latency_cycles < 2**63, "cycles"


def _device(home: Path) -> Parser:
    def read(content: bytes, folder: Path) -> None:
        (folder / "own.toml").write_bytes(content)
        _price(_workload(), hwmodels.load(folder / "own.toml"))

    sound = [(DEVICES / f"{name}.toml").read_bytes() for name in hwmodels.names()]
    mutate = (mutations.damage_lines(mutations.TOML_VALUES), mutations.damage_lines(mutations.NUMBERS))
    return Parser(name="device", sound=sound, mutations=(*mutate, mutations.damage_bytes), read=read)


@cache
def _graph() -> ModelGraph:
    model, example = _network().eval(), torch.zeros(2, 1, 8, 8)
    return trace(canonicalise(model, example), example)


def _network() -> nn.Module:
    network: nn.Module = runpy.run_path(str(TINY / "network.py"))["build"]()
    return network


def _candidate(home: Path) -> Parser:
    def read(content: bytes, folder: Path) -> None:
        try:
            data = json.loads(content)
        except (ValueError, RecursionError):
            raise CandidateError("no JSON") from None
        candidate = Candidate.from_json(data)
        candidate.digest()
        json.dumps(candidate.to_json(), allow_nan=False)
        check(candidate, _graph())
        cost = candidate_cost(_graph(), candidate, hwmodels.load("bitfusion"))
        assert cost.energy_uj is not None
        assert math.isfinite(cost.energy_uj)

    _graph()
    chosen = {"weight_density": 0.5, "codebook_size": 4, "codebook_granularity": "channel", "pattern": "2:4"}
    names, groups = _graph().weight_owners, [group.name for group in _graph().prunable]
    sound = [
        {
            "layers": {name: {"weight_bits": bits, "activation_bits": 8, **chosen} for name in names},
            "filter_keep_ratio": dict.fromkeys(groups, 0.5),
            "filters_by": "l1",
        }
        for bits in (4, 8)
    ]
    files = [json.dumps(candidate, indent=1).encode() for candidate in sound]
    mutate = (mutations.damage_json, mutations.damage_json, mutations.damage_lines(mutations.NUMBERS))
    return Parser(name="candidate", sound=files, mutations=mutate, read=read)


def _topology(home: Path) -> Parser:
    def read(content: bytes, folder: Path) -> None:
        (folder / "net.csv").write_bytes(content)
        network = priced(str(folder / "net.csv"), None, 1)
        _price(network.jobs, hwmodels.load("bitfusion"), *network.tensors)

    header = b"Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n"
    sound = [
        header + b"a, 32, 32, 3, 3, 3, 16, 1,\nb_DP, 30, 30, 3, 3, 16, 1, 2,\nfc, 1, 1, 1, 1, 64, 10, 1,\n",
        b"Layer, M, N, K, Sparsity\nqk, 64, 64, 32, 2:4\nav, 64, 32, 64,\n",
        b"Layer,IFMAP Height,IFMAP Width,Filter Height,Filter Width,Channels,Num Filter,Stride Height,Stride Width,\n"
        b"a,224,224,7,7,3,64,2,2,\n",
    ]
    mutate = (mutations.damage_lines((*mutations.NUMBERS, *mutations.TEXTS)), mutations.damage_bytes)
    return Parser(name="topology", sound=sound, mutations=mutate, read=read)


def _outcome(home: Path) -> Parser:
    def read(content: bytes, folder: Path) -> None:
        (folder / OUTCOME).write_bytes(content)
        outcome = read_outcome(folder)
        build_front_table(outcome)
        write_front_csv(outcome, folder / "front.csv")
        if len(content) % 20 == 0:  # takes a hundred times as long
            write_report(outcome, folder / "report.html")

    sound = [(home / "done" / OUTCOME).read_bytes()]
    mutate = (
        mutations.damage_json,
        mutations.damage_json,
        mutations.damage_lines(mutations.NUMBERS),
        mutations.damage_bytes,
    )
    return Parser(name="outcome", sound=sound, mutations=mutate, read=read)


def _study_json(home: Path) -> Parser:
    def read(content: bytes, folder: Path) -> None:
        (folder / STUDY).write_bytes(content)
        read_study(folder).digest()

    sound = [(home / "done" / STUDY).read_bytes()]
    mutate = (
        mutations.damage_json,
        mutations.damage_json,
        mutations.damage_lines(mutations.NUMBERS),
        mutations.damage_bytes,
    )
    return Parser(name="study_json", sound=sound, mutations=mutate, read=read)


def _journal(home: Path) -> Parser:
    identity = {"seed": "1", "weights": "ab"}

    def opened(folder: Path) -> Store:
        return open_store(folder, "journal", "tiny", OBJECTIVES, identity)

    made = Path(tempfile.mkdtemp(dir=home))
    store = opened(made)
    for number, bits in enumerate((2, 4, 6, 8)):
        candidate = Candidate(layers=(LayerChoice(layer="0", weight_bits=bits),), filter_keep_ratio=(("0", 0.5),))
        store.propose(number, Proposed((bits, 0), candidate, "seed"))
        store.claim(number)
        store.record(number, candidate, TrialResult(score=right(30 + bits)))
        store.complete(number, (0.1 * bits, 5.0, 1.0))
    store.remember_score("held_out/x/float", pack_right(90))
    written, sound = opened(made).stored(), (made / JOURNAL).read_bytes()
    assert len(written) == 4

    def read(content: bytes, folder: Path) -> None:
        (folder / JOURNAL).write_bytes(content)
        cut_off = sound.startswith(content[: content.rfind(b"\n") + 1])  # as where a process was killed
        for _ in range(2):  # what the first call mended stays so
            store = opened(folder)
            found = store.stored()
            assert found == written[: len(found)], "evaluations that were never made"
            assert len(found) == 4 or cut_off or store.damage(), "lost in silence"
            assert set(store.image_scores().items()) <= {("held_out/x/float", pack_right(90))}, (
                "scores that were never made"
            )

    lines = mutations.damage_lines(mutations.TOML_VALUES)
    mutate = (mutations.damage_json_lines, lines, mutations.damage_bytes)
    return Parser(name="journal", sound=[sound], mutations=mutate, read=read)


def _costed(home: Path) -> Parser:
    content, network, device = b"a network", NETWORKS["mlperf_tiny_resnet8"](), hwmodels.load("ethos_u55_128")
    layers = json.loads(hwmodels.write_jobs(network.jobs(), network.tensors))
    costed = {"device": device.name, "sha256": hashlib.sha256(content).hexdigest(), "layer_of": {"conv1_q": "conv1"}}
    stated = {"name": "p01", "images": 400, "agreement": 1.0, "packed_int4": False}
    summary = {**stated, "costed": {**costed, **layers}}

    def read(damaged: bytes, folder: Path) -> None:
        (folder / "model.tflite").write_bytes(content)
        (folder / "summary.json").write_bytes(damaged)
        found = read_costed(folder)
        _price(found.jobs, device, *found.tensors)
        cost = hwmodels.evaluate(found.jobs, device, found.tensors)
        compiled = Compiled(weight_bytes=1, sram_bytes=2, cycles=3, operators=(), constants=(("conv1_q.w", 4),))
        compare(cost, Figures.by_model(cost, device), compiled, found.layer_of)

    mutate = (mutations.damage_json, mutations.damage_json, mutations.damage_lines(mutations.NUMBERS))
    sound = [json.dumps(summary, indent=1).encode()]
    return Parser(name="costed", sound=sound, mutations=(*mutate, mutations.damage_bytes), read=read)


def _compiled(home: Path) -> Parser:
    layers = hwmodels.write_jobs(NETWORKS["lenet5"]().jobs())
    figures = Figures(weight_bytes=60_000, sram_bytes=9_000, cycles=70_000)
    made = Path(tempfile.mkdtemp(dir=home))
    written = KeptMembers(made, "ethos_u55_128", {"explorer": "1"})
    written.keep("a", CompiledMember(layers=layers, vela=figures))
    written.keep("b", CompiledMember(layers=layers, vela=None, refused="no rule"))

    def read(content: bytes, folder: Path) -> None:
        (folder / KEPT).write_bytes(content)
        kept = KeptMembers(folder, "ethos_u55_128", {"explorer": "1"})
        for member in kept.members.values():
            _price(hwmodels.read_jobs(member.layers)[0], hwmodels.load("ethos_u55_128"))
        kept.keep("c", CompiledMember(layers=layers, vela=figures))
        assert "c" in KeptMembers(folder, "ethos_u55_128", {"explorer": "1"}).members, "lost"

    mutate = (mutations.damage_json, mutations.damage_json, mutations.damage_lines(mutations.NUMBERS))
    sound = [(made / KEPT).read_bytes()]
    return Parser(name="compiled", sound=sound, mutations=(*mutate, mutations.damage_bytes), read=read)


def _checkpoint(home: Path) -> Parser:
    model = _network()

    def read(content: bytes, folder: Path) -> None:
        (folder / "own.pt").write_bytes(content)
        load_checkpoint(model, folder / "own.pt")
        assert all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values()), "not finite"

    state = model.state_dict()
    sparse = {name: tensor.to_sparse() if tensor.ndim == 2 else tensor for name, tensor in state.items()}
    files = []
    for content in (
        state,
        {"state_dict": {f"module.{name}": each for name, each in state.items()}, "epoch": 3},
        sparse,
    ):
        for zipped in (True, False):
            made = BytesIO()
            torch.save(content, made, _use_new_zipfile_serialization=zipped)
            files.append(made.getvalue())
    archives = files[::2]

    def packed(chance: Random, _: object) -> bytes:
        return mutations.damage_archive(chance, archives)

    return Parser(name="checkpoint", sound=files[:4], mutations=(packed, packed, mutations.damage_bytes), read=read)


def _npz(home: Path) -> Parser:
    def read(content: bytes, folder: Path) -> None:
        (folder / "images.npz").write_bytes(content)
        path = str(folder / "images.npz")
        data = load_data(DataSettings(source="npz", path=path, search=3, held_out=3, calibration=3, relevance=3))
        assert all(np.isfinite(part.images).all() for part in (data.train, data.search, data.held_out)), "not finite"

    chance = np.random.default_rng(0)
    files = []
    for kind, shape in ((np.float32, (1, 4, 4)), (np.uint8, (4, 4, 1)), (np.float64, (1, 4, 4))):
        x_train, x_test = (chance.integers(0, 256, (count, *shape)).astype(kind) for count in (8, 9))
        made = BytesIO()
        save = np.savez if kind is np.float32 else np.savez_compressed
        save(made, x_train=x_train, x_test=x_test, y_train=np.arange(8) % 3, y_test=np.arange(9) % 3)
        files.append(made.getvalue())
    mutate = (mutations.damage_archive, mutations.damage_archive, mutations.damage_bytes)
    return Parser(name="npz", sound=files, mutations=mutate, read=read)


def _onnx(home: Path) -> Parser:
    def read(content: bytes, folder: Path) -> None:
        (folder / "net.onnx").write_bytes(content)
        try:
            network = priced(str(folder / "net.onnx"), None, 1)
        except NetworkError as error:
            if "give --bits" not in str(error):
                raise
            network = priced(str(folder / "net.onnx"), (8, 8), 2)
        _price(network.jobs, hwmodels.load("ethos_u55_128"), *network.tensors)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the older exporter, which needs no further package
        torch.onnx.export(_network().eval(), (torch.zeros(1, 1, 8, 8),), home / "exported" / "float.onnx", dynamo=False)
    sound = [file.read_bytes() for file in sorted((home / "exported").glob("*.onnx"))]
    return Parser(name="onnx", sound=sound, mutations=(damage_onnx, damage_onnx, mutations.damage_bytes), read=read)


def _image(home: Path) -> Parser:
    kinds = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
    pixels = np.random.default_rng(0).integers(0, 256, (12, 10, 3)).astype(np.uint8)
    files = []
    for kind in kinds:
        made = BytesIO()
        Image.fromarray(pixels).save(made, kind)
        files.append(made.getvalue())

    def read(content: bytes, folder: Path) -> None:
        for part, name in (("train", "a"), ("train", "b"), ("test", "a"), ("test", "b")):
            (folder / part / name).mkdir(parents=True)
            (folder / part / name / "0.png").write_bytes(files[0])
        (folder / "train" / "a" / "1.jpg").write_bytes(content)
        settings = DataSettings(source="folder", path=str(folder), calibration=1, relevance=1)
        load_data(settings, None if len(content) % 2 else (3, 8, 8))

    return Parser(name="image", sound=files, mutations=(mutations.damage_bytes,), read=read)


def _packed(home: Path) -> Parser:
    chance = np.random.default_rng(0)
    layers = tuple(
        PackedLayer(
            name=name,
            codes=(chance.integers(-3, 4, shape) * (chance.random(shape) < 0.5)).astype(np.int8),
            scales=np.full(shape[0], 0.5, np.float32),
            biases=chance.integers(-900, 900, shape[0]).astype(np.int32) if name == "a" else None,
        )
        for name, shape in (("a", (4, 3, 3, 3)), ("b", (5, 36)))
    )
    quantizer = PackedQuantizer(name="q", bits=8, scale=0.1, zero_point=3)
    network = PackedNetwork(layers=layers, quantizers=(quantizer,), others=(("o", np.ones((2, 2), np.float32)),))

    def read(content: bytes, folder: Path) -> None:
        (folder / "network.bin").write_bytes(content)
        found = read_packed(folder / "network.bin")
        pack(found)

    mutate = (mutations.damage_packed, mutations.damage_packed, mutations.damage_bytes)
    return Parser(name="packed", sound=[pack(network).data], mutations=mutate, read=read)


def _relevance(home: Path) -> Parser:
    def read(content: bytes, folder: Path) -> None:
        (folder / "relevance.npz").write_bytes(content)
        Relevance.load(folder / "relevance.npz").digest()

    sound = [file.read_bytes() for file in sorted((home / "done").glob("relevance-*.npz"))]
    mutate = (mutations.damage_archive, mutations.damage_archive, mutations.damage_bytes)
    return Parser(name="relevance", sound=sound, mutations=mutate, read=read)
