"""Who may call /hpc: the one place that decides it.

For now a node listens on loopback unless its admin says otherwise, and what must be kept out are
the web pages that a browser on this machine shows: they can reach loopback as well. A browser
gives itself away by an Origin header, or, where a page's own name was rebound to this machine's
address, by that name in the Host header.
"""

from __future__ import annotations

import functools
import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Call:
    """What is known of a request before its body is read. None: the header is absent."""

    origin: str | None
    host: str | None


class Callers:
    """Decides about each call."""

    def __init__(
        self, listen_host: str, own_names: Callable[[], frozenset[str]] | None = None
    ) -> None:
        """`own_names` tells this machine's names in lower case; asked only when it matters."""
        self._listen_host = listen_host.lower()
        self._own_names = own_names or machine_names

    def refusal(self, call: Call) -> str | None:
        """Why this call may not be made, as a sentence; None when it may. Any thread."""
        if call.origin is not None:
            return "A node takes no orders from web pages: the request has an Origin header."
        if call.host is None or self._is_own(host_name(call.host)):
            return None
        return (
            f"This node is not {host_name(call.host) or 'called so'}: the Host header is neither "
            "an IP address nor this machine's name. Reach it by its address."
        )

    def _is_own(self, name: str) -> bool:
        if name in ("localhost", self._listen_host):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._own_names()
        return True


def host_name(host_header: str) -> str:
    """The name or address in a Host header, in lower case, without port and brackets."""
    host = host_header.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    if host.count(":") > 1:
        return host  # an IPv6 address without its brackets
    return host.partition(":")[0].rstrip(".")


@functools.cache
def machine_names() -> frozenset[str]:
    """This machine's own names, in lower case. The first call may take seconds (a DNS look-up)."""
    name = socket.gethostname().lower().rstrip(".")
    short = name.partition(".")[0]
    return frozenset({name, short, f"{short}.local", socket.getfqdn().lower().rstrip(".")})
