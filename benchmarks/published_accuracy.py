"""Float accuracy of the published checkpoints on all 10,000 CIFAR-10 test images, next to the published figure.

Needs EXPLORER_DATA (a folder with cifar10.npz) and EXPLORER_CHECKPOINTS; says so and ends where they are not set.
"""

from __future__ import annotations

import os
import time

import numpy as np
import torch

from explorer.data.load import load_data
from explorer.evaluate.score import score_images
from explorer.models.load import load_model
from explorer.settings import SOURCES, DataSettings, ModelSettings

IMAGENET = SOURCES["cifar10"].normalise(3)
PIXELS = ((0.0,) * 3, (1 / 255,) * 3)
"""Mean and standard deviation for pixels in 0..255, which MLPerf Tiny's ResNet-8 expects."""
NETWORKS = {
    "resnet20": ("resnet20-12fca82f.th", IMAGENET, 0.9173),
    "resnet56": ("resnet56-4bfd9763.th", IMAGENET, 0.9339),
    "resnet8": ("resnet8_mlperf.pt", PIXELS, 0.8721),
}
"""Reference network -> checkpoint, the mean and deviation that it expects, published share of images right."""


def main() -> None:
    """Print one line for each network."""
    missing = [name for name in ("EXPLORER_DATA", "EXPLORER_CHECKPOINTS") if not os.environ.get(name)]
    if missing:
        print(f"skipped: set {' and '.join(missing)}")
        return
    torch.set_num_threads(1)
    for name, (file, (mean, std), published) in NETWORKS.items():
        data = load_data(DataSettings(source="cifar10", mean=mean, std=std, train=256, search=5000, held_out=5000))
        model = load_model(
            ModelSettings(reference=name, checkpoint=f"${{EXPLORER_CHECKPOINTS}}/{file}"), data.input_shapes, 10
        )
        images = torch.from_numpy(np.concatenate((data.search.images, data.held_out.images)))
        labels = torch.from_numpy(np.concatenate((data.search.targets, data.held_out.targets)))
        start = time.process_time()
        right = int(score_images(model, images, labels, 250).sum())
        seconds = time.process_time() - start
        print(
            f"{name:9} {right:5} of {len(labels)} right, {right / len(labels):.2%} (published {published:.2%}); "
            f"{seconds:.0f} s CPU"
        )


if __name__ == "__main__":
    main()
