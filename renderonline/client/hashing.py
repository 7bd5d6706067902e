"""SHA-256 of a project's files: several at a time, and each once as long as it stays as it is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event

from renderonline.client.errors import ClientError
from renderonline.client.memory import Memory
from renderonline.client.sources import Source

AT_A_TIME = 4
"""Files that are read at once: hashing leaves Python's lock alone, so the cores share it."""

_PIECE_BYTES = 1 << 20

Tell = Callable[[int, str], None]
"""Told how many bytes more are done, and of which file, on the threads that work."""


class Stopped(Exception):
    """Whoever asked for it does not want it any more."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds."""

    sha256: str
    size_bytes: int


def contents(
    sources: Iterable[Source], memory: Memory, tell: Tell, stop: Event
) -> dict[Source, Content]:
    """What each file holds. Raises ClientError for one that cannot be read, or changes all the time."""
    wanted = list(dict.fromkeys(sources))
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        try:
            found = pool.map(lambda source: content_of(source, memory, tell, stop), wanted)
            return dict(zip(wanted, found, strict=True))
        except BaseException:
            stop.set()
            raise


def content_of(
    source: Source, memory: Memory, tell: Tell, stop: Event, is_new: bool = False
) -> Content:
    """What one file holds. `is_new`: whatever is remembered of it. Raises ClientError."""
    try:
        for _ in range(2):
            stamp = source.stamp()
            known = None if is_new else memory.hash_of(stamp)
            if known is not None:
                tell(stamp[1], source.path.name)
                return Content(known, stamp[1])
            digest = _read(source, tell, stop)
            if source.stamp() == stamp:
                memory.keep_hash(stamp, digest)
                return Content(digest, stamp[1])
    except OSError as error:
        raise unreadable(source, error) from None
    raise changing(source)


def unreadable(source: Source, error: OSError) -> ClientError:
    """What to say of a file that cannot be read."""
    reason = f"{source.path} cannot be read: {error.strerror}" if error.strerror else str(error)
    return ClientError(f"{reason}.", "Nothing was submitted.")


def changing(source: Source) -> ClientError:
    """What to say of a file that does not hold still."""
    return ClientError(
        f"{source.path} is being changed while it is sent.", "Submit it once it is saved."
    )


def _read(source: Source, tell: Tell, stop: Event) -> str:
    digest = hashlib.sha256()
    with source.open() as file:
        while piece := file.read(_PIECE_BYTES):
            if stop.is_set():
                raise Stopped
            digest.update(piece)
            tell(len(piece), source.path.name)
    return digest.hexdigest()
