"""Published models with other packages' SAME layers."""

from typing import Any

import efficientnet_pytorch

from benchmarks.published import calibrated, lite0, timm

#: The functions that make the models, by the models' names.
MODELS: dict[str, Any] = {
    "efficientnet-lite0": lite0,
    "efficientnet-b0": lambda: calibrated(
        efficientnet_pytorch.EfficientNet.from_name("efficientnet-b0"), 3, 64, 64
    ),
    "tf_efficientnet_b0": lambda: calibrated(timm.create_model("tf_efficientnet_b0"), 3, 64, 64),
    "tf_mobilenetv3_small_100": lambda: calibrated(
        timm.create_model("tf_mobilenetv3_small_100"), 3, 64, 64
    ),
}
