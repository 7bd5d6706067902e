"""A node seen over HTTP, as an api sees it, and the starts that one sends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import requests
from support.waiting import wait_until

from .renderers import PATIENT, write_script

Json = dict[str, Any]


class Remote:
    """A node seen over HTTP, as an api sees it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def post(self, verb: str, body: Json | bytes | str, **headers: str) -> requests.Response:
        data = json.dumps(body) if isinstance(body, dict) else body
        return requests.post(f"{self.url}/hpc/{verb}", data=data, headers=headers, timeout=120)

    def start(self, **body: Any) -> Json:
        """A start that must succeed."""
        response = self.post("start", body)
        assert response.status_code == 200, response.text
        answer: Json = response.json()
        assert answer["IsSuccess"] is True
        return answer

    def refused(self, verb: str, body: Json | bytes | str) -> str:
        """The sentence of a 400 in the original's shape."""
        response = self.post(verb, body)
        assert response.status_code == 400, response.text
        assert set(response.json()) == {"IsSuccess", "Message"}
        assert response.json()["IsSuccess"] is False
        message: str = response.json()["Message"]
        assert "Traceback" not in message
        return message

    def status(self) -> Json:
        status: Json = requests.get(f"{self.url}/hpc/status", timeout=120).json()
        return status

    def task(self) -> Json:
        task: Json = self.status()["Task"]
        return task

    def ended(self) -> Json:
        """The task's status once it is over."""
        wait_until(lambda: not self.task()["IsRunning"], "the render has ended")
        return self.task()


def ours(project: Path, script: str, *arguments: str, attempt_id: int = 3, **more: Any) -> Json:
    """A start as our api sends it."""
    return {
        "EngineId": "python",
        "TaskId": 7,
        "Arguments": "not read when there is an Argv",
        "AttemptId": attempt_id,
        "Argv": ["python", script, *arguments],
        "TaskDir": str(project),
        "OutputDir": str(project / "output"),
        **more,
    }


def patient(project: Path, attempt_id: int = 3, **more: Any) -> tuple[Json, Path]:
    """A start whose render goes on until the file is made."""
    end = project / "end"
    script = write_script(project, PATIENT)
    begun = str(project / f"begun-{attempt_id}")
    return ours(project, script, begun, str(end), attempt_id=attempt_id, **more), end
