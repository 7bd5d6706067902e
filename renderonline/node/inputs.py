"""Where an attempt's project comes from: the interface, and the disk that both sides see.

Fetching by content hash over HTTP is another implementation of the same interface.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from renderonline.node.refusal import Refusal
from renderonline.wire import HpcStart


class Inputs(Protocol):
    """Makes an attempt's project available on this machine."""

    def prepare(self, start: HpcStart) -> Path:
        """The folder to work in, with everything in place. Called in the start's request.

        Raises Refusal when the project cannot be had here.
        """
        ...


class LocalInputs:
    """The project lies already on a disk that api and node both see, under the same path."""

    def __init__(self, fallback_dir: Path) -> None:
        """`fallback_dir` is the working folder of a start that names no project at all."""
        self._fallback_dir = fallback_dir

    def prepare(self, start: HpcStart) -> Path:
        if start.task_dir is None:
            return self._fallback_dir
        folder = Path(start.task_dir)
        if not folder.is_absolute() or not _exists(folder.is_dir):
            raise Refusal(
                f"The project folder {start.task_dir} is not visible from this machine "
                f"({socket.gethostname()}). Give api and node a disk that both see under the "
                "same path, or render this project on the api's machine."
            )
        return folder


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


def _exists(look: Callable[[], bool]) -> bool:
    """What `look` finds; a name that this system cannot even ask for (too long) is not there."""
    try:
        return look()
    except OSError:
        return False
