"""The farm's disk over time, on both databases: quotas, what is kept for so long, what nobody needs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from renderonline import wire
from renderonline.api.db import catalog, storage, tasks
from renderonline.api.domain.model import User
from renderonline.api.services import admin, enqueue, results, states
from renderonline.api.services import control as service
from renderonline.api.services import tasks as looking
from renderonline.api.services.context import Refused
from renderonline.api.services.pieces import Piece
from renderonline.api.storage.uploads import Upload

from .control import Control
from .test_contents import arrival, sha256

HOUR_S, DAY_S = 3600.0, 86_400.0


@pytest.fixture
def farm(control: Control) -> Control:
    control.add_engine("any")
    control.add_engine("other")
    return control


def subscribe(control: Control, **columns: Any) -> None:
    """What the one subscription says."""
    admin.change(control.database, "subscription", "Default", columns)


def another(control: Control) -> User:
    admin.add(control.database, "user", {"email": "other@example.com"})
    with control.database.reading():
        found = catalog.user_by_email("other@example.com")
    assert found is not None
    return found[0]


def manifest(files: Mapping[str, bytes]) -> wire.Manifest:
    listed = [
        wire.ManifestFile(path=path, sha256=sha256(content), size=len(content))
        for path, content in files.items()
    ]
    return wire.Manifest(main=next(iter(files)), files=listed)


def submit(
    control: Control, files: Mapping[str, bytes], user: User | None = None, **fields: Any
) -> int:
    """A task of this project, whose contents are there."""
    request = wire.EnqueueRequest(manifest=manifest(files), **fields)
    return enqueue.submit(control.ctx, user or control.user(), request)


def send(control: Control, *contents: bytes, by: int = 99) -> None:
    """Get these contents into the store; `by`: the user whose they are until a project has them."""
    for content in contents:
        control.ctx.contents.add(sha256(content), arrival(control, content), by)


def finish(control: Control, task_id: int, results: Mapping[str, bytes] | None = None) -> None:
    """The task is over, and has these results."""
    folder = control.job(task_id).render.output_dir
    for name, content in (results or {}).items():
        folder.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        folder.joinpath(name).write_bytes(content)
    assert states.cancel(control.ctx, task_id, "Over.")


def step(control: Control, days: float = 0.0) -> wire.CleanResponse:
    """Let time pass, then let the storekeeper work."""
    control.clock.pass_s(days * DAY_S)
    return control.ctx.storekeeper.step(control.ctx.clock.now())


def is_there(control: Control, content: bytes) -> bool:
    return control.ctx.contents.path(sha256(content)) is not None


def warnings(control: Control, task_id: int) -> list[str]:
    return looking.detail(control.ctx, control.user(), task_id).warnings


SCENE = {"scene.any": b"the scene", "wood.png": b"wood" * 100}


# --------------------------------------------------------------------------- what nobody needs


def test_content_of_no_task_stays_for_a_day(farm: Control) -> None:
    send(farm, b"wood")
    assert step(farm, days=0.9).contents == 0
    assert is_there(farm, b"wood")
    done = step(farm, days=0.2)
    assert (done.contents, done.freed_bytes) == (1, 4)
    assert not is_there(farm, b"wood")
    assert list(farm.ctx.contents.store.hashes()) == []


def test_content_that_is_asked_for_stays_longer(farm: Control) -> None:
    send(farm, b"wood")
    farm.clock.pass_s(0.9 * DAY_S)
    assert farm.ctx.contents.missing([sha256(b"wood")], keep=True) == []
    step(farm, days=0.9)
    assert is_there(farm, b"wood")
    step(farm, days=0.2)
    assert not is_there(farm, b"wood")


def test_who_needs_room_waits_an_hour(farm: Control) -> None:
    clean = farm.ctx.storekeeper.clean
    send(farm, b"wood", b"stone")
    assert clean(farm.ctx.clock.now()).contents == 0
    farm.clock.pass_s(0.9 * HOUR_S)
    farm.ctx.contents.missing([sha256(b"wood")], keep=True)
    farm.clock.pass_s(0.2 * HOUR_S)
    assert clean(farm.ctx.clock.now()).contents == 1
    assert is_there(farm, b"wood")
    farm.clock.pass_s(HOUR_S)
    assert clean(farm.ctx.clock.now()).contents == 1
    assert not is_there(farm, b"wood")


def test_projects_files_stay_as_long_as_a_task_has_it(farm: Control) -> None:
    send(farm, *SCENE.values())
    first, second = submit(farm, SCENE), submit(farm, {**SCENE, "also.png": b"wood" * 100})
    step(farm, days=100)
    assert all(is_there(farm, content) for content in SCENE.values())
    looking.delete(farm.ctx, farm.user(), first)
    step(farm, days=100)
    assert all(is_there(farm, content) for content in SCENE.values())
    manifest = farm.job(second).render.manifest
    looking.delete(farm.ctx, farm.user(), second)
    step(farm)
    assert all(is_there(farm, content) for content in SCENE.values()), "a day's grace"
    done = step(farm, days=1.1)
    assert done.contents == len(SCENE) + 2, "and two manifests"
    assert manifest is not None
    assert farm.ctx.contents.path(manifest) is None
    for table in ("contents", "manifests", "manifest_files"):
        with farm.database.reading():
            found = farm.database.peewee.execute_sql(f"SELECT * FROM {table}").fetchall()
            assert list(found) == []


def test_file_that_a_crash_left_without_a_row_goes(farm: Control) -> None:
    store, now = farm.ctx.contents.store, datetime.now(UTC)
    store.place(sha256(b"wood")).write_bytes(b"wood")
    keeper = farm.ctx.storekeeper
    assert keeper.step(now + timedelta(hours=23)).freed_bytes == 0
    assert store.stamp(sha256(b"wood")) is not None
    assert keeper.step(now + timedelta(hours=25)).freed_bytes == 4
    assert store.stamp(sha256(b"wood")) is None


def test_abandoned_uploads_go(farm: Control) -> None:
    user, uploads, now = farm.user(), farm.ctx.uploads, datetime.now(UTC)
    begun, _ = uploads.create(user, Upload(user.user_id, 100, sha256(b"x" * 100)))
    uploads.append(user, begun, Piece(0, 10, reader(b"x" * 10)))
    whole, _ = uploads.create(user, Upload(user.user_id, 10, sha256(b"y" * 10)))
    uploads.append(user, whole, Piece(0, 10, reader(b"y" * 10)))
    keeper = farm.ctx.storekeeper
    assert keeper.step(now + timedelta(hours=2)).uploads == 0
    assert uploads.store.all().keys() == {begun}, "of a finished one nothing is left"
    assert keeper.step(now + timedelta(hours=47)).uploads == 0
    done = keeper.step(now + timedelta(hours=49))
    assert (done.uploads, done.freed_bytes) == (1, 10)
    assert list(uploads.store.root.iterdir()) == []


def reader(content: bytes) -> Any:
    """A request's body."""
    left = [content]
    return lambda count: left.pop() if left else b""


def test_collector_and_submissions_do_not_meet(farm: Control) -> None:
    """A submission finds its files and keeps them, or is told which one is missing."""
    user, keeper, ended = farm.user(), farm.ctx.storekeeper, threading.Event()
    subscribe(farm, queue_limit=255)
    soon = farm.ctx.clock.now() + timedelta(days=3)
    mistakes: list[BaseException] = []

    def collect() -> None:
        while not ended.is_set():
            keeper.step(soon)

    def work(number: int) -> None:
        try:
            for turn in range(12):
                files = {"scene.any": b"scene %d" % (turn % 3), "wood.png": b"wood"}
                send(farm, *files.values())
                try:
                    task_id = submit(farm, files, user)
                except Refused as refusal:
                    assert refusal.code == "missing_files"
                    continue
                folder = farm.folder(task_id)
                found = {file.name: file.read_bytes() for file in folder.iterdir()}
                assert found == files
                assert all(is_there(farm, content) for content in files.values())
                if turn % 2:
                    looking.delete(farm.ctx, user, task_id)
        except BaseException as error:
            mistakes.append(error)
            raise

    collector = threading.Thread(target=collect)
    collector.start()
    workers = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    ended.set()
    collector.join()
    assert mistakes == []


# --------------------------------------------------------------------------- kept for so long


def test_without_a_word_of_it_everything_stays(farm: Control) -> None:
    send(farm, *SCENE.values())
    task_id = submit(farm, SCENE)
    finish(farm, task_id, {"frame_0001.png": b"a frame"})
    done = step(farm, days=10_000)
    assert (done.results, done.projects, done.freed_bytes) == (0, 0, 0)
    assert (farm.folder(task_id) / "output" / "frame_0001.png").exists()


def test_results_go_after_their_time(farm: Control) -> None:
    subscribe(farm, retention_days_results=30)
    send(farm, *SCENE.values())
    task_id, live = submit(farm, SCENE), submit(farm, SCENE)
    finish(farm, task_id, {"a/frame_0001.png": b"a frame", "frame_0002.png": b"another"})
    (farm.job(live).render.output_dir).mkdir()
    assert step(farm, days=29.9).results == 0
    done = step(farm, days=0.2)
    assert (done.results, done.projects, done.freed_bytes) == (1, 0, 14)
    assert not farm.job(task_id).render.output_dir.exists()
    assert farm.job(live).render.output_dir.exists()
    assert warnings(farm, task_id) == [
        "Its results were deleted 30 days after its end, as the subscription Default has it."
    ]
    assert step(farm).results == 0
    folder = farm.folder(task_id)
    assert sorted(file.name for file in folder.iterdir()) == ["scene.any", "wood.png"]
    assert [file.name for file in folder.parent.iterdir() if ".deleted-" in file.name] == []
    assert list((farm.settings.data_path / "pending").iterdir()) == []
    # what is there can be rendered again
    again = service.requeue(farm.ctx, farm.user(), task_id, "all")
    assert again.task.state == "queued"


def test_projects_go_after_their_time(farm: Control) -> None:
    subscribe(farm, retention_days_projects=7)
    send(farm, *SCENE.values())
    task_id = submit(farm, SCENE)
    finish(farm, task_id, {"frame_0001.png": b"a frame"})
    done = step(farm, days=7.1)
    assert (done.results, done.projects) == (0, 1)
    folder = farm.folder(task_id)
    assert [file.name for file in folder.iterdir()] == ["output"]
    assert (folder / "output" / "frame_0001.png").exists()
    (warning,) = warnings(farm, task_id)
    assert warning.startswith("Its project was deleted 7 days after its end")
    with pytest.raises(Refused) as refusal:
        service.requeue(farm.ctx, farm.user(), task_id, "all")
    assert refusal.value.code == "no_files"
    assert step(farm).projects == 0
    step(farm, days=1.1)
    assert list(farm.ctx.contents.store.hashes()) == []
    looking.delete(farm.ctx, farm.user(), task_id)
    assert not folder.exists()


@pytest.mark.parametrize("column", ["retention_days_results", "retention_days_projects"])
def test_task_that_comes_back_meanwhile_keeps_its_files(
    farm: Control, column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe(farm, **{column: 7})
    send(farm, *SCENE.values())
    task_id = submit(farm, SCENE)
    finish(farm, task_id, {"frame_0001.png": b"a frame"})
    look = storage.ended

    def look_and_be_late() -> list[storage.Ended]:
        found = look()
        service.requeue(farm.ctx, farm.user(), task_id, "all")
        return found

    monkeypatch.setattr(storage, "ended", look_and_be_late)
    done = step(farm, days=8)
    assert (done.results, done.projects, done.freed_bytes) == (0, 0, 0)
    assert (farm.folder(task_id) / "scene.any").exists()
    assert (farm.folder(task_id) / "output" / "frame_0001.png").exists()
    assert not [text for text in warnings(farm, task_id) if "deleted" in text]
    assert list((farm.settings.data_path / "pending").iterdir()) == []


def test_both_go_and_the_folder_with_them(farm: Control) -> None:
    subscribe(farm, retention_days_projects=7, retention_days_results=7)
    send(farm, b"scene")
    task_id = submit(farm, {"deep/in/scene.any": b"scene"})
    finish(farm, task_id, {"frame_0001.png": b"a frame"})
    done = step(farm, days=8)
    assert (done.results, done.projects) == (1, 1)
    assert not farm.folder(task_id).exists()
    assert len(warnings(farm, task_id)) == 2
    with pytest.raises(Refused, match="not there any more"):
        results.packed(farm.ctx, farm.user(), task_id)


def test_task_of_an_older_database(farm: Control) -> None:
    subscribe(farm, retention_days_projects=7)
    task_id = farm.add_task(2)
    finish(farm, task_id)
    assert step(farm, days=8).projects == 1
    assert not farm.folder(task_id).exists()
    assert step(farm).projects == 0


def test_variants_each_say_it(farm: Control) -> None:
    subscribe(farm, retention_days_results=7)
    send(farm, *SCENE.values())
    variants = [wire.Variant(name="small"), wire.Variant(name="large")]
    task_id = submit(farm, SCENE, variants=variants)
    finish(farm, task_id, {"small/1.png": b"1", "large/1.png": b"2"})
    assert step(farm, days=8).results == 1
    assert len(warnings(farm, task_id)) == 1
    with farm.database.reading():
        parts = [part.task_id for part in tasks.variants(task_id)]
    assert [len(warnings(farm, part)) for part in parts] == [1, 1]


def test_task_with_many_warnings_still_says_it(farm: Control) -> None:
    subscribe(farm, retention_days_results=7)
    task_id = farm.add_task(2)
    now = farm.ctx.clock.now()
    farm.database.transact(
        lambda _tx: [tasks.add_warning(task_id, f"missing {n}", now) for n in range(60)]
    )
    finish(farm, task_id, {"1.png": b"1"})
    step(farm, days=8)
    assert len(warnings(farm, task_id)) == tasks.MAX_WARNINGS + 1


def test_link_in_the_place_of_results_is_not_followed(farm: Control, tmp_path: Path) -> None:
    subscribe(farm, retention_days_results=7, retention_days_projects=7)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "of others").write_bytes(b"x")
    task_id = farm.add_task(2)
    finish(farm, task_id)
    farm.job(task_id).render.output_dir.symlink_to(tmp_path / "elsewhere")
    step(farm, days=8)
    assert (tmp_path / "elsewhere" / "of others").exists()


# --------------------------------------------------------------------------- quotas


def refusal_of(control: Control, size_bytes: int, user: User | None = None) -> str:
    """What is said to somebody who wants to send so much; empty if it may be sent."""
    try:
        control.ctx.room.check(user or control.user(), size_bytes)
    except Refused as refusal:
        assert (refusal.status, refusal.code) == (507, "quota")
        return refusal.message
    return ""


@pytest.fixture
def small(farm: Control) -> Control:
    """Everybody may have 1,000 bytes."""
    subscribe(farm, quota_bytes=1000)
    return farm


def test_quota_counts_projects_results_and_uploads(small: Control) -> None:
    user = small.user()
    send(small, *SCENE.values())  # by somebody else: 409 bytes
    assert refusal_of(small, 1000) == ""
    small.clock.pass_s(61)
    task_id = submit(small, SCENE)
    submit(small, {**SCENE, "also.png": b"wood" * 100})  # the same contents, once
    small.clock.pass_s(61)
    assert refusal_of(small, 591) == ""
    small.clock.pass_s(61)
    assert refusal_of(small, 592) == (
        "Your files take 409 bytes of the 1000 bytes that your subscription allows; 592 bytes more "
        "do not fit."
    )
    finish(small, task_id, {"frame_0001.png": b"x" * 91})
    small.ctx.uploads.create(user, Upload(user.user_id, 200, None))
    small.clock.pass_s(61)
    assert refusal_of(small, 300) == ""
    small.clock.pass_s(61)
    assert "take 700 bytes of" in refusal_of(small, 301)
    assert refusal_of(small, 1000, another(small)) == ""
    assert refusal_of(small, 1001, another_by_name(small)) != ""


def another_by_name(control: Control) -> User:
    with control.database.reading():
        found = catalog.user_by_email("other@example.com")
    assert found is not None
    return found[0]


def test_quota_is_measured_anew_before_anything_is_refused(small: Control) -> None:
    send(small, *SCENE.values())
    task_id = submit(small, SCENE)
    assert refusal_of(small, 500) == ""
    assert refusal_of(small, 500) == "", (
        "what was let in and never came is not held against anybody"
    )
    assert refusal_of(small, 600) != ""
    looking.delete(small.ctx, small.user(), task_id)
    assert refusal_of(small, 600) == ""


def test_what_is_on_its_way_counts_at_its_full_length(small: Control) -> None:
    user, uploads = small.user(), small.ctx.uploads
    first, _ = uploads.create(user, Upload(user.user_id, 600, None))
    with pytest.raises(Refused, match="take 600 bytes of the 1000 bytes"):
        uploads.create(user, Upload(user.user_id, 500, None))
    uploads.append(user, first, Piece(0, 600, reader(b"x" * 600)))
    with pytest.raises(Refused, match="take 600 bytes of the 1000 bytes"):
        uploads.create(user, Upload(user.user_id, 500, None))
    assert uploads.store.all().keys() == {first}


def test_files_that_others_have_sent_count_as_well(small: Control) -> None:
    send(small, b"s" * 400, b"t" * 700)
    with pytest.raises(Refused) as refusal:
        submit(small, {"scene.any": b"s" * 400, "texture.png": b"t" * 700})
    assert (refusal.value.status, refusal.value.code) == (507, "quota")
    task_id = submit(small, {"scene.any": b"s" * 400})
    assert submit(small, {"scene.any": b"s" * 400}) > task_id


def test_one_file_too_many(small: Control) -> None:
    from .test_enqueue import upload

    subscribe(small, quota_bytes=5)
    with pytest.raises(Refused):
        small.ctx.room.check(small.user(), 9)
    assert upload(small).size_bytes == 9


# --------------------------------------------------------------------------- who uses what


def test_report(farm: Control) -> None:
    send(farm, *SCENE.values(), b"of nobody", by=farm.user().user_id)
    task_id = submit(farm, SCENE)
    submit(farm, SCENE, another(farm))
    finish(farm, task_id, {"frame_0001.png": b"x" * 91})
    farm.ctx.uploads.create(farm.user(), Upload(farm.user().user_id, 200, None))
    report = farm.ctx.storekeeper.report()
    users = {user.email: user for user in report.users}
    first, second = users["artist@example.com"], users["other@example.com"]
    assert [user.email for user in report.users[:2]] == [first.email, second.email]
    assert (first.projects_bytes, first.results_bytes, first.used_bytes) == (409, 91, 709)
    assert first.uploads_bytes == 209, "on its way, and what is in no project yet"
    assert (second.projects_bytes, second.used_bytes, second.tasks) == (409, 409, 1)
    assert report.unused_bytes == 9
    assert report.contents == 4, "two files of a project, its manifest, and one more"
    assert report.disk_free_bytes <= report.disk_total_bytes
    assert report.disk_floor_bytes == 2 << 30
