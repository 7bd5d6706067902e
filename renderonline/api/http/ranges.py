"""What a request wants of some bytes: all of them, a part, or only whether they are still the same.

The one place for conditions and ranges (RFC 9110, sections 13 and 14), over both servers. One part
at most: who asks for several gets the whole, which the RFC allows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Protocol

import bottle

from renderonline import serving, wire

_ONE_RANGE = re.compile(
    r"bytes[ \t]*=[ \t,]*(?:(\d{1,30})-(\d{1,30})?|-(\d{1,30}))[ \t,]*", re.ASCII | re.IGNORECASE
)
_TAG = re.compile(r'(?:W/)?("[^"]*")')


class Content(Protocol):
    """Bytes whose number is known, and which can be had from anywhere on."""

    @property
    def size_bytes(self) -> int: ...

    @property
    def etag(self) -> str:
        """Names these very bytes (a strong validator), without quotes; nothing in it needs any."""
        ...

    def pieces(self, start: int, stop: int) -> Iterable[bytes]:
        """The bytes from `start` up to `stop`. An OSError breaks the answer off."""
        ...


class Unsatisfiable(ValueError):
    """A range that begins behind the last byte."""


def answer(content: Content, headers: Mapping[str, str]) -> bottle.HTTPResponse:
    """The answer to this thread's GET or HEAD request for `content`; `headers` describe it."""
    tag = f'"{content.etag}"'
    told = {**headers, "ETag": tag, "Accept-Ranges": "bytes"}
    if is_known(serving.header("If-None-Match"), tag):
        return unchanged(content.etag, headers)
    try:
        part = _asked(content, tag)
    except Unsatisfiable:
        return _not_there(content.size_bytes)
    start, stop = part or (0, content.size_bytes)
    told["Content-Length"] = str(stop - start)
    if part is not None:
        told["Content-Range"] = f"bytes {start}-{stop - 1}/{content.size_bytes}"
    is_head = bottle.request.method == "HEAD"
    body = b"" if is_head or start == stop else content.pieces(start, stop)
    return bottle.HTTPResponse(body, 200 if part is None else 206, headers=told)


def unchanged(etag: str, headers: Mapping[str, str]) -> bottle.HTTPResponse:
    """The answer to whom has these bytes."""
    return bottle.HTTPResponse(b"", 304, headers={**headers, "ETag": f'"{etag}"'})


def _asked(content: Content, tag: str) -> tuple[int, int] | None:
    if bottle.request.method != "GET":
        return None  # a range is a GET's alone
    condition = serving.header("If-Range")
    if condition is not None and condition.strip() != tag:
        return None  # of other bytes; a date never names ours
    return part(serving.header("Range"), content.size_bytes)


def part(wanted: str | None, size_bytes: int) -> tuple[int, int] | None:
    """What a Range header means for so many bytes: (start, stop); None: the whole.

    What is no range, or several of them, means the whole. Raises Unsatisfiable.
    """
    found = _ONE_RANGE.fullmatch(wanted or "")
    if found is None:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        if int(suffix) == 0:
            raise Unsatisfiable
        return (max(0, size_bytes - int(suffix)), size_bytes) if size_bytes else None
    if last is not None and int(last) < int(first):
        return None
    if int(first) >= size_bytes:
        raise Unsatisfiable
    stop = size_bytes if last is None else min(int(last) + 1, size_bytes)
    return int(first), stop


def is_known(condition: str | None, tag: str) -> bool:
    """Whether an If-None-Match header names the bytes with the entity tag `tag`."""
    if condition is None:
        return False
    return condition.strip() == "*" or tag in _TAG.findall(condition)


def _not_there(size_bytes: int) -> bottle.HTTPResponse:
    message = f"There are {size_bytes} bytes; the range begins behind the last one."
    refused = serving.reply(wire.ErrorBody(error="no_such_range", error_message=message), 416)
    refused.set_header("Content-Range", f"bytes */{size_bytes}")
    return refused
