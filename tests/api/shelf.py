"""A client of a running api that sends whole projects: hashes, what is missing, manifests.

Owns how a test says what a project is: a mapping from path to bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import requests

from .house import FRAMES, House, Person

Files = Mapping[str, bytes]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def manifest(files: Files, main: str | None = None, **changed: Any) -> dict[str, Any]:
    """The manifest of these files; the first one is the main file unless another is named."""
    listed = [
        {"Path": path, "Sha256": sha256(content), "Size": len(content)}
        for path, content in files.items()
    ]
    return {"Main": next(iter(files), "") if main is None else main, "Files": listed, **changed}


def request(project: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """The JSON of a submission of this manifest."""
    arguments = [{"ArgTypeId": name, "Value": value} for name, value in FRAMES.items()]
    return {"EngineId": "0", "Arguments": arguments, "Manifest": project, **fields}


def submit(
    house: House, project: Mapping[str, Any], person: Person | None = None, **fields: Any
) -> requests.Response:
    """POST tasks, whatever is answered."""
    return house.request("POST", "tasks", person, json=request(project, **fields))


def missing(house: House, *contents: bytes, person: Person | None = None) -> list[str]:
    """What the api says that it lacks of these."""
    asked = [{"Sha256": sha256(content), "Size": len(content)} for content in contents]
    answer = house.request("POST", "files/missing", person, json={"Files": asked})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["Missing"])
