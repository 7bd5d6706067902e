"""Who may call a node."""

from __future__ import annotations

import socket

import pytest

from renderonline.node.callers import Call, Callers, host_name, machine_names

NAMES = frozenset({"node1", "node1.local", "node1.studio.lan"})


@pytest.mark.parametrize(
    "host",
    [None, "127.0.0.1:5001", "192.168.1.10:5001", "192.168.1.10", "[::1]:5001", "[fe80::1]", "::1",
     "localhost:5001", "LOCALHOST", "localhost.:5001", "node1:5001", "Node1.studio.lan:5001",
     "node1.local", "farm.example:5001"],
)  # fmt: skip
def test_these_may(host: str | None) -> None:
    callers = Callers("farm.example", lambda: NAMES)
    assert callers.refusal(Call(origin=None, host=host)) is None


@pytest.mark.parametrize(
    "host",
    ["evil.example:5001", "node1.evil.example", "127.0.0.1.evil.example", "", "localhost.evil", "a b"],
)  # fmt: skip
def test_a_rebound_name_may_not(host: str) -> None:
    refusal = Callers("127.0.0.1", lambda: NAMES).refusal(Call(origin=None, host=host))
    assert refusal is not None
    assert "Host header" in refusal


@pytest.mark.parametrize("origin", ["null", "", "http://localhost:5001", "https://evil.example"])
def test_a_web_page_may_not(origin: str) -> None:
    refusal = Callers("127.0.0.1", lambda: NAMES).refusal(Call(origin, host="127.0.0.1:5001"))
    assert refusal is not None
    assert "Origin" in refusal


def test_own_names_include_the_host_name() -> None:
    assert host_name(socket.gethostname()) in machine_names()
