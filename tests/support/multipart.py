"""Enqueue bodies as the original's client puts them on the wire.

.NET's HttpClient writes them so: the boundary in quotes, `Content-Type` before
`Content-Disposition`, unquoted names where a token allows it, a file name that is not ASCII as an
RFC 2047 word in quotes with RFC 5987's `filename*` beside it, and the body chunked.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import requests

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


@dataclass(frozen=True)
class Part:
    """One part: its headers, ready to write, and its content."""

    headers: tuple[str, ...]
    content: bytes


def request_part(request: Mapping[str, Any] | bytes) -> Part:
    """The JSON part, named `request`. Bytes are sent as they are, to be wrong on purpose."""
    content = request if isinstance(request, bytes) else json.dumps(request).encode()
    return Part(
        (
            "Content-Type: application/json; charset=utf-8",
            "Content-Disposition: form-data; name=request",
        ),
        content,
    )


def file_part(name: str, content: bytes) -> Part:
    """The project, named `file`."""
    disposition = (
        f"form-data; name=file; filename={dotnet_file_name(name)}; "
        f"filename*=utf-8''{quote(name, safe='')}"
    )
    return Part((f"Content-Disposition: {disposition}",), content)


def dotnet_file_name(name: str) -> str:
    """The `filename` parameter as .NET writes it."""
    if not name.isascii():
        return f'"=?utf-8?B?{base64.b64encode(name.encode()).decode()}?="'
    return name if _TOKEN.fullmatch(name) else f'"{name}"'


@dataclass(frozen=True)
class Body:
    """A multipart body, whole."""

    content_type: str
    content: bytes

    def chunks(self, size_bytes: int = 4096) -> Iterator[bytes]:
        """The content in the pieces of a chunked transfer."""
        for start in range(0, len(self.content), size_bytes):
            yield self.content[start : start + size_bytes]


def body(parts: Sequence[Part]) -> Body:
    """The parts with a quoted GUID for a boundary."""
    boundary = str(uuid.uuid4())
    pieces = [
        f"--{boundary}\r\n".encode()
        + "".join(f"{header}\r\n" for header in part.headers).encode()
        + b"\r\n"
        + part.content
        + b"\r\n"
        for part in parts
    ]
    content = b"".join(pieces) + f"--{boundary}--\r\n".encode()
    return Body(f'multipart/form-data; boundary="{boundary}"', content)


def enqueue_body(
    file_name: str,
    content: bytes,
    arguments: Mapping[str, str],
    engine_id: str = "0",
    **fields: Any,
) -> Body:
    """What the original's client sends; its engine id is always "0". `fields`: ours, in addition."""
    values = [{"ArgTypeId": name, "Value": value} for name, value in arguments.items()]
    request = {"EngineId": engine_id, "Arguments": values, **fields}
    return body([request_part(request), file_part(file_name, content)])


def post(
    url: str, sent: Body, headers: Mapping[str, str], chunked: bool = True, timeout_s: float = 120
) -> requests.Response:
    """POST the body, chunked as .NET does or with a Content-Length."""
    return requests.post(
        url,
        data=sent.chunks() if chunked else sent.content,
        headers={**headers, "Content-Type": sent.content_type},
        timeout=timeout_s,
    )
