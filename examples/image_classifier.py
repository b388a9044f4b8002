"""Train a classifier of 128 x 128 photos, laid out as Keras lays it out, and save and load it.

The network has three blocks of a 3 x 3 convolution with padding "same", ReLU and max pooling, then
two linear layers, and two classes. The images are random crops of scikit-learn's two sample photos,
flipped at random and with changed colours. Those for testing come from the right part of each
photo, which is not used in training.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path

try:
    import torch
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.ticker import MaxNLocator
    from samepad import nn
    from sklearn.datasets import load_sample_images
    from torch import Tensor
    from tqdm import tqdm
except ModuleNotFoundError as error:
    sys.exit(
        f"{error}\n"
        "This example needs PyTorch, samepad (pip install . in the repository's root) and\n"
        "pip install matplotlib pillow scikit-learn tqdm"
    )

CLASSES = ("china", "flower")
IMAGE_SIZE = 128
# Each photo, 640 pixels wide, is used for training up to this column, and for testing from it on.
CUT = 352
CROP_SIZES = (96, 240)
BATCH_SIZE = 32
LEARNING_RATE = 5e-4
TEST_IMAGES = 200
SHOWN = 8


@dataclass
class Curves:
    """What training recorded after each epoch."""

    train_losses: list[float] = field(default_factory=list)
    test_losses: list[float] = field(default_factory=list)
    train_accuracies: list[float] = field(default_factory=list)
    test_accuracies: list[float] = field(default_factory=list)


def make_model() -> nn.Sequential:
    """Build the network, for images of 3 x 128 x 128."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding="same"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding="same"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding="same"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * (IMAGE_SIZE // 8) ** 2, 64),
        nn.ReLU(),
        nn.Linear(64, len(CLASSES)),
    )


def load_photos() -> list[Tensor]:
    """Load scikit-learn's two photos, each 3 x 427 x 640 with values from 0 to 1."""
    images = load_sample_images().images
    return [torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255 for image in images]


def random_crop(photo: Tensor, generator: torch.Generator) -> Tensor:
    """Cut out a random square, resize it, flip it at random and change its colours."""

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    _, height, width = photo.shape
    side = draw(*CROP_SIZES)
    top, left = draw(0, height - side), draw(0, width - side)
    square = photo[None, :, top : top + side, left : left + side]
    image = nn.functional.interpolate(
        square, (IMAGE_SIZE, IMAGE_SIZE), mode="bilinear", antialias=True
    )[0]
    if draw(0, 1):
        image = image.flip(2)
    # Each channel gets a different factor and offset, so that colours alone do not tell the class.
    factors = 0.6 + 0.8 * torch.rand(3, 1, 1, generator=generator)
    offsets = 0.4 * torch.rand(3, 1, 1, generator=generator) - 0.2
    return (image * factors + offsets).clamp(0, 1)


def draw_images(parts: list[Tensor], count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return `count` random crops, equally many of each class, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % len(parts)
    return torch.stack([random_crop(parts[label], generator) for label in labels]), labels


@torch.no_grad()
def evaluate(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return the mean loss and the percentage of images classified correctly."""
    logits = torch.cat([model(batch) for batch in torch.split(images, BATCH_SIZE)])
    correct = logits.argmax(dim=1) == labels
    loss = nn.functional.cross_entropy(logits, labels)
    return float(loss), 100 * float(correct.float().mean())


def train(
    model: nn.Module,
    parts: list[Tensor],
    test: tuple[Tensor, Tensor],
    epochs: int,
    images_per_epoch: int,
) -> Curves:
    """Train on new crops in each epoch, under a progress bar, and record the curves."""
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    curves = Curves()
    with tqdm(total=epochs * images_per_epoch, unit="image", mininterval=0.5) as progress:
        for epoch in range(epochs):
            images, labels = draw_images(parts, images_per_epoch, seed=epoch)
            loss_sum, correct = 0.0, 0
            for start in range(0, len(labels), BATCH_SIZE):
                batch = labels[start : start + BATCH_SIZE]
                logits = model(images[start : start + BATCH_SIZE])
                loss = nn.functional.cross_entropy(logits, batch)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                loss_sum += loss.item() * len(batch)
                correct += int((logits.argmax(dim=1) == batch).sum())
                progress.update(len(batch))
            test_loss, test_accuracy = evaluate(model, *test)
            curves.train_losses.append(loss_sum / len(labels))
            curves.train_accuracies.append(100 * correct / len(labels))
            curves.test_losses.append(test_loss)
            curves.test_accuracies.append(test_accuracy)
            progress.set_postfix_str(f"test accuracy {test_accuracy:.1f}%")
    return curves


@torch.no_grad()
def save_figure(model: nn.Module, test: tuple[Tensor, Tensor], curves: Curves, path: Path) -> None:
    """Draw the curves, and some test images with the model's predictions."""
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = Figure(figsize=(13, 8), layout=layout)
    figure.suptitle("Two classes of photo crops, convolutions with padding 'same'", fontsize=16)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(2, 1)).flat
    charts = [
        ("Loss", "mean cross-entropy (nats)", curves.train_losses, curves.test_losses),
        ("Accuracy", "correct (%)", curves.train_accuracies, curves.test_accuracies),
    ]
    for axes, (title, label, train_values, test_values) in zip(
        above.subplots(1, 2), charts, strict=True
    ):
        epochs = range(1, len(train_values) + 1)
        axes.plot(epochs, train_values, "o-", label="training crops")
        axes.plot(epochs, test_values, "o-", label="test crops")
        axes.set_title(title, fontsize=14)
        axes.set_xlabel("epoch", fontsize=12)
        axes.set_ylabel(label, fontsize=12)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=12)
    images, labels = test[0][:SHOWN], test[1][:SHOWN]
    answers = model(images).argmax(dim=1)
    for axes, image, label, answer in zip(
        below.subplots(1, SHOWN), images, labels, answers, strict=True
    ):
        axes.imshow(image.permute(1, 2, 0).numpy())
        axes.set_title(CLASSES[answer], color="green" if answer == label else "red", fontsize=13)
        axes.set_axis_off()
    below.suptitle("Test crops and the model's answers (red: wrong)", fontsize=14)
    credit = "Photos: danielbuechele and vultilion, Flickr, CC BY 2.0, from scikit-learn"
    below.supxlabel(credit, fontsize=10, color="dimgray")
    figure.savefig(path, dpi=110)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=8, help="(default: %(default)s)")
    parser.add_argument(
        "--images", type=int, default=320, help="crops in each epoch (default: %(default)s)"
    )
    parser.add_argument(
        "--output-dir",
        type=Path,
        default=Path("demo-output"),
        help="folder for the picture and the model (default: %(default)s)",
    )
    arguments = parser.parse_args()
    if arguments.epochs < 1 or arguments.images < 1:
        parser.error("--epochs and --images must be at least 1")
    return arguments


def main() -> None:
    """Train, draw, save the weights, and load them into another model."""
    arguments = parse_arguments()
    torch.manual_seed(0)
    photos = load_photos()
    test = draw_images([photo[:, :, CUT:] for photo in photos], TEST_IMAGES, seed=2**32)
    model = make_model()
    training_parts = [photo[:, :, :CUT] for photo in photos]
    curves = train(model, training_parts, test, arguments.epochs, arguments.images)

    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    weights = arguments.output_dir / "image_classifier.pt"
    torch.save(model.state_dict(), weights)
    loaded = make_model()
    loaded.load_state_dict(torch.load(weights, weights_only=True))
    loss, accuracy = evaluate(loaded, *test)
    print(f"\nLoaded from {weights}: test loss {loss:.3f}, test accuracy {accuracy:.1f}%")
    picture = arguments.output_dir / "image_classifier.png"
    save_figure(loaded, test, curves, picture)
    print(f"Picture: {picture}")


if __name__ == "__main__":
    main()
