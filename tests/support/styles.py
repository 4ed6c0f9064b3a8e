"""Networks in the styles in which people write them, each small, and a name for each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Functional(nn.Module):
    """Nothing but parameters, buffers and calls of functions."""

    mean: Tensor
    variance: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.w1 = nn.Parameter(torch.randn(8, 3, 3, 3) * 0.3)
        self.b1 = nn.Parameter(torch.randn(8) * 0.1)
        self.gain = nn.Parameter(torch.rand(8) + 0.5)
        self.offset = nn.Parameter(torch.randn(8) * 0.1)
        self.register_buffer("mean", torch.randn(8) * 0.1)
        self.register_buffer("variance", torch.rand(8) + 0.5)
        self.w2 = nn.Parameter(torch.randn(6, 4, 3, 3) * 0.2)
        self.up = nn.Parameter(torch.randn(6, 5, 2, 2) * 0.3)
        self.wf = nn.Parameter(torch.randn(4, 5) * 0.4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.w1, self.b1, padding=1)
        x = F.batch_norm(x, self.mean, self.variance, self.gain, self.offset, training=False, eps=1e-3)
        x = F.conv2d(F.relu(x), weight=self.w2, stride=2, padding=1, groups=2)
        x = F.conv_transpose2d(torch.relu(x), self.up, stride=2)
        x = F.adaptive_avg_pool2d(F.silu(x), 1)
        return F.linear(x.squeeze(-1).squeeze(-1), self.wf)


class Lambda(nn.Module):
    """A module around any function, which registers nothing."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Lambdas(nn.Module):
    """Nested Sequential, and shortcuts in lambda modules that pad channels with zeros."""

    def __init__(self) -> None:
        super().__init__()

        def convolution(before: int, channels: int, stride: int = 1) -> nn.Sequential:
            layers = nn.Conv2d(before, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels)
            return nn.Sequential(*layers)

        self.stem = nn.Sequential(convolution(3, 4), nn.Sequential(nn.ReLU(inplace=True), nn.Identity()))
        self.body = nn.Sequential(convolution(4, 4, 2), nn.ReLU(), nn.Sequential(convolution(4, 8)))
        self.shortcut = Lambda(lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2), "constant", 0))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Dropout(0.3), nn.Linear(8, 5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(F.relu(self.body(x) + self.shortcut(x)))  # type: ignore[no-any-return]


class Dense(nn.Module):
    """A dense block in a ModuleList: batch norm first, every layer reads all that came before; a transition."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(6 + 4 * i), nn.ReLU(), nn.Conv2d(6 + 4 * i, 4, 3, padding=1)) for i in range(3)
        )
        self.transition = nn.Sequential(nn.BatchNorm2d(18), nn.ReLU(), nn.Conv2d(18, 8, 1), nn.AvgPool2d(2))
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        features = [self.stem(x)]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        x = self.transition(torch.cat(features, dim=1))
        return self.fc(x.flatten(2).mean(-1))  # type: ignore[no-any-return]


class Reshapes(nn.Module):
    """Features in the order of channels-last images, a linear layer as an image, and slices of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.fc1 = nn.Linear(6 * 16, 32)
        self.decode = nn.Conv2d(8, 6, 3, padding=1)
        self.fc2 = nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[0]
        x = F.relu(self.conv(x)).permute(0, 2, 3, 1).contiguous()
        x = F.relu(self.fc1(x.view(n, -1)))
        x = self.decode(x.reshape(n, 8, 2, 2))
        x = torch.sigmoid(x[:, :3]) * torch.tanh(x[:, 3:])
        b, c, h, w = x.size()
        return self.fc2(x.view(b, c, h * w).mean(dim=2))  # type: ignore[no-any-return]


class Reused(nn.Module):
    """One convolution called three times, one block with a batch norm called twice, two tied linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.again = nn.Conv2d(6, 6, 3, padding=1)
        self.block = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU())
        self.pool = nn.MaxPool2d(2)
        self.act = nn.ReLU()
        self.left, self.right = nn.Linear(6, 6), nn.Linear(6, 6)
        self.right.weight = self.left.weight
        self.fc = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.stem(x))
        for _ in range(3):
            x = x + self.act(self.again(x))
        x = self.pool(self.block(self.pool(self.block(x))))
        x = x.amax((2, 3)) if x.dim() == 2 else x.mean((2, 3))
        return self.fc(self.act(self.right(self.act(self.left(x)))))  # type: ignore[no-any-return]


def shuffled(x: Tensor, groups: int) -> Tensor:
    """The channels of `groups` groups in turn."""
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).contiguous().view(n, -1, h, w)


class Shuffle(nn.Module):
    """A unit of ShuffleNet v2: the channels are split, one half is convolved, both are shuffled."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.unit = nn.Sequential(
            nn.Conv2d(4, 4, 1, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3, 1, 1, groups=4, bias=False),
            nn.BatchNorm2d(4),
            nn.Conv2d(4, 4, 1),
            nn.ReLU(),
        )
        self.shuffle = nn.ChannelShuffle(2)
        self.last = nn.Conv2d(8, 12, 1)
        self.fc = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for _ in range(1):
            left, right = x.chunk(2, dim=1)
            x = shuffled(torch.cat((left, self.unit(right)), 1), 2)
        x = self.shuffle(x)
        return self.fc(F.relu(self.last(x)).mean([2, 3]))  # type: ignore[no-any-return]


class Squeeze(nn.Module):
    """Inverted residuals with squeeze-and-excitation in two ways of writing it, hard activations."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.expand = nn.Conv2d(8, 16, 1)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.reduce, self.excite = nn.Linear(16, 4), nn.Linear(4, 16)
        self.project = nn.Conv2d(16, 8, 1)
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 2, 1), nn.ReLU(), nn.Conv2d(2, 8, 1))
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.hardswish(self.norm(self.stem(x)))
        y = F.hardswish(self.depthwise(F.relu6(self.expand(x))))
        b, c = y.shape[:2]
        gate = self.excite(F.relu(self.reduce(F.adaptive_avg_pool2d(y, 1).view(b, c)))).view(b, c, 1, 1)
        x = x + self.project(y * F.hardsigmoid(gate))
        x = x * self.squeeze(x).sigmoid().expand_as(x)
        return self.fc(F.adaptive_avg_pool2d(x, 1).reshape(b, -1))  # type: ignore[no-any-return]


class TwoInputs(nn.Module):
    """An image and a vector in, class logits and a value out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.side = nn.Linear(4, 6)
        self.joint = nn.Linear(14, 10)
        self.logits, self.value = nn.Linear(10, 5), nn.Linear(10, 1)

    def forward(self, image: Tensor, vector: Tensor, scale: float = 1.0) -> tuple[Tensor, Tensor]:
        x = F.relu(self.conv2(F.relu(self.conv1(image)))).mean((2, 3))
        x = F.relu(self.joint(torch.cat([x, F.relu(self.side(vector)) * scale], dim=-1)))
        return self.logits(x), self.value(x)


class TwoSizes(nn.Module):
    """Two images of different sizes and channels, a convolution each, joined; one more convolution reads both."""

    def __init__(self) -> None:
        super().__init__()
        self.colour, self.depth = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.both, self.fc = nn.Conv2d(10, 8, 3, padding=1), nn.Linear(8, 5)

    def forward(self, colour: Tensor, depth: Tensor) -> Tensor:
        x = torch.cat((F.relu(self.norm(self.colour(colour))), F.relu(self.depth(depth))), dim=1)
        return self.fc(F.relu(self.both(x)).mean((2, 3)))  # type: ignore[no-any-return]


class Metadata(nn.Module):
    """An image, and a vector that only the classifier reads, beside the features of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.fc = nn.Linear(8 + 4, 5)

    def forward(self, image: Tensor, metadata: Tensor) -> Tensor:
        x = F.relu(self.conv2(F.max_pool2d(F.relu(self.conv1(image)), 2)))
        return self.fc(torch.cat((F.adaptive_avg_pool2d(x, 1).flatten(1), metadata), dim=1))  # type: ignore[no-any-return]


class Siamese(nn.Module):
    """Two images through one branch, whose features are compared."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            *(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(6, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        )
        self.joint, self.fc = nn.Linear(16, 6), nn.Linear(6, 5)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        a, b = self.branch(first), self.branch(second)
        return self.fc(F.relu(self.joint(torch.cat((a - b, a * b), dim=1))))  # type: ignore[no-any-return]


class Grouped(nn.Module):
    """A block of ResNeXt with a projection, a depthwise convolution with two filters for each channel, PReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.act = nn.PReLU(8)
        self.reduce = nn.Conv2d(8, 12, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(12)
        self.grouped = nn.Conv2d(12, 12, 3, 2, 1, groups=3, bias=False)
        self.norm2 = nn.BatchNorm2d(12)
        self.expand = nn.Conv2d(12, 16, 1)
        self.shortcut = nn.Conv2d(8, 16, 1, 2)
        self.doubled = nn.Conv2d(16, 32, 3, padding=1, groups=16)
        self.fc = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.stem(x))
        y = F.relu(self.norm2(self.grouped(F.relu(self.norm1(self.reduce(x))))))
        x = F.relu(self.expand(y) + self.shortcut(x))
        return self.fc(F.relu(self.doubled(x)).mean((-2, -1)))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Down and up again: transposed convolutions, one grouped, resizing to a computed size, pixel shuffle."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Conv2d(3, 6, 3, padding=1)
        self.down2 = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.up1 = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.norm = nn.BatchNorm2d(6)
        self.merge = nn.Conv2d(12, 8, 3, padding=1)
        self.up2 = nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1, output_padding=1, groups=2)
        self.fine = nn.Conv2d(4, 12, 1)
        self.last = nn.Conv2d(9, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.down1(x))
        b = F.relu(self.down2(a))
        x = torch.cat((F.relu(self.norm(self.up1(b))), a), 1)
        x = F.relu(self.merge(x))
        fine = F.pixel_shuffle(self.fine(F.relu(self.up2(x))), 2)
        coarse = F.interpolate(a, size=fine.shape[2:], mode="bilinear", align_corners=False)
        return self.last(torch.cat((fine, coarse), 1))  # type: ignore[no-any-return]


class Standardised(nn.Conv2d):
    """A convolution of its own: padding as TensorFlow does it, weights standardised in every call."""

    def forward(self, x: Tensor) -> Tensor:
        need = [max((math.ceil(s / 2) - 1) * 2 + 3 - s, 0) for s in x.shape[-2:]]
        if need[0] > 0 or need[1] > 0:
            x = F.pad(x, [need[1] // 2, need[1] - need[1] // 2, need[0] // 2, need[0] - need[0] // 2])
        weight = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        weight = weight / (weight.std(dim=(1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(x, weight, self.bias, self.stride, 0, self.dilation, self.groups)


class Subclass(nn.Module):
    """Subclasses of layers, checks of sizes, a learned scale of a branch, normalisation inside, several outputs."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1))
        self.conv = Standardised(3, 8, 3, stride=2)
        self.branch = nn.Conv2d(8, 8, 3, padding=1)
        self.scale = nn.Parameter(torch.rand(8, 1, 1))
        self.aux, self.fc = nn.Linear(8, 5), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        assert x.shape[1] == 3, "expected RGB"
        if len(x.shape) != 4:
            raise ValueError("expected a batch")
        y = F.gelu(self.conv((x - self.mean) / 0.25))
        y = y - self.scale * F.relu(self.branch(y))
        pooled = y.mean((2, 3))
        return {"logits": self.fc(pooled), "aux": self.aux(F.adaptive_avg_pool2d(y, 1).flatten(1))}


class Inception(nn.Module):
    """Four branches joined, one of them cut into parts of unequal size, a reflected border."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(3, 6, 3), nn.ReLU())
        self.one = nn.Conv2d(6, 4, 1)
        self.three = nn.Sequential(nn.Conv2d(6, 3, 1), nn.ZeroPad2d(1), nn.Conv2d(3, 5, 3))
        self.pool = nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.Conv2d(6, 2, 1))
        self.norm = nn.BatchNorm2d(17)
        self.after = nn.Conv2d(17, 10, 3, padding=1)
        self.fc = nn.Linear(10, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = F.relu(self.norm(torch.cat([self.one(x), self.three(x), F.max_pool2d(x, 3, 1, 1), self.pool(x)], dim=1)))
        first, second = torch.split(self.after(x), [4, 6], dim=1)
        return self.fc(torch.cat((second, first), 1).mean((2, 3)))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Attention between positions, for which there is no rule: it is kept whole, and what is around it is not."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.mid = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 8, 1)
        self.qkv = nn.Conv2d(8, 12, 1)
        self.after, self.fc = nn.Conv2d(4, 6, 3, padding=1), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.mid(F.relu(self.stem(x))))
        n, _, h, w = x.shape
        q, k, v = self.qkv(x).flatten(2).chunk(3, dim=1)
        weights = torch.softmax(q.transpose(1, 2) @ k / 2.0, dim=-1)
        x = (v @ weights.transpose(1, 2)).view(n, 4, h, w)
        return self.fc(F.relu(self.after(x)).mean((2, 3)))  # type: ignore[no-any-return]


class Heads(nn.Module):
    """Two heads whose pooled results are the output side by side, a max pooling before a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.side = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(3, 4, 3, 2, 1)
        self.left, self.right = nn.Conv2d(10, 2, 1), nn.Conv2d(10, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([F.max_pool2d(F.relu(self.stem(x)), 2), F.relu(self.side(x))], dim=1)
        return torch.cat([head(x).mean((2, 3)) for head in (self.left, self.right)], 1)


class ChannelsLast(nn.Module):
    """A block of ConvNeXt: layer norm and linear layers on channels-last tensors, a learned scale, clamps."""

    order: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(3, 8, 2, 2), nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.norm, self.wide, self.narrow = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 8)
        self.scale = nn.Parameter(torch.rand(8))
        self.register_buffer("order", torch.tensor([3, 1, 2, 0]))
        self.last, self.mixed, self.fc = nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(6, 4, 1), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        x = x + (self.scale * self.narrow(F.gelu(self.wide(y)))).permute(0, 3, 1, 2)
        x = self.last(x).clamp(min=0).clamp(0, 4)
        x = self.mixed(x / x.shape[1])[:, self.order]
        return self.fc(x.mean(-1).mean(-1))  # type: ignore[no-any-return]


class Sized(nn.Module):
    """Transposed convolutions that are told how large to become, one of them called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 6, 3, 2, 1)])
        self.up = nn.ConvTranspose2d(6, 6, 3, 2, 1)
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.down[0](F.pad(x, (0, 1, 0, 1))))
        b = F.relu(self.down[1](a))
        c = F.relu(self.up(b, output_size=a.size()[2:]))
        return self.head(F.relu(self.up(c, output_size=[9, 10])))  # type: ignore[no-any-return]


class Generator(nn.Module):
    """Features become images in three ways of writing it, for a transposed convolution, a convolution and poolings."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.latent = nn.Conv2d(3, 4, 4, 4), nn.Linear(16, 12)
        self.seed, self.second, self.third = nn.Linear(12, 64), nn.Linear(12, 48), nn.Linear(12, 64)
        self.image = nn.Unflatten(1, (3, 4, 4))
        self.up, self.plain = nn.ConvTranspose2d(4, 6, 4, 2, 1), nn.Conv2d(3, 5, 3, padding=1)
        self.head = nn.Conv2d(15, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.latent(torch.flatten(F.relu(self.encode(x)), 1)))
        a = F.relu(self.up(F.relu(self.seed(x)).view(-1, 4, 4, 4)))
        b = F.relu(self.plain(self.image(F.relu(self.second(x)))))
        c = F.relu(self.third(x)).reshape(x.shape[0], 4, 4, 4)
        parts = F.avg_pool2d(a, 2), b, F.max_pool2d(F.pad(c, (1, 1, 1, 1)), 3, 1)
        return self.head(torch.cat(parts, 1)).mean((2, 3))  # type: ignore[no-any-return]


class Pixels(nn.Module):
    """A linear layer that reads each pixel, and a convolution that reads four crops, as if they were images."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.stem, self.each = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, 3, 2, 1), nn.Linear(6, 8)
        self.crops, self.fc = nn.Conv2d(8, 6, 2), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(F.relu(self.first(x))))
        n, c, h, w = x.shape
        x = F.relu(self.each(x.permute(0, 2, 3, 1).reshape(-1, c))).view(n, h, w, -1).permute(0, 3, 1, 2)
        crops = x.reshape(n, -1, 2, h // 2, 2, w // 2).permute(0, 2, 4, 1, 3, 5).reshape(4 * n, -1, h // 2, w // 2)
        return self.fc(F.relu(self.crops(crops)).mean((2, 3)).view(n, 4, -1).mean(1))  # type: ignore[no-any-return]


STYLES: dict[str, Callable[[], nn.Module]] = {
    "functional": Functional,
    "lambdas": Lambdas,
    "dense": Dense,
    "reshapes": Reshapes,
    "reused": Reused,
    "shuffle": Shuffle,
    "squeeze": Squeeze,
    "two_inputs": TwoInputs,
    "pair": TwoSizes,
    "metadata": Metadata,
    "siamese": Siamese,
    "grouped": Grouped,
    "decoder": Decoder,
    "subclass": Subclass,
    "inception": Inception,
    "heads": Heads,
    "channels_last": ChannelsLast,
    "sized": Sized,
    "attention": Attention,
    "generator": Generator,
    "pixels": Pixels,
}


def build(name: str) -> nn.Module:
    """The network of a style, untrained, with batch norms that have statistics and gains of all kinds."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = STYLES[name]().eval()
        for norm in model.modules():
            if isinstance(norm, nn.BatchNorm2d):
                unsettle(norm)
    return model


def unsettle(norm: Any) -> None:
    """Give a batch norm statistics and gains of all kinds, negative and zero too."""
    norm.running_mean.normal_(0, 0.3)
    norm.running_var.uniform_(0.3, 2.0)
    norm.weight.data.normal_(0.3, 1.0)
    norm.weight.data[0] = 0.0
    norm.weight.data[1] = -0.7
    norm.bias.data.normal_(0.2, 0.3)


SECOND: dict[str, tuple[int, ...]] = {"two_inputs": (4,), "pair": (1, 16, 16), "metadata": (4,), "siamese": (3, 8, 8)}
"""Shape of the second input of the styles that have one."""


def inputs(name: str, count: int, seed: int = 11) -> Tensor | tuple[Tensor, ...]:
    """Random inputs of a style."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn((count, 3, 8, 8), generator=generator)
    return (images, torch.randn((count, *SECOND[name]), generator=generator)) if name in SECOND else images
