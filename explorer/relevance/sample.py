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
from explorer.relevance.targets import TARGETS

IMAGES_AT_ONCE = 64
"""Images of one pass (assumed): more cost memory and save nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Images of the training set, their labels (N), and how relevance is to be computed on them.

    `inputs` holds one tensor (N x ...) for each input of the network, `references` (of the same shapes) what each is
    compared with. `directions` (N x classes) are the weights
    of the logits whose weighted sum is explained, `explained` (N) the class that they stand for. `aggregation` names
    how per-image scores become one; `tolerance` is the relative completeness delta above which an attribution is
    refused; `seed` is for criteria that draw.
    """

    model: fx.GraphModule
    graph: ModelGraph
    inputs: tuple[Tensor, ...]
    labels: Tensor
    references: tuple[Tensor, ...]
    directions: Tensor
    explained: Tensor
    reference: str
    target: str
    aggregation: str
    tolerance: float
    seed: int

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, images: slice | Tensor | list[int]) -> Sample:
        """Return some of the images, each with the references that it has here."""
        return replace(
            self,
            inputs=take(self.inputs, images),
            labels=self.labels[images],
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
    labels: Tensor,
    *,
    target: str = "predicted",
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
    of all logits, which is what a softmax sees (Shrikumar et al., 2017, section 3.6).

    Raises:
        RelevanceError: For fewer, for unknown names, and for references of other shape.
    """
    inputs, count = as_tuple(images), count_images(images)
    if count < 2:
        raise RelevanceError(f"relevance: needs at least 2 images for a real-image reference, got {count}")
    if len(labels) != count:
        raise RelevanceError(f"relevance: {count} images need as many labels, got {len(labels)}")
    for key, name, known in (
        ("target", target, TARGETS),
        ("aggregation", aggregation, AGGREGATIONS),
        *([("reference", reference, REFERENCES)] if isinstance(reference, str) else []),
    ):
        if name not in known:
            raise RelevanceError(f"relevance.{key}: expected one of {', '.join(known)}, received {name!r}")
    with torch.no_grad():
        logits = run(model.eval(), inputs)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        received = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise RelevanceError(f"relevance: a class is explained, so the model must return N x classes, not {received}")
    directions, explained = TARGETS[target](logits, labels)
    return Sample(
        model=model,
        graph=graph,
        inputs=inputs,
        labels=labels,
        references=_references(inputs, reference),
        directions=directions,
        explained=explained,
        reference=reference if isinstance(reference, str) else "given",
        target=target,
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
