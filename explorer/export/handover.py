"""What every export tells of itself: lines for the terminal, a summary with a byte table, a README of its layout."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import explorer
from explorer.compress.apply import CompressionContext
from explorer.errors import ExportError
from explorer.export.formats import Deployment, Exported
from explorer.export.onnx.qdq import export_onnx
from explorer.export.record import describe_artefact, tell_images
from explorer.export.staging import SUMMARY, staged, write_description
from explorer.export.stored_bytes import ByteTable, StoredBytes
from explorer.export.verify import Verification
from explorer.graph.modules import layer_module

README = "README.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a format's folder holds, for its README: what each file is, the network first, and how it is used.

    `title` names the format, `use` and `notes` are Markdown, `counted` says which bytes stand in the byte table,
    `described` what is in the file of the description.
    """

    title: str
    files: Mapping[str, str]
    use: str
    notes: str = ""
    counted: str = "the files that are needed to run this one"
    description: str = SUMMARY
    described: str = "score, agreement, bytes and the compression as JSON"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What an export found of the files that it wrote: their bytes, and how they compare.

    `told` says the comparison in words, `lines` what else is to be known; `details` go to the description, unless the
    format has a layout of its own for it, by `describe`.
    """

    stored: StoredBytes
    verification: Verification
    told: str
    lines: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    describe: Callable[[Exported], dict[str, Any]] | None = None


def deliver(deployment: Deployment, layout: Layout, make: Callable[[Path], Checked], folder: Path) -> Exported:
    """Write to `folder` what `make` writes to another and checks, a description and a README; see `Format.write`."""
    network = next(iter(layout.files))
    if len(deployment.targets) == 0:
        raise ExportError(f"verify: no images to run {network} on; give at least one")
    names = (*layout.files, layout.description, README)
    with staged(folder, names) as staging:
        checked = make(staging)
        assert checked.verification.scores is not None
        mean = checked.verification.scores[0]
        table = ByteTable(float32=count_float32(deployment.context), exported=checked.stored)
        before, after = table.float32.total, table.exported.total
        held_out = f"{deployment.point.name}, {deployment.score.tell(mean)} on {mean.num_images} held-out images"
        sizes = f"{before:,} bytes in float32, {after:,} exported ({_compare(table)})"
        exported = Exported(
            point=deployment.point.name,
            files=tuple(folder / name for name in names),
            float32_bytes=before,
            network_bytes=after,
            score=mean,
            verification=checked.verification,
            lines=(
                held_out,
                f"{folder / network}: {sizes}; {checked.told}",
                *checked.lines,
                *table.lines(),
            ),
            details={"bytes": table.to_json(), "files": _measure(layout, staging), **checked.details},
        )
        described = _describe(deployment, layout, exported) if checked.describe is None else checked.describe(exported)
        write_description(staging / layout.description, described | describe_artefact(deployment, exported, staging))
        told = (f"{held_out}; {checked.told}.", _tell_tuning(deployment), tell_images(deployment))
        write_readme(layout, "\n\n".join(part for part in told if part), table, staging)
    return exported


def write_readme(layout: Layout, told: str, table: ByteTable, folder: Path) -> None:
    """Write the README of a folder that has the files of a layout; `told` says what it is of and how it was checked."""
    sizes, is_described = _measure(layout, folder), (folder / layout.description).is_file()
    files = {**layout.files, **({layout.description: layout.described} if is_described else {})}
    rows = [f"| {what} | {before:,} | {after:,} |" for what, before, after in table.rows()]
    text = "\n".join(
        (
            f"# {layout.title}",
            "",
            f"Written by explorer {explorer.__version__}. {told}",
            "",
            "| file | what it holds | bytes |",
            "|---|---|---:|",
            *(f"| `{name}` | {what} | {_tell(sizes.get(name))} |" for name, what in files.items()),
            f"| `{README}` | this text | |",
            "",
            "## Use",
            "",
            layout.use.strip(),
            "",
            *((layout.notes.strip(), "") if layout.notes else ()),
            "## Bytes",
            "",
            f"The uncompressed network as a float32 ONNX file, and {layout.counted}.",
            "",
            "| | float32 | exported |",
            "|---|---:|---:|",
            *rows,
            "",
        )
    )
    (folder / README).write_text(text, encoding="utf-8")


def _tell_tuning(deployment: Deployment) -> str:
    """Return how a network was fine-tuned, and its scores before and after, as these were recorded; else nothing."""
    tuning, before, after = deployment.finetuning, deployment.untuned, deployment.point.held_out
    if tuning is None:
        return ""
    kept, epochs = tuning["kept_epoch"], tuning["epochs"]
    told = f"Fine-tuned for {epochs} epoch{'s' if epochs > 1 else ''} of {tuning['images']:,} images"
    told += " from an earlier tuning" if tuning.get("start") else " from the float network's weights"
    told += ", by its outputs" if tuning["teacher"] else ""
    told += "" if kept == epochs else f"; kept as it was {f'after {kept}' if kept else 'at the start'}"
    if before is None or not before.num_images:
        return f"{told}."
    score = deployment.score
    return f"{told}: {score.tell(before)} before, {score.tell(after)} after, on {after.num_images} held-out images."


def _tell(size: int | None) -> str:
    return "" if size is None else f"{size:,}"


def list_common_marks(folder: Path, layout: Layout) -> dict[Path, bytes | None]:
    """Return the files that `deliver` writes in every format, and what is in the first bytes of each."""
    mark = layout.title.encode()
    return {folder / SUMMARY: mark, folder / README: mark}


def count_float32(context: CompressionContext) -> StoredBytes:
    """Return the bytes of the float network as an ONNX file, or of its parameters where that has no rule for a node."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            return export_onnx(context.reference, context.graph.input_shapes, Path(folder) / "float32.onnx")
    except ExportError:
        whole = (context.whole or context).graph
        weights = {layer.name: layer_module(context.reference, layer.name).weight for layer in whole.layers}
        known = {id(weight) for weight in weights.values()}
        others = 4 * sum(each.numel() for each in context.reference.parameters() if id(each) not in known)
        sizes = {name: 4 * weight.numel() for name, weight in weights.items()}
        return StoredBytes(weights=sizes, others=others, total=sum(sizes.values()) + others)


def _measure(layout: Layout, folder: Path) -> dict[str, int]:
    """Return the bytes of each file of a layout that is there, with what belongs to it (`name.data`)."""
    parts = {name: [folder / name, folder / f"{name}.data"] for name in layout.files if (folder / name).is_file()}
    return {name: sum(path.stat().st_size for path in paths if path.is_file()) for name, paths in parts.items()}


def _compare(table: ByteTable) -> str:
    before, after = table.float32.total, table.exported.total
    if not table.exported.weights:
        return "no weights"
    if before >= after:
        return f"{before / after:.1f}x smaller"
    return f"{after / before:.1f}x larger: the format outweighs the weights"


def _describe(deployment: Deployment, layout: Layout, exported: Exported) -> dict[str, Any]:
    score, verification = exported.score, exported.verification
    return {
        "format": layout.title,
        "name": exported.point,
        "study": deployment.study,
        "device": deployment.device,
        **({} if deployment.finetuning is None else {"finetuning": dict(deployment.finetuning)}),
        deployment.score.name: {"value": score.value, "standard_error": score.standard_error},
        "images": verification.num_images,
        "agreement": verification.agreement,
        **exported.details,
        "candidate": deployment.point.evaluation.candidate.to_json(),
    }
