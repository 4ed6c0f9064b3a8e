"""What a handed-over network is, from Python: its files scored, priced, and compared with what was recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from explorer.errors import ExportError
from explorer.evaluate.score import Score, ScoreFunction
from explorer.export.artefact import open_artefact
from explorer.export.measure import measure, verify_artefact
from explorer.export.record import read_record
from explorer.export.scored_images import ScoredImages
from explorer.export.verified import Verified
from explorer.session.devices import Device, find_device
from explorer.session.network import make_score
from explorer.session.samples import read_samples


def verify(
    artefact: str | Path,
    data: Any,
    targets: Any = None,
    *,
    function: ScoreFunction | Score | None = None,
    device: Device | None = None,
) -> Verified:
    """Measure score, size and cost of an exported network from its files alone, and compare them with its record.

    `print(explorer.verify("out", "digits"))` shows what `explorer verify out --data digits` does.

    Args:
        artefact: What `export` wrote: the folder, or the file in it.
        data: What --data takes: the name of a data set, a folder, an .npz or a study file; or images with `targets`,
            as for `open`, preprocessed as the network takes them.
        function: Of (outputs, targets), a score in [0, 1] for each image; right or wrong where there is none.
        device: To price it on; by default the one that it was exported for.

    Raises:
        ExplorerError: For what is wrong with the artefact, the images or the device.

    Example:
        >>> import explorer, tempfile, torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 10))
        >>> images, labels = torch.rand(40, 1, 8, 8), torch.arange(40) % 10
        >>> net = explorer.open(model, images, labels, search=(images, labels), held_out=(images, labels))
        >>> small = explorer.compress(net, explorer.uniform(net, weight_bits=4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     exported = explorer.export(small, folder, "pt2", device="bitfusion")
        ...     explorer.verify(folder, images, labels).score == exported.score
        True
    """
    if not isinstance(artefact, str | Path):
        raise ExportError(f"verify: expected the path of an export, received {type(artefact).__name__}")
    accelerator = None if device is None else find_device(device)
    score = None if function is None else make_score(function)
    if isinstance(data, str | Path):
        return verify_artefact(Path(artefact), str(data), accelerator, score=score)
    opened = open_artefact(Path(artefact))
    record, images = read_record(opened.network), read_samples("images", data, targets)
    given = ScoredImages(
        images=images,
        told="given ones",
        are_held_out=record is not None and images.digest() == record.images,
        normalised="as given",
    )
    return measure(opened, record, given, score=score, accelerator=accelerator)
