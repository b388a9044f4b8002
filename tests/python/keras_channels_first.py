"""Compares layers with channels first, and in float64, with Keras on JAX. Run as a script."""

from functools import partial
from typing import Any

import keras
import numpy as np
import samepad.keras
import torch
from keras import layers as k
from keras_oracle import inputs_for, randomize, sequential

SEQUENCE, IMAGE, VOLUME = (6, 12), (6, 13, 10), (2, 6, 7, 5)


def first(make: Any, *args: Any, **kwargs: Any) -> Any:
    return partial(make, *args, data_format="channels_first", **kwargs)


LAYERS: list[tuple[tuple[int, ...], Any]] = [
    (SEQUENCE, first(k.Conv1D, 4, 3, 2, "same")),
    (SEQUENCE, first(k.Conv1D, 4, 3, padding="causal", dilation_rate=2)),
    (SEQUENCE, first(k.DepthwiseConv1D, 4, 2, "same", depth_multiplier=3)),
    (SEQUENCE, first(k.SeparableConv1D, 5, 4, 2, "same")),
    (SEQUENCE, first(k.Conv1DTranspose, 4, 3, 2, "same")),
    (SEQUENCE, first(k.MaxPooling1D, 3, 2, "same")),
    (SEQUENCE, first(k.AveragePooling1D, 5, 2, "same")),
    (SEQUENCE, first(k.GlobalMaxPooling1D)),
    (SEQUENCE, first(k.ZeroPadding1D, (1, 3))),
    (IMAGE, first(k.Conv2D, 4, (3, 2), (2, 3), "same", activation="softmax")),
    (IMAGE, first(k.DepthwiseConv2D, 3, 2, "same", depth_multiplier=2)),
    (IMAGE, first(k.SeparableConv2D, 5, 3, 2, "same", depth_multiplier=2)),
    (IMAGE, first(k.Conv2DTranspose, 4, 5, (2, 3), "same")),
    (IMAGE, first(k.Conv2DTranspose, 4, 3, 2)),
    (IMAGE, first(k.MaxPooling2D, (3, 2), 2, "same")),
    (IMAGE, first(k.AveragePooling2D, 3, 2, "same")),
    (IMAGE, first(k.GlobalAveragePooling2D)),
    (IMAGE, first(k.GlobalMaxPooling2D, keepdims=True)),
    (IMAGE, first(k.UpSampling2D, (2, 3))),
    (IMAGE, first(k.UpSampling2D, 2, interpolation="bilinear")),
    (IMAGE, first(k.ZeroPadding2D, ((1, 2), (3, 0)))),
    (IMAGE, first(k.Cropping2D, ((1, 2), (3, 0)))),
    (IMAGE, first(k.SpatialDropout2D, 0.5)),
    (IMAGE, first(k.Flatten)),
    (IMAGE, partial(k.BatchNormalization, axis=1)),
    (IMAGE, partial(k.GroupNormalization, 3, axis=1)),
    (IMAGE, partial(k.PReLU, shared_axes=[2, 3])),
    (IMAGE, partial(k.Softmax, axis=1)),
    (VOLUME, first(k.Conv3D, 3, 3, 2, "same")),
    (VOLUME, first(k.Conv3DTranspose, 3, 3, 2, "same")),
    (VOLUME, first(k.MaxPooling3D, 2, padding="same")),
    (VOLUME, first(k.AveragePooling3D, 3, 2, "same")),
    (VOLUME, first(k.GlobalAveragePooling3D, keepdims=True)),
    (VOLUME, first(k.UpSampling3D, 2)),
    (VOLUME, first(k.Cropping3D, 1)),
    (VOLUME, first(k.Flatten)),
    ((4, *IMAGE), lambda: k.TimeDistributed(k.Conv2D(3, 3, 2, data_format="channels_first"))),
]

assert keras.backend.backend() == "jax"
for shape, make in LAYERS:
    layer = make()
    # If the layer has no data_format, the pool before it determines the model's layout.
    pool = [k.MaxPooling2D(1, data_format="channels_first")] if shape is IMAGE else []
    model = sequential(shape, *pool, k.ReLU(), layer)
    randomize(model)
    (array,) = inputs_for(model)
    expected = np.asarray(model(array))
    scale = np.abs(expected).max()
    for layout in ("torch", "keras"):
        module = samepad.keras.to_torch(model, layout).eval()
        found = module(torch.from_numpy(array)).detach().numpy()
        assert found.shape == expected.shape, layer
        assert np.abs(found - expected).max() <= 1e-5 * scale, layer
model = sequential(
    IMAGE,
    k.AveragePooling2D(3, 2, "same", data_format="channels_first"),
    k.Reshape((6, -1)),
    k.GRU(3),
)
(array,) = inputs_for(model)
recurrent = samepad.keras.to_torch(model).eval()(torch.from_numpy(array))
np.testing.assert_allclose(recurrent.detach(), model(array), rtol=1e-4, atol=1e-5)

# JAX computes in single precision what Keras calls float64, unless x64 is enabled.
model = sequential(
    (5, 3), k.LSTM(4, dtype="float64", return_sequences=True), k.Dense(2), dtype="float16"
)
randomize(model)
(array,) = inputs_for(model)
for layout in ("torch", "keras"):
    module = samepad.keras.to_torch(model, layout).eval()
    found = module(torch.from_numpy(array)).detach()
    np.testing.assert_allclose(found, model(array), rtol=1e-3, atol=1e-3)
