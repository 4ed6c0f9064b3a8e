"""What a criterion of relevance looks at: a network, images, what they are compared with, and what is explained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, fx

from explorer.errors import RelevanceError
from explorer.graph.inputs import Inputs, as_tuple, count_images, get_shapes, run, take
from explorer.graph.layers import ModelGraph
from explorer.relevance.aggregation import AGGREGATIONS
from explorer.relevance.references import REFERENCES
from explorer.relevance.targets import TARGETS, TargetFunction, explain_by

IMAGES_AT_ONCE = 64
"""Images of one pass (assumed): more cost memory and save nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Images of the training set, their targets (N x ...), and how relevance is to be computed on them.

    `inputs` holds one tensor (N x ...) for each input of the network, `references` (of the same shapes) what each is
    compared with. `directions` (of the outputs' shape) are the weights of the outputs whose weighted sum is explained,
    `explained` (N) the class that they stand for, 0 where outputs are no classes. `aggregation` names
    how per-image scores become one; `tolerance` is the relative completeness delta above which an attribution is
    refused; `seed` is for criteria that draw.
    """

    model: fx.GraphModule
    graph: ModelGraph
    inputs: tuple[Tensor, ...]
    targets: Tensor
    references: tuple[Tensor, ...]
    directions: Tensor
    explained: Tensor
    reference: str
    target: str
    aggregation: str
    tolerance: float
    seed: int

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def num_classes(self) -> int | None:
        """The number of classes where the logit of one is explained; None of other outputs and targets."""
        named = self.target in TARGETS and self.directions.ndim == 2 and self.directions.shape[1] > 1
        return self.directions.shape[1] if named else None

    def take(self, images: slice | Tensor | list[int]) -> Sample:
        """Return some of the images, each with the references that it has here."""
        return replace(
            self,
            inputs=take(self.inputs, images),
            targets=self.targets[images],
            references=take(self.references, images),
            directions=self.directions[images],
            explained=self.explained[images],
        )

    def batches(self, size: int = IMAGES_AT_ONCE) -> Iterator[Sample]:
        """Yield the sample in parts of at most `size` images."""
        return (self.take(slice(start, start + size)) for start in range(0, len(self), size))


def make_sample(  # noqa: PLR0913  (what, on what, and how)
    model: fx.GraphModule,
    graph: ModelGraph,
    images: Inputs,
    targets: Tensor,
    *,
    target: str | TargetFunction = "predicted",
    reference: str | Inputs = "shuffled",
    aggregation: str = "mean_abs",
    tolerance: float = 1e-3,
    seed: int = 0,
) -> Sample:
    """Return a sample of at least two images.

    `images` (N x ...) is a tensor, or a tuple with one for each input of the network. The reference of an image is
    another image of the sample ("shuffled": the sample rolled by one), "zero", the "mean" of all images, or given as
    `images` are: one image for all, or one for each. Explained is
    the logit of the "predicted" class or of the "true" one, or ("contrast") that of the predicted class less the mean
    of all logits, which is what a softmax sees (Shrikumar et al., 2017, section 3.6); or a function's value
    (`explain_by`). Of outputs with positions, such as masks, "predicted" is the sum over them.

    Raises:
        RelevanceError: For fewer, for unknown names, and for references of other shape.
    """
    inputs, count = as_tuple(images), count_images(images)
    if count < 2:
        raise RelevanceError(f"relevance: needs at least 2 images for a real-image reference, got {count}")
    if len(targets) != count:
        raise RelevanceError(f"relevance: {count} images need as many targets, got {len(targets)}")
    for key, name, known in (
        *([("target", target, TARGETS)] if isinstance(target, str) else []),
        ("aggregation", aggregation, AGGREGATIONS),
        *([("reference", reference, REFERENCES)] if isinstance(reference, str) else []),
    ):
        if name not in known:
            raise RelevanceError(f"relevance.{key}: expected one of {', '.join(known)}, received {name!r}")
    with torch.no_grad():
        outputs = run(model.eval(), inputs)
    if not isinstance(outputs, Tensor):
        raise RelevanceError(f"relevance: expected the network to return one tensor, received {type(outputs).__name__}")
    references = _references(inputs, reference)
    if isinstance(target, str):
        directions, explained = TARGETS[target](outputs, targets)
    else:
        with torch.no_grad():
            compared = run(model, references)
        directions = explain_by(target, outputs, compared, targets, tolerance)
        explained = torch.zeros(count, dtype=torch.long, device=outputs.device)
    return Sample(
        model=model,
        graph=graph,
        inputs=inputs,
        targets=targets,
        references=references,
        directions=directions,
        explained=explained,
        reference=reference if isinstance(reference, str) else "given",
        target=target if isinstance(target, str) else target.name,
        aggregation=aggregation,
        tolerance=tolerance,
        seed=seed,
    )


def _references(inputs: tuple[Tensor, ...], reference: str | Inputs) -> tuple[Tensor, ...]:
    if not isinstance(reference, str):
        return _given_references(inputs, as_tuple(reference))
    return tuple(REFERENCES[reference](tensor) for tensor in inputs)


def _given_references(inputs: tuple[Tensor, ...], given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    if len(given) != len(inputs):
        raise RelevanceError(
            f"relevance.reference: expected a tensor for each of {len(inputs)} inputs, received {len(given)}"
        )
    for one, other, shape in zip(inputs, given, get_shapes(inputs), strict=True):
        if other.shape not in {one.shape, one.shape[1:]}:
            raise RelevanceError(
                f"relevance.reference: expected an image of shape {shape} or {tuple(one.shape)}, "
                f"received {tuple(other.shape)}"
            )
    return tuple(other.to(one).expand_as(one) for one, other in zip(inputs, given, strict=True))


def require_classes(sample: Sample, method: str, labels: bool = False) -> int:
    """Return the number of classes.

    Raises:
        RelevanceError: Where outputs are none, or needed `labels` are missing.
    """
    given = sample.targets.ndim == 1 and not sample.targets.is_floating_point()
    if sample.num_classes is None or (labels and not given):
        raise RelevanceError(
            f"relevance.method: {method!r} is of classes, received outputs of {tuple(sample.directions.shape)} and "
            f"targets of {tuple(sample.targets.shape)}, explained by {sample.target}; choose another method"
        )
    return sample.num_classes
