"""Small networks, their bases, and where data and checkpoints are found."""

from __future__ import annotations

import os
import signal
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
import torch.nn.functional as F
from filelock import FileLock
from hypothesis import HealthCheck, settings
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor, nn

from explorer.compress.apply import CompressionContext
from explorer.models.reference import REFERENCE_NETWORKS
from tests.support.styles import unsettle
from tests.support.tiers import THOROUGH, find_contained

# Every machine draws the same examples and takes the time that it takes.
settings.register_profile(
    "repeatable", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("repeatable")

# Started in the background, the tests ignore Ctrl-C, and so would the commands that they interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).parents[1]
IMAGE = {
    "lenet5_digits": (1, 8, 8),
    **dict.fromkeys(("option_a", "projection", "mixed", "gated"), (3, 8, 8)),
}
"""Image shape by name of network."""


class OptionABlock(nn.Module):
    """A residual block; where the shape changes, the shortcut takes every other pixel and pads with zeros."""

    def __init__(self, before: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.pad = stride, (channels - before) // 2

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad), "constant", 0)
        out += x
        return F.relu(out)


class OptionANet(nn.Module):
    """Three stages of 4, 8 and 16 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.stage1 = OptionABlock(4, 4, 1)
        self.stage2 = OptionABlock(4, 8, 2)
        self.stage3 = OptionABlock(8, 16, 2)
        self.fc = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage3(self.stage2(self.stage1(F.relu(self.bn(self.conv(x))))))
        x = F.avg_pool2d(x, x.size(3))
        return self.fc(x.view(x.size(0), -1))  # type: ignore[no-any-return]


class ProjectionNet(nn.Module):
    """One identity and one 1 x 1 convolution shortcut, convolutions with and without bias and batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.a1 = nn.Conv2d(6, 5, 3, padding=1, bias=False)
        self.a1_norm = nn.BatchNorm2d(5)
        self.a2 = nn.Conv2d(5, 6, 3, padding=1)
        self.b1 = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.b1_norm = nn.BatchNorm2d(8)
        self.b2 = nn.Conv2d(8, 12, 3, padding=1)
        self.shortcut = nn.Conv2d(6, 12, 1, stride=2)
        self.shortcut_norm = nn.BatchNorm2d(12)
        self.fc = nn.Linear(12, 5)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        y = self.a2(self.relu(self.a1_norm(self.a1(x))))
        y += x
        x = self.relu(y)
        y = self.b2(self.relu(self.b1_norm(self.b1(x))))
        x = self.relu(y + self.shortcut_norm(self.shortcut(x)))
        return self.fc(x.mean((2, 3)))  # type: ignore[no-any-return]


class MixedNet(nn.Module):
    """Depthwise separable convolution, two branches concatenated, flatten into a fully connected layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(6)
        self.depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(6)
        self.left = nn.Conv2d(6, 4, 1)
        self.right = nn.Conv2d(6, 5, 3, padding=1)
        self.joined_norm = nn.BatchNorm2d(9)
        self.fc1 = nn.Linear(9 * 4, 10)
        self.fc2 = nn.Linear(10, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem_norm(self.stem(x)))
        x = F.relu6(self.depthwise_norm(self.depthwise(x)))
        x = self.joined_norm(torch.cat((self.left(x), self.right(x)), dim=1))
        x = torch.flatten(F.max_pool2d(torch.relu(x), 2), 1)
        return self.fc2(self.fc1(x).relu())  # type: ignore[no-any-return]


class GatedNet(nn.Module):
    """Overlapping and unequal windows, a function of what a shortcut reads too, squeeze and excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.pool = nn.AvgPool2d(3, stride=2, padding=1)
        self.conv = nn.Conv2d(6, 6, 3, padding=1)
        self.gate = nn.Conv2d(6, 6, 1)
        self.fc = nn.Linear(36, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.stem(x))
        x = x + self.conv(F.hardswish(x))
        x = x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid()
        return self.fc(F.adaptive_avg_pool2d(0.5 * x, (3, 2)).flatten(1))  # type: ignore[no-any-return]


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "lenet5_digits": lambda: REFERENCE_NETWORKS["lenet5_digits"](10),
    "option_a": OptionANet,
    "projection": ProjectionNet,
    "mixed": MixedNet,
    "gated": GatedNet,
}


def _network(name: str) -> nn.Module:
    """An untrained network whose batch norms have statistics and gains of all kinds, negative and zero too."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = BUILDERS[name]().eval()
        for norm in model.modules():
            if isinstance(norm, nn.BatchNorm2d):
                unsettle(norm)
    return model


def _images(name: str, count: int) -> Tensor:
    return torch.randn((count, *IMAGE[name]), generator=torch.Generator().manual_seed(11))


@cache
def _basis(name: str) -> CompressionContext:
    images = _images(name, 16)
    found = CompressionContext.of(_network(name), images)
    order = {group.name: tuple(reversed(group.classes)) for group in found.graph.prunable}
    return replace(found, order=order)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test trains, no other finds, nor what the user has trained."""
    monkeypatch.setenv("EXPLORER_CACHE", str(tmp_path_factory.mktemp("cache", numbered=True)))


@pytest.fixture(autouse=True, scope="session")
def no_cache_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The same for fixtures that several tests share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXPLORER_CACHE", str(tmp_path_factory.mktemp("shared_cache")))
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
    """Mark what `make test-fast` leaves out; of what is left, take few cases out that are run among many."""
    tests = Path(__file__).parent
    for item in items:
        if item.path.relative_to(tests).as_posix().startswith(THOROUGH):
            item.add_marker(pytest.mark.thorough)
    yield
    few = find_contained({item.nodeid for item in items})
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in few])
    items[:] = [item for item in items if item.nodeid not in few]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line for each reason how many tests were skipped, and what they need."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in reports)
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"{count} skipped: {reason}")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tests are small: threads of a busy machine wait for each other longer than they work."""
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def network() -> Callable[[str], nn.Module]:
    """Builds lenet5_digits, option_a, projection, mixed or gated: untrained, with batch norms of all kinds."""
    return _network


@pytest.fixture(scope="session")
def images() -> Callable[[str, int], Tensor]:
    """Random images for a network: (name, how many)."""
    return _images


@pytest.fixture(scope="session")
def context() -> Callable[[str], CompressionContext]:
    """The context of a network, computed once; filters go in channel order, the last one is kept longest."""
    return _basis


@pytest.fixture(scope="session")
def checkpoints() -> Path:
    """Folder with the published checkpoints."""
    found = Path(os.environ.get("EXPLORER_CHECKPOINTS") or REPOSITORY.parent / "shared" / "checkpoints")
    if not (found / "resnet20-12fca82f.th").is_file():
        pytest.skip("no resnet20-12fca82f.th; set EXPLORER_CHECKPOINTS to the folder of the checkpoints")
    return found


@pytest.fixture(scope="session")
def cifar10_images() -> Callable[[str, int], tuple[Tensor, Tensor]]:
    """The first images of "train" or "test", normalised as for the published networks, and their labels."""
    file = Path(os.environ.get("EXPLORER_DATA") or REPOSITORY.parent / "shared" / "data") / "cifar10.npz"
    if not file.is_file():
        pytest.skip("no cifar10.npz; set EXPLORER_DATA to its folder")

    @cache
    def load(split: str, count: int) -> tuple[Tensor, Tensor]:
        mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        with np.load(file, allow_pickle=False) as archive:
            pixels, labels = archive[f"x_{split}"][:count], archive[f"y_{split}"][:count]
        tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
        return (tensor / 255 - mean) / std, torch.from_numpy(labels.astype(np.int64))

    return load


@pytest.fixture(params=["journal", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def storage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """(Storage URL, name of a study that is used nowhere else): a journal file, and PostgreSQL."""
    name = f"test-{uuid.uuid4().hex}"
    if request.param == "journal":
        yield "journal", name
        return
    url = os.environ.get("EXPLORER_TEST_POSTGRESQL")
    if not url:
        pytest.skip("no PostgreSQL server; set EXPLORER_TEST_POSTGRESQL to its URL, postgresql+psycopg://...")
    with FileLock(tmp_path_factory.getbasetemp().parent / "tables.lock"):  # created by one process at a time
        optuna.storages.RDBStorage(url).engine.dispose()
    yield url, name
    storage = optuna.storages.RDBStorage(url)
    if name in optuna.get_all_study_names(storage):
        optuna.delete_study(study_name=name, storage=storage)
    storage.engine.dispose()
