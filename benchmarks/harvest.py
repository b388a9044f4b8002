"""Collects the layers of published networks: `python -m benchmarks.harvest`.

Writes benchmarks/networks.json: by network, each convolution, transposed convolution and pool with
the size of its input, and how often it occurs. Nothing is computed: PyTorch's networks run on meta
tensors, and Keras's are read from their graphs. Needs the dependency groups `bench`, `peers` and
`harvest`.
"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from efficientnet_pytorch import EfficientNet
from monai.networks import nets as monai
from pytorch_tcn import TCN
from torch import nn
from tqdm import tqdm

from benchmarks.layers import NETWORKS, Published
from benchmarks.nets import Tcn
from benchmarks.published import lite0, timm

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_POOLS = {"MaxPool": "max pool", "AvgPool": "average pool"}


def _tuple(value: Any, dimensions: int) -> tuple[int, ...]:
    """One number for all dimensions, or one for each."""
    return (value,) * dimensions if isinstance(value, int) else tuple(value)


def _kind(module: nn.Module) -> str | None:
    if isinstance(module, _CONVOLUTIONS):
        return "convolution"
    if isinstance(module, _TRANSPOSED):
        return "transposed"
    name = type(module).__name__
    # Adaptive pools have no kernel.
    known = hasattr(module, "kernel_size")
    return next((kind for part, kind in _POOLS.items() if known and part in name), None)


def of_torch(model: nn.Module, *shape: int) -> Counter[Published]:
    """Run the model, which is on the meta device, and return what its layers have met."""
    found: Counter[Published] = Counter()

    def note(module: Any, inputs: tuple[Any, ...], kind: str) -> None:
        _, channels, *size = inputs[0].shape
        dimensions = len(size)
        dilation = getattr(module, "dilation", 1)
        layer: Published = (
            kind,
            channels,
            tuple(size),
            getattr(module, "out_channels", channels),
            _tuple(module.kernel_size, dimensions),
            _tuple(module.stride, dimensions),
            dilation if isinstance(dilation, int) else max(dilation),
            getattr(module, "groups", 1),
        )
        found[layer] += 1

    for module in model.modules():
        kind = _kind(module)
        if kind is not None:
            module.register_forward_pre_hook(
                lambda module, inputs, kind=kind: note(module, inputs, kind)
            )
    with torch.no_grad():
        model.eval()(torch.empty(shape, device="meta"))
    return found


def _of_keras_layer(layer: Any) -> Iterator[Published]:
    """What the layer computes, as PyTorch's layers would."""
    name = type(layer).__name__
    if not hasattr(layer, "strides") or not (
        "Conv" in name or name.rstrip("123D") in ("MaxPooling", "AveragePooling")
    ):
        return
    _, *size, channels = layer.input.shape
    stride = tuple(layer.strides)
    if "Pooling" in name:
        kind = "max pool" if "Max" in name else "average pool"
        yield kind, channels, tuple(size), channels, tuple(layer.pool_size), stride, 1, 1
        return
    kernel, dilation, out = (
        tuple(layer.kernel_size),
        max(layer.dilation_rate),
        layer.output.shape[-1],
    )
    if "Separable" in name or "Depthwise" in name:
        wide = channels * layer.depth_multiplier
        yield "convolution", channels, tuple(size), wide, kernel, stride, dilation, channels
        if "Separable" in name:
            inner = tuple(-(-n // s) for n, s in zip(size, stride, strict=True))
            ones = (1,) * len(size)
            yield "convolution", wide, inner, out, ones, ones, 1, 1
        return
    kind = "transposed" if "Transpose" in name else "convolution"
    yield kind, channels, tuple(size), out, kernel, stride, dilation, getattr(layer, "groups", 1)


def of_keras(model: Any) -> Counter[Published]:
    """The layers of a functional model, those of the models in it too."""
    found: Counter[Published] = Counter()
    for layer in model._flatten_layers(include_self=False):
        if getattr(layer, "_inbound_nodes", None) and len(layer._inbound_nodes) > 0:
            found.update(_of_keras_layer(layer))
    return found


def _keras_networks() -> Iterator[tuple[str, Counter[Published]]]:
    import keras  # here, because importing it takes long

    applications = keras.applications
    makers = {
        name: maker
        for name, maker in vars(applications).items()
        if name[0].isupper() and callable(maker)
    }
    for name, maker in tqdm(makers.items(), "keras.applications"):
        # MobileNetV3 is the only one without a size of its own.
        sized = {"input_shape": (224, 224, 3)} if name.startswith("MobileNetV3") else {}
        yield f"keras {name}", of_keras(maker(weights=None, **sized))
        keras.backend.clear_session()
    # Networks for audio are these, on spectrograms of 96 frames and 64 bands.
    for name, maker in (
        ("VGGish-like", applications.VGG16),
        ("YAMNet-like", applications.MobileNet),
    ):
        model = maker(weights=None, include_top=False, input_shape=(96, 64, 1))
        yield f"keras {name}", of_keras(model)


class _WaveNet(nn.Sequential):
    """The causal convolutions of WaveNet's two stacks, whose dilations double from 1 to 512."""

    def __init__(self) -> None:
        super().__init__(nn.Conv1d(1, 32, 2))
        for _ in range(2):
            for i in range(10):
                self.append(nn.Conv1d(32, 64, 2, dilation=2**i, padding="same"))
                self.append(nn.Conv1d(64, 32, 1))
        self.append(nn.Conv1d(32, 256, 1))


def _torch_networks() -> Iterator[tuple[str, Any, tuple[int, ...]]]:
    for name in timm.list_models():
        if name.startswith("tf_") or "_same" in name:
            model: Any = timm.create_model(name)
            yield f"timm {name}", model, model.default_cfg["input_size"]
    for i in range(8):
        name = f"efficientnet-b{i}"
        size = EfficientNet.get_image_size(name)
        yield f"efficientnet-pytorch {name}", EfficientNet.from_name(name), (3, size, size)
    yield "EfficientNet-Lite0", lite0(), (3, 224, 224)
    unet = {"channels": (16, 32, 64, 128, 256), "strides": (2, 2, 2, 2), "num_res_units": 2}
    for dimensions, size in ((2, 256), (3, 96)):
        shape = (1, *(size,) * dimensions)
        yield f"MONAI UNet {dimensions}-D", monai.UNet(dimensions, 1, 2, **unet), shape
        yield f"MONAI BasicUNet {dimensions}-D", monai.BasicUNet(dimensions, 1, 2), shape
        yield f"MONAI SegResNet {dimensions}-D", monai.SegResNet(dimensions, in_channels=1), shape
        yield f"MONAI VNet {dimensions}-D", monai.VNet(dimensions), shape
    yield (
        "MONAI FlexibleUNet efficientnet-b0",
        monai.FlexibleUNet(3, 2, "efficientnet-b0"),
        (3, 256, 256),
    )
    yield "WaveNet-like", _WaveNet(), (1, 16000)
    tcn = TCN(40, [64, 64, 128, 128], kernel_size=3, dilations=[1, 2, 4, 8])
    yield "pytorch-tcn", tcn, (40, 400)
    yield "TCN", Tcn(), (40, 400)


def main() -> None:
    """Collect the layers of all networks and write them."""
    networks: dict[str, Counter[Published]] = {}
    with torch.device("meta"):
        for name, model, shape in tqdm(_torch_networks(), "PyTorch"):
            networks[name] = of_torch(model.to("meta"), 1, *shape)
    networks |= dict(_keras_networks())
    lines = [
        f" {json.dumps(name)}: [\n"
        + ",\n".join(f"  {json.dumps([*layer, count])}" for layer, count in layers.items())
        + "\n ]"
        for name, layers in networks.items()
    ]
    NETWORKS.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    total = sum(layers.total() for layers in networks.values())
    distinct = {layer for layers in networks.values() for layer in layers}
    print(f"{total} layers of {len(networks)} networks, {len(distinct)} of them distinct")


if __name__ == "__main__":
    main()
