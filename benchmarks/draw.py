"""Draws the layers of the sweep: of published networks, and random ones of every kind."""

import math
import random
from collections.abc import Iterator
from itertools import islice

from benchmarks.layers import Layer, Pair, Published, read_networks
from benchmarks.sections.pools import Window
from benchmarks.tables import Settings

#: A layer in the sweep: no more multiplications than a large layer of a published network has, and
#: no tensor larger than theirs.
MOST_FLOPS = 3e9
MOST_ELEMENTS = 8e6

#: Sizes of batches; single images are the most common.
BATCHES = (1, 1, 2, 4, 8, 16)


def _kernel(rng: random.Random) -> Pair:
    square = rng.choice([1, 2, 3, 3, 3, 4, 5, 5, 7, 7, 9, 11])
    long = rng.choice([3, 5, 7, 9, 15, 31, 41, 80, 200, 400])
    return rng.choice(
        [(square, square)] * 6
        + [(1, square), (square, 1), (rng.choice([3, 5]), rng.choice([1, 3, 7])), (1, long)]
    )


def _size(rng: random.Random, kernel: Pair) -> Pair:
    """Images, mostly; where the kernel is long, sequences or spectrograms."""
    if kernel[1] > 11:
        return rng.choice([(1, 16000), (1, 4000), (264, 172), (64, 400), (1, 1000)])
    side = rng.choice(
        [4, 7, 8, 10, 14, 16, 19, 28, 32, 40, 56, 64, 80, 96, 112, 160, 224, 300, 384]
    )
    return rng.choice(
        [(side, side)] * 5
        + [(side, max(side // 2, 1)), (side, side + rng.randrange(4)), (1, 100 * side)]
    )


def _draw(rng: random.Random) -> Layer:
    kernel = _kernel(rng)
    size = _size(rng, kernel)
    kind = rng.choice(["dense"] * 5 + ["depthwise"] * 3 + ["grouped", "few", "few"])
    channels = rng.choice([8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 480, 672, 960])
    out, groups = rng.choice([8, 16, 32, 64, 96, 128, 256, 512, channels]), 1
    if kind == "few":
        channels, out = rng.choice([1, 1, 2, 3, 3, 4, 6]), rng.choice([8, 16, 32, 48, 64])
    elif kind == "depthwise":
        out, groups = channels * rng.choice([1, 1, 1, 1, 2]), channels
    elif kind == "grouped":
        out, groups = channels, rng.choice([2, 4, 8, channels // 4])
    stride = rng.choice([(1, 1)] * 4 + [(2, 2)] * 4 + [(3, 3), (4, 4), (1, 2), (2, 1), (1, 3)])
    dilation = rng.choice([1] * 7 + [2, 3, 4])
    if kernel[1] > 11:
        stride = (1, rng.choice([1, 2, 3, 5, 10]))
        dilation = rng.choice([1, 1, 1, 4, 10, 25]) if kernel[1] <= 41 else 1
    return Layer(rng.choice(BATCHES), channels, size, out, kernel, stride, dilation, groups)


def _can_be_measured(layer: Layer) -> bool:
    extents = [(k - 1) * layer.dilation + 1 for k in layer.kernel]
    # No wider than twice the input, and such that equal pads leave an output.
    sensible = all(
        e <= 2 * n and e <= n + (e - 1) // 2 * 2 for e, n in zip(extents, layer.size, strict=True)
    )
    # PyTorch writes the gradients of such layers past the end of their memory, and the benchmark
    # would die (docs/pytorch-convolution-faults.md, 6).
    crashes = layer.kernel == (1, 1) != layer.stride and layer.channels // layer.groups < 16
    most = max(math.prod(layer.input_shape), layer.outputs)
    return sensible and not crashes and layer.flops <= MOST_FLOPS and most <= MOST_ELEMENTS


def random_layers(count: int, seed: int) -> Iterator[Layer]:
    """Layers of all kinds, of sizes that networks have."""
    rng = random.Random(seed)
    layers = filter(_can_be_measured, iter(lambda: _draw(rng), None))
    return islice(layers, count)


def _as_pair(sizes: tuple[int, ...], first: int = 1) -> Pair:
    """Sizes of two dimensions; one alone becomes the second."""
    height, width = sizes if len(sizes) == 2 else (first, *sizes)
    return height, width


def published_layers(count: int, seed: int) -> Iterator[Layer]:
    """Different convolutions of published networks, each with a random size of the batch."""
    rng = random.Random(seed)
    layers = (
        Layer(
            rng.choice(BATCHES), channels, _as_pair(size), out, _as_pair(kernel), _as_pair(stride),
            dilation, groups,
        )
        for kind, channels, size, out, kernel, stride, dilation, groups in _shuffled(rng)
        if kind == "convolution" and len(size) <= 2
    )  # fmt: skip
    return islice(filter(_can_be_measured, layers), count)


def _shuffled(rng: random.Random) -> list[Published]:
    """The layers of published networks in a random order."""
    layers = read_networks()
    rng.shuffle(layers)
    return layers


def swept_layers(settings: Settings) -> dict[str, list[Layer]]:
    """By source, the layers that the settings ask for: half of them published, half random."""
    published = list(published_layers(settings.layers // 2, settings.seed))
    return {
        "published": published,
        "random": list(random_layers(settings.layers - len(published), settings.seed)),
    }


def published_windows(settings: Settings) -> list[Window]:
    """Pools and transposed convolutions, half as many as there are published convolutions."""
    rng = random.Random(settings.seed)
    windows = (
        Window(kind, rng.choice(BATCHES), channels, _as_pair(size), out, _as_pair(kernel),
               _as_pair(stride))
        for kind, channels, size, out, kernel, stride, _, _ in _shuffled(rng)
        if kind != "convolution" and len(size) == 2
    )  # fmt: skip
    measured = (window for window in windows if window.elements <= MOST_ELEMENTS)
    return list(islice(measured, settings.layers // 4))
