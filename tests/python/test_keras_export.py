"""Layers that no rule covers: Keras exports them to ONNX, and samepad.onnx loads that."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from typing import Any

import keras
import numpy as np
import pytest
import samepad
import samepad.keras
import tensorflow as tf
import torch
from keras import layers

# Keras's, where it prepares tf2onnx for NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning")


class Filtered(layers.Layer):
    """Calls a function of TensorFlow, which is not followed; has a weight of its own."""

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(4, 4, shape[-1], 2), name="kernel")

    def call(self, x: Any) -> Any:
        return tf.nn.conv2d(x, self.kernel, 2, "SAME")


def model(unknown: Any) -> Any:
    """Return a model in which rules cover all layers but one or two."""
    keras.utils.set_random_seed(0)
    image = layers.Input((10, 10, 3))
    x = layers.Conv2D(4, 3, 2, "same", name="before")(image)
    for each in unknown:
        x = each(x)
    x = layers.Conv2D(4, 3, 2, "same", name="after")(x)
    return keras.Model(image, layers.Dense(3)(layers.Flatten()(x)))


UNKNOWN = {
    "lambda": lambda: [layers.Lambda(lambda x: tf.math.softsign(x) * 2, name="more")],
    "custom": lambda: [Filtered(name="more")],
    "two": lambda: [
        layers.UpSampling2D(2),
        layers.Lambda(lambda x: x[:, ::2, 1::2], name="more"),
        Filtered(),
    ],
}


def assert_same(module: torch.nn.Module, keras_model: Any) -> None:
    image = np.random.default_rng(0).random((3, 10, 10, 3), np.float32)
    found = module(torch.from_numpy(image).movedim(-1, 1)).detach()
    np.testing.assert_allclose(found, keras_model(image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", UNKNOWN)
def test_exported(kind: str) -> None:
    keras_model = model(UNKNOWN[kind]())
    with pytest.raises(ValueError, match=r'more \((?s:.*)fallback="export"'):
        samepad.keras.to_torch(keras_model)
    module = samepad.keras.to_torch(keras_model, fallback="export").eval()
    assert_same(module, keras_model)
    lines = module.meta["exported"].splitlines()
    assert [line.startswith("more (") for line in lines] == [True, False][: len(lines)]
    assert isinstance(module.before, samepad.SamePadConv2d)
    kinds = [type(each) for each in module.more.modules()]
    assert (samepad.SamePadConv2d in kinds) == (kind == "custom")


def test_source() -> None:
    keras_model = model(UNKNOWN["custom"]())
    module = samepad.keras.to_torch(keras_model, fallback="export")
    namespace: dict[str, Any] = {}
    exec(samepad.keras.to_source(keras_model, fallback="export"), namespace)
    written = namespace["Model"]()
    written.load_state_dict(module.state_dict())
    assert_same(written.eval(), keras_model)


def test_what_is_covered_is_not_exported() -> None:
    module = samepad.keras.to_torch(model([]), fallback="export")
    assert "exported" not in module.meta


def test_what_cannot_be_exported() -> None:
    unknown = [
        layers.Lambda(lambda x: x + tf.linalg.svd(x, compute_uv=False)[:, :, None], name="code")
    ]
    keras_model = model(unknown)
    with pytest.raises(ValueError, match=r"code \(Lambda\): .*, and cannot be exported: .*Svd"):
        samepad.keras.to_torch(keras_model, fallback="export")
    with pytest.raises(ValueError, match="fallback must be None or 'export', but got 'onnx'"):
        samepad.keras.to_torch(keras_model, fallback="onnx")  # type: ignore[arg-type]


def test_the_model_stays_as_it_was() -> None:
    keras_model = model(UNKNOWN["custom"]())
    layer = keras_model.get_layer("more")
    samepad.keras.to_torch(keras_model, fallback="export")
    assert len(layer._inbound_nodes) == 1
    assert layer.output.shape == (None, 3, 3, 2)
