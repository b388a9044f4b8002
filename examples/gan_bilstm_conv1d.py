"""Train a GAN on heartbeats: a bidirectional LSTM and SAME convolutions, as written for Keras.

The generator makes 8 steps of noise into 128 samples: a bidirectional LSTM, then convolutions of
128, 64, 32, 16 and 1 channels, with upsampling in between. All kernels have 16 elements: the even
size where SAME pads one element more after than before. The signals are photoplethysmograms, the
pulse measured by light, which the package heartpy comes with.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
from dataclasses import dataclass, field
from pathlib import Path

try:
    import numpy as np
    import torch
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from samepad import nn
    from torch import Tensor
    from tqdm import tqdm

    # heartpy itself is not imported: it needs a pkg_resources that setuptools no longer has.
    SIGNALS = importlib.metadata.distribution("heartpy").locate_file("heartpy/data/data3.csv")
except ModuleNotFoundError as error:
    sys.exit(
        f"{error}\n"
        "This example needs PyTorch, samepad (pip install . in the repository's root) and\n"
        "pip install heartpy matplotlib numpy tqdm"
    )

STEPS = 8
NOISE = 16
LENGTH = 16 * STEPS
KERNEL = 16
SLOPE = 0.2
# A stretch of the recording with few disturbances, and the limits of what is none.
STRETCH = slice(33_000, 50_000)
LOWEST, HIGHEST = 200, 900
SAMPLES_PER_SECOND = 100  # within a percent
# A window starts this long before the highest sample of a beat.
BEFORE_PEAK = 24
BATCH_SIZE = 32
LEARNING_RATE = 5e-4
BETAS = (0.5, 0.9)  # less momentum than Adam's own, as is usual for GANs
SHOWN = 6


class Generator(nn.Module):
    """From noise (N, 8, 16) to signals (N, 1, 128), values -1 to 1."""

    def __init__(self) -> None:
        """Build the layers."""
        super().__init__()
        self.lstm = nn.LSTM(NOISE, 32, batch_first=True, bidirectional=True)
        layers: list[nn.Module] = []
        channels = 64
        for width in (128, 64, 32, 16):
            layers += [
                nn.Conv1d(channels, width, KERNEL, padding="same"),
                nn.LeakyReLU(SLOPE),
                nn.Upsample(scale_factor=2),
            ]
            channels = width
        layers += [nn.Conv1d(channels, 1, KERNEL, padding="same"), nn.Tanh()]
        self.convolutions = nn.Sequential(*layers)

    def forward(self, noise: Tensor) -> Tensor:
        """Keras keeps channels last throughout and has its Permute at the end."""
        steps, _ = self.lstm(noise)
        signals: Tensor = self.convolutions(steps.transpose(1, 2))
        return signals


def make_discriminator() -> nn.Sequential:
    """Build the network that tells signals (N, 1, 128) of the recording from the generator's."""
    layers: list[nn.Module] = []
    channels = 1
    for width in (16, 32, 64):
        layers += [
            nn.Conv1d(channels, width, KERNEL, padding="same"),
            nn.LeakyReLU(SLOPE),
            nn.MaxPool1d(2),
        ]
        channels = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * LENGTH // 8, 1))


def load_signals() -> Tensor:
    """Cut the recording in windows over heartbeats, (N, 1, 128), values -0.9 to 0.9."""
    values = np.loadtxt(str(SIGNALS), delimiter=",", skiprows=1, usecols=1, dtype=np.float32)
    recording = torch.from_numpy(values[STRETCH])
    windows = recording.unfold(0, LENGTH, 1)
    # A beat's peak is the highest sample of the quarter second before and after it.
    peaks = windows[:, : 2 * BEFORE_PEAK + 1].argmax(dim=1) == BEFORE_PEAK
    sound = (windows.amin(dim=1) > LOWEST) & (windows.amax(dim=1) < HIGHEST)
    beats = windows[peaks & sound]
    beats = beats - beats.mean(dim=1, keepdim=True)
    return (0.9 * beats / beats.abs().amax(dim=1, keepdim=True)).unsqueeze(1)


def draw_noise(count: int) -> Tensor:
    """Draw what the generator starts from."""
    return torch.randn(count, STEPS, NOISE)


@dataclass
class Trainer:
    """The two networks, their optimizers and the losses of all steps."""

    generator: Generator = field(default_factory=Generator)
    discriminator: nn.Sequential = field(default_factory=make_discriminator)
    generator_losses: list[float] = field(default_factory=list)
    discriminator_losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the optimizers."""
        self.generator_optimizer, self.discriminator_optimizer = (
            torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, betas=BETAS)
            for network in (self.generator, self.discriminator)
        )

    def step(self, real: Tensor) -> None:
        """Train the discriminator, then the generator, on one batch."""
        made = self.generator(draw_noise(len(real)))
        # softplus(-x) and softplus(x) are the cross-entropies of the answers "real" and "made".
        softplus = nn.functional.softplus
        loss = (
            softplus(-self.discriminator(real)) + softplus(self.discriminator(made.detach()))
        ).mean()
        self.discriminator_optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.discriminator_optimizer.step()
        self.discriminator_losses.append(loss.item())

        loss = softplus(-self.discriminator(made)).mean()
        self.generator_optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.generator_optimizer.step()
        self.generator_losses.append(loss.item())

    def train(self, signals: Tensor, steps: int) -> None:
        """Train on random batches under a progress bar."""
        for _ in tqdm(range(steps), unit="step", mininterval=0.5):
            self.step(signals[torch.randint(len(signals), (BATCH_SIZE,))])


def save_figure(
    trainer: Trainer, signals: Tensor, untrained: Tensor, trained: Tensor, path: Path
) -> None:
    """Draw signals of the recording, those of the generator before and after, and the losses."""
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = Figure(figsize=(13, 8.5), layout=layout)
    figure.suptitle("GAN of a bidirectional LSTM and Conv1d, kernel 16, 'same'", fontsize=16)
    grid = figure.subplots(2, 2)
    seconds = torch.arange(LENGTH) / SAMPLES_PER_SECOND
    titles = ("Recorded pulse", "Generator before training", "Generator after training")
    for axes, title, rows in zip(grid.flat, titles, (signals, untrained, trained), strict=False):
        for row in rows[:SHOWN]:
            axes.plot(seconds, row[0], lw=1.5, alpha=0.8)
        axes.set_ylim(-1.05, 1.05)
        axes.set_xlabel("time (s)", fontsize=12)
        axes.set_ylabel("scaled signal", fontsize=12)
        axes.set_title(title, fontsize=14)
        axes.grid(alpha=0.3)
    axes = grid[1, 1]
    axes.plot(trainer.discriminator_losses, lw=0.8, label="discriminator")
    axes.plot(trainer.generator_losses, lw=0.8, label="generator")
    axes.set_xlabel("step", fontsize=12)
    axes.set_ylabel("mean cross-entropy (nats)", fontsize=12)
    axes.set_title("Losses", fontsize=14)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=12)
    figure.savefig(path, dpi=110)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=600, help="batches (default: %(default)s)")
    parser.add_argument(
        "--output-dir",
        type=Path,
        default=Path("demo-output"),
        help="folder for the picture (default: %(default)s)",
    )
    arguments = parser.parse_args()
    if arguments.steps < 1:
        parser.error("--steps must be at least 1")
    return arguments


def main() -> None:
    """Load, train, compare the mean signals, and draw."""
    arguments = parse_arguments()
    torch.manual_seed(0)
    signals = load_signals()
    print(f"{len(signals)} heartbeats of {LENGTH} samples", flush=True)
    trainer = Trainer()
    noise = draw_noise(len(signals))
    with torch.no_grad():
        untrained = trainer.generator(noise)
    trainer.train(signals, arguments.steps)
    with torch.no_grad():
        trained = trainer.generator(noise)

    for name, made in (("before", untrained), ("after", trained)):
        means = torch.stack([signals.mean(dim=0)[0], made.mean(dim=0)[0]])
        correlation = float(torch.corrcoef(means)[0, 1])
        print(f"mean beat, recorded and generated {name} training: correlation {correlation:.3f}")
    # A small GAN settles on few kinds of beats: this says how few.
    spreads = [float(rows.std(dim=0).mean()) for rows in (signals, trained)]
    print("spread over beats, recorded {:.3f} and generated {:.3f}".format(*spreads))
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    picture = arguments.output_dir / "gan_bilstm_conv1d.png"
    save_figure(trainer, signals, untrained, trained, picture)
    print(f"Picture: {picture}")


if __name__ == "__main__":
    main()
