"""Deep Compression (Han et al., ICLR 2016): a study's network pruned, shared and coded into one file."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import fx

from explorer.compress.apply import apply
from explorer.compress.candidate import Candidate, count_levels, uniform
from explorer.digests import digest
from explorer.errors import ExportError
from explorer.evaluate.mean_score import MeanScore, name_score
from explorer.evaluate.score import score_images
from explorer.export.handover import README, Layout, count_float32, write_readme
from explorer.export.stored_bytes import ByteTable, StoredBytes
from explorer.files import refuse_foreign, write_csv
from explorer.graph.inputs import batches, join, run
from explorer.graph.layers import ModelGraph
from explorer.packed.file import MAGIC, LayerSize, Packing, read_packed, write_packed
from explorer.packed.network import load_packed, packable, refuse_different
from explorer.progress import Notify
from explorer.settings import DeepCompressionSettings, FineTuningSettings
from explorer.settings.records import write_record
from explorer.study.finetune import find_tuning_loss
from explorer.study.folder import locked
from explorer.study.network import threads_for
from explorer.study.prepare import PreparedStudy, open_study
from explorer.study.study_file import Study
from explorer.training.epochs import Recipe
from explorer.training.finetune import finetune
from explorer.training.tuned import Tuned, rebuild

NETWORK, SIZES, STEPS = "network.bin", "sizes.csv", "steps"
LAYOUT = Layout(
    title="Network by Deep Compression",
    files={
        NETWORK: "the whole network with all tables: weights pruned, shared and Huffman-coded",
        SIZES: "what each layer takes of it",
    },
    use="""
```python
from pathlib import Path

from explorer.packed.file import read_packed

for layer in read_packed(Path("network.bin")).layers:
    print(layer.name, layer.codes.shape)  # int8; a weight is its code times the scale of its filter
```
""",
    notes="It holds no graph: the network of the study takes its weights up again.",
    counted="`network.bin`",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineStep:
    """One candidate of the pipeline, and for how many epochs it is fine-tuned."""

    name: str
    candidate: Candidate
    epochs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepCompressionReport:
    """What came out: the file, what each layer takes in it, and the accuracies on images that nothing was chosen on.

    `float32_bytes` counts all parameters of the uncompressed network.
    """

    file: Path
    packing: Packing
    float32_bytes: int
    before: MeanScore
    after: MeanScore
    score: str

    @property
    def comparison(self) -> str:
        """How the network does before and after."""
        before, after = (f"{entry.value:.2%} (+- {entry.standard_error:.2%})" for entry in (self.before, self.after))
        return (
            f"{name_score(self.score)} on {self.after.num_images} images that nothing was chosen on: {before} before, "
            f"{after} after, {100 * (self.before.value - self.after.value):+.2f} points lost\n"
            "the file was read back: equal integers, and equal predictions on all of these images"
        )

    def summary(self) -> str:
        """Return lines for the terminal."""
        size = len(self.packing.data)
        return (
            f"{self.file}: {size:,} bytes with all tables, {self.float32_bytes / size:.1f} times smaller than "
            f"{self.float32_bytes:,} bytes of float32 parameters\n"
            f"{self.file.with_name(SIZES)}: what each layer takes\n{self.comparison}"
        )


def deep_compress(study: Study, to: Path, notify: Notify) -> DeepCompressionReport:
    """Prune, share and code the network of a study; writes network.bin and sizes.csv to the folder `to`.

    The network and each step are kept in a folder of it: after an interruption the same call goes on. The search and
    the held-out images score the result together, since neither is looked at before.

    Raises:
        ExplorerError: For what is wrong with the user's input.
        ExportError: Where the file does not give back the very network.
    """
    if to.exists() and not to.is_dir():
        raise ExportError(f"{to}: is not a folder; choose another one")
    refuse_foreign({to / NETWORK: MAGIC, to / SIZES: b"layer,weights,density,", to / README: LAYOUT.title.encode()})
    with locked(to / STEPS):
        prepared = open_study(study, to / STEPS, notify)
        with threads_for(prepared.context.graph):
            planned = plan_steps(prepared.context.graph, study.deep_compression)
            tuned = _tuned(prepared, planned, to / STEPS, notify)
            model = rebuild(prepared.context, planned[-1].candidate, tuned)
            unchecked = to / STEPS / NETWORK
            packing = write_packed(packable(model), unchecked)
            decoded = apply(prepared.context, planned[-1].candidate)
            load_packed(decoded, read_packed(unchecked))
            report = _report(prepared, (model, decoded), packing, to, notify)
            unchecked.replace(to / NETWORK)  # only what gives back the network takes the place of what was there
        write_sizes(report, to / SIZES)
        table = ByteTable(float32=count_float32(prepared.context), exported=_count(packing))
        write_readme(LAYOUT, report.comparison, table, to)
    return report


def plan_steps(graph: ModelGraph, settings: DeepCompressionSettings) -> tuple[PipelineStep, ...]:
    """Return the candidates of the pipeline, each fine-tuned from the one before."""
    plain = uniform(graph, settings.weight_bits, settings.activation_bits)
    convolutions = {layer.name: layer.kind == "conv" for layer in graph.layers}
    kept = {
        # A layer of one weight for each channel scales channels: without it a channel would be gone.
        layer.name: 1.0 if layer.weights == layer.out_channels else settings.kept(layer.name, convolutions[layer.name])
        for layer in graph.layers
    }

    def pruned(share: float) -> Candidate:
        layers = (replace(choice, weight_density=kept[choice.layer] ** share) for choice in plain.layers)
        return replace(plain, layers=tuple(layers))

    found = [
        PipelineStep(
            name=f"prune, round {number}", candidate=pruned(number / settings.rounds), epochs=settings.round_epochs
        )
        for number in range(1, settings.rounds + 1)
    ]
    sizes = {name: settings.values(name, convolution) for name, convolution in convolutions.items()}
    whole = pruned(1.0)
    shared = tuple(
        replace(choice, codebook_size=sizes[choice.layer])
        if sizes[choice.layer] < count_levels(settings.weight_bits)
        else choice
        for choice in whole.layers
    )
    found.append(PipelineStep(name="share", candidate=replace(whole, layers=shared), epochs=settings.sharing_epochs))
    return tuple(found)


def _tuned(prepared: PreparedStudy, planned: tuple[PipelineStep, ...], folder: Path, notify: Notify) -> Tuned:
    """Fine-tune each step from the one before, or take up what was stored of it."""
    images, labels = prepared.tensors(prepared.data.train)
    described = f"{prepared.weights_digest}/{prepared.data.train.digest()}"
    tuned: Tuned | None = None
    for number, step in enumerate(planned, start=1):
        settings = replace(prepared.study.finetuning, epochs=step.epochs)
        described += _description(step, settings, prepared.study.seed)
        file = folder / f"step-{number}-{digest(described)}.pt"
        stage = f"{step.name}, batches"
        if file.is_file():
            tuned = Tuned.load(file)
            notify(stage, 1, 1)
            continue
        recipe = Recipe(
            settings=settings,
            seed=prepared.study.seed + number,
            loss=find_tuning_loss(prepared.study, prepared.data, settings),
            unfinished=file.with_suffix(".unfinished"),
        )
        tuned = finetune(
            prepared.context,
            step.candidate,
            images,
            labels,
            recipe,
            start=tuned,
            progress=lambda done, count, _, stage=stage: notify(stage, done, count),  # type: ignore[misc]
        )
        tuned.save(file)
        recipe.forget()
    assert tuned is not None  # there is always a last step
    return tuned


def _description(step: PipelineStep, settings: FineTuningSettings, seed: int) -> str:
    """Return what a step depends on, the ones before it aside."""
    content = {"candidate": step.candidate.to_json(), "settings": write_record(settings), "seed": seed}
    return json.dumps(content, sort_keys=True)


def _report(
    prepared: PreparedStudy, models: tuple[fx.GraphModule, fx.GraphModule], packing: Packing, to: Path, notify: Notify
) -> DeepCompressionReport:
    """Score the float, the compressed and the decoded network; ExportError unless the last two are one."""
    model, decoded = models
    refuse_different(model, decoded, to / NETWORK)
    sets = [prepared.scored(images) for images in (prepared.data.search, prepared.data.held_out)]
    images, targets = join([inputs for inputs, _ in sets]), torch.cat([of_images for _, of_images in sets])
    batch = prepared.study.compute.batch_size
    notify("score", 0, 3)
    before = score_images(prepared.context.model, images, targets, batch, prepared.score)
    notify("score", 1, 3)
    after = score_images(model, images, targets, batch, prepared.score)
    notify("score", 2, 3)
    if not torch.equal(_outputs(model, images, batch), _outputs(decoded, images, batch)):
        raise ExportError(f"{to / NETWORK}: predicts otherwise than the network that was packed; please report this")
    notify("score", 3, 3)
    return DeepCompressionReport(
        file=to / NETWORK,
        packing=packing,
        float32_bytes=4 * sum(parameter.numel() for parameter in prepared.context.model.parameters()),
        before=MeanScore.of(before),
        after=MeanScore.of(after),
        score=prepared.score.name,
    )


def _outputs(model: fx.GraphModule, images: tuple[torch.Tensor, ...], batch: int) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat([run(model, part) for part in batches(images, batch)])


def write_sizes(report: DeepCompressionReport, path: Path) -> None:
    """Write a line for each layer, one for what is no layer's, and the sum, which is the size of the file."""
    parts = ("codebook_bytes", "table_bytes", "index_bytes", "run_bytes", "scale_bytes", "bias_bytes")
    columns = ("layer", "weights", "density", "clusters", "coded_entries", *parts, "bytes", "float32_bytes", "ratio")
    rows: list[tuple[object, ...]] = [
        (*_counts(size), *(getattr(size, part) for part in parts), *_ratio(size.size_bytes, size.float32_bytes))
        for size in report.packing.layers
    ]
    frame, whole = report.packing.frame_bytes, len(report.packing.data)
    in_layers = sum(size.float32_bytes for size in report.packing.layers)
    blank = ("",) * (4 + len(parts))
    rows.append(("header, quantisers, checksum", *blank, *_ratio(frame, report.float32_bytes - in_layers)))
    rows.append(("network", *blank, *_ratio(whole, report.float32_bytes)))
    write_csv(path, columns, rows)


def _count(packing: Packing) -> StoredBytes:
    layers = packing.layers
    return StoredBytes(
        weights={size.layer: size.table_bytes + size.index_bytes + size.run_bytes for size in layers},
        scales=sum(size.scale_bytes + size.codebook_bytes for size in layers),
        biases=sum(size.bias_bytes for size in layers),
        total=len(packing.data),
    )


def _counts(size: LayerSize) -> tuple[object, ...]:
    return size.layer, size.num_weights, f"{size.num_nonzero / size.num_weights:.4f}", size.num_values, size.entries


def _ratio(size_bytes: int, float32_bytes: int) -> tuple[object, ...]:
    return size_bytes, float32_bytes, f"{float32_bytes / size_bytes:.1f}"
