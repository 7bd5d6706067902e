"""A bundle on its way to a farm: hash it, ask what is lacking, send that, and know its manifest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Literal

from renderonline import paths
from renderonline.client.bundle import Bundle
from renderonline.client.errors import ClientError
from renderonline.client.hashing import Content, Tell, changing, content_of, contents
from renderonline.client.memory import Memory
from renderonline.client.sources import Source
from renderonline.client.transport import Transport
from renderonline.client.uploads import Changed, Uploads, Wanted, missing
from renderonline.wire import Manifest, ManifestFile

Phase = Literal["hashing", "uploading"]

SendProgress = Callable[[Phase, int, int, str], None]
"""Told what is being done, the bytes done and in all, and the name of the file, one call at a time,
on the threads that do it."""


class Sending:
    """One bundle for one farm. The calling thread waits; others read and send."""

    def __init__(
        self, transport: Transport, bundle: Bundle, progress: SendProgress | None = None
    ) -> None:
        self._transport, self._bundle, self._progress = transport, bundle, progress
        self._memory = Memory(paths.cache_dir() / "files.sqlite")
        self._stop = threading.Event()

    def close(self) -> None:
        self._memory.close()

    def run(self) -> Manifest:
        """Until the farm has all files. Raises ClientError, and NoProjects having read nothing.

        A file that changes meanwhile is read and sent again, once.
        """
        missing(self._transport, ())
        tell = self._meter("hashing", self._bundle.size_bytes)
        sources = [part.source for part in self._bundle.parts]
        found = contents(sources, self._memory, tell, self._stop)
        retried: set[Source] = set()
        while True:
            try:
                self._send(found)
                return self._manifest(found)
            except Changed as error:
                source, before = error.source, found[error.source]
            self._stop.clear()
            tell = self._meter("hashing", before.size_bytes)
            found[source] = content_of(source, self._memory, tell, self._stop, is_new=True)
            if source in retried:
                raise changing(source) if found[source] != before else _spoilt(source)
            retried.add(source)

    def _send(self, found: Mapping[Source, Content]) -> None:
        wanted = {
            found[part.source]: Wanted(part.source, found[part.source])
            for part in self._bundle.parts
        }
        lacking = missing(self._transport, wanted)
        files = [file for content, file in wanted.items() if content.sha256 in lacking]
        tell = self._meter("uploading", sum(file.content.size_bytes for file in files))
        tell(0, "")
        Uploads(self._transport, self._memory, tell, self._stop).send(files)

    def _manifest(self, found: Mapping[Source, Content]) -> Manifest:
        files = [
            ManifestFile(
                path=part.place,
                sha256=found[part.source].sha256,
                size=found[part.source].size_bytes,
                executable=part.is_executable,
            )
            for part in self._bundle.parts
        ]
        return Manifest(main=self._bundle.main, files=files)

    def _meter(self, phase: Phase, total_bytes: int) -> Tell:
        """Adds up what the threads tell."""
        lock, done_bytes = threading.Lock(), 0

        def tell(more_bytes: int, name: str) -> None:
            nonlocal done_bytes
            with lock:
                done_bytes += more_bytes
                if self._progress is not None:
                    self._progress(phase, done_bytes, total_bytes, name)

        return tell


def _spoilt(source: Source) -> ClientError:
    return ClientError(
        f"{source.path} does not arrive as it is here.",
        "Try again; if it stays so, a disk or the network is at fault.",
    )
