"""How processes on several machines know of each other: by what each says every few seconds in the storage."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from explorer.errors import SearchError
from explorer.study.store import Store

BEAT_S = 5.0
"""How often a process says that it is there (assumed)."""
SILENT_S = 60.0
"""A process that was not heard of for so long is taken for dead (assumed). Optuna's heartbeat is one of databases, and
does not pass through its proxy."""


@contextmanager
def saying(say: Callable[[int], None]) -> Iterator[None]:
    """Call `say` with 1, 2, ... in a thread, every `BEAT_S` seconds, until the work within is done.

    Where it fails, the storage is gone: the work finds that out by itself.
    """
    over = threading.Event()

    def repeat() -> None:
        times = 0
        while not over.wait(BEAT_S):
            times += 1
            try:
                say(times)
            except Exception:  # of any database or network
                return

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def coordinating(store: Store) -> Iterator[None]:
    """Let workers know that trials are proposed, and at the end, whatever it is, that none will come.

    Raises:
        SearchError: When another run says the same.
    """
    if not store.shared:
        yield
        return
    before = store.coordinator()
    if before:  # one that was killed has not said that it ended; one that is there says something new
        time.sleep(2 * BEAT_S)
        if store.coordinator() != before:
            raise SearchError(
                f"search.storage: another run proposes candidates of this study, in {before.rpartition(' ')[0]}; wait "
                "for it, or give the study another name"
            )
    store.say_coordinating(0)
    try:
        with saying(store.say_coordinating):
            yield
    finally:
        store.say_coordinating(None)


class Listener:
    """Remembers what others said last, and since when they have said nothing else, by this machine's clock."""

    def __init__(self) -> None:
        self._heard: dict[object, tuple[str, float]] = {}

    def is_silent(self, who: object, said: str) -> bool:
        """Return whether what `who` said last is the same for too long."""
        now_s = time.monotonic()
        before, since_s = self._heard.get(who, ("", now_s))
        if before != said or who not in self._heard:
            since_s = now_s
        self._heard[who] = (said, since_s)
        return now_s - since_s > SILENT_S

    def forget(self, who: object) -> None:
        """Start anew with what `who` says next."""
        self._heard.pop(who, None)
