"""What an attempt has produced.

A renderer writes at its desk, a folder of its node's own. What is whole is taken from there at once
and in one step: put into the task's output folder where node and api share a disk, or handed over
to be sent. So nobody ever sees half a file, and another machine that renders the same frame, or one
that was given up and renders on, spoils none that is there.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from renderonline.frames import FrameSet, frame_of
from renderonline.node.beside import Beside
from renderonline.node.refusal import Refusal

Put = Callable[[Path, Path, int | None], None]
"""`put(file, name, frame)` takes a whole file away from the desk to where results go. `name` is
relative; `frame` is the one that is complete with it. Raises OSError."""


class Results(Protocol):
    """The files of one attempt. Made before its process starts; its methods are called on the
    attempt's thread."""

    def deliver(self, file: Path, frame: int | None) -> str | None:
        """Take away a file that is whole, and what else there is of the frame that is complete with
        it. Why that cannot be, as a sentence; None if it is done, or if the file was not written
        where results are."""
        ...

    def deliver_rest(self) -> str | None:
        """The same for all that is left: the attempt has succeeded."""
        ...

    def changed(self) -> list[Path]:
        """Files that this attempt wrote, relative to its desk, sorted."""
        ...

    def fault(self) -> str | None:
        """Why nothing that was written may be taken for a result, as a sentence; None if it may."""
        ...

    def is_elsewhere(self, file: Path) -> bool:
        """Whether it was written where nothing is taken for a result."""
        ...

    def clear(self) -> None:
        """Clear away what is no result. Raises OSError."""
        ...

    def vacate(self) -> None:
        """After `clear`, where the next attempt does not write at the same desk: take it away.
        Raises OSError."""
        ...


class NoResults:
    """An original start: it names no output folder, so nothing can be said about its files."""

    def deliver(self, file: Path, frame: int | None) -> str | None:
        return None

    def deliver_rest(self) -> str | None:
        return None

    def changed(self) -> list[Path]:
        return []

    def fault(self) -> str | None:
        return None

    def is_elsewhere(self, file: Path) -> bool:
        return False

    def clear(self) -> None: ...

    def vacate(self) -> None: ...


JUNCTION_TAG = 0xA0000003
"""IO_REPARSE_TAG_MOUNT_POINT: Windows' other kind of link, which `is_symlink` does not know."""

MOVES, PAUSE_S = 20, 0.05
"""How often a move is tried: on Windows a virus scanner may have the new file open for a moment."""


def into(output_dir: Path) -> Put:
    """Puts files into a folder. Creates it; raises Refusal when it is a link or cannot be used."""
    _make(output_dir)

    def put(file: Path, name: Path, _frame: int | None) -> None:
        target = output_dir / name
        target.parent.mkdir(parents=True, exist_ok=True)
        move(file, target)

    return put


class DeskResults:
    """What a renderer writes at its desk."""

    def __init__(self, desk: Path, put: Put, beside: Beside | None = None) -> None:
        """Has the desk there and empty; what lay on it is gone. Raises Refusal when that cannot be.

        `beside`: where else results may appear.
        """
        self._desk = desk
        self._put = put
        self._beside = beside
        self._delivered: set[Path] = set()
        try:
            if _is_link(desk) or not _is_empty(desk):
                clear(desk)
        except OSError as error:
            raise Refusal(_unusable(desk, error)) from None
        _make(desk)
        self._real_desk = desk.resolve()
        self._real_places = [self._real_desk, *([beside.root.resolve()] if beside else [])]

    def deliver(self, file: Path, frame: int | None) -> str | None:
        fault = self.fault()
        named = self._named(file)
        others = self._of_frame(frame) if fault is None else {}
        found = {f: name for f, name in others.items() if f not in named} | named
        if found and fault is not None:
            return fault
        try:
            self._take_away(found, frame)
        except OSError as error:
            return (
                f"{file.name} cannot be put among the results: {error.strerror or error}. Check the "
                "disk of this machine, and that the node's user may write there."
            )
        return None

    def _of_frame(self, frame: int | None) -> dict[Path, Path]:
        """What lies on the desk of a frame, and its names."""
        if frame is None:
            return {}
        owed = FrameSet.of([frame])
        names = [name for name in self._left() if frame_of(name.name, owed, None) == frame]
        return {self._desk / name: name for name in names}

    def _named(self, file: Path) -> dict[Path, Path]:
        if file.is_relative_to(self._desk):
            return {file: file.relative_to(self._desk)}
        name = self._beside.name(file) if self._beside else None
        return {} if name is None else {file: name}

    def _take_away(self, found: dict[Path, Path], frame: int | None) -> None:
        """The last carries the frame: files arrive in this order. Raises OSError."""
        real = [(file, name) for file, name in found.items() if self._is_real(file)]
        for at, (file, name) in enumerate(real, 1):
            self._put(file, name, frame if at == len(real) else None)
            self._delivered.add(name)

    def deliver_rest(self) -> str | None:
        faults = (self.deliver(self._desk / name, None) for name in self._left())
        return next((fault for fault in faults if fault is not None), None)

    def changed(self) -> list[Path]:
        if self.fault() is not None:
            return []
        return sorted({*self._delivered, *self._left()})

    def fault(self) -> str | None:
        return _replaced(self._desk, self._real_desk)

    def is_elsewhere(self, file: Path) -> bool:
        beside = self._beside
        return beside is not None and not beside.has(file) and not file.is_relative_to(self._desk)

    def clear(self) -> None:
        # Not the desk itself: with a file system that is writing, making one anew takes its time.
        if not _is_empty(self._desk) and self.fault() is None:
            clear(self._desk)

    def vacate(self) -> None:
        if self.fault() is None:
            clear(self._desk)

    def _left(self) -> list[Path]:
        return sorted(_files(self._desk)) if self._desk.is_dir() else []

    def _is_real(self, file: Path) -> bool:
        """Whether it is a file of its own and lies where it seems to lie; False if it is not there:
        a frame may be told of twice."""
        try:
            is_file = stat.S_ISREG(file.lstat().st_mode)
        except FileNotFoundError:
            return False
        folder = file.parent.resolve()
        return is_file and any(folder.is_relative_to(place) for place in self._real_places)


class FolderResults:
    """An output folder on a shared disk that a renderer writes into by itself, because its command
    line does not name it: what lay there before is not a result."""

    def __init__(self, output_dir: Path) -> None:
        """Creates `output_dir`. Raises Refusal when it is a link, or cannot be created or read."""
        _make(output_dir)
        self._output_dir = output_dir
        self._real_dir = output_dir.resolve()
        self._before = _stamps(output_dir)

    def deliver(self, file: Path, frame: int | None) -> str | None:
        return None

    def deliver_rest(self) -> str | None:
        return None

    def changed(self) -> list[Path]:
        if self.fault() is not None:
            return []
        after = _stamps(self._output_dir)
        return sorted(name for name, stamp in after.items() if self._before.get(name) != stamp)

    def fault(self) -> str | None:
        return _replaced(self._output_dir, self._real_dir)

    def is_elsewhere(self, file: Path) -> bool:
        return False

    def clear(self) -> None: ...

    def vacate(self) -> None: ...


def _replaced(folder: Path, real: Path) -> str | None:
    """A renderer runs what is in the scene, which may put a link in the folder's place."""
    try:
        is_replaced = folder.resolve() != real
    except (OSError, RuntimeError):  # a link that cannot be followed, a loop of links
        is_replaced = True
    if not is_replaced:
        return None
    return (
        f"The render replaced its output folder {folder} by a link, so nothing in it was taken for "
        "a result. Look at the scripts in the scene."
    )


def _stamps(folder: Path) -> dict[Path, tuple[int, int, int]]:
    """What differs after a file was written again: its size, its time and its number."""
    found = {}
    for name in _files(folder) if folder.is_dir() else ():
        status = (folder / name).lstat()
        found[name] = (status.st_size, status.st_mtime_ns, status.st_ino)
    return found


def _make(folder: Path) -> None:
    if not folder.is_absolute():
        raise Refusal(f"The output folder {folder} is not an absolute path.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_link = _is_link(folder)
    except OSError as error:
        raise Refusal(_unusable(folder, error)) from None
    if is_link:
        raise Refusal(
            f"The output folder {folder} is a link. Results are taken from real folders only: "
            "remove the link, and requeue the task."
        )


def _unusable(folder: Path, error: OSError) -> str:
    return (
        f"The output folder {folder} cannot be used on this machine: {error.strerror or error}. "
        "Check that the node's user may write there."
    )


def move(file: Path, target: Path) -> None:
    """Put a file into its place in one step, on one disk. Raises OSError."""
    for _ in range(MOVES - 1):
        try:
            file.replace(target)
        except PermissionError:
            time.sleep(PAUSE_S)
        else:
            return
    file.replace(target)


def clear(folder: Path) -> None:
    """Remove a folder with all that is in it, or a link in its place. Raises OSError."""
    try:
        folder.rmdir()  # it is empty, mostly: what was written has been taken away
    except FileNotFoundError:
        return
    except OSError:
        pass
    else:
        return
    if _is_link(folder):
        folder.unlink()
    elif folder.is_dir():
        shutil.rmtree(folder)


def _files(folder: Path) -> Iterator[Path]:
    """Every regular file below `folder`, relative to it. No link is followed."""
    for parent, folders, names in os.walk(folder):
        # `os.walk` knows symbolic links by itself, but follows junctions.
        folders[:] = [name for name in folders if not _is_link(Path(parent, name))]
        for name in names:
            path = Path(parent, name)
            try:
                is_file = stat.S_ISREG(path.lstat().st_mode)
            except FileNotFoundError:
                continue  # a renderer's temporary file, gone between listing and looking
            if is_file:
                yield path.relative_to(folder)


def _is_empty(folder: Path) -> bool:
    """Whether it is a folder without anything in it."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:
        return False


def _is_link(path: Path) -> bool:
    """Whether `path` leads elsewhere; False if nothing is there."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    tag: int = getattr(status, "st_reparse_tag", 0)  # only Windows has it
    return stat.S_ISLNK(status.st_mode) or tag == JUNCTION_TAG
