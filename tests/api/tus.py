"""The tus protocol by hand: requests as the specification has them, one at a time.

Owns how a test speaks it; `tests/api/test_uploads.py` also lets another client speak it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from .house import House, Person

ROUTE = "files/uploads"
HEADERS = {"Tus-Resumable": "1.0.0"}
PIECE = {**HEADERS, "Content-Type": "application/offset+octet-stream"}


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def creation(content: bytes, length: int | None = None) -> dict[str, str]:
    """The headers that begin an upload of this content."""
    sha256 = hashlib.sha256(content).hexdigest()
    return {
        **HEADERS,
        "Upload-Length": str(len(content) if length is None else length),
        "Upload-Metadata": f"sha256 {encoded(sha256)},name {encoded('wood.png')}",
    }


def checksum(piece: bytes, algorithm: str) -> dict[str, str]:
    digest = hashlib.new(algorithm, piece).digest()
    return {"Upload-Checksum": f"{algorithm} {encoded(digest)}"}


@dataclass(frozen=True)
class Upload:
    """One that has begun. Requests go out as `person`, or the house's artist."""

    house: House
    route: str
    person: Person | None = None

    def head(self, **options: Any) -> requests.Response:
        return self.house.request("HEAD", self.route, self.person, headers=HEADERS, **options)

    def offset(self) -> int:
        answer = self.head()
        assert answer.status_code == 200, answer.status_code
        return int(answer.headers["Upload-Offset"])

    def patch(
        self, offset: int, piece: Any, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        sent = {**PIECE, "Upload-Offset": str(offset), **(headers or {})}
        return self.house.request("PATCH", self.route, self.person, data=piece, headers=sent)

    def delete(self) -> requests.Response:
        return self.house.request("DELETE", self.route, self.person, headers=HEADERS)


def create(
    house: House,
    headers: Mapping[str, str],
    person: Person | None = None,
    data: bytes = b"",
) -> requests.Response:
    return house.request("POST", ROUTE, person, headers=dict(headers), data=data)


def begin(house: House, content: bytes, person: Person | None = None) -> Upload:
    answer = create(house, creation(content), person)
    assert answer.status_code == 201, answer.text
    return Upload(house, answer.headers["Location"].removeprefix("/renderapi/v1/"), person)


def send(house: House, content: bytes, person: Person | None = None) -> None:
    """Get this content into the store."""
    upload = begin(house, content, person)
    answer = upload.patch(0, content)
    assert answer.status_code == 204, answer.text
