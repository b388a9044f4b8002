"""Lets Ctrl-C end the process while a library computes that never looks for it."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

#: Seconds after Ctrl-C in which Python gets the chance to end by itself.
GRACE = 2.0

#: The exit status that shells use for Ctrl-C.
INTERRUPTED = 130


@contextlib.contextmanager
def ending_at_interrupt(message: str) -> Iterator[None]:
    """End the process after Ctrl-C, even if what runs in this context never returns to Python.

    Python raises KeyboardInterrupt only between two of its own instructions, so that a loop within
    ONNX Runtime or TensorFlow would go on. Where that has not happened some time after Ctrl-C, a
    thread prints `message` and ends the process. It does nothing outside the main thread, which
    alone gets signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    # Python's handler writes the number of the signal at once, whichever thread gets it.
    previous = signal.set_wakeup_fd(writing)
    left = threading.Event()

    def watch() -> None:
        # The byte 0, which is no signal, says that the context has been left.
        while (number := os.read(reading, 1)) != b"\0":
            if number == bytes([signal.SIGINT]) and not left.wait(GRACE):
                print(message, file=sys.stderr, flush=True)
                os._exit(INTERRUPTED)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(previous)
        os.write(writing, b"\0")
        watcher.join()
        os.close(reading)
        os.close(writing)
