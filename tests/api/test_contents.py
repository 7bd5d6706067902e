"""The content store by itself, on both databases: one copy, changed files dropped, older tasks adopted."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from renderonline import manifests, wire
from renderonline.api.db.connection import DatabaseError
from renderonline.api.services import projects
from renderonline.api.storage.contents import stamp_of
from renderonline.api.storage.folders import remove_tree
from renderonline.api.storage.links import Linker

from .control import Control


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def arrival(control: Control, content: bytes) -> Path:
    file = control.ctx.folders.incoming_file()
    file.write_bytes(content)
    return file


def add(control: Control, content: bytes) -> str:
    control.ctx.contents.add(sha256(content), arrival(control, content), 1)
    return sha256(content)


def stored(control: Control) -> list[str]:
    return sorted(control.ctx.contents.store.hashes())


def test_content_is_there_once_it_was_added(control: Control) -> None:
    contents = control.ctx.contents
    assert contents.path(sha256(b"wood")) is None
    number = add(control, b"wood")
    found = contents.path(number)
    assert found is not None and found.read_bytes() == b"wood"
    assert contents.missing([number, sha256(b"stone"), number]) == [sha256(b"stone")]
    assert list(control.settings.data_path.joinpath("incoming").iterdir()) == []


def test_two_at_once_leave_one_copy(control: Control) -> None:
    together = threading.Barrier(4)

    def send() -> None:
        file = arrival(control, b"wood")
        together.wait()
        control.ctx.contents.add(sha256(b"wood"), file, 1)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stored(control) == [sha256(b"wood")]
    assert control.ctx.contents.path(sha256(b"wood")) is not None


@pytest.mark.parametrize("how", ["longer", "in its place", "gone", "a link"])
def test_content_that_was_changed_is_dropped_and_can_come_again(
    control: Control, how: str, tmp_path: Path
) -> None:
    number = add(control, b"wood")
    file = control.ctx.contents.path(number)
    assert file is not None
    if how in ("longer", "in its place"):
        file.chmod(0o600)
        file.write_bytes(b"woods" if how == "longer" else b"food")
    else:
        file.unlink()
    if how == "a link":
        (tmp_path / "elsewhere").write_bytes(b"wood")
        file.symlink_to(tmp_path / "elsewhere")
    assert control.ctx.contents.path(number) is None
    assert stored(control) == []
    assert control.ctx.contents.missing([number]) == [number]
    add(control, b"wood")
    assert control.ctx.contents.path(number) is not None


def test_add_that_fails_leaves_no_file_that_counts(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    from renderonline.api.db import contents

    def gone(*_arguments: object) -> None:
        raise DatabaseError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(contents, "keep", gone)
        with pytest.raises(DatabaseError):
            add(control, b"wood")
    assert control.ctx.contents.path(sha256(b"wood")) is None
    control.ctx.contents.abandon([sha256(b"wood")])
    assert stored(control) == []


# --------------------------------------------------------------------------- older tasks


def test_task_without_a_manifest_gets_one_when_it_is_asked_for(control: Control) -> None:
    task_id = control.add_task(control.add_engine("any"))
    ref = projects.ref_of(control.ctx, control.job(task_id).render)
    assert ref is not None
    assert (ref.main, ref.files, ref.size_bytes) == ("scene.any", 1, 9)
    render = control.job(task_id).render
    assert render.manifest == ref.sha256
    assert projects.ref_of(control.ctx, render) == ref
    for number in (ref.sha256, sha256(b"a project")):
        assert projects.is_part(control.ctx, ref.sha256, number)
        assert control.ctx.contents.path(number) is not None
    assert not projects.is_part(control.ctx, ref.sha256, sha256(b"another"))
    assert list(control.settings.data_path.joinpath("incoming").iterdir()) == []


def test_the_manifest_is_the_one_that_a_client_would_make(control: Control) -> None:
    task_id = control.add_task(control.add_engine("any"))
    ref = projects.ref_of(control.ctx, control.job(task_id).render)
    file = wire.ManifestFile(path="scene.any", sha256=sha256(b"a project"), size=9)
    assert ref == manifests.ref(wire.Manifest(main="scene.any", files=[file]))


@pytest.mark.parametrize("how", ["gone", "a link"])
def test_task_whose_project_is_gone_has_no_manifest(
    control: Control, how: str, tmp_path: Path
) -> None:
    task_id = control.add_task(control.add_engine("any"))
    project = control.folder(task_id) / "scene.any"
    project.unlink()
    if how == "a link":
        (tmp_path / "secret").write_bytes(b"of somebody else")
        project.symlink_to(tmp_path / "secret")
    assert projects.ref_of(control.ctx, control.job(task_id).render) is None
    assert stored(control) == []


# --------------------------------------------------------------------------- links


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system."""
    folder = Path("/dev/shm") / f"renderonline-test-{os.getpid()}"
    assert folder.parent.stat().st_dev != tmp_path.stat().st_dev
    folder.mkdir()
    yield folder
    assert remove_tree(folder)


@pytest.mark.parametrize("where", ["beside it", "on another file system"])
def test_file_is_put_into_a_folder(tmp_path: Path, elsewhere: Path, where: str) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"wood")
    folder = tmp_path / "folder" if where == "beside it" else elsewhere / "folder"
    folder.mkdir()
    linker = Linker(folder)
    stamps = [linker.put(source, path) for path in ("a.png", "b/c/d.png", "b/c/e.png")]
    linker.settle()
    assert stamps == [stamp_of(source.stat())] * 3
    found = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert found == {"a.png", "b/c/d.png", "b/c/e.png"}
    assert (folder / "b/c/e.png").read_bytes() == b"wood"
    with pytest.raises(FileExistsError):
        linker.put(source, "a.png")
    with pytest.raises(FileNotFoundError):
        linker.put(tmp_path / "gone", "f.png")
    assert not (folder / "f.png").exists()
