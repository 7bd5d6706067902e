"""Brings results back: what is rendered goes to its api at once, in order, until it has arrived.

One thread for each api that results are for. An api that is away, or has no room, is tried until it
takes them, over restarts of either side; what belongs to an attempt that the api works with no more
is thrown away.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path
from typing import Protocol

import requests

from renderonline import sizes, wire
from renderonline.node.api_client import Api, ApiClient, NotTold, refusal
from renderonline.node.orders import ReportTo
from renderonline.node.parcels import Parcel, Parcels
from renderonline.wire import OutputAnswer

log = logging.getLogger(__name__)

RETRY_FIRST_S = 0.25
RETRY_LONGEST_S = 10.0

NEARLY_FULL_BYTES, NEARLY_FULL_SHARE = 2 << 30, 0.1
"""With less than both free, of the disk, a node that has results to send takes no more work."""

NO_ROOM = 507
"""HTTP's status for it."""


class _Fate(Enum):
    """What has come of sending a file."""

    SETTLED = auto()  # it has arrived, or never will
    REFUSED = auto()  # the api cannot take it now; another one it may
    AWAY = auto()  # there is no api now


class Recipient(Protocol):
    """Who answers for an attempt. Called on the sending thread."""

    def returned(self, frame: int | None) -> None:
        """A file has arrived, and with it all that there is of `frame`; None: it completes none."""
        ...

    def held_up(self, sentence: str) -> None:
        """The api has no room for what is here; it is tried on."""
        ...

    def spoiled(self, sentence: str) -> None:
        """A file can never arrive."""
        ...

    def given_away(self, message: str) -> None:
        """The attempt is not this node's any more."""
        ...


class Returns:
    """All that one node has to bring back. Any thread."""

    def __init__(self, parcels: Parcels, client: ApiClient) -> None:
        self._parcels = parcels
        self._client = client
        self._changed = threading.Condition()
        self._recipients: dict[ReportTo, Recipient] = {}
        self._waiting: dict[ReportTo, Callable[[], None]] = {}
        self._at_work: set[Api] = set()
        self._is_closing = False
        # Attempts that go on with a frame of which a file can never arrive; the sending thread's.
        self._with_spoiled_files: set[ReportTo] = set()
        # Attempts that were told that the api has no room, by its sending thread.
        self._held_up: set[ReportTo] = set()

    def start(self) -> None:
        """Go on with what an earlier node has left. Called once its attempts have their recipients."""
        for api in self._parcels.apis():
            self._work_for(api)

    def expect(self, to: ReportTo, recipient: Recipient) -> None:
        """Who hears of this attempt's files from now on."""
        with self._changed:
            self._recipients[to] = recipient

    def put(self, to: ReportTo, file: Path, name: Path, frame: int | None) -> None:
        """Take a whole file over; it is sent soon. Raises OSError."""
        self._parcels.add(to, name.as_posix(), file, frame)
        self._work_for(to.api)

    def apis(self) -> set[Api]:
        """Whom anything is on its way to."""
        return self._parcels.apis()

    def congestion(self) -> str | None:
        """Why nothing more should be rendered here, as a sentence: what waits has nearly filled the
        disk. None if it may be. A disk that others have filled is another matter: that fails what
        does not fit."""
        waiting_bytes = self._parcels.waiting_bytes()
        if not waiting_bytes:
            return None
        try:
            total_bytes, free_bytes = self._parcels.disk_bytes()
        except OSError:
            return None
        if free_bytes >= min(NEARLY_FULL_BYTES, total_bytes * NEARLY_FULL_SHARE):
            return None
        return (
            f"The disk of this machine is nearly full: {sizes.text(free_bytes)} are free, and "
            f"{sizes.text(waiting_bytes)} of results wait for the farm to take them. It takes no "
            "more work until there is room."
        )

    def is_empty(self, to: ReportTo) -> bool:
        """Whether nothing of the attempt is on its way."""
        return not self._parcels.count(to)

    def when_empty(self, to: ReportTo, then: Callable[[], None]) -> bool:
        """Call `then` once nothing of the attempt is on its way: now, or on the sending thread.

        False: later.
        """
        with self._changed:
            if self._parcels.count(to):
                self._waiting[to] = then
                return False
        then()
        return True

    def forget(self, to: ReportTo) -> None:
        """Nobody wants anything of this attempt, and nobody hears of it any more."""
        with self._changed:
            self._recipients.pop(to, None)
            self._waiting.pop(to, None)
            self._held_up.discard(to)
        self._parcels.remove_all(to)

    def close(self) -> None:
        """Send no more; what is left is the next start's. Waits for what is being sent, shortly."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._at_work, timeout=1.0)
            if not self._at_work:
                self._parcels.close()

    # ------------------------------------------------------------------ on the sending thread

    def _work_for(self, api: Api) -> None:
        with self._changed:
            if api in self._at_work or self._is_closing:
                return
            self._at_work.add(api)
        threading.Thread(target=self._send_all, args=(api,), name="returns", daemon=True).start()

    def _send_all(self, api: Api) -> None:
        """Each attempt's files in their order. One that is refused keeps no other attempt's back."""
        pause_s = RETRY_FIRST_S
        refused: set[ReportTo] = set()
        while self._has_work(api):
            fate = self._send_next(api, refused)
            if fate is _Fate.SETTLED:
                pause_s = RETRY_FIRST_S
            elif fate is _Fate.AWAY:
                with self._changed:
                    self._changed.wait_for(lambda: self._is_closing, pause_s)
                pause_s = min(pause_s * 2, RETRY_LONGEST_S)
                refused.clear()

    def _has_work(self, api: Api) -> bool:
        """False ends the thread; whoever adds another parcel starts the next."""
        with self._changed:
            if not self._is_closing and api in self._parcels.apis():
                return True
            self._at_work.discard(api)
            self._changed.notify_all()
            return False

    def _send_next(self, api: Api, refused: set[ReportTo]) -> _Fate:
        """Try one; none is left when all have been refused in this round, which goes on later."""
        parcel = None
        try:
            parcel = self._parcels.first(api, refused)
            if parcel is None:
                return _Fate.AWAY
            fate = self._send(parcel)
        except Exception:  # the edge of the thread: the others are to arrive all the same
            log.exception("%s cannot be sent", parcel and parcel.path)
            fate = _Fate.AWAY if parcel is None else _Fate.REFUSED
        if parcel is not None and fate is _Fate.SETTLED:
            self._settle(parcel.to)
        elif parcel is not None and fate is _Fate.REFUSED:
            refused.add(parcel.to)
        return fate

    def _send(self, parcel: Parcel) -> _Fate:
        to = parcel.to
        headers = {"X-Attempt-Key": to.key, "X-Sha256": parcel.sha256}
        try:
            response = self._client.put(
                to.api, to.output(parcel.path), self._parcels.file(parcel), headers
            )
        except NotTold as error:
            log.warning("%s cannot be sent to %s (%s); trying on", parcel.path, to.api.url, error)
            return _Fate.AWAY
        except OSError as error:
            self._spoil(parcel, f"cannot be read on this machine any more ({error.strerror})")
            return _Fate.SETTLED
        return self._understand(parcel, response)

    def _understand(self, parcel: Parcel, response: requests.Response) -> _Fate:
        """What is no answer of the api itself (a proxy speaks while that is away) settles nothing."""
        status = response.status_code
        answer, error = _answer(response), refusal(response) if status >= 400 else None
        if answer is not None and answer.accepted:
            self._arrived(parcel)  # first: what nobody has noted would be rendered again
            self._parcels.remove(parcel)
        elif answer is not None or (error is not None and status in (401, 404, 410)):
            self._parcels.remove_all(parcel.to)
            if recipient := self._recipient(parcel.to):
                recipient.given_away("" if answer is None else answer.message)
        elif error is None or status >= 500 or status in (408, 429):
            log.warning("%s: %s answers %d; trying on", parcel.path, parcel.to.api.url, status)
            if error is not None and status == NO_ROOM:
                self._hold_up(parcel.to, error.error_message)
            return _Fate.REFUSED
        elif error.error == "bad_hash" and self._parcels.is_whole(parcel):
            return _Fate.REFUSED  # damaged on the way
        else:
            self._spoil(parcel, f"was refused by the api: {error.error_message}")
        return _Fate.SETTLED

    def _arrived(self, parcel: Parcel) -> None:
        """A frame of which another file is spoiled is not complete."""
        recipient = self._recipient(parcel.to)
        if recipient is not None and parcel.to not in self._with_spoiled_files:
            recipient.returned(parcel.frame)
        if parcel.frame is not None:
            self._with_spoiled_files.discard(parcel.to)

    def _hold_up(self, to: ReportTo, why: str) -> None:
        """Said once: whoever waits for the task is to know why nothing comes of it."""
        if to not in self._held_up and (recipient := self._recipient(to)):
            self._held_up.add(to)
            recipient.held_up(f"Results wait on a machine. {why}")

    def _spoil(self, parcel: Parcel, why: str) -> None:
        self._parcels.remove(parcel)
        if parcel.frame is None:
            self._with_spoiled_files.add(parcel.to)
        if recipient := self._recipient(parcel.to):
            recipient.spoiled(f"{parcel.path} {why}")

    def _recipient(self, to: ReportTo) -> Recipient | None:
        with self._changed:
            return self._recipients.get(to)

    def _settle(self, to: ReportTo) -> None:
        with self._changed:
            is_empty = not self._parcels.count(to)
            then = self._waiting.pop(to, None) if is_empty else None
        if then is not None:
            try:
                then()
            except (
                Exception
            ):  # the edge of the thread, which is the only one that sends to this api
                log.exception("the end of attempt %d cannot be told", to.attempt_id)


def _answer(response: requests.Response) -> OutputAnswer | None:
    if response.status_code != 200:
        return None
    try:
        return wire.decode(response.content, OutputAnswer)
    except wire.WireError:
        return None
