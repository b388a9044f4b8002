"""Train one small strided CNN on handwritten digits with padding 'same' and with 'valid'.

Only the argument `padding` differs: the images, the order of the batches and the initial values of
the convolutions are the same. On images of 8 x 8 pixels the padding matters: without it the strided
layers shrink the image faster, never see its last row and column, and leave fewer inputs for the
linear layer. With --head pool the linear layer has the same size under both paddings, but an
average over the whole map no longer shows where in the image a feature was.

With --net mnist the images are enlarged to MNIST's 28 x 28 pixels, and the network is one that
beginners often write for them: convolutions without stride, whose output with padding "same" has
the size of the input, and max pools. On images of this size the padding matters less, and a few
seeds may not show a difference: a line below the table says whether the ranges of the accuracies
overlap.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

try:
    import torch
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.ticker import MaxNLocator
    from samepad import SamePadConv2d as Conv2d
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from torch import Tensor, nn
    from tqdm import tqdm
except ModuleNotFoundError as error:
    sys.exit(
        f"{error}\n"
        "This example needs PyTorch, samepad (pip install . in the repository's root) and\n"
        "pip install matplotlib scikit-learn tqdm"
    )

PADDINGS = ("same", "valid")
CLASSES = 10
HEADS = ("flatten", "pool")
# The networks, each with the height and width of its images.
NETS = {"strided": 8, "mnist": 28}
TEST_SHARE = 0.25
BATCH_SIZE = 64
LEARNING_RATE = 3e-3
# A standard deviation needs at least two runs.
MIN_SEEDS = 2


@dataclass(frozen=True)
class Digits:
    """Images with values from 0 to 1, and their labels, with the same split for all runs."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


@dataclass
class Curves:
    """What one run recorded after each epoch."""

    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)


def load_data(size: int) -> Digits:
    """Load scikit-learn's digits, enlarge them to `size` and put a quarter aside for testing."""
    bunch = load_digits()
    images = torch.from_numpy(bunch.images).float().unsqueeze(1) / 16
    if size != images.shape[-1]:
        images = nn.functional.interpolate(images, (size, size), mode="bilinear")
    labels = torch.from_numpy(bunch.target).long()
    train, test = train_test_split(
        range(len(labels)), test_size=TEST_SHARE, stratify=bunch.target, random_state=0
    )
    return Digits(images[train], labels[train], images[test], labels[test])


def make_model(net: str, padding: str, head: str, image: Tensor) -> nn.Sequential:
    """Build the network; `image` determines the number of inputs of the last layer."""
    if net == "mnist":
        convolutions = [
            Conv2d(1, 128, 3, padding=padding),
            nn.ReLU(),
            nn.MaxPool2d(2),
            Conv2d(128, 32, 3, padding=padding),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    else:
        convolutions = [
            Conv2d(1, 32, 3, stride=2, padding=padding),
            nn.ReLU(),
            Conv2d(32, 64, 3, stride=2, padding=padding),
            nn.ReLU(),
        ]
    features = nn.Sequential(
        *convolutions,
        nn.AdaptiveAvgPool2d(1) if head == "pool" else nn.Identity(),
        nn.Flatten(),
    )
    return features.append(nn.Linear(features(image[None]).shape[1], CLASSES))


@torch.no_grad()
def feature_map_sizes(model: nn.Sequential, images: Tensor) -> str:
    """Return height x width of the input and of the output of each convolution."""
    x = images
    sizes = [x.shape]
    for layer in model:
        x = layer(x)
        if isinstance(layer, nn.Conv2d):
            sizes.append(x.shape)
    return " -> ".join(f"{height} x {width}" for *_, height, width in sizes)


def count_pixels_seen(model: nn.Sequential, images: Tensor) -> int:
    """Count the pixels that any output depends on, by their gradients over all images."""
    images = images.clone().requires_grad_()
    (gradients,) = torch.autograd.grad(model(images).abs().sum(), images)
    return int(gradients.ne(0).any(dim=0).sum())


def train_epoch(
    model: nn.Sequential, optimizer: torch.optim.Optimizer, digits: Digits, order: Tensor
) -> float:
    """Train on the images in the given order; return the mean loss."""
    total = 0.0
    for start in range(0, len(order), BATCH_SIZE):
        batch = order[start : start + BATCH_SIZE]
        logits = model(digits.train_images[batch])
        loss = nn.functional.cross_entropy(logits, digits.train_labels[batch])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total += loss.item() * len(batch)
    return total / len(order)


@torch.no_grad()
def measure_accuracy(model: nn.Sequential, digits: Digits) -> float:
    """Return the percentage of test images that are classified correctly."""
    correct = model(digits.test_images).argmax(dim=1) == digits.test_labels
    return 100 * float(correct.float().mean())


def train(
    model: nn.Sequential, seed: int, epochs: int, digits: Digits, on_epoch: Callable[[], object]
) -> Curves:
    """Train a new network and record its curves."""
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    # The shuffler has its own generator: a larger linear layer draws more initial values from the
    # default one, so that the batches would not be the same under both paddings.
    shuffler = torch.Generator().manual_seed(seed)
    curves = Curves()
    for _ in range(epochs):
        order = torch.randperm(len(digits.train_labels), generator=shuffler)
        curves.losses.append(train_epoch(model, optimizer, digits, order))
        curves.accuracies.append(measure_accuracy(model, digits))
        on_epoch()
    return curves


def train_all(
    net: str, head: str, seeds: int, epochs: int, digits: Digits
) -> dict[str, list[Curves]]:
    """Train with both paddings and all seeds under one progress bar."""
    results: dict[str, list[Curves]] = {padding: [] for padding in PADDINGS}
    with tqdm(total=len(PADDINGS) * seeds * epochs, unit="epoch", mininterval=0.5) as progress:
        for seed in range(seeds):
            for padding in PADDINGS:
                progress.set_description(f"seed {seed}, padding={padding!r}", refresh=False)
                torch.manual_seed(seed)
                model = make_model(net, padding, head, digits.train_images[0])
                results[padding].append(train(model, seed, epochs, digits, progress.update))
    return results


def models_table(net: str, head: str, images: Tensor) -> str:
    """Return a table of feature maps, pixels seen and parameters for each padding."""
    lines = [
        f"{'padding':<7}  {'feature maps':<27}  {'pixels seen':>11}  {'parameters':>10}",
        f"{'-' * 7}  {'-' * 27}  {'-' * 11}  {'-' * 10}",
    ]
    for padding in PADDINGS:
        model = make_model(net, padding, head, images[0])
        seen = f"{count_pixels_seen(model, images)} of {images[0].numel()}"
        parameters = sum(parameter.numel() for parameter in model.parameters())
        sizes = feature_map_sizes(model, images)
        lines.append(f"{padding:<7}  {sizes:<27}  {seen:>11}  {parameters:>10}")
    return "\n".join(lines)


def accuracies_table(results: dict[str, list[Curves]]) -> str:
    """Return a table of final test accuracies by seed, their mean and standard deviation."""
    finals = {padding: [run.accuracies[-1] for run in runs] for padding, runs in results.items()}
    columns = [*finals.values()]
    columns.append([same - valid for same, valid in zip(*columns, strict=True)])
    rows = [(str(seed), values) for seed, values in enumerate(zip(*columns, strict=True))]
    rows.append(("mean", tuple(map(statistics.mean, columns))))
    rows.append(("std", tuple(map(statistics.stdev, columns))))
    header = f"{'seed':<4}" + "".join(f"  {name:>10}" for name in [*finals, "difference"])
    rule = "-" * 4 + ("  " + "-" * 10) * len(columns)
    lines = [f"{name:<4}" + "".join(f"  {value:>10.2f}" for value in row) for name, row in rows]
    return "\n".join([header, rule, *lines[:-2], rule, *lines[-2:]])


def ranges_sentence(results: dict[str, list[Curves]]) -> str:
    """Say whether the accuracies of the two paddings overlap: if they do, their order is chance."""
    finals = {padding: [run.accuracies[-1] for run in runs] for padding, runs in results.items()}
    (worse, low), (better, high) = sorted(finals.items(), key=lambda item: statistics.mean(item[1]))
    ranges = (
        f"padding {better!r} reaches {min(high):.2f} to {max(high):.2f} % and "
        f"{worse!r} {min(low):.2f} to {max(low):.2f} %"
    )
    if min(high) > max(low):
        return f"The ranges are separate: {ranges}."
    return (
        f"The ranges overlap: {ranges}.\n"
        "On this evidence neither padding is better. More --seeds narrow the means down."
    )


def draw_band(axes: Axes, label: str, colour: str, curves: Sequence[Sequence[float]]) -> None:
    """Draw the mean of the curves, and a band from the lowest to the highest of them."""
    by_epoch = list(zip(*curves, strict=True))
    epochs = range(1, len(by_epoch) + 1)
    axes.fill_between(
        epochs, list(map(min, by_epoch)), list(map(max, by_epoch)), color=colour, alpha=0.2, lw=0
    )
    axes.plot(epochs, list(map(statistics.mean, by_epoch)), color=colour, lw=2, label=label)


def save_figure(results: dict[str, list[Curves]], net: str, head: str, path: Path) -> None:
    """Draw training loss and test accuracy by epoch for both paddings."""
    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.1)
    figure = Figure(figsize=(13, 5.5), layout=layout)
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    for (padding, runs), colour in zip(results.items(), ("tab:blue", "tab:orange"), strict=True):
        label = f"padding={padding!r}"
        draw_band(loss_axes, label, colour, [run.losses for run in runs])
        draw_band(accuracy_axes, label, colour, [run.accuracies for run in runs])
    loss_axes.set_yscale("log")
    loss_axes.set_ylabel("mean cross-entropy (nats)", fontsize=13)
    loss_axes.set_title("Training loss", fontsize=14)
    accuracy_axes.set_ylabel("correct (%)", fontsize=13)
    accuracy_axes.set_title("Test accuracy", fontsize=14)
    for axes in (loss_axes, accuracy_axes):
        axes.set_xlabel("epoch", fontsize=13)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(labelsize=12)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=12)
    seeds = len(results[PADDINGS[0]])
    images = f"{NETS[net]} x {NETS[net]} digits"
    title = f"Net {net!r} on {images}, head {head!r}: mean and range of {seeds} seeds"
    figure.suptitle(title, fontsize=16)
    figure.savefig(path, dpi=110)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--net",
        choices=NETS,
        default="strided",
        help="the layers, and the size of the images (default: %(default)s)",
    )
    parser.add_argument(
        "--seeds", type=int, default=5, help="runs with each padding (default: %(default)s)"
    )
    parser.add_argument(
        "--epochs", type=int, default=30, help="epochs of each run (default: %(default)s)"
    )
    parser.add_argument(
        "--head",
        choices=HEADS,
        default=HEADS[0],
        help="what comes between the last feature map and the linear layer (default: %(default)s)",
    )
    parser.add_argument(
        "--output-dir",
        type=Path,
        default=Path("demo-output"),
        help="folder for the picture (default: %(default)s)",
    )
    arguments = parser.parse_args()
    if arguments.seeds < MIN_SEEDS:
        parser.error(f"--seeds must be at least {MIN_SEEDS}")
    if arguments.epochs < 1:
        parser.error("--epochs must be at least 1")
    return arguments


def main() -> None:
    """Describe the networks, train them, print the tables and draw the figure."""
    arguments = parse_arguments()
    # The tensors are too small to gain from a second thread. With one thread the order of every
    # sum, and so the result, does not depend on the number of cores.
    torch.set_num_threads(1)
    torch.manual_seed(0)

    digits = load_data(NETS[arguments.net])
    counts = f"{len(digits.train_labels)} training images, {len(digits.test_labels)} test images"
    print(f"scikit-learn's digits: {counts}\n")
    # Flush, so that the table comes before the progress bar if the output is a file.
    print(models_table(arguments.net, arguments.head, digits.test_images) + "\n", flush=True)

    results = train_all(arguments.net, arguments.head, arguments.seeds, arguments.epochs, digits)
    print(f"\nTest accuracy (%) after {arguments.epochs} epochs\n")
    print(accuracies_table(results))
    print(f"\n{ranges_sentence(results)}")

    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    suffix = "" if arguments.net == "strided" else f"_{arguments.net}"
    picture = arguments.output_dir / f"digits_same_vs_valid{suffix}.png"
    save_figure(results, arguments.net, arguments.head, picture)
    print(f"\nPicture: {picture}")


if __name__ == "__main__":
    main()
