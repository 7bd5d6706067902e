"""Where an attempt is rendered on this machine: in the farm's own folder, or in a copy that is made
here.

Where node and api see the same disk nothing is copied. A beacon, a file that the api has put there,
proves that they do: a path alone would not, another machine may have the same one.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Protocol

from renderonline import manifests, security
from renderonline.node.refusal import Refusal
from renderonline.paths import UNFINISHED
from renderonline.wire import Beacon, HpcStart, ProjectRef

BEACON_BYTES = 1000
"""A beacon is shorter."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an attempt is rendered."""

    working_dir: Path
    # What the renderer writes here are the results; emptied before each attempt, and the same for
    # all chunks of a task. None: nothing is known of its files, the exit code decides alone.
    desk: Path | None = None
    output_dir: Path | None = None  # where they are put; None: they are sent to the api
    project: ProjectRef | None = (
        None  # what has to be fetched into `working_dir`; None: it is there
    )
    moved: tuple[tuple[str, Path], ...] = ()  # a folder as the start names it, and what it is here

    @property
    def is_open(self) -> bool:
        """The renderer writes into the results' folder by itself: its command line names no other."""
        return self.output_dir is not None and self.desk == self.output_dir

    def relocated(self, argv: list[str]) -> list[str]:
        """The arguments with our folders in the place of the api's, wherever those are named."""
        for folder, here in self.moved:
            argv = [_relocated(word, folder, here) for word in argv]
        return argv


class Inputs(Protocol):
    """Finds the place of an attempt. Called in the start's request."""

    def place(self, start: HpcStart) -> Place:
        """Raises Refusal when the project cannot be had here."""
        ...


class NodeInputs:
    """The places of one node, below its data folder or on a disk that it shares with its api."""

    def __init__(self, data_dir: Path, always_copies: bool = False) -> None:
        """`always_copies`: nothing is rendered in the farm's own folders, even if they are here."""
        self._data_dir = data_dir
        self._always_copies = always_copies
        who = f"{socket.gethostname()} {data_dir}"
        self._node = hashlib.sha256(who.encode(errors="replace")).hexdigest()[:12]

    def place(self, start: HpcStart) -> Place:
        if start.task_dir is None:
            if start.output_dir is None:
                return Place(self._data_dir)
            return self._shared(self._data_dir, start.output_dir)
        if start.manifest is None or self._sees(start.beacon):
            return self._shared(_visible(start.task_dir), start.output_dir)
        return self._copy(start, start.manifest, start.task_dir)

    def _sees(self, beacon: Beacon | None) -> bool:
        if beacon is None or self._always_copies:
            return False
        try:
            with Path(beacon.path).open("rb") as file:
                word = file.read(BEACON_BYTES).decode("ascii", "replace")
        except (OSError, ValueError):
            return False
        return bool(beacon.word) and security.same(word.strip(), beacon.word)

    def _shared(self, task_dir: Path, output_dir: str | None) -> Place:
        if not output_dir:
            return Place(task_dir)
        desk = Path(output_dir) / f"{UNFINISHED}{self._node}"
        return Place(task_dir, desk, Path(output_dir), moved=((output_dir, desk),))

    def _copy(self, start: HpcStart, project: ProjectRef, task_dir: str) -> Place:
        try:
            manifests.check_path(project.main)
        except manifests.BadManifest as error:
            raise Refusal(f"Manifest.Main: {error}") from None
        if not manifests.is_sha256(project.sha256):
            raise Refusal("Manifest.Sha256 is not 64 hexadecimal digits.")
        tree = self._data_dir / "work" / f"{start.task_id}-{project.sha256[:16]}"
        desk = tree / _below(start.output_dir or f"{task_dir}/output", task_dir)
        return Place(tree, desk, None, project, ((task_dir, tree),))


def folder_of_first_file(argv: list[str]) -> Path | None:
    """The folder of the first word that names an existing file; None if there is none.

    How the project of an original start is found, which says nothing but its arguments. Only
    absolute paths count: a relative one would mean another file once the working folder is set.
    """
    for word in argv:
        path = Path(word)
        if path.is_absolute() and _exists(path.is_file):
            return path.parent
    return None


def _visible(task_dir: str) -> Path:
    folder = Path(task_dir)
    if not folder.is_absolute() or not _exists(folder.is_dir):
        raise Refusal(
            f"The project folder {task_dir} is not visible from this machine "
            f"({socket.gethostname()}). Give api and node a disk that both see under the "
            "same path, or render this project on the api's machine."
        )
    return folder


def _below(output_dir: str, task_dir: str) -> Path:
    """Where the results are below the project's folder. The api's platform may be another one.

    Raises Refusal when they are not below it.
    """
    kind = PureWindowsPath if "\\" in task_dir or re.match("[A-Za-z]:", task_dir) else PurePosixPath
    try:
        parts = kind(output_dir).relative_to(kind(task_dir)).parts
    except ValueError:
        parts = ()
    if not parts or ".." in parts:
        raise Refusal(f"The output folder {output_dir} is not inside the project's, {task_dir}.")
    return Path(*parts)


def _relocated(word: str, folder: str, here: Path) -> str:
    """One argument; what follows our folder in it gets this platform's separators."""
    pattern = re.escape(folder.rstrip("/\\")) + r"(?=$|[/\\])"
    parts = re.split(pattern, word)
    foreign = "/" if os.sep == "\\" else "\\"
    if foreign in folder:
        parts[1:] = [part.replace(foreign, os.sep) for part in parts[1:]]
    return str(here).join(parts)


def _exists(look: Callable[[], bool]) -> bool:
    """What `look` finds; a name that this system cannot even ask for (too long) is not there."""
    try:
        return look()
    except OSError:
        return False
