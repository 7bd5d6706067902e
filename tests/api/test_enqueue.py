"""Taking a submission in, by itself: who is woken when, and that it is all of it or nothing."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from renderonline import wire
from renderonline.api.db import catalog, tasks
from renderonline.api.db.connection import DatabaseError
from renderonline.api.services.context import Context, Refused
from renderonline.api.services.enqueue import Upload, enqueue

from .control import Control


@pytest.fixture
def farm(control: Control) -> Control:
    control.add_engine("any")
    return control


def upload(control: Control, name: str = "scene.any", **fields: Any) -> Upload:
    """What a body held that was received."""
    file = control.ctx.folders.incoming_file()
    file.write_bytes(b"a project")
    request = wire.encode(wire.EnqueueRequest(engine_id="0", **fields))
    return Upload(file, name, 9, 1, request, hashlib.sha256(b"a project").hexdigest())


def files(control: Control) -> list[str]:
    below = control.settings.data_path
    return sorted(p.relative_to(below).as_posix() for p in below.rglob("*") if p.is_file())


def test_dispatcher_is_woken_once_the_task_is_there(farm: Control) -> None:
    seen: list[bool] = []
    ctx: Context = replace(farm.ctx, changed=lambda number: seen.append(farm.is_queued(number)))
    assert enqueue(ctx, farm.user(), upload(farm)) == 1
    assert seen == [True]


def test_nobody_is_woken_by_a_refusal(farm: Control) -> None:
    woken: list[int] = []
    ctx = replace(farm.ctx, changed=woken.append)
    with pytest.raises(Refused):
        enqueue(ctx, farm.user(), upload(farm, "scene.other"))
    assert woken == []


def test_project_is_kept_once_and_settled(farm: Control) -> None:
    sent = upload(farm)
    task_id = enqueue(farm.ctx, farm.user(), sent)
    assert sent.file is not None
    assert not sent.file.exists()
    assert (farm.folder(task_id) / "scene.any").read_bytes() == b"a project"
    project = farm.folder(task_id) / "scene.any"
    others = ("farm.sqlite3", "contents/", "programs.lock", "uploads.lock")
    kept = [name for name in files(farm) if not name.startswith(others)]
    assert kept == [project.relative_to(farm.settings.data_path).as_posix()]
    content = farm.ctx.contents.path(sent.sha256)
    assert content is not None
    assert content.samefile(project) or content.read_bytes() == project.read_bytes()


def test_commit_that_fails_leaves_no_folder(farm: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database goes away after the project has been put into its place."""
    user, sent = farm.user(), upload(farm)

    def gone(*_arguments: object, **_columns: object) -> int:
        kept = {Path(name).parts[0] for name in files(farm)}
        assert {"projects", "pending", "contents"} <= kept
        raise DatabaseError("gone")

    monkeypatch.setattr(tasks, "add", gone)
    with pytest.raises(DatabaseError, match="gone"):
        enqueue(farm.ctx, user, sent)
    left = ("projects", "pending", "contents")
    assert [name for name in files(farm) if name.startswith(left)] == []


def test_times_are_the_servers_own_in_whole_seconds(farm: Control) -> None:
    farm.clock.pass_s(0.75)
    task_id = enqueue(farm.ctx, farm.user(), upload(farm))
    job = farm.job(task_id)
    assert job.task.queue_time == farm.ctx.local_now().replace(microsecond=0)
    assert job.render.task_dir.name.endswith("7500000"), "the folder's ticks are exact"


def test_engine_with_a_folder_of_its_own(farm: Control, tmp_path: Path) -> None:
    farm.database.transact(
        lambda _tx: catalog.update_row("engine", 2, {"download_path": str(tmp_path / "elsewhere")})
    )
    task_id = enqueue(farm.ctx, farm.user(), upload(farm))
    assert farm.folder(task_id).parent == tmp_path / "elsewhere" / str(farm.user().user_id)
    assert [name for name in files(farm) if name.startswith("pending")] == []


def test_folder_that_cannot_be_made_is_said(farm: Control, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    path = str(tmp_path / "file" / "below")
    farm.database.transact(lambda _tx: catalog.update_row("engine", 2, {"download_path": path}))
    with pytest.raises(Refused, match="cannot write the project") as refusal:
        enqueue(farm.ctx, farm.user(), upload(farm))
    assert refusal.value.status == 507
    assert not farm.is_queued(1)
