"""samepad.keras.load_weights: Keras's weights into modules that someone has written."""

import numpy as np
import pytest
import samepad
import samepad.keras
import torch
from keras import layers
from keras_oracle import Custom, inputs_for, randomize, small
from torch import Tensor, nn


class HandWritten(nn.Module):
    """What someone wrote by hand for `small`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = samepad.SamePadConv2d(3, 4, 3, stride=2)
        self.norm = nn.BatchNorm2d(4, eps=1e-3)
        self.linear = nn.Linear(8 * 8 * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(self.conv(x).relu()).flatten(1))  # type: ignore[no-any-return]


def test_weights_into_a_module_written_by_hand() -> None:
    model = small()
    randomize(model)
    array = inputs_for(model)[0]
    module = samepad.keras.load_weights(HandWritten(), model).eval()
    found = module(torch.from_numpy(array).movedim(-1, 1))
    np.testing.assert_allclose(found.detach(), model(array), rtol=1e-4, atol=1e-5)
    # In Keras's order the rows stay as they are.
    samepad.keras.load_weights(module, model, flatten="keras")
    np.testing.assert_array_equal(module.linear.weight.detach().T, model.layers[-1].kernel)


def test_weights_of_one_layer() -> None:
    layer = layers.Bidirectional(layers.LSTM(4, return_sequences=True))
    array = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    expected = layer(array)
    module = nn.LSTM(3, 4, batch_first=True, bidirectional=True)
    found, _ = samepad.keras.load_weights(module, layer)(torch.from_numpy(array))
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-5, atol=1e-6)


def test_weights_that_do_not_fit() -> None:
    model, module = small(), HandWritten()
    module.linear = nn.Linear(10, 3)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(ValueError, match=r"dense.* \(Dense\).*linear.*\(3, 10\).*\(3, 256\)"):
        samepad.keras.load_weights(module, model)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    with pytest.raises(ValueError, match="3 layers of Keras have weights, but 1 of the module"):
        samepad.keras.load_weights(nn.Linear(2, 2), model)
    with pytest.raises(ValueError, match="not built"):
        samepad.keras.load_weights(nn.Linear(2, 2), layers.Dense(2))
    with pytest.raises(TypeError, match=r"module must be an nn\.Module, not int"):
        samepad.keras.load_weights(3, model)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="flatten must be"):
        samepad.keras.load_weights(module, model, flatten="C")  # type: ignore[arg-type]
    custom = Custom()
    custom.built = True
    custom.add_weight(shape=(2,), name="w")
    with pytest.raises(ValueError, match="no counterpart is known"):
        samepad.keras.load_weights(nn.Linear(2, 2), custom)
