"""What a criterion of relevance looks at: a network, images, what they are compared with, and what is explained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, fx

from explorer.errors import RelevanceError
from explorer.graph.layers import ModelGraph
from explorer.relevance.aggregation import AGGREGATIONS

REFERENCES = ("shuffled", "zero", "mean")
TARGETS = ("predicted", "true", "contrast")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Images of the training set (N x C x H x W), their labels (N), and how relevance is to be computed on them.

    `references` (shape of `images`) are what the images are compared with. `directions` (N x classes) are the weights
    of the logits whose weighted sum is explained, `explained` (N) the class that they stand for. `aggregation` names
    how per-image scores become one; `tolerance` is the relative completeness delta above which an attribution is
    refused; `seed` is for criteria that draw.
    """

    model: fx.GraphModule
    graph: ModelGraph
    images: Tensor
    labels: Tensor
    references: Tensor
    directions: Tensor
    explained: Tensor
    reference: str
    target: str
    aggregation: str
    tolerance: float
    seed: int

    def __len__(self) -> int:
        return len(self.images)


def sample_of(  # noqa: PLR0913  (what, on what, and how)
    model: fx.GraphModule,
    graph: ModelGraph,
    images: Tensor,
    labels: Tensor,
    *,
    target: str = "predicted",
    reference: str | Tensor = "shuffled",
    aggregation: str = "mean_abs",
    tolerance: float = 1e-3,
    seed: int = 0,
) -> Sample:
    """A sample of at least two images; RelevanceError for fewer, for unknown names, and for references of other shape.

    The reference of an image is another image of the sample ("shuffled": the sample rolled by one), "zero", the
    "mean" of all images, or a tensor: one image (C x H x W) for all, or one for each (N x C x H x W). Explained is
    the logit of the "predicted" class or of the "true" one, or ("contrast") that of the predicted class less the mean
    of all logits, which is what a softmax sees (Shrikumar et al., 2017, section 3.6).
    """
    if len(images) < 2:
        raise RelevanceError(f"relevance: needs at least 2 images for a real-image reference, got {len(images)}")
    if len(labels) != len(images):
        raise RelevanceError(f"relevance: {len(images)} images need as many labels, got {len(labels)}")
    for key, name, known in (
        ("target", target, TARGETS),
        ("aggregation", aggregation, tuple(AGGREGATIONS)),
        *([("reference", reference, REFERENCES)] if isinstance(reference, str) else []),
    ):
        if name not in known:
            raise RelevanceError(f"relevance.{key}: expected one of {', '.join(known)}, received {name!r}")
    with torch.no_grad():
        logits = model.eval()(images)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        received = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise RelevanceError(f"relevance: a class is explained, so the model must return N x classes, not {received}")
    explained = labels if target == "true" else logits.argmax(1)
    directions = torch.zeros_like(logits)
    directions[torch.arange(len(images), device=logits.device), explained] = 1.0
    if target == "contrast":
        directions -= 1.0 / logits.shape[1]
    return Sample(
        model=model,
        graph=graph,
        images=images,
        labels=labels,
        references=_references(images, reference),
        directions=directions,
        explained=explained,
        reference=reference if isinstance(reference, str) else "given",
        target=target,
        aggregation=aggregation,
        tolerance=tolerance,
        seed=seed,
    )


def _references(images: Tensor, reference: str | Tensor) -> Tensor:
    if isinstance(reference, Tensor):
        if reference.shape not in {images.shape, images.shape[1:]}:
            shapes = f"{tuple(images.shape[1:])} or {tuple(images.shape)}"
            raise RelevanceError(
                f"relevance.reference: expected an image of shape {shapes}, received {tuple(reference.shape)}"
            )
        return reference.to(images).expand_as(images)
    if reference == "shuffled":
        return images.roll(1, dims=0)
    return torch.zeros_like(images) if reference == "zero" else images.mean(0, keepdim=True).expand_as(images)
