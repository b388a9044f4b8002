"""Nets for inference: published, of timm's and Keras's kinds, a U-Net, and one for sound."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import keras
import samepad
import torch
from samepad.keras import to_torch
from torch import Tensor, nn

from benchmarks.published import calibrated, lite0, timm


@dataclass(frozen=True)
class Net:
    """A net and the size of what it takes, without the batch."""

    name: str
    make: Callable[[], nn.Module]
    size: tuple[int, ...]

    def made(self) -> nn.Module:
        """The net in eval mode, with samepad's layers; the same weights each time."""
        torch.manual_seed(0)
        keras.utils.set_random_seed(0)
        net = samepad.convert(self.make())
        return net if self.name == PUBLISHED else calibrated(net, *self.size).eval()


def _keras(name: str) -> Callable[[], nn.Module]:
    return lambda: to_torch(getattr(keras.applications, name)(weights=None))


def _block(channels: int, out: int) -> nn.Module:
    return nn.Sequential(
        *(
            layer
            for source in (channels, out)
            for layer in (
                samepad.SamePadConv2d(source, out, 3, bias=False),
                nn.BatchNorm2d(out),
                nn.ReLU(),
            )
        )
    )


class UNet(nn.Module):
    """A U-Net of four levels whose transposed convolutions are SAME, as Keras's are."""

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64, 128)) -> None:
        """Make it with these numbers of channels, for images of three."""
        super().__init__()
        self.down = nn.ModuleList(map(_block, (3, *widths[:-1]), widths))
        self.pool = samepad.SamePadMaxPool2d(2)
        self.up = nn.ModuleList(
            samepad.SamePadConvTranspose2d(wide, narrow, 3, 2) for narrow, wide in pairwise(widths)
        )
        self.join = nn.ModuleList(_block(2 * width, width) for width in widths[:-1])
        self.head = samepad.SamePadConv2d(widths[0], 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Tell two classes of pixels apart."""
        levels = [self.down[0](images)]
        for down in self.down[1:]:
            levels.append(down(self.pool(levels[-1])))
        x = levels.pop()
        for up, join in zip(reversed(self.up), reversed(self.join), strict=True):
            x = join(torch.cat([up(x), levels.pop()], 1))
        return self.head(x)  # type: ignore[no-any-return]


class Tcn(nn.Module):
    """A temporal convolutional network: causal convolutions, dilated more and more, in blocks."""

    def __init__(self, channels: int = 64, levels: int = 6) -> None:
        """Make it for sounds of 40 features."""
        super().__init__()
        self.stem = samepad.SamePadConv1d(40, channels, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                *(
                    layer
                    for _ in range(2)
                    for layer in (
                        samepad.SamePadConv1d(
                            channels, channels, 3, 1, "causal", 2**level, bias=False
                        ),
                        nn.BatchNorm1d(channels),
                        nn.ReLU(),
                    )
                )
            )
            for level in range(levels)
        )
        self.head = nn.Linear(channels, 12)

    def forward(self, sounds: Tensor) -> Tensor:
        """Tell 12 keywords apart."""
        x = self.stem(sounds)
        for block in self.blocks:
            x = torch.relu(block(x) + x)
        return self.head(x.mean(2))  # type: ignore[no-any-return]


#: The net with its published weights.
PUBLISHED = "EfficientNet-Lite0"

NETS = [
    Net(PUBLISHED, lambda: lite0().eval(), (3, 224, 224)),
    Net("TCN", Tcn, (40, 400)),
    Net("tf_efficientnet_b0", lambda: timm.create_model("tf_efficientnet_b0"), (3, 224, 224)),
    Net(
        "tf_mobilenetv3_small_100",
        lambda: timm.create_model("tf_mobilenetv3_small_100"),
        (3, 224, 224),
    ),
    Net("Keras MobileNetV2", _keras("MobileNetV2"), (3, 224, 224)),
    Net("Keras ResNet50V2", _keras("ResNet50V2"), (3, 224, 224)),
    Net("Keras Xception", _keras("Xception"), (3, 299, 299)),
    Net("U-Net", UNet, (3, 256, 256)),
]
