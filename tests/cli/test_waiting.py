"""Following tasks to their end, also while the farm is away for a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import bottle
import pytest

from renderonline import wire
from renderonline.client import Client, NotFound, Unreachable
from renderonline.commands import waiting
from renderonline.serving import JsonApp, reply
from renderonline.wire import ChunkState, TaskState

Serve = Callable[..., str]


def detail(state: TaskState = TaskState.QUEUED, **fields: Any) -> wire.TaskDetail:
    chunks, warnings = fields.pop("chunks", []), fields.pop("warnings", [])
    task = wire.Task(
        task_id=fields.pop("task_id", 1),
        user_id=1,
        queue_time="2026-01-01T00:00:00",
        start_time=None,
        end_time=None,
        is_running=False,
        is_success=False,
        render_id=1,
        machine_id=fields.pop("machine_id", None),
        state=state,
        **fields,
    )
    render = wire.Render(
        render_id=1, file_name="a.blend", file_path="", file_size=1, arguments="", engine_id=1
    )
    engine = wire.Engine(
        engine_id=1, name="blender", extension=".blend", download_path="", render_argument=""
    )
    return wire.TaskDetail(
        task=task, render=render, engine=engine, chunks=chunks, warnings=warnings
    )


def chunk(machine_id: int, state: ChunkState) -> wire.Chunk:
    return wire.Chunk(
        attempt_id=machine_id,
        machine_id=machine_id,
        state=state,
        frames=None,
        progress=0.0,
        frames_done=0,
        started_at=None,
        ended_at=None,
        exit_code=None,
        cause=None,
        message=None,
    )


AWAY = bottle.HTTPResponse("<html>Bad Gateway</html>", 502)
"""What a proxy says while the farm behind it is being restarted."""


def scripted(*answers: object) -> JsonApp:
    """A farm whose task 1 is asked for again and again, and does one thing after the other."""
    app = JsonApp()
    script: Iterator[object] = iter(answers)

    @app.get("/renderapi/v1/tasks/1")
    def _task() -> object:
        answer = next(script)
        return reply(answer) if isinstance(answer, wire.Message) else answer

    return app


def follow(url: str) -> wire.TaskDetail | NotFound:
    """How task 1 ends."""
    with Client(url, "artist@example.com", "token") as client:
        ((task_id, end),) = waiting.ends(client, {1: "a.blend"})
    assert task_id == 1
    return end


def state_of(end: wire.TaskDetail | NotFound) -> TaskState:
    assert isinstance(end, wire.TaskDetail)
    return end.task.state


@pytest.mark.parametrize("state", [TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED])
def test_a_task_is_followed_to_its_end(
    state: TaskState, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    running = detail(
        TaskState.RUNNING,
        progress=0.25,
        frames_total=4,
        frames_done=1,
        chunks=[chunk(3, ChunkState.RUNNING)],
    )
    url = serve(scripted(detail(frames_total=4), running, running, detail(state, frames_total=4)))
    assert state_of(follow(url)) is state
    assert capsys.readouterr().err.splitlines() == [
        "a.blend: queued, 0/4 frames",
        "a.blend: running, 1/4 frames, machine 3",
        f"a.blend: {state}, 0/4 frames",
    ]


def test_what_a_task_waits_for_is_said_once_when_it_is_news(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    lonely, refused = "No machine has the engine blender.", "The machine refused: busy."
    answers = [
        detail(),
        detail(warnings=[lonely]),
        detail(warnings=[lonely, refused]),
        detail(warnings=[refused]),
        detail(TaskState.SUCCEEDED, warnings=["A library is missing.", lonely]),
    ]
    assert state_of(follow(serve(scripted(*answers)))) is TaskState.SUCCEEDED
    assert capsys.readouterr().err.splitlines() == [
        "a.blend: queued, 0%",
        f"Warning: a.blend: {lonely}",
        f"Warning: a.blend: {refused}",
        "a.blend: succeeded, 0%",
        "Warning: a.blend: A library is missing.",
    ]


def test_a_farm_that_is_away_for_a_moment_is_waited_for(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    url = serve(scripted(detail(), AWAY, AWAY, detail(TaskState.SUCCEEDED)))
    assert state_of(follow(url)) is TaskState.SUCCEEDED
    assert "Waiting for it to come back." in capsys.readouterr().err


def test_patience_ends(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE_S", -1)
    url = serve(scripted(AWAY, detail(TaskState.SUCCEEDED)))
    with pytest.raises(Unreachable, match="502"):
        follow(url)


def test_a_task_that_was_deleted_meanwhile(serve: Serve) -> None:
    gone = reply(wire.ErrorBody(error="not_found", error_message="There is no task 1."), 404)
    assert "no task 1" in str(follow(serve(scripted(detail(), gone))))


def test_the_farm_is_asked_often_while_the_task_is_young_and_never_rarer_than_each_second() -> None:
    ages_s = [0, 1, 5, 10, 60, 86_400]
    assert [waiting.pause_s(age_s) for age_s in ages_s] == [0.1, 0.1, 0.5, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("seen", "frames", "where"),
    [
        (detail(), "0%", ""),
        (detail(progress=0.426), "43%", ""),
        (detail(frames_total=10, frames_done=3), "3/10 frames", ""),
        (detail(frames_total=9, frames_done=3, frames_failed=1), "3/9 frames, 1 failed", ""),
        (detail(machine_id=7), "0%", "machine 7"),
        (
            detail(
                machine_id=7,
                chunks=[
                    chunk(5, ChunkState.RUNNING),
                    chunk(2, ChunkState.ASSIGNED),
                    chunk(9, ChunkState.LOST),
                ],
            ),
            "0%",
            "machines 2, 5",
        ),
    ],
)
def test_what_is_said_of_a_task(seen: wire.TaskDetail, frames: str, where: str) -> None:
    assert (waiting.frames_text(seen.task), waiting.where_text(seen)) == (frames, where)
