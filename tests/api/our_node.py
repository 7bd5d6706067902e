"""A machine of ours without a renderer: it takes starts as a node does, and says what the test says.

Unlike the original's it reports by itself, and can be told to stop when its frame is saved.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support.original_node import Answer, OriginalNode
from support.waiting import wait_until

from .house import House

Json = dict[str, Any]


class OurNode(OriginalNode):
    """`starts` and `stops` are the messages that it got, names in lower case."""

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        status, answered = super().answer(method, path, body)
        if path == "/hpc/status" and isinstance(answered, dict):
            answered = answered | {
                "Protocol": 1,
                "Engines": [{"EngineId": name, "Version": "4.5.1"} for name in self.engine_ids],
                "Platform": "linux",
                "Cores": 8,
                "MemoryBytes": 16 << 30,
                "Tags": ["gpu"],
                "Vitals": {"Load": 0.25, "MemoryFreeBytes": 12 << 30},
            }
        return status, answered

    def _stop(self, body: bytes) -> Answer:
        running = self.task
        answer = super()._stop(body)
        if self.stops[-1].get("afterframe"):
            self.task = running  # it goes on to the end of its frame
        return answer

    def report(self, house: House, start: Json, sequence: int, **event: Any) -> bool:
        """Report one event of the attempt of this start, and begin what comes with the answer;
        whether it was taken."""
        answer = house.request(
            "POST",
            f"node/attempts/{start['attemptid']}/events",
            json={"Sequence": sequence, "Events": [event]},
            headers={"X-Attempt-Key": start["reportkey"], "email": "", "token": ""},
        )
        assert answer.status_code == 200, answer.text
        if following := answer.json()["Next"]:
            self.answer("POST", "/hpc/start", json.dumps(following).encode())
        return bool(answer.json()["Accepted"])

    def wait_for_start(self, task_id: int) -> Json:
        """The start message of the task's attempt that is on this machine now."""
        return wait_until(
            lambda: next((s for s in reversed(self.starts) if s["taskid"] == task_id), None),
            f"task {task_id} is started",
        )

    def wait_for_stop(self, task_id: int, count: int = 1) -> Json:
        """The last message that told to stop it, when there have been `count`."""
        told = wait_until(
            lambda: [s for s in self.stops if s["taskid"] == task_id][count - 1 :],
            f"task {task_id} is told to stop",
        )
        return dict(told[-1])


@contextmanager
def our_node(*engine_ids: str) -> Iterator[OurNode]:
    """One with these engines, up and idle."""
    node = OurNode(list(engine_ids))
    node.up()
    try:
        yield node
    finally:
        node.down()
