"""Asks and tells the nodes: /hpc, the original's and ours.

One request at a time per call; nothing of it holds a database connection.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TypeVar

import requests

from renderonline import wire
from renderonline.api.domain.model import Machine

CONNECT_TIMEOUT_S = 2.0
STATUS_TIMEOUT_S = 5.0
START_TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 1 << 20

A = TypeVar("A", bound=wire.Message)


class Unreachable(Exception):
    """The machine did not answer, or not as a node would. The request may have arrived."""


class NotDelivered(Unreachable):
    """There was no connection: the request has not arrived."""


class HpcClient:
    """Requests to nodes, from any thread; each thread keeps its own connections."""

    def __init__(self) -> None:
        self._local = threading.local()

    def status(self, machine: Machine, headers: Mapping[str, str] | None = None) -> wire.HpcStatus:
        """Raises Unreachable."""
        answer = self._ask("GET", machine, "status", None, STATUS_TIMEOUT_S, headers)
        return self._read(answer, wire.HpcStatus)

    def start(self, machine: Machine, message: wire.HpcStart) -> wire.HpcAnswer:
        """The node's answer, a refusal too. Raises Unreachable."""
        return self._read(
            self._ask("POST", machine, "start", message, START_TIMEOUT_S), wire.HpcAnswer
        )

    def stop(self, machine: Machine, message: wire.HpcStop) -> wire.HpcAnswer:
        """The node's answer, a refusal too. Raises Unreachable."""
        return self._read(
            self._ask("POST", machine, "stop", message, START_TIMEOUT_S), wire.HpcAnswer
        )

    def _ask(
        self,
        method: str,
        machine: Machine,
        what: str,
        message: wire.Message | None,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        host = f"[{machine.ip_address}]" if ":" in machine.ip_address else machine.ip_address
        try:
            with self._session().request(
                method,
                f"http://{host}:{machine.port}/hpc/{what}",
                data=None if message is None else wire.encode(message),
                headers={"Content-Type": "application/json", **(headers or {})},
                timeout=(CONNECT_TIMEOUT_S, timeout_s),
                allow_redirects=False,
                stream=True,
            ) as response:
                body = response.raw.read(MAX_ANSWER_BYTES, decode_content=True)
        except requests.ConnectTimeout as error:
            raise NotDelivered(str(error)) from None
        except requests.ConnectionError as error:
            raise _delivery(error)(str(error)) from None
        except (requests.RequestException, OSError, ValueError) as error:
            raise Unreachable(str(error)) from None
        return bytes(body)

    def _read(self, body: bytes, shape: type[A]) -> A:
        try:
            return wire.decode(body, shape)
        except wire.WireError as error:
            raise Unreachable(f"That is no render node: {error}") from None

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.trust_env = False  # no proxy between a farm and its machines
            self._local.session = session
        return session


def _delivery(error: requests.ConnectionError) -> type[Unreachable]:
    refused = "NewConnectionError" in repr(error) or "NameResolutionError" in repr(error)
    return NotDelivered if refused else Unreachable
