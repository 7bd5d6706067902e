"""A task's results in a folder of ours: each file that is new or another, fetched one by one.

A file that has the server's size and time is there already. So nothing is fetched twice, whatever
was interrupted before, and no list of what was done is kept.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from renderonline import wire
from renderonline.client.errors import NotFound, Refused, not_written
from renderonline.client.fetch import Patience, Wanted, fetch
from renderonline.client.safe_paths import UnsafePath, relative
from renderonline.client.transport import Transport
from renderonline.client.upload import Progress

PAGE = 10_000
SAME_TIME_NS = 2_000_000_000
"""How far the times of two equal files may be apart: what FAT keeps of one."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Notice = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Known:
    """A result and where it belongs."""

    file: wire.ResultFile
    target: Path

    @property
    def modified_ns(self) -> int:
        """When it was changed last, since 1970. Raises Refused where that is no time."""
        try:
            since = datetime.fromisoformat(self.file.modified) - EPOCH
        except (ValueError, TypeError):  # no time, or one of nowhere
            raise Refused(f"{self.file.path!r} has no time: {self.file.modified!r}.") from None
        return since // timedelta(microseconds=1) * 1000


class Mirror:
    """The results of one task, below one folder. Not for several threads at a time."""

    def __init__(
        self,
        transport: Transport,
        root: str,
        task_id: int,
        folder: Path,
        frames: str | None = None,
        notice: Notice | None = None,
    ) -> None:
        """`root`: the route of the task. `frames`: only files of these. `notice`: told of breaks."""
        self._transport = transport
        self._root = root
        self._task_id = task_id
        self._folder = folder
        self._frames = frames
        self._patience = Patience(notice)
        self._done: dict[str, wire.ResultFile] = {}
        self.files: list[Path] = []
        """What has been rendered and is here, by the last `step`."""

    def step(self, progress: Progress | None = None) -> list[Path]:
        """Fetch what is missing of what there is now; the paths of what was fetched.

        What changes or goes meanwhile is left to the next step. Raises the client's errors, also
        Refused for a name that would leave the folder: then nothing was written.
        """
        every = [self._known(file) for file in self._listed()]
        missing = [known for known in every if not self._is_here(known)]
        total_bytes = sum(known.file.size for known in missing)
        fetched, done_bytes = [], 0
        for known in missing:
            if self._fetch(known, _shifted(progress, done_bytes, total_bytes)):
                fetched.append(known.target)
            done_bytes += known.file.size
        self.files = [known.target for known in every if known.file.path in self._done]
        return fetched

    def _listed(self) -> list[wire.ResultFile]:
        """All results, page by page."""
        found: list[wire.ResultFile] = []
        query = {"limit": str(PAGE), **({"frames": self._frames} if self._frames else {})}
        while True:
            page = self._transport.get(f"{self._root}/files", wire.FilesResponse, query)
            self._patience.is_there()
            found += page.files
            if page.next is None:
                return found
            query["after"] = page.next

    def _known(self, file: wire.ResultFile) -> Known:
        try:
            path = relative(file.path, windows=sys.platform == "win32")
        except UnsafePath as error:
            raise Refused(
                f"The results of task {self._task_id} were not taken: {file.path!r} {error}."
            ) from None
        return Known(file, self._folder / path)

    def _is_here(self, known: Known) -> bool:
        """Whether this very file was fetched, by us or, as its size and time tell, before."""
        if known.file.path in self._done:
            return self._done[known.file.path] == known.file
        try:
            status = known.target.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        is_same = (
            status.st_size == known.file.size
            and abs(status.st_mtime_ns - known.modified_ns) <= SAME_TIME_NS
        )
        if is_same:
            self._done[known.file.path] = known.file
        return is_same

    def _fetch(self, known: Known, progress: Progress | None) -> bool:
        """Whether it is here now; if not, it has just gone or changed on the server."""
        wanted = Wanted(f"{self._root}/files/{quote(known.file.path)}", {}, known.modified_ns)
        try:
            known.target.parent.mkdir(parents=True, exist_ok=True)
            fetch(self._transport, wanted, known.target, progress, self._patience)
        except OSError as error:
            raise not_written(known.target, error) from None
        except NotFound:
            return False
        except Refused as error:
            if error.code == "changed":
                return False
            raise
        self._done[known.file.path] = known.file
        return True


def _shifted(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Progress of one file as that of all."""
    if progress is None:
        return None
    return lambda done, _: progress(before + done, total)
