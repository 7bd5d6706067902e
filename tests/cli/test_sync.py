"""A task's results in a folder as they appear: over a real api, through whatever breaks."""

from __future__ import annotations

import io
import json
import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from api.house import House, running_house
from api.workshop import cable
from support.processes import run_cli
from support.waiting import wait_until

from renderonline import wire
from renderonline.client import Client, NotFound, Refused
from renderonline.commands.sync import Follower
from renderonline.serving import HttpError, JsonApp, reply

from .command import Command

Serve = Callable[..., str]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as running:
        yield running
        running.assert_quiet()


@contextmanager
def client_of(house: House, url: str = "") -> Iterator[Client]:
    with Client(url or house.service.url, house.artist.email, house.artist.token) as client:
        yield client


@pytest.fixture
def client(house: House) -> Iterator[Client]:
    with client_of(house) as made:
        yield made


def put(house: House, task_id: int, name: str, content: bytes) -> None:
    """A result that appears whole, as nodes put it there."""
    file = house.task_dir(task_id) / "output" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    hidden = file.with_name(".rendering-" + file.name)
    hidden.write_bytes(content)
    hidden.replace(file)


def end(house: House, task_id: int, state: str = "succeeded") -> None:
    house.rows("UPDATE tasks SET state = ? WHERE task_id = ?", state, task_id)
    house.rows("DELETE FROM queue WHERE task_id = ?", task_id)


def found(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


# --------------------------------------------------------------------------- what is fetched


def test_only_what_is_new_is_fetched(house: House, client: Client, tmp_path: Path) -> None:
    task_id = house.task()
    mirror = client.mirror(task_id, tmp_path)
    assert mirror.step() == []
    put(house, task_id, "0001.png", b"first")
    assert mirror.step() == [tmp_path / "0001.png"]
    put(house, task_id, "beauty/0001 ü#%?.exr", b"beauty")
    assert mirror.step() == [tmp_path / "beauty" / "0001 ü#%?.exr"]
    assert mirror.step() == []
    assert found(tmp_path) == {"0001.png": b"first", "beauty/0001 ü#%?.exr": b"beauty"}
    assert mirror.files == [tmp_path / "0001.png", tmp_path / "beauty" / "0001 ü#%?.exr"]


def test_another_one_finds_that_all_is_there(house: House, client: Client, tmp_path: Path) -> None:
    """By size and time, which are the farm's; no list is kept."""
    task_id = house.task()
    for frame in range(1, 4):
        put(house, task_id, f"{frame:04}.png", b"frame")
    client.results(task_id, tmp_path)
    numbers = {file: file.stat().st_ino for file in tmp_path.iterdir()}
    there = house.task_dir(task_id) / "output" / "0002.png"
    assert (tmp_path / "0002.png").stat().st_mtime == pytest.approx(there.stat().st_mtime, abs=1e-5)
    assert client.mirror(task_id, tmp_path).step() == []
    assert len(client.results(task_id, tmp_path)) == 3
    assert {file: file.stat().st_ino for file in tmp_path.iterdir()} == numbers


def test_a_frame_that_was_rendered_again_is_replaced(
    house: House, client: Client, tmp_path: Path
) -> None:
    task_id = house.task()
    put(house, task_id, "0001.png", b"first")
    mirror = client.mirror(task_id, tmp_path)
    mirror.step()
    put(house, task_id, "0001.png", b"again")  # of the same size
    assert mirror.step() == [tmp_path / "0001.png"]
    assert found(tmp_path) == {"0001.png": b"again"}
    later = house.task_dir(task_id) / "output" / "0001.png"
    os.utime(later, (later.stat().st_atime, later.stat().st_mtime + 10))
    assert client.mirror(task_id, tmp_path).step() == [tmp_path / "0001.png"]


def test_only_some_frames(house: House, client: Client, tmp_path: Path) -> None:
    task_id = house.task(arguments={"start_frame": "1", "end_frame": "9"})
    for frame in range(1, 10):
        put(house, task_id, f"shot_{frame:04}.png", b"frame")
    client.results(task_id, tmp_path, frames="2-3,9")
    assert sorted(found(tmp_path)) == ["shot_0002.png", "shot_0003.png", "shot_0009.png"]
    with pytest.raises(Refused):
        client.results(task_id, tmp_path, frames="x")


def test_progress_is_that_of_all(house: House, client: Client, tmp_path: Path) -> None:
    task_id = house.task()
    for frame in range(1, 4):
        put(house, task_id, f"{frame:04}.png", os.urandom(100_000))
    told: list[tuple[int, int | None]] = []
    client.results(task_id, tmp_path, lambda done, total: told.append((done, total)))
    assert told[-1] == (300_000, 300_000)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_the_project_comes_along_if_it_is_wanted(
    house: House, client: Client, tmp_path: Path
) -> None:
    task_id = house.task(content=b"the project")
    put(house, task_id, "0001.png", b"first")
    files = client.results(task_id, tmp_path, whole=True)
    assert found(tmp_path) == {"scene.any": b"the project", "output/0001.png": b"first"}
    assert len(files) == 2


def test_no_such_task(client: Client, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        client.results(999_999, tmp_path / "folder")


# --------------------------------------------------------------------------- what breaks


def test_the_api_is_killed_in_the_midst_of_a_file_and_of_an_archive(tmp_path: Path) -> None:
    with running_house(tmp_path / "house") as own, client_of(own) as client:
        task_id = own.task()
        contents = {f"{frame:04}.png": os.urandom(5_000_000) for frame in range(1, 5)}
        for name, content in contents.items():
            put(own, task_id, name, content)
        end(own, task_id)
        kills = []

        def killing(done: int, total: int | None) -> None:
            if done > 7_000_000 and not kills:
                kills.append(done)
                own.service.kill()
                threading.Thread(target=own.service.restart).start()

        client.results(task_id, tmp_path / "frames", killing)
        assert found(tmp_path / "frames") == contents
        kills.clear()
        client.download(task_id, tmp_path / "a.zip", killing, only="results")
        assert kills
        with zipfile.ZipFile(tmp_path / "a.zip") as archive:
            assert archive.testzip() is None
            assert {name: archive.read(name) for name in archive.namelist()} == contents


def test_a_cable_is_cut_again_and_again(house: House, tmp_path: Path) -> None:
    task_id = house.task()
    content = os.urandom(30_000_000)
    put(house, task_id, "movie.mp4", content)
    end(house, task_id)
    with cable(house.service.port) as line, client_of(house, f"http://127.0.0.1:{line.port}") as c:
        cuts = [5_000_000, 12_000_000, 29_000_000]

        def cutting(done: int, total: int | None) -> None:
            if cuts and done > cuts[0]:
                cuts.pop(0)
                line.cut()
                threading.Timer(0.3, line.mend).start()

        c.results(task_id, tmp_path, cutting)
    assert cuts == []
    assert found(tmp_path) == {"movie.mp4": content}


# --------------------------------------------------------------------------- a farm that lies


def lying(*files: Any) -> JsonApp:
    """A server that says it has these files."""
    app = JsonApp()

    @app.get("/renderapi/v1/tasks/1/files")
    def _files() -> object:
        shown = [
            wire.ResultFile(path=path, size=5, modified="2026-01-01T00:00:00.000000Z")
            for path in files
        ]
        return reply(wire.FilesResponse(files=shown))

    @app.get("/renderapi/v1/tasks/1/files/<path:path>")
    def _file(path: str) -> object:
        if path == "gone.png":
            raise HttpError(404, "no_such_file", "It is gone.")
        if path == "changed.png":
            raise HttpError(409, "changed", "It has just been changed.")
        return b"bytes"

    return app


@pytest.mark.parametrize(
    "path",
    [
        "../evil",
        "a/../../evil",
        "/etc/evil",
        "a//evil",
        "./evil",
        "",
        "C:/evil",
        "C:evil",
        "..\\evil",
        "\\\\server\\share\\evil",
        "//server/share/evil",
        "evil\0.png",
    ],
)
def test_a_path_that_leads_out_stops_all(path: str, serve: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with (
        Client(serve(lying("0001.png", path)), "artist@example.com", "token") as client,
        pytest.raises(Refused, match="were not taken"),
    ):
        client.results(1, folder)
    assert list(tmp_path.rglob("*")) == []


def test_what_goes_or_changes_meanwhile_is_left_to_the_next_look(
    serve: Serve, tmp_path: Path
) -> None:
    url = serve(lying("0001.png", "changed.png", "gone.png", "z.png"))
    with Client(url, "artist@example.com", "token") as client:
        assert [file.name for file in client.results(1, tmp_path)] == ["0001.png", "z.png"]


@pytest.mark.parametrize("modified", ["yesterday", "", "2026-01-01T00:00:00", "2026-01-01"])
def test_a_time_that_is_none(modified: str, serve: Serve, tmp_path: Path) -> None:
    app = JsonApp()

    @app.get("/renderapi/v1/tasks/1/files")
    def _files() -> object:
        file = wire.ResultFile(path="a.png", size=5, modified=modified)
        return reply(wire.FilesResponse(files=[file]))

    with (
        Client(serve(app), "artist@example.com", "token") as client,
        pytest.raises(Refused, match="has no time"),
    ):
        client.results(1, tmp_path)


def test_a_file_in_the_place_of_a_folder_is_named(
    house: House, client: Client, tmp_path: Path
) -> None:
    task_id = house.task()
    put(house, task_id, "beauty/0001.png", b"first")
    (tmp_path / "beauty").write_bytes(b"a file")
    with pytest.raises(Exception, match="cannot be written"):
        client.results(task_id, tmp_path)


# --------------------------------------------------------------------------- the commands


def environment(house: House) -> dict[str, str]:
    return {
        "RENDERONLINE_SERVER": house.service.url,
        "RENDERONLINE_EMAIL": house.artist.email,
        "RENDERONLINE_TOKEN": house.artist.token,
    }


@pytest.fixture
def start(house: House, tmp_path: Path) -> Iterator[Callable[..., Command]]:
    started: list[Command] = []

    def begin(*words: object, house: House = house) -> Command:
        command = Command(tmp_path / f"home{len(started)}", environment(house), *words)
        started.append(command)
        return command

    yield begin
    for command in started:
        command.kill()


@pytest.mark.parametrize(
    ("state", "exit_code"), [("succeeded", 0), ("failed", 1), ("cancelled", 1)]
)
def test_sync_fetches_as_it_appears_until_the_task_is_over(
    house: House, start: Callable[..., Command], tmp_path: Path, state: str, exit_code: int
) -> None:
    task_id, folder = house.task(), tmp_path / "frames"
    sync = start("sync", task_id, folder, "--json")
    for frame in range(1, 4):
        name = f"{frame:04}.png"
        put(house, task_id, name, b"frame %d" % frame)
        wait_until((folder / name).exists, f"{name} is here")
    put(house, task_id, "last.txt", b"last")
    end(house, task_id, state)
    told = sync.result(exit_code)
    assert (told["TaskId"], told["State"]) == (task_id, state)
    assert [Path(file).name for file in told["Files"]] == [
        *(f"{frame:04}.png" for frame in range(1, 4)),
        "last.txt",
    ]
    assert f"fetched {folder / '0001.png'}" in sync.said
    assert len(found(folder)) == 4


def test_a_follower_that_is_not_due_looks_at_the_end_all_the_same(
    house: House, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Follower, "SHARE", 1e12)  # looking takes all of the time
    task_id = house.task()
    follower = Follower(client.mirror(task_id, tmp_path))
    follower.look(client.task(task_id))
    put(house, task_id, "0001.png", b"first")
    follower.look(client.task(task_id))
    assert found(tmp_path) == {}
    end(house, task_id)
    follower.look(client.task(task_id))
    assert found(tmp_path) == {"0001.png": b"first"}


def test_sync_that_was_killed_goes_on_where_it_was(
    house: House, start: Callable[..., Command], tmp_path: Path
) -> None:
    task_id, folder = house.task(), tmp_path / "frames"
    first = start("sync", task_id, folder)
    put(house, task_id, "0001.png", b"first")
    wait_until((folder / "0001.png").exists, "the first frame is here")
    first.kill()
    number = (folder / "0001.png").stat().st_ino
    put(house, task_id, "0002.png", b"second")
    end(house, task_id)
    second = start("sync", task_id, folder, "--json")
    assert len(second.result(0)["Files"]) == 2
    assert found(folder) == {"0001.png": b"first", "0002.png": b"second"}
    assert (folder / "0001.png").stat().st_ino == number, "it was not fetched again"
    assert "0001.png" not in second.said


def test_sync_waits_for_an_api_that_is_restarted(
    start: Callable[..., Command], tmp_path: Path
) -> None:
    with running_house(tmp_path / "house") as own:
        task_id, folder = own.task(), tmp_path / "frames"
        sync = start("sync", task_id, folder, "--json", house=own)
        put(own, task_id, "0001.png", b"first")
        wait_until((folder / "0001.png").exists, "the first frame is here")
        own.service.kill()
        put(own, task_id, "0002.png", b"second")
        wait_until(lambda: "Waiting for it to come back" in sync.said, "it waits")
        own.service.restart()
        wait_until((folder / "0002.png").exists, "the second frame is here")
        end(own, task_id)
        assert sync.result(0)["State"] == "succeeded"


def test_sync_of_a_task_that_is_deleted_ends_with_5(
    house: House, start: Callable[..., Command], tmp_path: Path
) -> None:
    task_id, folder = house.task(), tmp_path / "frames"
    put(house, task_id, "0001.png", b"first")
    sync = start("sync", task_id, folder, "--json")
    wait_until((folder / "0001.png").exists, "the first frame is here")
    house.request("POST", "delete", json={"TaskId": task_id})
    assert sync.result(5)["Error"] == "no_such_task"
    assert found(folder) == {"0001.png": b"first"}
    assert start("sync", task_id, folder, "--json").result(5)["Error"] == "no_such_task"


def test_sync_once(house: House, start: Callable[..., Command], tmp_path: Path) -> None:
    task_id, folder = house.task(), tmp_path / "frames"
    put(house, task_id, "0001.png", b"first")
    told = start("sync", task_id, folder, "--once", "--json").result(0)
    assert (told["State"], len(told["Files"])) == ("queued", 1)


def test_download_of_frames_and_as_a_zip(house: House, tmp_path: Path) -> None:
    task_id = house.task(content=b"the project", arguments={"start_frame": "1", "end_frame": "9"})
    for frame in range(1, 10):
        put(house, task_id, f"{frame:04}.png", b"frame")

    def download(*words: object, expected_exit: int = 0) -> list[str]:
        done = run_cli(
            *("download", str(task_id), *map(str, words), "--json"),
            home=tmp_path / "home",
            environment=environment(house),
            expected_exit=expected_exit,
        )
        return list(json.loads(done.stdout).get("Files", []))

    def names(file: str) -> list[str]:
        with zipfile.ZipFile(io.BytesIO(Path(file).read_bytes())) as archive:
            return archive.namelist()

    files = download(tmp_path / "a", "--frames", "2-3")
    assert [Path(file).name for file in files] == ["0002.png", "0003.png"]
    (packed,) = download(tmp_path / "b", "--zip")
    assert Path(packed) == tmp_path / "b" / f"task-{task_id}.zip"
    assert names(packed) == [f"{frame:04}.png" for frame in range(1, 10)]
    (packed,) = download(tmp_path / "c.zip", "--frames", "9")
    assert names(packed) == ["0009.png"]
    (packed,) = download(tmp_path / "d.zip")
    assert names(packed)[-1] == "scene.any"
    (packed,) = download(tmp_path / "e", "--zip", "--whole")
    assert names(packed)[-1] == "scene.any"
    download(tmp_path / "f", "--frames", "9-1", expected_exit=2)
    download(tmp_path / "f", "--frames", "1", "--whole", expected_exit=2)
    assert not (tmp_path / "f").exists()
