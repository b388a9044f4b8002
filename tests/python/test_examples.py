"""Tests that the examples run to the end and equal Keras models with the same weights."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import digits_same_vs_valid as digits
import gan_bilstm_conv1d as gan
import image_classifier as classifier
import keras
import numpy as np
import pytest
import samepad.keras
import tensorflow as tf
import torch
from keras import layers
from torch import Tensor

EXAMPLES = Path(__file__).parents[2] / "examples"
TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def _seeds() -> None:
    torch.manual_seed(0)
    keras.utils.set_random_seed(0)


def assert_close(found: Tensor, expected: Any) -> None:
    array = np.asarray(expected)
    assert found.shape == array.shape
    scale = float(np.abs(array).max())
    assert scale > 0
    assert float(np.abs(found.detach().numpy() - array).max()) <= TOLERANCE * scale


def keras_generator() -> Any:
    stack: list[Any] = [
        layers.Input((gan.STEPS, gan.NOISE)),
        layers.Bidirectional(layers.LSTM(32, return_sequences=True)),
    ]
    for width in (128, 64, 32, 16):
        stack += [
            layers.Conv1D(width, 16, padding="same", bias_initializer="random_normal"),
            layers.LeakyReLU(negative_slope=gan.SLOPE),
            layers.UpSampling1D(2),
        ]
    stack += [
        layers.Conv1D(1, 16, padding="same", activation="tanh", bias_initializer="random_normal"),
        layers.Permute((2, 1)),
    ]
    return keras.Sequential(stack)


def keras_discriminator() -> Any:
    stack: list[Any] = [layers.Input((gan.LENGTH, 1))]
    for width in (16, 32, 64):
        stack += [
            layers.Conv1D(width, 16, padding="same", bias_initializer="random_normal"),
            layers.LeakyReLU(negative_slope=gan.SLOPE),
            layers.MaxPooling1D(2),
        ]
    return keras.Sequential([*stack, layers.Flatten(), layers.Dense(1, use_bias=False)])


def keras_classifier() -> Any:
    stack: list[Any] = [layers.Input((classifier.IMAGE_SIZE, classifier.IMAGE_SIZE, 3))]
    for width in (16, 32, 64):
        stack += [
            layers.Conv2D(width, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
        ]
    return keras.Sequential(
        [*stack, layers.Flatten(), layers.Dense(64, activation="relu"), layers.Dense(2)]
    )


def test_the_generator_equals_its_keras_twin() -> None:
    model = keras_generator()
    generator = samepad.keras.load_weights(gan.Generator(), model)
    noise = gan.draw_noise(4)
    signals = generator(noise)
    assert signals.shape == (4, 1, gan.LENGTH)
    assert_close(signals, model(noise.numpy()))


def test_the_discriminator_equals_its_keras_twin() -> None:
    model = keras_discriminator()
    discriminator = samepad.keras.load_weights(gan.make_discriminator(), model)
    signals = gan.load_signals()[:4]
    assert_close(discriminator(signals), model(signals.transpose(1, 2).numpy()))


def test_the_classifier_equals_its_keras_twin() -> None:
    model = keras_classifier()
    module = samepad.keras.load_weights(classifier.make_model(), model)
    images, _ = classifier.draw_images(classifier.load_photos(), 6, seed=0)
    assert_close(module(images), model(images.permute(0, 2, 3, 1).numpy()))


def test_the_first_step_of_the_classifier_equals_its_keras_twins() -> None:
    # In float64, because the gradients of the first layer are sums of 100,000 elements.
    keras.config.set_dtype_policy("float64")
    try:
        model = keras_classifier()
    finally:
        keras.config.set_dtype_policy("float32")
    module = samepad.keras.load_weights(classifier.make_model().double(), model)
    images, labels = classifier.draw_images(classifier.load_photos(), 6, seed=0)
    images = images.double()
    with tf.GradientTape() as tape:
        expected = model(images.permute(0, 2, 3, 1).numpy())
        expected_loss = tf.reduce_mean(
            keras.losses.sparse_categorical_crossentropy(labels.numpy(), expected, from_logits=True)
        )
    assert expected.dtype == tf.float64
    gradients = tape.gradient(expected_loss, [weight.value for weight in model.trainable_weights])

    logits = module(images)
    loss = torch.nn.functional.cross_entropy(logits, labels)
    loss.backward()
    assert_close(logits, expected)
    assert_close(loss, expected_loss)
    parameters = list(module.parameters())
    assert len(parameters) == len(gradients) == 10
    for parameter, gradient in zip(parameters, gradients, strict=True):
        theirs = np.asarray(gradient)
        if theirs.ndim == 4:
            theirs = theirs.transpose(3, 2, 0, 1)
        elif theirs.shape == (16 * 16 * 64, 64):  # Keras flattens as (H, W, C)
            theirs = theirs.reshape(16, 16, 64, 64).transpose(3, 2, 0, 1).reshape(64, -1)
        elif theirs.ndim == 2:
            theirs = theirs.T
        assert parameter.grad is not None
        assert_close(parameter.grad, theirs)


def test_two_steps_of_adversarial_training() -> None:
    trainer = gan.Trainer()
    before = [
        parameter.detach().clone()
        for network in (trainer.generator, trainer.discriminator)
        for parameter in network.parameters()
    ]
    trainer.train(gan.load_signals(), steps=2)
    losses = trainer.generator_losses + trainer.discriminator_losses
    assert len(losses) == 4
    assert all(map(math.isfinite, losses))
    after = [*trainer.generator.parameters(), *trainer.discriminator.parameters()]
    assert not any(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_the_signals_are_windows_of_the_recording() -> None:
    signals = gan.load_signals()
    assert signals.shape == (1024 - gan.EVERY * (gan.LENGTH - 1), 1, gan.LENGTH)
    assert 0.5 < signals.abs().amax() <= 0.9 + 1e-6
    assert torch.equal(signals[5, 0, 1:], signals[5 + gan.EVERY, 0, :-1])
    assert (signals.amax(dim=2) > gan.PEAK).all()


def run(example: str, output: Path, *arguments: str) -> str:
    command = [sys.executable, str(EXAMPLES / example), "--output-dir", str(output), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    pictures = list(output.glob("*.png"))
    assert len(pictures) == 1
    assert pictures[0].read_bytes().startswith(b"\x89PNG")
    return result.stdout


def test_the_gan_draws_its_picture(tmp_path: Path) -> None:
    assert "correlation" in run("gan_bilstm_conv1d.py", tmp_path, "--steps", "2")


def test_the_classifier_learns_and_its_saved_weights_load(tmp_path: Path) -> None:
    run("image_classifier.py", tmp_path, "--epochs", "1", "--images", "160")
    weights = torch.load(tmp_path / "image_classifier.pt", weights_only=True)
    model = classifier.make_model()
    model.load_state_dict(weights)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in weights.items())
    parts = [photo[:, :, classifier.CUT :] for photo in classifier.load_photos()]
    _, accuracy = classifier.evaluate(model, *classifier.draw_images(parts, 60, seed=1))
    assert accuracy > 75


@pytest.mark.parametrize("net", digits.NETS)
def test_digits_with_either_net(net: str, tmp_path: Path) -> None:
    output = run("digits_same_vs_valid.py", tmp_path, "--net", net, "--seeds=2", "--epochs=1")
    assert "difference" in output
    assert "The ranges " in output


def test_overlapping_ranges_are_called_so() -> None:
    def runs(*accuracies: float) -> list[digits.Curves]:
        return [digits.Curves([0.0], [accuracy]) for accuracy in accuracies]

    separate = digits.ranges_sentence({"same": runs(98, 97), "valid": runs(96, 95)})
    assert separate.startswith("The ranges are separate: padding 'same' reaches 97.00 to 98.00 %")
    overlapping = digits.ranges_sentence({"same": runs(98, 96), "valid": runs(97, 94)})
    assert overlapping.startswith("The ranges overlap: padding 'same' reaches 96.00 to 98.00 %")
    assert "neither padding is better" in overlapping
    touching = digits.ranges_sentence({"same": runs(96, 95), "valid": runs(97, 96)})
    assert touching.startswith("The ranges overlap: padding 'valid'")


def test_same_keeps_28_x_28() -> None:
    images = digits.load_data(digits.NETS["mnist"]).test_images
    assert images.shape[1:] == (1, 28, 28)
    first = digits.make_model("mnist", "same", "flatten", images[0])[0]
    assert first(images[:1]).shape == (1, 128, 28, 28)
