"""The api's loops, each a step that can be called once: dispatching, watching, storekeeping, and
working out checksums."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from renderonline.api.services.dispatch import Dispatcher
from renderonline.api.services.watch import Watch
from renderonline.lifecycle import StopFlag, Streak, run_every

log = logging.getLogger(__name__)

WATCH_TICK_S = 0.25
"""How often it is looked up which machine is due; each has its own interval."""

DISPATCH_TICK_S = 0.5
"""The dispatcher's own look at the queue: for what another process put there, and for what was not
to begin before a moment that has come."""


STORE_TICK_S = 3600.0
CHECKSUM_TICK_S = 1.0


class Loops:
    """Owns the threads. `wake` may be called from any thread, also before `start`."""

    def __init__(self, outage: type[Exception]) -> None:
        """`outage`: what a step raises while the database is away; told in a sentence."""
        self._outage = outage
        self._stop = StopFlag()
        self._work = threading.Event()
        self._threads: list[threading.Thread] = []

    def wake(self) -> None:
        """There may be something to dispatch."""
        self._work.set()

    def start(
        self,
        dispatcher: Dispatcher,
        watch: Watch,
        keep_store: Callable[[], None],
        make_checksums: Callable[[], None],
    ) -> None:
        for name, step, every_s in (
            ("watching", watch.step, WATCH_TICK_S),
            ("storekeeping", keep_store, STORE_TICK_S),
            ("checksums", make_checksums, CHECKSUM_TICK_S),
        ):
            self._threads.append(run_every(name, step, every_s, self._stop, self._outage))
        thread = threading.Thread(
            target=self._dispatch, args=(dispatcher,), name="dispatch", daemon=True
        )
        thread.start()
        self._threads.append(thread)

    def _dispatch(self, dispatcher: Dispatcher) -> None:
        streak = Streak("dispatching", self._outage)
        while not self._stop.is_set():
            self._work.wait(DISPATCH_TICK_S)
            self._work.clear()
            if self._stop.is_set():
                return
            try:
                dispatcher.step()
            except Exception as error:  # noqa: BLE001  (a loop's edge: it must outlive any step)
                self._stop.wait(streak.failed(error))
            else:
                streak.succeeded()

    def close(self) -> None:
        """End the threads; a step that runs is waited for, a few seconds."""
        self._stop.set()
        self._work.set()
        for thread in self._threads:
            thread.join(timeout=5)


class Background:
    """A pool whose work logs its own mistakes."""

    def __init__(self, threads: int, name: str) -> None:
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    def __call__(self, function: object, *args: object) -> None:
        """Call `function(*args)` soon, on a thread of the pool."""
        assert callable(function)

        def run() -> None:
            try:
                function(*args)
            except Exception:  # nobody waits for the result
                log.exception("background work failed")

        try:
            self.pool.submit(run)
        except RuntimeError:
            log.info("not done, the server is stopping")

    def close(self) -> None:
        self.pool.shutdown(wait=False, cancel_futures=True)
