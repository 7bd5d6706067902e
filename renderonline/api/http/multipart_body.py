"""Reads enqueue's multipart body as a stream: constant memory, the file written and hashed once.

The order of the parts is not given. The first part with a file name is the project; a second one
is only counted, so that the answer can say so.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import multipart

from renderonline import serving
from renderonline.api.services.enqueue import Upload
from renderonline.api.storage.durable import HashedFile

READ_BYTES = 256 * 1024
MAX_REQUEST_BYTES = serving.LARGE_BODY_BYTES
MAX_PARTS = 16
OVERHEAD_BYTES = 1 << 20
"""What a body may have around its file: the request, headers, parts that nobody wants."""


class BadBody(Exception):
    """A body that is not what it should be. `status` is HTTP's; the text a sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def too_large(limit_bytes: int) -> str:
    """What to say of a project above the limit."""
    return f"The file is larger than this server's limit of {limit_bytes} bytes."


CHECK_BYTES = 64 << 20
"""How much of a file is taken before it is looked again whether there is still room."""


def receive(
    stream: Any,
    content_type: str,
    length: int | None,
    target: Path,
    limit_bytes: int,
    check_room: Callable[[], None],
) -> Upload:
    """Read the whole body; the project goes to `target`, which is the caller's to remove.

    `check_room` is asked again and again. Raises BadBody; what it raises; OSError when the disk does not take it or the connection breaks off.
    """
    kind, options = multipart.parse_options_header(content_type)
    boundary = options.get("boundary", "")
    if kind.lower() != "multipart/form-data" or not boundary:
        raise BadBody(400, "No file was sent: the body should be multipart/form-data.")
    receiver = _Receiver(target, limit_bytes, check_room)
    try:
        with (
            receiver,
            multipart.PushMultipartParser(boundary, max_segment_count=MAX_PARTS) as parser,
        ):
            left, taken_bytes = length, 0
            while not parser.closed:
                block = serving.read_body(
                    stream, READ_BYTES if left is None else min(READ_BYTES, left)
                )
                taken_bytes += len(block)
                if taken_bytes > limit_bytes + OVERHEAD_BYTES:
                    raise BadBody(413, too_large(limit_bytes))
                if left is not None:
                    left -= len(block)
                for event in parser.parse(block):
                    receiver.take(event)
    except multipart.ParserLimitReached:
        raise BadBody(413, "The body has too many or too large parts.") from None
    except multipart.MultipartError as error:
        if isinstance(error.args[-1], UnicodeDecodeError):
            raise BadBody(400, "A part's header, such as its file name, is not UTF-8.") from None
        raise BadBody(400, f"The body is not complete multipart/form-data: {error}.") from None
    return receiver.upload()


class _Receiver:
    """Takes the parser's events: a segment, pieces of its content, None at its end."""

    def __init__(self, target: Path, limit_bytes: int, check_room: Callable[[], None]) -> None:
        self._check_room = check_room
        self._unchecked_bytes = 0
        self._target = target
        self._limit_bytes = limit_bytes
        self._file: HashedFile | None = None
        self._part = ""  # "file", "request" or "" for what is not wanted
        self._sent_name = ""
        self._sha256 = ""
        self._file_count = 0
        self._request: bytearray | None = None

    def __enter__(self) -> _Receiver:
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._file is not None:
            self._file.close()

    def take(self, event: Any) -> None:
        if event is None:
            self._end_part()
        elif isinstance(event, bytes | bytearray):
            self._content(event)
        else:
            self._begin_part(event)

    def upload(self) -> Upload:
        return Upload(
            file=self._target if self._file_count else None,
            sent_name=self._sent_name,
            size_bytes=self._file.size_bytes if self._file else 0,
            file_count=self._file_count,
            request=None if self._request is None else bytes(self._request),
            sha256=self._sha256,
        )

    def _begin_part(self, segment: Any) -> None:
        self._part = ""
        if segment.filename is not None:
            self._file_count += 1
            if self._file_count == 1:
                self._part = "file"
                self._sent_name = segment.filename
                self._file = HashedFile(self._target)
        elif (segment.name or "").lower() == "request" and self._request is None:
            self._part = "request"
            self._request = bytearray()

    def _content(self, piece: bytes | bytearray) -> None:
        if self._part == "file" and self._file is not None:
            if self._file.size_bytes + len(piece) > self._limit_bytes:
                raise BadBody(413, too_large(self._limit_bytes))
            self._file.write(piece)
            self._unchecked_bytes += len(piece)
            if self._unchecked_bytes >= CHECK_BYTES:
                self._unchecked_bytes = 0
                self._check_room()
        elif self._part == "request" and self._request is not None:
            self._request += piece
            if len(self._request) > MAX_REQUEST_BYTES:
                raise BadBody(413, f"The request part is larger than {MAX_REQUEST_BYTES} bytes.")

    def _end_part(self) -> None:
        if self._part == "file" and self._file is not None:
            self._sha256 = self._file.finish()
        self._part = ""
