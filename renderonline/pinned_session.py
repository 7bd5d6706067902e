"""Sessions of requests that hold a server to one certificate. Apart from `pinning`, since loading
requests takes longer than most commands."""

from __future__ import annotations

from typing import Any

import requests
from requests.adapters import HTTPAdapter


def pin(session: requests.Session, fingerprint: str) -> None:
    """Let a session trust, over https, this certificate and no other."""
    session.mount("https://", _Pinned(fingerprint))
    session.verify = False  # by an authority; the fingerprint is looked at all the same


class _Pinned(HTTPAdapter):
    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(
            *args, assert_fingerprint=self._fingerprint, assert_hostname=False, **options
        )
