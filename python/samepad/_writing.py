"""Writes files that belong together: either all of them or none."""

import contextlib
import os
import shutil
import signal
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class UnfinishedError(Exception):
    """The new files could not be put in place, and not all old files could be put back."""


def refusal(path: Path, force: bool) -> str | None:
    """Return why a file must not be written, or None if it may be.

    Args:
        path: Where the file is to be written.
        force: Whether an existing file or link may be replaced.
    """
    if path.is_dir():
        return f"{path} is a folder, where a file is to be written"
    if path.exists() and not path.is_file():
        return f"{path} is no regular file"
    if os.path.lexists(path) and not force:
        return f"{path} is there already; --force replaces it"
    return None


def write_together(contents: dict[Path, bytes], force: bool = False) -> None:
    """Write several files of one folder; if one fails, all files that were there are restored.

    The files are first written into a new folder beside their destination, named after the first
    file. Then the old files are moved into that folder, and the new ones out of it. Ctrl-C and
    requests to end the process are held back meanwhile. `kill -9` cannot be held back: it may leave
    files missing, but never an old file beside a new one, and the old files are then in the folder
    beside.

    A new file gets the permissions of the file that it replaces, and its owner if the system allows
    that. If the destination is a symbolic link, the link is replaced, not the file that it points
    to.

    Args:
        contents: The content of each file.
        force: Whether to replace existing files.

    Raises:
        KeyboardInterrupt: An interrupt came before the old files were moved.
        OSError: A file cannot be written.
        UnfinishedError: Old files could not be put back; the message says where they are.
        ValueError: Nothing can be written to the folder, or a file must not be replaced.
    """
    first = next(iter(contents))
    with _interrupts_deferred() as interrupts:
        try:
            beside = Path(tempfile.mkdtemp(dir=first.parent, prefix=f"{first.stem}.samepad-"))
        except OSError as error:  # its own message would name the temporary folder
            names = " and ".join(map(str, contents))
            raise ValueError(f"cannot write {names}: {error.strerror}") from error
        new, old = beside / "new", beside / "old"
        try:
            new.mkdir()
            old.mkdir()
            for path, content in contents.items():
                _write(new / path.name, content, path)
            if interrupts:
                raise KeyboardInterrupt
            for path in contents:  # a file may have appeared since the command began
                if reason := refusal(path, force):
                    raise ValueError(reason)
            _exchange(list(contents), new, old)
        except BaseException as error:
            if old.is_dir() and any(old.iterdir()):
                raise UnfinishedError(
                    f"{error or type(error).__name__}; what was there before is in {old}"
                ) from error
            raise
        else:
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(new, ignore_errors=True)
            for folder in (old, beside):
                with contextlib.suppress(OSError):  # a folder that is not empty has to stay
                    folder.rmdir()


def _write(path: Path, content: bytes, final: Path) -> None:
    """Write a file, to be moved to `final`, with the owner and permissions of the file there.

    Raises:
        OSError: The file cannot be written; the error names `final`, not `path`.
    """
    try:
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if final.is_file() and not final.is_symlink():
            status = final.stat()
            with contextlib.suppress(PermissionError):  # only root may give files away
                os.chown(path, status.st_uid, status.st_gid)
            path.chmod(stat.S_IMODE(status.st_mode))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(final)) from error


def _exchange(paths: list[Path], new: Path, old: Path) -> None:
    """Move files from `paths` to the folder `old`, then those of the folder `new` to `paths`.

    If that fails, everything is moved back before the error is raised again.
    """
    try:
        for path in paths:
            if os.path.lexists(path):
                path.replace(old / path.name)
        for path in paths:
            (new / path.name).replace(path)
    except BaseException:
        for path in paths:
            if not os.path.lexists(new / path.name):
                path.unlink(missing_ok=True)
        for path in paths:
            if os.path.lexists(old / path.name):
                (old / path.name).replace(path)
        raise


@contextlib.contextmanager
def _interrupts_deferred() -> Iterator[list[int]]:
    """Hold back Ctrl-C and requests to end the process; the list gets the signals that came."""
    came: list[int] = []
    handlers: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():  # signals reach no other thread
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) not in (None, signal.SIG_IGN):
                handlers[number] = signal.signal(number, lambda number, _: came.append(number))
    try:
        yield came
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
