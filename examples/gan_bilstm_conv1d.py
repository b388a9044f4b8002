"""Train a GAN on an electrocardiogram: LSTM and SAME convolutions, as written for Keras.

The generator turns 8 steps of noise into 128 samples, by a bidirectional LSTM followed by
convolutions of 128, 64, 32, 16 and 1 channels with upsampling in between. All kernels have 16
elements, an even size, for which SAME pads one more element after than before. The signals are
windows of the one electrocardiogram that PyWavelets contains. Of its 1024 samples they take every
third one, so that a window is longer than the time between two heartbeats and shows at least one.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path

try:
    import pywt.data
    import torch
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from samepad import nn
    from torch import Tensor
    from tqdm import tqdm
except ModuleNotFoundError as error:
    sys.exit(
        f"{error}\n"
        "This example needs PyTorch, samepad (pip install . in the repository's root) and\n"
        "pip install PyWavelets matplotlib tqdm"
    )

STEPS = 8
NOISE = 16
LENGTH = 16 * STEPS
KERNEL = 16
EVERY = 3
SLOPE = 0.2
BATCH_SIZE = 32
LEARNING_RATE = 1e-3
PENALTY = 0.5
BETAS = (0.5, 0.9)  # less momentum than Adam's default, as is usual for GANs
# A signal above this value has a heartbeat. The recorded ones reach 0.65 to 0.9, and everything
# between them stays below 0.2.
PEAK = 0.4
SHOWN = 6


class Generator(nn.Module):
    """Maps noise, (N, 8, 16), to signals, (N, 1, 128), with values from -1 to 1."""

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
        """Return signals. Keras keeps channels last instead, and permutes only at the end."""
        steps, _ = self.lstm(noise)
        signals: Tensor = self.convolutions(steps.transpose(1, 2))
        return signals


def make_discriminator() -> nn.Sequential:
    """Build the network that tells recorded signals, (N, 1, 128), from generated ones."""
    layers: list[nn.Module] = []
    channels = 1
    for width in (16, 32, 64):
        layers += [
            nn.Conv1d(channels, width, KERNEL, padding="same"),
            nn.LeakyReLU(SLOPE),
            nn.MaxPool1d(2),
        ]
        channels = width
    # Only differences of answers are used, in which a bias would cancel.
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * LENGTH // 8, 1, bias=False))


def load_signals() -> Tensor:
    """Return all windows of the recording, (643, 1, 128), with values from -0.9 to 0.9."""
    recording = torch.from_numpy(pywt.data.ecg()).float()
    recording -= recording.mean()
    scaled = 0.9 * recording / recording.abs().amax()
    windows = scaled.unfold(0, EVERY * (LENGTH - 1) + 1, 1)[:, ::EVERY]
    return windows.unsqueeze(1).contiguous()


def spectrum(signals: Tensor) -> Tensor:
    """Return the mean amplitude of each frequency except zero, (64,)."""
    means: Tensor = torch.fft.rfft(signals[:, 0]).abs().mean(dim=0)
    return means[1:]


def draw_noise(count: int) -> Tensor:
    """Draw the noise from which the generator makes signals."""
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
        """Train the discriminator, then the generator, on one batch.

        The discriminator has to give a recorded signal a higher answer than a made one, rather
        than the right answer to each of them: then a generator that makes only one kind of signal
        has a way out. With the penalties on the slopes at both kinds of signals, such training
        converges (Huang, Gokaslan, Kuleshov and Tompkin 2024, "The GAN is dead; long live the
        GAN!").
        """
        # The cross-entropy of the answer "the other one is recorded".
        softplus = nn.functional.softplus
        made = self.generator(draw_noise(len(real)))
        penalty = torch.zeros(())
        answers = []
        for signals in (real.clone(), made.detach()):
            answers.append(self.discriminator(signals.requires_grad_()))
            (slopes,) = torch.autograd.grad(answers[-1].sum(), signals, create_graph=True)
            penalty = penalty + 0.5 * PENALTY * slopes.square().sum(dim=(1, 2)).mean()
        loss = softplus(answers[1] - answers[0]).mean()
        self.discriminator_optimizer.zero_grad()
        (loss + penalty).backward()  # type: ignore[no-untyped-call]
        self.discriminator_optimizer.step()
        self.discriminator_losses.append(loss.item())

        with torch.no_grad():
            answer = self.discriminator(real)
        loss = softplus(answer - self.discriminator(made)).mean()
        self.generator_optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.generator_optimizer.step()
        self.generator_losses.append(loss.item())

    def train(self, signals: Tensor, steps: int) -> None:
        """Train on random batches under a progress bar."""
        optimizers = (self.generator_optimizer, self.discriminator_optimizer)
        for step in tqdm(range(steps), unit="step", mininterval=0.5):
            # The second half has ever smaller steps, so that the result does not depend on the
            # moment at which the training stops.
            for optimizer in optimizers:
                optimizer.param_groups[0]["lr"] = LEARNING_RATE * min(1, 2 * (1 - step / steps))
            self.step(signals[torch.randint(len(signals), (BATCH_SIZE,))])


def save_figure(
    trainer: Trainer, signals: Tensor, untrained: Tensor, trained: Tensor, path: Path
) -> None:
    """Draw signals of the recording, those of the generator before and after, and the losses."""
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1)
    figure = Figure(figsize=(13, 8.5), layout=layout)
    figure.suptitle("GAN of a bidirectional LSTM and Conv1d, kernel 16, 'same'", fontsize=16)
    grid = figure.subplots(2, 2)
    titles = ("Recorded", "Generator before training", "Generator after training")
    for axes, title, rows in zip(grid.flat, titles, (signals, untrained, trained), strict=False):
        for row in rows[:: len(rows) // SHOWN]:
            axes.plot(row[0], lw=1.5, alpha=0.8)
        axes.set_ylim(-1.05, 1.05)
        axes.set_xlabel("sample", fontsize=12)
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
    parser.add_argument("--steps", type=int, default=800, help="batches (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
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
    """Load, train, compare the signals, and draw."""
    arguments = parse_arguments()
    torch.manual_seed(arguments.seed)
    signals = load_signals()
    print(f"{len(signals)} windows of {LENGTH} samples", flush=True)
    trainer = Trainer()
    noise = draw_noise(len(signals))
    with torch.no_grad():
        untrained = trainer.generator(noise)
    trainer.train(signals, arguments.steps)
    with torch.no_grad():
        trained = trainer.generator(noise)

    recorded = spectrum(signals)
    for name, made in (("before", untrained), ("after", trained)):
        similarity = float(torch.corrcoef(torch.stack([recorded, spectrum(made)]))[0, 1])
        spread = float(made.std(dim=0).mean() / signals.std(dim=0).mean())
        peaks = float((made.amax(dim=2) > PEAK).float().mean())
        print(
            f"{name} training: spread {spread:.2f} of the recording's, "
            f"correlation of the mean spectra {similarity:.3f}, "
            f"{100 * peaks:.0f} % with a heartbeat"
        )
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    picture = arguments.output_dir / "gan_bilstm_conv1d.png"
    save_figure(trainer, signals, untrained, trained, picture)
    print(f"Picture: {picture}")


if __name__ == "__main__":
    main()
