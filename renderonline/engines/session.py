"""A renderer that stays open between the chunks of a task: what to start it with, what to ask of it.

Pure. The process reads requests on its stdin, one line each, and ends the output of each with a
line that only it can have written, because the request's token is in it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

ENDED = "renderonline: chunk {token} ended with "
"""How the answer to a request begins; the chunk's exit code follows. blender_session prints it."""


@dataclass(frozen=True, slots=True)
class FrameSpan:
    """Frames `first` to `last`, both included; `step` None: the scene's own."""

    first: int
    last: int
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """One chunk for a process that can go on with the next one afterwards.

    `command` is the process, executable first, and holds nothing of the chunk: chunks whose
    commands are equal can follow each other in one process. `files` are those that it loads, as
    the command line has them: where one has changed since, what is loaded is out of date.
    """

    command: tuple[str, ...]
    files: tuple[str, ...]
    spans: tuple[FrameSpan, ...]

    def request(self, token: str) -> str:
        """The line, without its end, that asks the process for this chunk."""
        spans = [[span.first, span.last, span.step] for span in self.spans]
        return json.dumps({"token": token, "spans": spans})


def exit_code_in(line: str, token: str) -> int | None:
    """The exit code of the chunk that was asked for with `token`, if this line ends it."""
    # Somewhere in the line: what another thread was printing may stand in front.
    _, _, code = line.partition(ENDED.format(token=token))
    return int(code) if code.isascii() and code.isdigit() else None
