"""Files that belong together, written all or not at all."""

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
    """Neither could new files be put in place nor all old ones be put back."""


def refusal(path: Path, force: bool) -> str | None:
    """Why a file must not be written; None where it may be.

    Args:
        path: Of the file.
        force: Whether a file or link that is there may be replaced.
    """
    if path.is_dir():
        return f"{path} is a folder, where a file is to be written"
    if path.exists() and not path.is_file():
        return f"{path} is no regular file"
    if os.path.lexists(path) and not force:
        return f"{path} is there already; --force replaces it"
    return None


def write_together(contents: dict[Path, bytes], force: bool = False) -> None:
    """Write files of one folder, all or none: where one fails, what was there before is back.

    They are first written into a new folder beside; then old files are moved into that folder, and
    the new ones out of it. Ctrl-C and requests to end the process wait meanwhile. What cannot wait,
    such as `kill -9`, may come when files are missing, but never when an old file stands beside a
    new one; the old ones are then in the folder beside, which is named after the first file.

    A new file gets the permissions of the one that it replaces, and its owner where that is
    allowed. Of a symbolic link the link is replaced, not what it leads to.

    Args:
        contents: What is to be in each file.
        force: Whether to replace files that are there.

    Raises:
        KeyboardInterrupt: It was asked for before the old files were moved.
        OSError: A file cannot be written.
        UnfinishedError: Old files could not be put back; the message says where they are.
        ValueError: Nothing can be written to the folder, or a file must not be replaced.
    """
    first = next(iter(contents))
    with _interrupts_deferred() as interrupts:
        try:
            beside = Path(tempfile.mkdtemp(dir=first.parent, prefix=f"{first.stem}.samepad-"))
        except OSError as error:  # which names the temporary folder
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
            for path in contents:  # one may have appeared since the command began
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
                with contextlib.suppress(OSError):  # of one that still holds something
                    folder.rmdir()


def _write(path: Path, content: bytes, final: Path) -> None:
    """Write a file that is to be moved to `final`, with the owner and permissions of what is there.

    Raises:
        OSError: That fails; it names `final`.
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
    """Move files from `paths` to the folder `old`, then those of the folder `new` to `paths`; or
    leave all as it was."""
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
    """Let no Ctrl-C and no request to end the process interrupt; the list has those that came."""
    came: list[int] = []
    handlers: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():  # which alone is interrupted
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) not in (None, signal.SIG_IGN):
                handlers[number] = signal.signal(number, lambda number, _: came.append(number))
    try:
        yield came
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
