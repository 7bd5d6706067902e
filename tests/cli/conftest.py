"""Fixtures of the client's and the command line's tests: other people's servers, sign-ins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from renderonline.config import CertificateFiles
from renderonline.serving import Server

from .certificates import make_certificate

Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves a WSGI app on a free port of loopback until the test ends; gives its address."""
    with ExitStack() as running:

        def start(app: Any, certificate: CertificateFiles | None = None) -> str:
            server = Server(app, "127.0.0.1", 0, certificate, max_body_bytes=lambda _: 1 << 30)
            running.callback(server.close)
            server.start()
            return server.url

        yield start


@pytest.fixture
def certificate(tmp_path: Path) -> CertificateFiles:
    """A self-signed certificate for 127.0.0.1."""
    return make_certificate(tmp_path / "tls", "127.0.0.1")


@pytest.fixture(autouse=True)
def private_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees or changes the sign-in of whoever runs it."""
    for name in ("SERVER", "EMAIL", "TOKEN", "TOKEN_FILE"):
        monkeypatch.delenv(f"RENDERONLINE_{name}", raising=False)
    for name in (
        "HOME",
        "XDG_CONFIG_HOME",
        "XDG_CACHE_HOME",
        "APPDATA",
        "LOCALAPPDATA",
        "USERPROFILE",
    ):
        monkeypatch.setenv(name, str(tmp_path / "home"))
