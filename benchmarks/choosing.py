"""What a network that is chosen by `--max-loss 1.0` loses on images that chose nothing, of three studies.

The studies are the digits, the published ResNet-20 (studies/resnet20_cifar10 with 100 candidates), and a network that
nobody tuned this package on: a small convolutional one with batch norm, trained here for three epochs on 10,000 MNIST
images, searched on 1,000 others of the training set and judged on 5,000 test images. (Fashion-MNIST would be a harder
stranger; its images are not among those that the repository's data folder has.)

For each, the loss against the float network is stated on the search images, which chose, and on the held-out ones, with
the standard error of the differences image by image; it is as promised where the held-out loss is at most one point and
two standard errors. The knee is shown beside it.

Three rules are compared by the search images alone: a loss is kept where it is at most the limit plus a standard error
(ties), at most the limit (plain), or at most the limit minus a standard error, or none (cautious: the package's). Half
of the search images,
drawn 200 times, choose among the front's members by a rule and a limit of .5, 1, 2 and 3 points; the other half says
whether the loss is above the limit by more than two standard errors there, and what the choice costs in the first
objective, as a share of that of the plain rule.

Runs are kept in the folder and go on there: about 12 CPU-minutes. Needs EXPLORER_DATA and EXPLORER_CHECKPOINTS.

python -m benchmarks.choosing
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import explorer
from explorer.evaluate.paired import find_loss_error
from explorer.objectives import costs_named
from explorer.study.choose import ChosenNetwork, choose
from explorer.study.record import FLOAT
from explorer.study.requirements import Requirements
from explorer.study.stored_run import StoredRun, read_run

REPOSITORY = Path(__file__).parent.parent
LIMIT = 1.0
LIMITS, DRAWS, TRIALS = (0.5, 1.0, 2.0, 3.0), 200, 100
RULES = {"ties": 1.0, "plain": 0.0, "cautious": -1.0}
"""Standard errors that a loss may be over its limit by."""
Images = NDArray[np.float64]


class Member(NamedTuple):
    """A member of a front: its first cost, and how much less it scored than the float network on each image."""

    cost: float
    differences: Images


def make_stranger() -> nn.Module:
    """Return a small network as a user may have it."""

    def block(channels: int, filters: int) -> list[nn.Module]:
        convolution = nn.Conv2d(channels, filters, 3, padding=1, bias=False)
        return [convolution, nn.BatchNorm2d(filters), nn.ReLU(), nn.MaxPool2d(2)]

    head = (nn.Flatten(), nn.Linear(32 * 49, 64), nn.ReLU(), nn.Linear(64, 10))
    return nn.Sequential(*block(1, 16), *block(16, 32), *head)


def search_stranger(folder: Path) -> None:
    """Train and search the stranger's network, or go on with that."""
    with np.load(Path(os.environ["EXPLORER_DATA"]) / "mnist.npz") as data:
        parts = [(data[f"x_{part}"], data[f"y_{part}"]) for part in ("train", "test")]
    (images, labels), test = [
        (torch.from_numpy(x).reshape(-1, 1, 28, 28).float() / 255, torch.from_numpy(y).long()) for x, y in parts
    ]
    torch.manual_seed(0)
    model, weights = make_stranger(), folder.with_suffix(".pt")
    if weights.exists():
        model.load_state_dict(torch.load(weights, weights_only=True))
    else:
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        for step in range(3 * 10_000 // 100):
            places = torch.arange(100) + 100 * (step % 100)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[places]), labels[places]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        torch.save(model.state_dict(), weights)
    net = explorer.open(
        model.eval(),
        images[:10_000],
        labels[:10_000],
        search=(images[10_000:11_000], labels[10_000:11_000]),
        held_out=(test[0][:5_000], test[1][:5_000]),
    )
    space = explorer.Space(
        weight_bits=(2, 3, 4, 5, 6, 8), activation_bits=(3, 4, 6, 8), filter_keep_ratio=(0.25, 0.5, 0.75, 1.0)
    )
    explorer.search(net, space, "bitfusion", trials=TRIALS, folder=folder)


def search_resnet20(folder: Path) -> None:
    """Search the published ResNet-20, or go on with that."""
    study = explorer.load_study(REPOSITORY / "studies/resnet20_cifar10")
    explorer.run(replace(study, search=replace(study.search, trials=TRIALS)), folder)


def search_digits(folder: Path) -> None:
    """Search the digits, or go on with that."""
    explorer.run("digits", folder)


STUDIES: dict[str, Callable[[Path], None]] = {
    "digits": search_digits,
    "stranger": search_stranger,
    "resnet20": search_resnet20,
}


def list_members(run: StoredRun) -> list[Member]:
    """Return the members of a run's front that are scored on all search images."""
    assert run.former is not None
    axis, whole = costs_named(run.former.objectives)[0], run.list_search_images()[FLOAT]
    found = [(point.evaluation, run.find_search_images(point.evaluation)) for point in run.former.front]
    return [Member(axis.value(item.cost, 0.0), whole - images) for item, images in found if images is not None]


def tell_loss(run: StoredRun, chosen: ChosenNetwork) -> str:
    """Return a network's losses on both sets of images, in points, and whether they are as promised."""
    held_out = run.list_images("held_out")
    whole, own = held_out[FLOAT], held_out[chosen.point.evaluation.candidate.digest()]
    loss, error = float((whole - own).mean()), find_loss_error(whole, own)
    promised = 100 * loss <= LIMIT + 200 * error
    return (
        f"{chosen.name}: {100 * chosen.loss:5.2f} ±{100 * chosen.loss_error:.2f} on search images, {100 * loss:5.2f} "
        f"±{100 * error:.2f} on {len(own):,} held-out ones: {'within' if promised else 'over'} {LIMIT:g} + 2 errors"
    )


def compare_rules(members: Sequence[Member], random: np.random.Generator) -> dict[str, tuple[float, float]]:
    """Return for each rule how often the other half of the images finds the limit missed, and what choices cost."""
    count = len(members[0].differences)
    missed: dict[str, list[bool]] = {rule: [] for rule in RULES}
    spent: dict[str, list[float]] = {rule: [] for rule in RULES}
    for _ in range(DRAWS):
        order = random.permutation(count)
        halves = order[: count // 2], order[count // 2 :]
        losses, errors = np.array(
            [[measure(member.differences[half]) for half in halves] for member in members]
        ).transpose(2, 1, 0)
        for limit in LIMITS:
            picked = {
                rule: next(
                    (
                        place
                        for place, (loss, error) in enumerate(zip(losses[0], errors[0], strict=True))
                        if loss - slack * error <= limit or (slack < 0 and loss <= 0)
                    ),
                    None,
                )
                for rule, slack in RULES.items()
            }
            if None in picked.values():
                continue
            for rule, place in picked.items():
                assert place is not None
                missed[rule].append(bool(losses[1, place] > limit + 2 * errors[1, place]))
                spent[rule].append(members[place].cost / members[picked["plain"] or 0].cost)
    return {rule: (float(np.mean(missed[rule])), float(np.mean(spent[rule]))) for rule in RULES if missed[rule]}


def measure(differences: Images) -> tuple[float, float]:
    """Return the mean loss and its standard error, in points."""
    return 100 * float(differences.mean()), 100 * find_loss_error(differences.clip(0), (-differences).clip(0))


def main() -> None:
    """Print the losses and the rules of each study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/choosing"))
    parser.add_argument("--only", choices=list(STUDIES), help="one of the studies")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in [arguments.only] if arguments.only else list(STUDIES):
        STUDIES[name](arguments.folder / name)
        run = read_run(arguments.folder / name)
        assert run.former is not None
        print(f"{name}: {len(run.former.evaluations)} candidates, {len(run.former.front)} on the front")
        for wanted in (Requirements(max_loss=LIMIT), Requirements(pick="knee")):
            chosen = choose(run.former, wanted)
            print(f"  {tell_loss(run, chosen)}; {chosen.reason}")
        for rule, (share, cost) in compare_rules(list_members(run), np.random.default_rng(0)).items():
            print(f"  {rule}: limit missed on the other half in {share:.1%} of draws, cost {cost:.2f}")


if __name__ == "__main__":
    main()
