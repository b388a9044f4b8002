"""Loads files of Keras 2 and 3 without running code that they contain."""

import contextlib
import json
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from samepad.keras.errors import saved_model

_HDF5 = b"\x89HDF\r\n\x1a\n"

_WEIGHTS_ALONE = (
    "it holds weights without a model: make the model in Keras, call its load_weights with this "
    "file, and give the model to samepad.keras.to_torch"
)
_KERAS_1 = (
    "Keras 1 wrote it, whose layers have other names and arguments: load it in Keras 2.2 and save "
    "it there"
)

#: The configurations of the largest models take some megabytes.
LONGEST_TEXT = 2**27


@contextlib.contextmanager
def _under_suffix(path: Path, suffix: str) -> Iterator[Path]:
    """Give the file a name with this suffix, by which Keras recognizes its format."""
    if path.suffix == suffix:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / f"{path.stem}{suffix}"
        link.symlink_to(path.resolve())
        yield link


def _by_keras_3(path: Path, suffix: str) -> Any:
    import keras

    with _under_suffix(path, suffix) as file:
        return keras.saving.load_model(file, compile=False, safe_mode=True)


def _layers_with_code(config: Any) -> list[str]:
    """Return names and classes of layers with code of their own: Lambda and custom layers.

    The configuration is Keras 3's.
    """
    if isinstance(config, list):
        return [name for item in config for name in _layers_with_code(item)]
    if not isinstance(config, dict):
        return []
    kind, settings = config.get("class_name"), config.get("config")
    own = str(config.get("module")).partition(".")[0] == "keras" and kind != "Lambda"
    if isinstance(kind, str) and isinstance(settings, dict) and "name" in settings and not own:
        return [f"{settings['name']} ({kind})"]
    return _layers_with_code(list(config.values()))


def _version(text: Any) -> int:
    """Return Keras's major version from its text; 2 if there is none, as in some old files."""
    first = str(text.decode() if isinstance(text, bytes) else text).partition(".")[0]
    return int(first) if first.isdigit() else 2


def _text(archive: zipfile.ZipFile, name: str) -> bytes:
    """Read a file of JSON in an archive, in which any size may be compressed to almost nothing."""
    size = archive.getinfo(name).file_size
    if size > LONGEST_TEXT:
        raise ValueError(f"{name} has {size:,} bytes, more than {LONGEST_TEXT:,}")
    return archive.read(name)


def _from_archive(path: Path) -> Any:
    """Load a .keras file."""
    import h5py

    from samepad.keras import keras2

    with zipfile.ZipFile(path) as archive:
        config = _text(archive, "config.json")
        written_by = _version(json.loads(_text(archive, "metadata.json")).get("keras_version"))
        if written_by < 3:
            with archive.open("model.weights.h5") as stream, h5py.File(stream) as weights:
                return keras2.from_archive(config, weights)
    try:
        return _by_keras_3(path, ".keras")
    except Exception as error:
        found = _layers_with_code(json.loads(config))
        if not found:
            raise
        raise ValueError(
            f"it has layers with code of their own, of which none is run: {', '.join(found)}"
        ) from error


def _from_h5(path: Path) -> Any:
    """Load an .h5 file."""
    import h5py

    from samepad.keras import keras2

    with h5py.File(path) as file:
        config = file.attrs.get("model_config")
        if config is None:
            raise ValueError(_WEIGHTS_ALONE)
        written_by = _version(file.attrs.get("keras_version"))
        if written_by == 1:
            raise ValueError(_KERAS_1)
        if written_by == 2:
            return keras2.from_h5(config, file)
    return _by_keras_3(path, ".h5")


def load_model(path: str | Path) -> Any:
    """Load a file that Keras 3, Keras 2 or tf_keras saved, as a model of Keras 3.

    No code in the file is run: a model with a Lambda or with custom layers is refused. A model of
    Keras 2, which Keras 3 itself often cannot load, is rebuilt with equal outputs; what matters
    only in training, such as optimizers, initializers, regularizers and constraints, is not read.
    The installed Keras has to be Keras 3; TensorFlow is not needed.

    Args:
        path: A .keras, .h5 or .hdf5 file. Its content, not its name, decides the format.

    Returns:
        The model, not compiled.

    Raises:
        ValueError: Keras 3 is not installed; the file has another format, or is broken; or it
            contains code, or layers that Keras 3 lacks, all of which the message names.
        OSError: The file cannot be read.
    """
    path = Path(path)
    if advice := saved_model(path):
        raise ValueError(f"{path}: {advice}")
    try:
        import keras
    except ImportError as error:
        raise ValueError(f"{path} needs Keras: pip install keras tensorflow-cpu") from error
    if _version(keras.__version__) < 3:
        raise ValueError(f"{path} needs Keras 3, but Keras {keras.__version__} is installed")
    with path.open("rb") as file:
        is_h5 = file.read(len(_HDF5)) == _HDF5
    if not is_h5 and not zipfile.is_zipfile(path):
        kind = "an HDF5 file" if path.suffix.lower() in (".h5", ".hdf5") else "a zip archive"
        raise ValueError(
            f"Keras cannot load {path}: it is no {path.suffix.lower() or '.keras'} file, or not "
            f"all of one, which is {kind}"
        )
    try:
        return _from_h5(path) if is_h5 else _from_archive(path)
    except Exception as error:  # Keras, h5py, zipfile and JSON raise errors of their own classes
        reason = str(error).strip() or type(error).__name__
        if isinstance(error, KeyError):
            reason = f"it lacks {reason}"
        raise ValueError(f"Keras cannot load {path}: {' '.join(str(reason).split())}") from error
