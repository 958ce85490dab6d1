"""A sign of life, now and then, while something takes long that says nothing itself."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY_S = 8.0


@contextmanager
def waiting(what: Callable[[], str] | str, every_s: float = EVERY_S) -> Iterator[None]:
    """Print a line with what is going on, and for how long, each time that so many seconds are over."""
    begun, ended = time.monotonic(), threading.Event()

    def speak() -> None:
        while not ended.wait(every_s):
            doing = what if isinstance(what, str) else what()
            print(f"      {doing} ({time.monotonic() - begun:.0f} s)", flush=True)

    speaker = threading.Thread(target=speak, daemon=True)
    speaker.start()
    try:
        yield
    finally:
        ended.set()
        speaker.join()
