"""Projects on their way to a real api: sent once, resumed, checked; over a wire that is measured."""

from __future__ import annotations

import os
import random
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli.certificates import make_certificate
from support.farm import Farm, running_farm
from support.tap import Tap, tapped

from renderonline import wire
from renderonline.client import (
    Client,
    ClientError,
    Refused,
    SendProgress,
    Submission,
    bundle,
    hashing,
    prepare,
    uploads,
)

MIB = 1 << 20


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """An api with nobody who renders."""
    with farm_without_nodes(tmp_path_factory.mktemp("farm")) as running:
        yield running


@contextmanager
def farm_without_nodes(folder: Path, **settings: object) -> Iterator[Farm]:
    with running_farm(folder, nodes=0, api_settings=settings) as running:
        template = "sketch $RENDERONLINE:@uploaded_file"
        words = ["--name", "sketch", "--extension", ".py", "--render-argument", template]
        running.admin("engine", "add", *words)
        yield running


def connected(farm: Farm, url: str | None = None) -> Client:
    return Client(url or farm.api.url, farm.user.email, farm.user.token)


def project(folder: Path, files: Mapping[str, bytes]) -> Path:
    """A folder with a main file and these; as if they had been there for a while."""
    for name, content in {"main.py": b"pass", **files}.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        os.utime(file, (1_700_000_000, 1_700_000_000))
    return folder


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def submission(client: Client, folder: Path) -> Submission:
    engine = next(engine for engine in client.engines() if engine.name == "sketch")
    return prepare(bundle.of(folder, "main.py"), engine, {})


def submit(client: Client, folder: Path, progress: SendProgress | None = None) -> int:
    return client.submit(submission(client, folder), progress)


def arrived(client: Client, task_id: int, folder: Path) -> dict[str, bytes]:
    """What the farm has of a task's project."""
    files = client.results(task_id, folder, whole=True)
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def contents(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


# --------------------------------------------------------------------------- what goes over the wire


def test_a_project_is_sent_once_and_read_once(
    farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {f"textures/{number:03}.bin": noise(100, number) for number in range(300)}
    files = {"large.bin": noise(40 * MIB), "empty.bin": b"", **small}
    folder = project(tmp_path / "project ü", files)
    with tapped(farm.api.port) as tap, connected(farm, tap.url) as client:
        first_id = submit(client, folder)
        first_bytes, connections = tap.sent_bytes, tap.connections
        assert first_bytes < 41 * MIB
        assert connections < 12  # they are kept alive: not one for each file
        monkeypatch.setattr(hashing, "_read", lambda *_: pytest.fail("a file was read again"))
        second_id = submit(client, folder)
        assert tap.sent_bytes - first_bytes < first_bytes / 100
        for task_id in (first_id, second_id):
            assert arrived(client, task_id, tmp_path / str(task_id)) == contents(folder)


def test_only_what_has_changed_is_sent_again(farm: Farm, tmp_path: Path) -> None:
    folder = project(tmp_path / "project", {"a.bin": noise(MIB, 1), "b.bin": noise(MIB, 2)})
    with tapped(farm.api.port) as tap, connected(farm, tap.url) as client:
        submit(client, folder)
        before = tap.sent_bytes
        (folder / "b.bin").write_bytes(noise(2 * MIB, 3))
        (folder / "c.bin").write_bytes((folder / "a.bin").read_bytes())
        task_id = submit(client, folder)
        assert 2 * MIB < tap.sent_bytes - before < 2.1 * MIB
        assert arrived(client, task_id, tmp_path / "back") == contents(folder)


def test_progress_ends_at_the_end(farm: Farm, tmp_path: Path) -> None:
    folder = project(tmp_path / "project", {"a.bin": noise(20 * MIB, 5), "b.bin": noise(70_000, 6)})
    told: list[tuple[str, int, int]] = []
    with connected(farm) as client:
        submit(client, folder, lambda phase, done, total, _: told.append((phase, done, total)))
    for phase in ("hashing", "uploading"):
        steps = [(done, total) for name, done, total in told if name == phase]
        size = sum(len(content) for content in contents(folder).values())
        if phase == "uploading":
            size -= 0 if steps[-1][1] == size else len(b"pass")  # another test has sent that
        assert steps[-1] == (size, size)
        assert all(0 <= done <= total for done, total in steps)
        assert len(steps) > 20


# --------------------------------------------------------------------------- what breaks off


def test_a_broken_upload_goes_on_where_it_was(farm: Farm, tmp_path: Path) -> None:
    """Cut at every tenth of its length."""
    size = 40 * MIB
    folder = project(tmp_path / "project", {"large.bin": noise(size, 10)})
    with tapped(farm.api.port) as tap, connected(farm, tap.url) as client:
        ready = submission(client, folder)
        tap.cut_at(*(size * tenth // 10 for tenth in range(1, 10)))
        task_id = client.submit(ready)
        # Begun anew after each cut, it would be 1.9: 36 MiB until the last one, and all of it.
        assert tap.sent_bytes < 1.8 * size
        assert arrived(client, task_id, tmp_path / "back") == contents(folder)


def test_a_restarted_api_is_waited_for(tmp_path: Path) -> None:
    size = 60 * MIB
    folder = project(tmp_path / "project", {"large.bin": noise(size, 11)})
    with (
        farm_without_nodes(tmp_path / "farm") as farm,
        tapped(farm.api.port) as tap,
        connected(farm, tap.url) as client,
    ):
        ready = submission(client, folder)
        restarts = _restart_at(farm, tap, size // 3, size * 2 // 3)
        task_id = client.submit(ready)
        for restart in restarts:
            restart.join()
        assert len(restarts) == 2
        assert tap.sent_bytes < 2 * size
        assert arrived(client, task_id, tmp_path / "back") == contents(folder)


def _restart_at(farm: Farm, tap: Tap, *sent_bytes: int) -> list[threading.Thread]:
    """Kill the api, and start it again a moment later, when so much has been sent."""
    waiting, begun = list(sent_bytes), list[threading.Thread]()

    def restart() -> None:
        farm.api.kill()
        farm.api.restart()

    def on_bytes(count: int) -> None:
        if waiting and count >= waiting[0]:
            waiting.pop(0)
            begun.append(threading.Thread(target=restart))
            begun[-1].start()

    tap.on_bytes = on_bytes
    return begun


def test_over_https_it_is_the_same(tmp_path: Path) -> None:
    """With a certificate of the farm's own making, which alone is trusted."""
    own = make_certificate(tmp_path / "tls", "127.0.0.1")
    size = 40 * MIB
    small = {f"{number}.bin": noise(100, number) for number in range(50)}
    folder = project(tmp_path / "project", {"large.bin": noise(size, 15), **small})
    names = {"FullchainPemPath": str(own.fullchain_pem_path), "PrivPemPath": str(own.priv_pem_path)}
    with (
        farm_without_nodes(tmp_path / "farm", Certificate=names) as farm,
        tapped(farm.api.port) as tap,
    ):
        url = tap.url.replace("http:", "https:")
        with Client(url, farm.user.email, farm.user.token, own.fullchain_pem_path) as client:
            ready = submission(client, folder)
            tap.cut_at(size // 3, size * 2 // 3)
            task_id = client.submit(ready)
            assert tap.sent_bytes < 1.7 * size
            assert tap.connections < 30
            assert arrived(client, task_id, tmp_path / "back") == contents(folder)


def test_an_upload_that_was_given_up_is_taken_up_by_the_next(farm: Farm, tmp_path: Path) -> None:
    size = 50 * MIB
    folder = project(tmp_path / "project", {"large.bin": noise(size, 12)})

    def interrupt(phase: str, done: int, total: int, name: str) -> None:
        if phase == "uploading" and done > 0.7 * size:
            raise KeyboardInterrupt

    with tapped(farm.api.port) as tap:
        with connected(farm, tap.url) as client, pytest.raises(KeyboardInterrupt):
            submit(client, folder, interrupt)
        before = tap.sent_bytes
        with connected(farm, tap.url) as client:
            task_id = submit(client, folder)
            assert tap.sent_bytes - before < 0.7 * size
            assert arrived(client, task_id, tmp_path / "back") == contents(folder)


def test_a_farm_that_stays_away_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "PATIENCE_S", 0.5)
    folder = project(tmp_path / "project", {"large.bin": noise(20 * MIB, 13)})
    with farm_without_nodes(tmp_path / "farm") as farm, connected(farm) as client:
        ready = submission(client, folder)

        def kill(phase: str, *_: object) -> None:
            if phase == "uploading" and farm.api.exit_code is None:
                farm.api.kill()

        with pytest.raises(ClientError) as caught:
            client.submit(ready, kill)
        assert caught.value.code == "unreachable"


def test_what_the_farm_refuses_is_told_at_once(tmp_path: Path) -> None:
    folder = project(tmp_path / "project", {"large.bin": noise(20 * MIB, 14)})
    with (
        farm_without_nodes(tmp_path / "farm", UploadLimitBytes=MIB) as farm,
        tapped(farm.api.port) as tap,
        connected(farm, tap.url) as client,
    ):
        with pytest.raises(Refused, match="larger than this server's limit"):
            submit(client, folder)
        assert tap.sent_bytes < MIB


# --------------------------------------------------------------------------- two, and what changes


def test_two_clients_that_send_the_same_both_succeed(farm: Farm, tmp_path: Path) -> None:
    folder = project(tmp_path / "project", {"large.bin": noise(30 * MIB, 20), "b": noise(9, 21)})
    both = threading.Barrier(2)

    def run(_: int) -> int:
        with connected(farm) as client:
            ready = submission(client, folder)
            both.wait()
            return client.submit(ready)

    with ThreadPoolExecutor(2) as pool, connected(farm) as client:
        for task_id in pool.map(run, range(2)):
            assert arrived(client, task_id, tmp_path / str(task_id)) == contents(folder)


def changing(file: Path, times: int) -> SendProgress:
    """Changes a file while it is being uploaded, at most so often."""
    left = list(range(times))

    def change(phase: str, done: int, total: int, name: str) -> None:
        if phase == "uploading" and left and 0 < done < total:
            with file.open("r+b") as opened:
                opened.seek(-9, os.SEEK_END)  # what has not been sent yet
                opened.write(noise(9, 100 + left.pop()))

    return change


def test_a_file_that_changes_while_it_is_sent_is_sent_again(farm: Farm, tmp_path: Path) -> None:
    folder = project(tmp_path / "project", {"large.bin": noise(30 * MIB, 22)})
    with connected(farm) as client:
        task_id = submit(client, folder, changing(folder / "large.bin", 1))
        assert arrived(client, task_id, tmp_path / "back") == contents(folder)


def test_a_file_that_never_holds_still_is_told(farm: Farm, tmp_path: Path) -> None:
    folder = project(tmp_path / "project", {"large.bin": noise(30 * MIB, 23)})
    with connected(farm) as client, pytest.raises(ClientError, match="is being changed"):
        submit(client, folder, changing(folder / "large.bin", 1000))


@pytest.mark.parametrize("change", [Path.unlink, lambda file: os.truncate(file, 5)])
def test_a_file_that_goes_or_shrinks_is_told(
    farm: Farm, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    folder = project(tmp_path / "project", {"large.bin": noise(30 * MIB, 24)})
    done: list[int] = []

    def spoil(phase: str, *_: object) -> None:
        if phase == "uploading" and not done:
            done.append(1)
            change(folder / "large.bin")

    with connected(farm) as client:
        try:
            task_id = submit(client, folder, spoil)
        except ClientError as error:
            assert "large.bin" in str(error)
        else:  # what it is now is a project, too
            assert arrived(client, task_id, tmp_path / "back") == contents(folder)


# --------------------------------------------------------------------------- a ZIP, and older farms


def test_a_zip_is_sent_without_being_unpacked(farm: Farm, tmp_path: Path) -> None:

    files = {"main.py": b"pass", "a/large.bin": noise(20 * MIB, 30), "b.bin": bytes(MIB)}
    with zipfile.ZipFile(tmp_path / "p.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    with tapped(farm.api.port) as tap, connected(farm, tap.url) as client:
        ready = submission(client, tmp_path / "p.zip")
        tap.cut_at(5 * MIB, 12 * MIB)
        task_id = client.submit(ready)
        assert arrived(client, task_id, tmp_path / "back") == files


ENGINES = wire.EnginesResponse(
    engines=[
        wire.EngineDetail(
            engine_id=7, name="sketch", extension=".py", adapter="generic", arguments=[]
        )
    ]
)


def test_an_older_farm_takes_one_file(serve: Callable[..., str], tmp_path: Path) -> None:
    received: list[tuple[str, bytes]] = []

    def app(environ: dict[str, object], start: Callable[..., object]) -> list[bytes]:
        path = str(environ["PATH_INFO"])
        answers: dict[str, wire.Message] = {
            "/renderapi/v1/engines": ENGINES,
            "/renderapi/v1/enqueue": wire.EnqueueResponse(True, "", 12),
        }
        body = environ["wsgi.input"].read()  # type: ignore[attr-defined]
        received.append((path, body))
        status = "200 OK" if path in answers else "404 Not Found"
        start(status, [("Content-Type", "application/json")])
        return [wire.encode(answers[path])] if path in answers else [b"<html>"]

    folder = project(tmp_path / "project", {"more.py": b"pass"})
    with Client(serve(app), "ada@example.com", "token") as client:
        assert client.enqueue(folder / "main.py") == 12
        path, body = received[-1]
        assert path == "/renderapi/v1/enqueue"
        assert b'filename="main.py"' in body and b"pass" in body
        with pytest.raises(ClientError, match="takes one file with a submission") as caught:
            submit(client, folder)
        assert "--no-links" in caught.value.hint
        assert received[-1][0] == "/renderapi/v1/files/missing"


def test_a_farm_that_forgets_each_upload_is_given_up(
    serve: Callable[..., str], tmp_path: Path
) -> None:
    """As two servers do that stand behind one address and do not share their files."""
    begun: list[str] = []

    def app(environ: dict[str, object], start: Callable[..., object]) -> list[bytes]:
        path, method = str(environ["PATH_INFO"]), environ["REQUEST_METHOD"]
        body = environ["wsgi.input"].read()  # type: ignore[attr-defined]
        if path == uploads.ROUTE:
            begun.append(path)
            is_enough = len(begun) > 50  # so that this ends even if the client does not
            status = "403 Forbidden" if is_enough else "201 Created"
            start(status, [("Location", f"{path}/1"), ("Content-Length", "0")])
            return [b""]
        if path == uploads.MISSING_ROUTE:
            asked = wire.decode(body, wire.MissingRequest).files
            answer: wire.Message = wire.MissingResponse([file.sha256 for file in asked])
        else:
            answer = ENGINES
        start("200 OK" if method != "PATCH" else "404 Not Found", [])
        return [wire.encode(answer)]

    folder = project(tmp_path / "project", {"large.bin": noise(17 * MIB)})
    (folder / "main.py").write_bytes(noise(17 * MIB, 1))
    with (
        Client(serve(app), "ada@example.com", "token") as client,
        pytest.raises(ClientError, match="forgets the upload"),
    ):
        submit(client, folder)
    assert len(begun) <= 2 * uploads.MOST_BEGINNINGS
