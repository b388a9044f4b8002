"""Converts models of tf_keras that a program holds to models of Keras 3."""

from typing import Any

from samepad._building import UnsupportedError


def of_keras_3(given: Any) -> Any:
    """Return a model or layer of tf_keras rebuilt in Keras 3, and any other unchanged.

    Raises:
        UnsupportedError: It is of tf_keras and cannot be rebuilt in Keras 3.
    """
    packages = {kind.__module__.partition(".")[0] for kind in type(given).__mro__}
    if "tf_keras" not in packages:
        return given
    if not getattr(given, "built", False):
        raise UnsupportedError(
            "it is not built: give it an Input, call model.build(input_shape), or call it once"
        )
    try:
        from samepad.keras.keras2 import from_live
    except ImportError as error:
        raise UnsupportedError(
            "it is of tf_keras, which is read by way of Keras 3: pip install 'keras>=3'"
        ) from error
    try:
        return from_live(given)
    except ValueError as error:
        raise UnsupportedError(str(error)) from error
