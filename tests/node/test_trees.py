"""Folders made of the cache's files, and the cache: what is changed, evicted, in use, or half-way."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bottle
import msgspec
import pytest
from support.waiting import wait_until

from renderonline import manifests
from renderonline.config import EngineSetting
from renderonline.lifecycle import SystemClock
from renderonline.node import renderers
from renderonline.node.api_client import ApiClient
from renderonline.node.cache import PARTS_KEPT_S, Cache
from renderonline.node.fetch import Fetcher, NotFetched
from renderonline.node.inputs import NodeInputs
from renderonline.node.orders import Order, understand
from renderonline.node.trees import KEPT, Trees
from renderonline.serving import JsonApp, Server
from renderonline.wire import HpcStart, Manifest, ManifestFile

from .conftest import PYTHON

FILES = {"a.blend": b"a scene" * 1000, "textures/wood ü.png": b"wood" * 5000}


class Store:
    """An api that has projects' files by their hashes."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        app = JsonApp()
        app.route("/renderapi/v1/node/files/<sha256>", "GET", self._give)
        self._server = Server(app, "127.0.0.1", 0)
        self._server.start()
        self.url = self._server.url

    def _give(self, sha256: str) -> Any:
        self.asked.append(sha256)
        self.may_answer.wait(60)
        return bottle.HTTPResponse(self.contents[sha256])

    def order(self, task_id: int, files: dict[str, bytes] = FILES) -> Order:
        """To render these files."""
        listed = []
        for path, content in files.items():
            sha256 = hashlib.sha256(content).hexdigest()
            self.contents[sha256] = content
            listed.append(ManifestFile(path=path, sha256=sha256, size=len(content)))
        manifest = Manifest(main="a.blend", files=listed)
        project = manifests.ref(manifest)
        self.contents[project.sha256] = manifests.encode(manifest)
        start = HpcStart(
            engine_id="python",
            task_id=task_id,
            attempt_id=task_id,
            argv=["python", "/srv/9/a.blend"],
            task_dir="/srv/9",
            output_dir="/srv/9/output",
            api_url=self.url,
            report_key="key",
            manifest=project,
        )
        return understand(start, self.renderers, self.inputs)

    def serve(self, folder: Path, settings: tuple[EngineSetting, ...]) -> None:
        self.renderers = renderers.resolve(settings)
        self.inputs = NodeInputs(folder)

    def close(self) -> None:
        self.may_answer.set()
        self._server.close()


@dataclass
class Kit:
    store: Store
    cache: Cache
    trees: Trees

    def prepare(self, order: Order) -> None:
        self.trees.prepare(order, threading.Event())


def made(store: Store, folder: Path, limit_bytes: int = 10_000_000) -> Kit:
    cache = Cache(folder / "cache", limit_bytes)
    store.serve(folder, (PYTHON,))
    fetcher = Fetcher(ApiClient(), cache, SystemClock())
    return Kit(store, cache, Trees(folder / "work", cache, fetcher))


@pytest.fixture
def store() -> Iterator[Store]:
    running = Store()
    yield running
    running.close()


@pytest.fixture
def kit(store: Store, tmp_path: Path) -> Kit:
    return made(store, tmp_path)


def assert_whole(order: Order, files: dict[str, bytes] = FILES) -> None:
    found = {path: (order.working_dir / path).read_bytes() for path in files}
    assert found == files


def test_a_tasks_chunks_share_one_folder_and_all_tasks_the_files(kit: Kit) -> None:
    for task_id in (1, 1, 2):
        order = kit.store.order(task_id)
        kit.prepare(order)
        assert kit.trees.is_ready(order)
        assert_whole(order)
    assert len(kit.store.asked) == 3, "the manifest and two files"


@pytest.mark.parametrize("how", ["in place", "truncated", "deleted", "a folder", "replaced"])
def test_what_a_renderer_has_changed_is_put_back(kit: Kit, how: str) -> None:
    """Also where it has changed the cache's own file, which is the same one."""
    order = kit.store.order(1)
    kit.prepare(order)
    file = order.working_dir / "textures/wood ü.png"
    file.chmod(0o644)
    if how == "in place":
        with file.open("r+b") as opened:
            opened.write(b"x")
    elif how == "truncated":
        os.truncate(file, 3)
    else:
        file.unlink()
        if how == "a folder":
            (file / "deep").mkdir(parents=True)
        elif how == "replaced":
            file.write_bytes(b"another")
    assert not kit.trees.is_ready(order)
    kit.prepare(order)
    assert_whole(order)
    other = kit.store.order(2)
    kit.prepare(other)
    assert_whole(other)


def test_a_folder_that_became_a_link_is_made_anew(kit: Kit, tmp_path: Path) -> None:
    order = kit.store.order(1)
    kit.prepare(order)
    textures, elsewhere = order.working_dir / "textures", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (textures / "wood ü.png").unlink()
    textures.rmdir()
    textures.write_bytes(b"a file")
    kit.prepare(order)
    assert_whole(order)


def test_damage_that_no_stamp_shows_is_found_and_fetched_again(kit: Kit) -> None:
    order = kit.store.order(1)
    kit.prepare(order)
    file = order.working_dir / "a.blend"
    before = file.stat()
    file.chmod(0o644)
    file.write_bytes(b"A" + FILES["a.blend"][1:])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert kit.trees.is_ready(order), "it looks as it did"
    assert kit.trees.damaged(order) == ["a.blend"]
    kit.prepare(order)
    assert_whole(order)
    assert kit.trees.damaged(order) == []


def test_what_the_cache_has_had_no_room_for_is_not_damaged(store: Store, tmp_path: Path) -> None:
    kit = made(store, tmp_path, limit_bytes=10)
    first = store.order(1)
    kit.trees.hold(first)
    kit.prepare(first)
    kit.prepare(store.order(2, {"a.blend": b"other" * 9000}))
    assert kit.cache.find(hashlib.sha256(FILES["a.blend"]).hexdigest()) is None
    assert kit.trees.is_ready(first)
    assert kit.trees.damaged(first) == []


def test_the_least_recently_used_go_first(store: Store, tmp_path: Path) -> None:
    kit = made(store, tmp_path, limit_bytes=100_000)
    scenes = [{"a.blend": bytes([number]) * 40_000} for number in range(3)]
    for number in (0, 1, 0, 2):
        kit.prepare(store.order(10 + number + len(store.asked), scenes[number]))
    kept = [kit.cache.find(hashlib.sha256(s["a.blend"]).hexdigest()) is not None for s in scenes]
    assert kept == [True, False, True]


def test_what_the_cache_drops_takes_no_room_in_folders_that_nobody_uses(
    store: Store, tmp_path: Path
) -> None:
    """A link keeps a file on the disk: with the last eight tasks' folders, all of their projects."""
    kit = made(store, tmp_path, limit_bytes=150_000)
    orders = [store.order(n, {"a.blend": bytes([n]) * 100_000}) for n in range(1, 5)]
    kit.trees.hold(orders[0])
    for order in orders:
        kit.prepare(order)
    there = [order for order in orders if order.working_dir.exists()]
    assert there == [orders[0], orders[-1]]
    assert (orders[0].working_dir / "a.blend").read_bytes() == b"\1" * 100_000


def test_the_folder_of_a_render_stays_whatever_else_is_made(kit: Kit) -> None:
    held = kit.store.order(1)
    kit.trees.hold(held)
    kit.prepare(held)
    orders = [kit.store.order(task_id) for task_id in range(2, KEPT + 5)]
    for order in orders:
        kit.prepare(order)
    assert_whole(held)
    assert not orders[0].working_dir.exists()
    assert_whole(orders[-1])
    kit.trees.let_go(held)
    kit.prepare(kit.store.order(99))
    assert not held.working_dir.exists()


def test_folders_that_come_and_go_at_once_are_whole(kit: Kit) -> None:
    """While one thread removes a folder, another one may want it."""
    faults: list[BaseException] = []

    def use(first: int) -> None:
        try:
            for number in range(40):
                order = kit.store.order(first + number % (KEPT + 3))
                kit.trees.hold(order)
                kit.prepare(order)
                assert_whole(order)
                kit.trees.let_go(order)
        except BaseException as fault:  # told by the test's own thread
            faults.append(fault)
            raise

    users = [threading.Thread(target=use, args=(first,)) for first in (1, 4, 8)]
    for user in users:
        user.start()
    for user in users:
        user.join(120)
    assert faults == []


def test_who_waits_for_a_folder_that_is_being_fetched_can_be_stopped(kit: Kit) -> None:
    """It is fetched ahead; the attempt's turn comes, and then it is stopped."""
    order, stop, caught = kit.store.order(1), threading.Event(), []
    kit.store.may_answer.clear()
    ahead = threading.Thread(target=kit.prepare, args=(order,))
    ahead.start()
    wait_until(lambda: kit.store.asked, "it is being fetched")

    def wait() -> None:
        try:
            kit.trees.prepare(order, stop)
        except NotFetched as error:
            caught.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    stop.set()
    waiting.join(30)
    assert len(caught) == 1
    kit.store.may_answer.set()
    ahead.join(60)
    assert_whole(order)


def test_a_manifest_that_leads_elsewhere_is_refused(kit: Kit, tmp_path: Path) -> None:
    order = kit.store.order(1)
    project = order.place.project
    assert project is not None
    manifest = json.loads(kit.store.contents[project.sha256])
    manifest["Files"][0]["Path"] = "../../../escaped"
    content = json.dumps(manifest).encode()
    sha256 = hashlib.sha256(content).hexdigest()
    kit.store.contents[sha256] = content
    bad = msgspec.structs.replace(project, sha256=sha256)
    order = replace(order, place=replace(order.place, project=bad))
    with pytest.raises(NotFetched, match="cannot be used"):
        kit.prepare(order)
    assert not list(tmp_path.rglob("escaped"))


def test_a_cache_clears_up_what_no_list_has(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", None)
    sha256 = hashlib.sha256(b"x").hexdigest()
    for name in (sha256, "old", "young"):
        cache.part(name).write_bytes(b"x")
    cache.take(sha256)
    cache.close()
    orphan = tmp_path / "cache" / "ff" / ("ff" * 32)
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"never listed")
    long_ago = time.time() - PARTS_KEPT_S - 60
    os.utime(cache.part("old"), (long_ago, long_ago))
    again = Cache(tmp_path / "cache", None)
    assert again.find(sha256) is not None
    assert not orphan.exists()
    assert not again.part("old").exists() and again.part("young").exists()
    again.close()


def test_a_list_that_is_garbage_begins_anew(tmp_path: Path) -> None:
    Cache(tmp_path / "cache", None).close()
    for file in (tmp_path / "cache").glob("list.sqlite3*"):
        file.write_bytes(b"garbage" * 1000)
    cache = Cache(tmp_path / "cache", None)
    assert cache.find("0" * 64) is None
    cache.close()
